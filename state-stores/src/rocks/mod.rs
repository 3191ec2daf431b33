//! The RocksDB engine: one database per task, a column family per store, and one for what the task itself remembers.

mod bulk;
mod db;
mod engine;
mod error;
mod formats;
pub(crate) mod meta;
mod options;
mod statistics;

pub use bulk::{BulkRestore, BulkRestored};
pub use db::TaskDb;
pub(crate) use engine::RocksEngine;
pub use options::{RocksDbConfigSetter, RocksDbResources, RocksDbSettings};
pub use statistics::{Durations, HitsAndMisses, RocksDbStatistics};
