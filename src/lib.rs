//! Kafka Streams for Rust: stream processing as a library.
//!
//! A topology of streams, tables, windows and joins (or processors by hand) runs inside your program, one task per input
//! partition, its state in RocksDB with a changelog topic behind every store. Instances with the same application id share
//! the tasks. Names, topic formats and semantics are those of Apache Kafka's Kafka Streams.
//!
//! It is not a cluster, not a Kafka client, and not exactly-once yet: this version is at-least-once.
//! `COMPATIBILITY.md` in the repository lists every feature of Kafka Streams: yes, part, later.
//!
//! ```no_run
//! use kstreams::prelude::*;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = StreamsBuilder::new();
//! builder
//!     .stream::<(), String>("lines")
//!     .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
//!     .group_by(|_, word| word.clone())
//!     .count(Materialized::named("counts"))
//!     .to_stream()
//!     .to("word-counts");
//!
//! let streams = KafkaStreams::new(builder.build()?, StreamsConfig::new("word-count", "localhost:9092"))?;
//! streams.start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the DSL | [`StreamsBuilder`], [`KStream`], [`KTable`] |
//! | nodes written by hand | [`Topology`], [`processor`] |
//! | running a topology | [`KafkaStreams`], [`StreamsConfig`], [`config`] |
//! | what happens on errors | [`handlers`] |
//! | stores, serdes | [`state`], [`Serde`](state::Serde), [`Json`](state::Json) |
//! | reading a store from outside | [`KafkaStreams::store`], [`ReadOnlyStore`] |
//! | tests without a broker | the crate `kstreams-test` |
//! | a broker in your process | [`embedded`] (feature `embedded-broker`) |
//!
//! # Guarantees
//!
//! At-least-once: a committed input offset implies that every output and changelog record it caused is acknowledged.
//! Records of a partition are processed in their order. What is in RocksDB is never ahead of the changelog, and the changelog
//! alone rebuilds a store. A record that cannot be read, processed or written goes to its handler and is never lost in silence.
//!
//! # Features
//!
//! `embedded-broker` (default): the single-node broker as a library. `json` (default): [`Json<T>`](state::Json). `gssapi`:
//! Kerberos. Features only add.

#![forbid(unsafe_code)]

/// The programs of the guide are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-kafka-streams.md")]
struct FromKafkaStreams;

pub use kstreams_core::{
    ClientError, InputMetadata, KafkaStreams, LagInfo, QueryIterator, QueryableStore, ReadOnlyStore,
    RuntimeError, State, StateListener, StateRestoreListener, StreamsConfig, StreamsError, TaskId,
    TaskMetadata, ThreadMetadata, Topology, TopologyError, config, handlers, metrics, processor, task,
    topology,
};
pub use kstreams_dsl::{
    Branched, BranchedKStream, Branches, BufferConfig, Change, CogroupedKStream, Consumed, EagerBufferConfig,
    EmitStrategy, GlobalKTable, Grouped, JoinWindows, Joined, KGroupedStream, KGroupedTable, KStream, KTable,
    Materialized, Named, Produced, Repartitioned, SessionWindowedCogroupedKStream, SessionWindowedKStream,
    SessionWindows, SlidingWindows, StreamJoined, StreamsBuilder, StrictBufferConfig, Suppressed,
    TableJoined, TableMaterialization, TimeWindowedCogroupedKStream, TimeWindowedKStream, TimeWindows,
    UnlimitedWindows, Unmaterialized, UntilTimeLimit, UntilWindowCloses, ValueTransformerWithKey,
    WindowDefinition, Windows,
};

/// Records, serdes and state stores.
pub mod state {
    pub use kstreams_state_stores::*;
}

/// The single-node broker, in this process. For development, tests and single-machine deployments.
#[cfg(feature = "embedded-broker")]
pub mod embedded {
    pub use kstreams_embedded_broker::{BrokerConfig, BrokerError, ConfigError, EmbeddedBroker, fault};
}

/// What most programs need: `use kstreams::prelude::*`.
pub mod prelude {
    pub use crate::config::MaxTaskIdle;
    pub use crate::processor::{
        AsyncOptions, AsyncOrder, AsyncProcessor, FixedKeyProcessor, FixedKeyProcessorContext,
        FixedKeyRecord, InitContext, ProcessResult, Processor, ProcessorContext, PunctuationType,
        RecordMetadata, ScheduleId, StoreHandle,
    };
    #[cfg(feature = "json")]
    pub use crate::state::Json;
    pub use crate::state::{
        DefaultSerde, Headers, KeyValueStore, Record, Serde, SessionStore, Stores, TimestampedKeyValueStore,
        TimestampedWindowStore, ValueAndTimestamp, Window, WindowStore, Windowed,
    };
    pub use crate::{
        Branched, BufferConfig, Consumed, EmitStrategy, GlobalKTable, Grouped, Joined, KGroupedStream,
        KStream, KTable, KafkaStreams, Materialized, Named, Produced, Repartitioned, SessionWindows,
        SlidingWindows, State, StreamsBuilder, StreamsConfig, StreamsError, Suppressed, TimeWindows,
        Topology, TopologyError,
    };
}
