//! The DSL's operators, run by the test driver.
//!
//! `names`, `behaviours` and `change` compare with what Kafka Streams on the JVM does, recorded in `data/`. Their programs
//! are in a small language of calls, which `interpreter` turns into calls of the DSL. The other modules show the operators
//! with the types that users give them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asynchronous;
mod behaviours;
mod caching;
mod change;
mod compatibility;
mod errors;
mod functions;
mod interpreter;
mod join_calls;
mod join_results;
mod joins;
mod names;
mod nulls;
mod processors;
mod program;
mod sample;
mod stores;
mod transformers;
mod window_models;
mod windowed_calls;
mod windows;
mod wrapper;
