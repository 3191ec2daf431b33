//! The runtime against a broker: the embedded one, or the cluster that `kstreams_test_cluster` was asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod bad_input;
mod failures;
mod given_up;
mod lost;
mod metrics;
mod order;
mod patterns;
mod queries;
mod quiet_inputs;
mod rebalance;
mod recorder;
mod restored_windows;
mod stuck;
mod topologies;
mod word_count;
