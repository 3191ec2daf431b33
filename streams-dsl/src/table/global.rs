//! The handle of a global table.

use std::fmt;
use std::sync::Arc;

use super::GetterSupplier;

/// A table that every instance has whole, whatever its partitions (`org.apache.kafka.streams.kstream.GlobalKTable`).
///
/// Made by [`StreamsBuilder::global_table`](crate::StreamsBuilder::global_table); a stream looks values up in it by any
/// key that it can compute of its records: [`KStream::join_global`](crate::KStream::join_global). Nothing has to be
/// co-partitioned or repartitioned for that. It is complete before the first record is processed, and follows its topic
/// from then on without regard to the times of streams' records.
pub struct GlobalKTable<K, V> {
    pub(crate) getter: GetterSupplier<K, V>,
    queryable: Option<Arc<str>>,
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        GlobalKTable { getter: self.getter.clone(), queryable: self.queryable.clone() }
    }
}

impl<K, V> fmt::Debug for GlobalKTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalKTable").field("queryable", &self.queryable).finish_non_exhaustive()
    }
}

impl<K, V> GlobalKTable<K, V> {
    pub(crate) fn new(getter: GetterSupplier<K, V>, queryable: Option<&str>) -> Self {
        GlobalKTable { getter, queryable: queryable.map(Arc::from) }
    }

    /// The store that holds the table, if the user named it: it can be queried.
    pub fn queryable_store_name(&self) -> Option<&str> {
        self.queryable.as_deref()
    }
}
