//! One topic in memory: its partitions' logs and its settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use kafka_protocol::ResponseError;
use parking_lot::RwLock;
use uuid::Uuid;

use super::{MAX_PARTITIONS, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::api::ApiError;
use crate::config::Settings;
use crate::log::{Log, LogConfig};

/// A topic: its partitions and settings can grow and change, its name and id can't.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    partitions: RwLock<Vec<Partition>>,
    overrides: RwLock<Settings>,
    min_insync_replicas: AtomicI32,
}

/// A partition's log; `None` when it could not be opened: the partition is offline until the next start.
pub(super) type Partition = Option<Arc<Log>>;

impl Topic {
    pub(super) fn new(
        name: &str,
        id: Uuid,
        partitions: Vec<Partition>,
        overrides: Settings,
        min_insync_replicas: i32,
    ) -> Self {
        Topic {
            name: name.into(),
            id,
            partitions: RwLock::new(partitions),
            overrides: RwLock::new(overrides),
            min_insync_replicas: AtomicI32::new(min_insync_replicas),
        }
    }

    /// Whether the topic is the broker's own.
    pub(crate) fn is_internal(&self) -> bool {
        [OFFSETS_TOPIC, TRANSACTIONS_TOPIC].contains(&&*self.name)
    }

    /// How many partitions there are.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.read().len()).unwrap_or(i32::MAX)
    }

    /// The log of a partition.
    pub(crate) fn log(&self, partition: i32) -> Result<Arc<Log>, ResponseError> {
        let index = usize::try_from(partition).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        match self.partitions.read().get(index) {
            Some(Some(log)) => Ok(log.clone()),
            Some(None) => Err(ResponseError::KafkaStorageError),
            None => Err(ResponseError::UnknownTopicOrPartition),
        }
    }

    /// The logs of all partitions that are online.
    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        self.partitions.read().iter().flatten().cloned().collect()
    }

    /// The settings set on the topic.
    pub(crate) fn overrides(&self) -> Settings {
        self.overrides.read().clone()
    }

    /// `min.insync.replicas` in force.
    pub(crate) fn min_insync_replicas(&self) -> i32 {
        self.min_insync_replicas.load(Ordering::Relaxed)
    }

    /// Says whether the topic could grow to `count` partitions.
    pub(crate) fn check_growth(&self, count: i32) -> Result<(), ApiError> {
        let have = self.partition_count();
        let message = match count {
            _ if count == have => format!("Topic already has {have} partition(s)."),
            _ if count < have => {
                format!(
                    "The topic {} currently has {have} partition(s); {count} would not be an increase.",
                    self.name
                )
            }
            _ if count > MAX_PARTITIONS => format!("A topic can have at most {MAX_PARTITIONS} partitions."),
            _ => return Ok(()),
        };
        Err(ApiError::new(ResponseError::InvalidPartitions, message))
    }

    pub(super) fn add_partitions(&self, added: impl IntoIterator<Item = Partition>) {
        self.partitions.write().extend(added);
    }

    pub(super) fn reconfigure(&self, overrides: Settings, min_insync_replicas: i32, config: &LogConfig) {
        *self.overrides.write() = overrides;
        self.min_insync_replicas.store(min_insync_replicas, Ordering::Relaxed);
        for log in self.logs() {
            log.set_config(config.clone());
        }
    }
}
