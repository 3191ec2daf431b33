//! State stores of kstreams: record and serde types, RocksDB and in-memory engines, record cache.
//!
//! A store is a pile of layers, each with one duty; see `layers.rs` for the way of an update through them:
//!
//! ```text
//! KeyValueStore, WindowStore, ...  serdes, key encodings
//! record cache (if on)            deduplicates; what it flushes is forwarded
//! changelog                       a sink that the task gives
//! uncommitted layer               what was put since the last commit
//! engine                          RocksDB or memory, takes whole commits only
//! ```
//!
//! Nothing here knows tasks or brokers: the core builds stores, hands them the record's context, and commits them.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod access;
mod backend;
mod below;
mod budget;
mod buffer_entry;
mod building;
mod byte_map;
mod bytes_store;
mod cache;
mod cache_layer;
mod change_buffer;
#[cfg(test)]
mod conformance;
mod contract;
mod cursor;
mod engine;
mod error;
mod expiry;
mod java_set;
mod key_value;
mod keys;
mod layers;
mod lru;
mod memory;
mod overlay;
mod record;
mod rocks;
mod serde;
mod session;
mod shared;
mod shared_bytes;
mod stores;
mod supplier;
pub mod testing;
mod time_buffer;
mod time_index;
mod timed;
mod timestamped;
mod timings;
mod value_format;
pub mod varint;
mod versioned;
mod versions;
mod view;
mod window;
mod window_query;
mod windowed;
mod with_headers;

/// RocksDB's own interface, for [`RocksDbConfigSetter`].
pub use ::rocksdb;
pub use access::StoreAccess;
pub use backend::{CommitBatch, TaskBackend};
pub use budget::{CacheBudget, UncommittedBudget};
pub use bytes_store::{BytesIterator, BytesStore, BytesStoreError, BytesStoreFactory};
pub use change_buffer::{Buffered, ChangeBuffer, ChangeBufferBuilder};
pub use contract::{
    CacheStats, ChangelogId, ChangelogSink, Flushed, LoggedHeaders, RecordContext, RestoreRecord, StateStore,
    StoreBuilder, StoreContext, StoreEnvironment, StoreKind, StoreSpec, StoreType,
};
pub use error::StoreError;
pub use key_value::{KeyValueIterator, KeyValueStore, Pages, TimestampedKeyValueStore};
pub use record::{Header, Headers, Record, ValueAndTimestamp};
pub use rocks::{
    BulkRestore, BulkRestored, Durations, HitsAndMisses, RocksDbConfigSetter, RocksDbResources,
    RocksDbSettings, RocksDbStatistics, TaskDb,
};
#[cfg(feature = "json")]
pub use serde::Json;
pub use serde::{DefaultSerde, DynSerde, ListSerde, Serde, SerdeError};
pub use session::{SessionIterator, SessionStore};
pub use shared::{SharedBackend, SharedStores};
pub use stores::{KeyValueStoreBuilder, SessionStoreBuilder, Stores, WindowStoreBuilder};
pub use supplier::{BytesStoreSupplier, StoreEngine, SuppliedKind};
pub use time_buffer::{BufferedRecord, TimeOrderedBuffer, TimeOrderedKey};
pub use time_index::TimePages;
pub use timestamped::ValueAndTimestampSerde;
pub use timings::{OperationTimes, StoreOperation, StoreTimes};
pub use versioned::{VersionedKeyValueStore, VersionedKeyValueStoreBuilder, VersionedPut, VersionedRecord};
pub use view::{ReadView, StoreIterator};
pub use window::{TimestampedWindowStore, WindowStore, WindowStoreIterator, WindowedIterator};
pub use windowed::{SessionWindowedSerde, Window, Windowed, WindowedSerde, WindowedSerdes};
pub use with_headers::{
    AggregationWithHeaders, AggregationWithHeadersSerde, ValueTimestampHeaders, ValueTimestampHeadersSerde,
};
