//! The runtime against a broker: the embedded one, or the cluster that `BOOTSTRAP_SERVERS` names.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod bad_input;
mod cluster;
mod failures;
mod metrics;
mod order;
mod patterns;
mod queries;
mod quiet_inputs;
mod rebalance;
mod recorder;
mod topologies;
mod word_count;
