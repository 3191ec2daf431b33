//! The set of topics in memory, in step with [`Store`].

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::store::{self, Store, Stored};
use super::{OFFSETS_TOPIC, name};
use crate::api::ApiError;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::error::BrokerError;

/// More partitions than this in one topic are refused: each costs open files.
const MAX_PARTITIONS: i32 = 100_000;

/// A topic: its partitions and settings can grow and change, its name and id can't.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    partitions: RwLock<Vec<Arc<Partition>>>,
    overrides: RwLock<Settings>,
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) index: i32,
}

impl Topic {
    /// Whether the topic is the broker's own.
    pub(crate) fn is_internal(&self) -> bool {
        &*self.name == OFFSETS_TOPIC
    }

    /// The partitions, by index.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    /// How many partitions there are.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.read().len()).unwrap_or(i32::MAX)
    }

    /// The partition of that number.
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.read().get(usize::try_from(index).ok()?).cloned()
    }

    /// The settings set on the topic.
    pub(crate) fn overrides(&self) -> Settings {
        self.overrides.read().clone()
    }
}

/// A topic to be created, already checked.
#[derive(Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) overrides: Settings,
}

#[derive(Debug, Default)]
struct Index {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// The topics.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Store,
    index: RwLock<Index>,
    /// Held over a change of disk and memory, so that changes happen one after another.
    changing: Mutex<()>,
    broker_settings: Settings,
    clock: SharedClock,
}

impl Catalog {
    /// Loads the topics of a data directory and opens their logs.
    pub(crate) fn open(
        data_dir: &DataDir,
        broker_settings: &Settings,
        clock: SharedClock,
    ) -> Result<Self, BrokerError> {
        let catalog = Catalog {
            store: Store::open(data_dir.path())?,
            index: RwLock::default(),
            changing: Mutex::new(()),
            broker_settings: broker_settings.clone(),
            clock,
        };
        for stored in catalog.store.load()? {
            catalog.insert(catalog.open_topic(&stored));
        }
        Ok(catalog)
    }

    fn insert(&self, topic: Arc<Topic>) {
        let mut index = self.index.write();
        index.by_id.insert(topic.id, topic.clone());
        index.by_name.insert(topic.name.clone(), topic);
    }

    fn open_topic(&self, stored: &Stored) -> Arc<Topic> {
        let partitions = (0..stored.partitions).map(|index| Arc::new(Partition { index })).collect();
        Arc::new(Topic {
            name: stored.name.as_str().into(),
            id: stored.id,
            partitions: RwLock::new(partitions),
            overrides: RwLock::new(stored.overrides.clone()),
        })
    }

    /// The topic of that name.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.index.read().by_name.get(name).cloned()
    }

    /// The topic of that id.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.index.read().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.index.read().by_name.values().cloned().collect()
    }

    /// The broker's settings that topics fall back to.
    pub(crate) fn broker_settings(&self) -> &Settings {
        &self.broker_settings
    }

    /// Says whether a topic could be created, without creating it.
    pub(crate) fn check_new(&self, new: &NewTopic<'_>) -> Result<(), ApiError> {
        name::check(new.name).map_err(|reason| {
            ApiError::new(ResponseError::InvalidTopicException, format!("Topic name is invalid: {reason}"))
        })?;
        if !(1..=MAX_PARTITIONS).contains(&new.partitions) {
            let message = format!(
                "Number of partitions was set to an invalid value {}; it must be 1 to {MAX_PARTITIONS}.",
                new.partitions
            );
            return Err(ApiError::new(ResponseError::InvalidPartitions, message));
        }
        let index = self.index.read();
        if index.by_name.contains_key(new.name) {
            return Err(ApiError::new(
                ResponseError::TopicAlreadyExists,
                format!("Topic '{}' already exists.", new.name),
            ));
        }
        match index.by_name.keys().find(|other| name::collide(other, new.name)) {
            Some(other) => Err(ApiError::new(
                ResponseError::InvalidTopicException,
                format!("Topic '{}' collides with existing topic: {other}", new.name),
            )),
            None => Ok(()),
        }
    }

    /// Creates a topic.
    pub(crate) fn create(&self, new: NewTopic<'_>) -> Result<Arc<Topic>, ApiError> {
        let _changing = self.changing.lock();
        self.check_new(&new)?;
        let stored = Stored {
            name: new.name.to_owned(),
            id: Uuid::new_v4(),
            partitions: new.partitions,
            overrides: new.overrides,
        };
        let topic = self.open_topic(&stored);
        if let Err(error) = self.store.save(&stored) {
            self.store.discard(new.name);
            return Err(storage_error(&error));
        }
        self.insert(topic.clone());
        tracing::info!(topic = new.name, partitions = new.partitions, "topic created");
        Ok(topic)
    }

    /// Deletes a topic: gone for clients on return; its files go as soon as nobody reads them.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), ApiError> {
        let _changing = self.changing.lock();
        if self.topic_by_id(topic.id).is_none() {
            return Err(ApiError::new(
                ResponseError::UnknownTopicOrPartition,
                "This server does not host this topic.",
            ));
        }
        let left: PathBuf =
            self.store.retire(&topic.name, topic.id).map_err(|error| storage_error(&error))?;
        {
            let mut index = self.index.write();
            index.by_id.remove(&topic.id);
            index.by_name.remove(&topic.name);
        }
        tracing::info!(topic = &*topic.name, "topic deleted");
        store::remove(&left);
        Ok(())
    }

    /// Adds partitions up to `count` in total.
    pub(crate) fn grow(&self, topic: &Topic, count: i32) -> Result<(), ApiError> {
        let _changing = self.changing.lock();
        let have = topic.partition_count();
        if count <= have {
            let message =
                format!("Topic currently has {have} partitions, which is higher than the requested {count}.");
            let message =
                if count == have { format!("Topic already has {have} partition(s).") } else { message };
            return Err(ApiError::new(ResponseError::InvalidPartitions, message));
        }
        if count > MAX_PARTITIONS {
            let message = format!("a topic can have at most {MAX_PARTITIONS} partitions");
            return Err(ApiError::new(ResponseError::InvalidPartitions, message));
        }
        self.save(topic, count, topic.overrides())?;
        topic.partitions.write().extend((have..count).map(|index| Arc::new(Partition { index })));
        Ok(())
    }

    /// Replaces a topic's own settings, already checked.
    pub(crate) fn reconfigure(&self, topic: &Topic, overrides: Settings) -> Result<(), ApiError> {
        let _changing = self.changing.lock();
        self.save(topic, topic.partition_count(), overrides.clone())?;
        *topic.overrides.write() = overrides;
        Ok(())
    }

    fn save(&self, topic: &Topic, partitions: i32, overrides: Settings) -> Result<(), ApiError> {
        let stored = Stored { name: topic.name.to_string(), id: topic.id, partitions, overrides };
        self.store.save(&stored).map_err(|error| storage_error(&error))
    }
}

fn storage_error(error: &BrokerError) -> ApiError {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    tracing::error!(%error, source, "storage failed");
    ApiError::new(ResponseError::KafkaStorageError, format!("{error}{source}"))
}
