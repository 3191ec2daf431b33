//! State stores of kstreams: record and serde types, RocksDB and in-memory engines, record cache.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod record;
mod serde;

pub use record::{Header, Headers, Record, ValueAndTimestamp};
#[cfg(feature = "json")]
pub use serde::Json;
pub use serde::{DefaultSerde, DynSerde, Serde, SerdeError};
