//! The benchmark program that runs under the same script as the JVM's.
fn main() {}
