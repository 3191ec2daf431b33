//! The handle of a table, and what operators that make tables share. What can be done with a table stands in `op/`.

mod change;
mod forward;
mod getter;
mod global;
mod nullable;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kstreams_state_stores::DynSerde;

pub use change::{Change, ChangeSerde};
pub(crate) use forward::{Forwarder, TableStore};
pub(crate) use getter::{Combine, GetterSupplier, ValueGetter};
pub use global::GlobalKTable;
pub(crate) use nullable::nullable;

use crate::stream::Upstream;

/// A table: the last value of each key (`org.apache.kafka.streams.kstream.KTable`). A key that was deleted is not there;
/// null is never a value.
///
/// A handle on a node of the builder's graph: clones are cheap. A table is kept in a store only where that is needed: an
/// aggregate always, another one where it is named by a [`Materialized`](crate::Materialized) or where an operator below
/// has to look up its values.
pub struct KTable<K, V> {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) key_serde: Option<DynSerde<K>>,
    pub(crate) value_serde: Option<DynSerde<V>>,
    pub(crate) origin: Arc<dyn TableOrigin<K, V>>,
    pub(crate) queryable: Option<Arc<str>>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        KTable {
            upstream: Arc::clone(&self.upstream),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            origin: Arc::clone(&self.origin),
            queryable: self.queryable.clone(),
        }
    }
}

impl<K, V> fmt::Debug for KTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KTable").field(&self.upstream.name).finish()
    }
}

impl<K, V> KTable<K, V> {
    /// The store that holds the table, if the user named it: it can be queried.
    pub fn queryable_store_name(&self) -> Option<&str> {
        self.queryable.as_deref()
    }
}

/// What operators below ask of the operator that makes a table, while the graph is built (`KTableProcessorSupplier`).
pub(crate) trait TableOrigin<K, V>: Send + Sync {
    /// Asks the table to tell old values too. `false`: it would have to be stored for that, and `force` is not set.
    fn enable_old_values(&self, force: bool) -> bool;

    /// How nodes below look up values; stores the table where it must be.
    fn getter(&self) -> GetterSupplier<K, V>;
}

/// What was asked of a table so far; its node reads it when it is written, at the end.
#[derive(Debug, Default)]
pub(crate) struct TableFlags {
    stored: AtomicBool,
    old_values: AtomicBool,
}

impl TableFlags {
    /// A table that is stored from the beginning, or not.
    pub(crate) fn new(stored: bool) -> Arc<Self> {
        Arc::new(TableFlags { stored: stored.into(), old_values: false.into() })
    }

    pub(crate) fn store(&self) {
        self.stored.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Relaxed)
    }

    pub(crate) fn tell_old_values(&self) {
        self.old_values.store(true, Ordering::Relaxed);
    }

    /// For a table that is computed from `parent`: it knows old values if it is stored, or if the parent tells its own.
    pub(crate) fn tell_old_values_with<K, P>(&self, parent: &dyn TableOrigin<K, P>, force: bool) -> bool {
        let known = self.is_stored() || parent.enable_old_values(force);
        if known {
            self.tell_old_values();
        }
        known
    }

    pub(crate) fn tells_old_values(&self) -> bool {
        self.old_values.load(Ordering::Relaxed)
    }
}

/// A table that always has its store: an aggregate.
pub(crate) struct StoredTable<K, V> {
    pub(crate) getter: GetterSupplier<K, V>,
    pub(crate) flags: Arc<TableFlags>,
}

impl<K: Send + 'static, V: Send + 'static> TableOrigin<K, V> for StoredTable<K, V> {
    fn enable_old_values(&self, _force: bool) -> bool {
        self.flags.tell_old_values();
        true
    }

    fn getter(&self) -> GetterSupplier<K, V> {
        self.getter.clone()
    }
}
