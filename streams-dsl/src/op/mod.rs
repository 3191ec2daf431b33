//! The operators, one family a file: the rule, the method on the handle, the processor. What several of them share is
//! in `stateless`, `repartition`, `aggregate` and in `table/`.

pub(crate) mod aggregate;
mod aggregate_table;
mod asynchronous;
pub(crate) mod cogroup;
mod emit_final;
mod filter;
pub(crate) mod foreign_key_join;
pub(crate) mod global_table;
mod group_by;
mod join_buffer;
mod map;
mod map_values;
mod merge;
mod observe;
mod process;
pub(crate) mod repartition;
mod select_key;
mod session_aggregate;
mod sliding_aggregate;
pub(crate) mod split;
mod stateless;
mod stream_aggregate;
mod stream_global_join;
mod stream_join;
mod stream_table_join;
mod suppress;
mod table_aggregate;
mod table_derived;
mod table_group_by;
mod table_join;
mod table_map;
pub(crate) mod table_source;
mod table_transform;
mod to;
mod to_stream;
mod to_table;
mod window_aggregate;

pub use table_transform::ValueTransformerWithKey;
