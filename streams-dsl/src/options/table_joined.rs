//! How a table is joined with another one by a foreign key.

use std::sync::Arc;

use kstreams_state_stores::{DynSerde, Serde};

/// Chooses partitions of a key among so many of a topic; `None`: by the key's hash.
pub(crate) type KeyPartitioner<K> = Arc<dyn Fn(&str, &K, i32) -> Option<Vec<i32>> + Send + Sync>;

/// Name, partitioners and serdes of a foreign-key join: `K` and `V` are the key and value of this table, `KO` and `VO`
/// those of the other one. All four follow from the tables.
///
/// Serdes have to be given only where a table came with none (it was mapped and not stored): the join writes to topics.
/// The partitioners are for tables whose topics are not partitioned by the hash of their keys: a message must go to the
/// partition that holds the row it is about.
///
/// ```
/// use kstreams_dsl::TableJoined;
///
/// let joined = TableJoined::<String, String, u64, String>::named("orders-with-customers")
///     .with_other_partitioner(|_, customer, partitions| Some(vec![(customer % partitions as u64) as i32]));
/// ```
pub struct TableJoined<K, V, KO, VO> {
    pub(crate) name: Option<String>,
    pub(crate) partitioner: Option<KeyPartitioner<K>>,
    pub(crate) other_partitioner: Option<KeyPartitioner<KO>>,
    pub(crate) key: Option<DynSerde<K>>,
    pub(crate) value: Option<DynSerde<V>>,
    pub(crate) other_key: Option<DynSerde<KO>>,
    pub(crate) other_value: Option<DynSerde<VO>>,
}

impl<K, V, KO, VO> std::fmt::Debug for TableJoined<K, V, KO, VO> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableJoined").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K, V, KO, VO> Clone for TableJoined<K, V, KO, VO> {
    fn clone(&self) -> Self {
        TableJoined {
            name: self.name.clone(),
            partitioner: self.partitioner.clone(),
            other_partitioner: self.other_partitioner.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
            other_key: self.other_key.clone(),
            other_value: self.other_value.clone(),
        }
    }
}

impl<K, V, KO, VO> Default for TableJoined<K, V, KO, VO> {
    fn default() -> Self {
        TableJoined {
            name: None,
            partitioner: None,
            other_partitioner: None,
            key: None,
            value: None,
            other_key: None,
            other_value: None,
        }
    }
}

impl<K: 'static, V: 'static, KO: 'static, VO: 'static> TableJoined<K, V, KO, VO> {
    /// With a name.
    pub fn named(name: impl Into<String>) -> Self {
        TableJoined { name: Some(name.into()), ..TableJoined::default() }
    }

    /// With serdes of this table's keys and values, and of the other's.
    pub fn with(
        key: impl Serde<Target = K>,
        value: impl Serde<Target = V>,
        other_key: impl Serde<Target = KO>,
        other_value: impl Serde<Target = VO>,
    ) -> Self {
        TableJoined {
            key: Some(DynSerde::new(key)),
            value: Some(DynSerde::new(value)),
            other_key: Some(DynSerde::new(other_key)),
            other_value: Some(DynSerde::new(other_value)),
            ..TableJoined::default()
        }
    }

    /// Names the join's nodes, topics and store.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Uses this serde for values of this table.
    #[must_use]
    pub fn with_value_serde(mut self, serde: impl Serde<Target = V>) -> Self {
        self.value = Some(DynSerde::new(serde));
        self
    }

    /// Uses this serde for values of the other table.
    #[must_use]
    pub fn with_other_value_serde(mut self, serde: impl Serde<Target = VO>) -> Self {
        self.other_value = Some(DynSerde::new(serde));
        self
    }

    /// Chooses the partition of a row of this table: of its key, among so many partitions of the named topic. Without,
    /// answers go to the partition that asked.
    #[must_use]
    pub fn with_partitioner(
        mut self,
        partitioner: impl Fn(&str, &K, i32) -> Option<Vec<i32>> + Send + Sync + 'static,
    ) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Chooses the partition of a row of the other table: of its key, among so many partitions of the named topic.
    #[must_use]
    pub fn with_other_partitioner(
        mut self,
        partitioner: impl Fn(&str, &KO, i32) -> Option<Vec<i32>> + Send + Sync + 'static,
    ) -> Self {
        self.other_partitioner = Some(Arc::new(partitioner));
        self
    }
}
