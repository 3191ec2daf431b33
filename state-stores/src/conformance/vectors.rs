//! Bytes that the JVM wrote.
