//! The DSL of kstreams: streams, tables and windows, turned into a topology.
//!
//! [`StreamsBuilder`] gives [`KStream`]s and [`KTable`]s. They are handles: cheap to clone, they hold no data. Each
//! call on one adds a node to the builder's logical graph (`graph`), and
//! [`StreamsBuilder::build`] writes that graph into a [`Topology`](kstreams_core::Topology), in the order and under the
//! names that Kafka Streams on the JVM gives, so that an application finds its internal topics and its state again.
//!
//! An operator is one file in `op/`: its rule, the method of the handle, the processor that runs. What they share:
//!
//! | shape | used by |
//! |---|---|
//! | `op::stateless`: a closure from a record to any number of records | filter, map, flat_map, peek, merge, ... |
//! | `op::stateless::operator`: a processor that keeps nothing in a store | the same, map_values_async |
//! | `op::repartition`: sink, internal topic, source | group_by, joins, to_table, repartition |
//! | `op::aggregate`: how a value enters an aggregate | count, reduce, aggregate, windowed or not |
//! | `op::aggregate_table`: the table of an aggregation, by its shape (all time, windows, sessions) | the same, cogroup |
//! | `op::emit_final`: when results of closed windows are due | windows of time, sliding windows, sessions |
//! | `op::stream_join`: one processor for both sides, by `Side`; `op::join_buffer`: records that wait for their time | joins of streams; with grace |
//! | `op::table_source::SourceTable`: a table of records, stored where something asks | table, to_table, foreign-key joins |
//! | `table::TableStore`, `table::Forwarder`: a stored table and what it tells its children | every stored table |
//! | `table::ValueGetter`: the current value of a key of a table, stored or not | joins, stored tables |
//!
//! **Null.** `Option` stands where null can occur, and `None` (of any `Option` type) is what an operator treats as
//! null; `()` is always null. An operator that drops null keys or values (see its documentation) counts each as
//! dropped. In a table, null means "not there": a table never holds `None`.
//!
//! **Serdes.** Type arguments name serdes. A stream carries the serdes it came with through operators that keep its
//! key or its value; where an operator must write a type without a carried serde, the type's
//! [`DefaultSerde`](kstreams_state_stores::DefaultSerde) is used, and where there is none the program does not compile
//! until one is named (the operator's `_with` form takes it).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod builder;
mod cogrouped;
mod graph;
mod grouped;
mod join_windows;
mod names;
mod null;
mod op;
mod options;
mod stream;
mod table;
mod windows;

pub use builder::StreamsBuilder;
pub use cogrouped::{CogroupedKStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream};
pub use grouped::{
    KGroupedStream, KGroupedTable, SessionWindowedKStream, TimeWindowedKStream, WindowDefinition,
};

pub use join_windows::JoinWindows;
pub use op::ValueTransformerWithKey;
pub use op::foreign_key_join::ForeignKey;
pub use op::split::{BranchedKStream, Branches};
pub use options::{
    Branched, BufferConfig, BufferLimits, ByType, Consumed, EagerBufferConfig, Grouped, Joined, Materialized,
    Named, Produced, Repartitioned, SerdeFor, SerdeOverride, StreamJoined, StrictBufferConfig, SuppressUntil,
    Suppressed, TableJoined, TableMaterialization, Unmaterialized, UntilTimeLimit, UntilWindowCloses,
};
pub use stream::KStream;
pub use table::{Change, ChangeSerde, GlobalKTable, KTable};
pub use windows::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, Windows};
