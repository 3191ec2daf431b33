//! The whole system as a user's program sees it: the DSL of `kstreams` on a running cluster, through restarts, lost state,
//! instances that come, go and are killed, bad records and brokers that stop.
//!
//! The cluster is an embedded broker for each test, or the one that `kstreams_test_cluster` was asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod asynchronous;
mod at_most_once;
mod brokers;
mod child;
mod commit_kills;
mod exactly_once;
mod final_results;
mod global;
mod instances;
mod internal_topics;
mod operators;
mod patterns;
mod poison;
mod processes;
mod refused_output;
mod restarts;
mod settings;
mod start_checks;
mod stopped;
mod takeover;
mod topologies;
