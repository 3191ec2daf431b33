//! What a user gets for bad input and a bad environment: a message that names the thing and the remedy, in a bounded time,
//! and no data lost. On the embedded broker or, with `KAFKA_BOOTSTRAP_SERVERS`, on Apache Kafka.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod address;
mod disk;
mod process;
mod serdes;
mod settings;
mod state_dir;
mod topics;
mod topologies;
