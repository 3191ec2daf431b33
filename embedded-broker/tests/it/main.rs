//! The broker over real sockets: raw frames of our own, librdkafka, and the binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod clients;
mod configs;
mod crash;
mod faults;
mod fetch;
mod group_members;
mod groups;
mod histories;
mod life;
mod power;
mod protocol;
mod refusals;
mod storage;
mod support;
mod topics;
mod transactions;
mod versions;
