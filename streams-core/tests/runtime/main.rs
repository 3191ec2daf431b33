//! The runtime against a broker: the embedded one, or the cluster that `BOOTSTRAP_SERVERS` names.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cluster;
mod topologies;
mod word_count;
