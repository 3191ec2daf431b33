//! Window stores against a map with the JVM's rules of expiry.
