//! A single-node broker that speaks the Kafka protocol: library and binary
