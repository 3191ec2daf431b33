//! The set of topics: in memory for the handlers, in step with [`Store`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::open::{self, Opener};
use super::settings::{log_config, min_insync_replicas};
use super::store::{self, Store, Stored};
use super::topic::Topic;
use super::{MAX_PARTITIONS, name, parallel};
use crate::api::ApiError;
use crate::config::Settings;
use crate::error::BrokerError;
use crate::log::{Log, LogConfig};

/// A topic to be created, its settings already checked.
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

/// The topics. Lookups take a read lock for a moment; changes happen one after another and block on disk.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Store,
    opener: Opener,
    index: RwLock<Index>,
    /// Held over a change of disk and memory.
    changing: Mutex<()>,
    broker_settings: Settings,
}

impl Catalog {
    /// Loads the topics of a data directory and opens their logs, several at a time. A log that can't be opened
    /// takes its partition offline, not the broker.
    pub(crate) fn open(
        store: Store,
        opener: Opener,
        broker_settings: &Settings,
    ) -> Result<Self, BrokerError> {
        let topics = store.load()?;
        let configs = topics.iter().map(|topic| log_config(&topic.overrides, broker_settings));
        let opened = open::open_all(&store, &opener, topics.iter().zip(configs));
        let catalog = Catalog {
            store,
            opener: opener.after_start(),
            index: RwLock::default(),
            changing: Mutex::new(()),
            broker_settings: broker_settings.clone(),
        };
        for (topic, logs) in topics.into_iter().zip(opened) {
            let min_insync = min_insync_replicas(&topic.overrides, broker_settings);
            catalog.insert(Arc::new(Topic::new(&topic.name, topic.id, logs, topic.overrides, min_insync)));
        }
        Ok(catalog)
    }

    fn insert(&self, topic: Arc<Topic>) {
        let mut index = self.index.write();
        index.by_id.insert(topic.id, topic.clone());
        index.by_name.insert(topic.name.clone(), topic);
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

    /// The log of a topic's partition.
    pub(crate) fn log(&self, topic: &str, partition: i32) -> Result<Arc<Log>, ResponseError> {
        self.topic(topic).ok_or(ResponseError::UnknownTopicOrPartition)?.log(partition)
    }

    /// Whether there is such a partition.
    pub(crate) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        self.topic(topic).is_some_and(|topic| (0..topic.partition_count()).contains(&partition))
    }

    /// Every log that is online.
    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        self.topics().iter().flat_map(|topic| topic.logs()).collect()
    }

    /// The broker's settings that topics fall back to.
    pub(crate) fn broker_settings(&self) -> &Settings {
        &self.broker_settings
    }

    /// A topic's settings in force, as its logs take them.
    pub(crate) fn log_config(&self, topic: &Topic) -> LogConfig {
        log_config(&topic.overrides(), &self.broker_settings)
    }

    /// Says whether a topic could be created, without creating it.
    pub(crate) fn check_new(&self, new: &NewTopic<'_>) -> Result<(), ApiError> {
        name::check(new.name).map_err(|reason| {
            ApiError::new(ResponseError::InvalidTopicException, format!("Topic name is invalid: {reason}"))
        })?;
        if !(1..=MAX_PARTITIONS).contains(&new.partitions) {
            let message =
                format!("Number of partitions must be 1 to {MAX_PARTITIONS}, not {}.", new.partitions);
            return Err(ApiError::new(ResponseError::InvalidPartitions, message));
        }
        let index = self.index.read();
        if index.by_name.contains_key(new.name) {
            let message = format!("Topic '{}' already exists.", new.name);
            return Err(ApiError::new(ResponseError::TopicAlreadyExists, message));
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
        self.store.begin(new.name).map_err(|error| storage_error(&error))?;
        let config = log_config(&stored.overrides, &self.broker_settings);
        let logs: Result<Vec<_>, _> = (0..stored.partitions)
            .map(|index| self.open_log(&stored.name, index, config.clone()).map(Some))
            .collect();
        // The topic's file comes last: with it the topic exists.
        let saved = logs
            .and_then(|logs| self.store.save(&stored).map(|()| logs).map_err(|error| storage_error(&error)));
        let logs = saved.inspect_err(|_| self.store.discard(new.name))?;
        let min_insync = min_insync_replicas(&stored.overrides, &self.broker_settings);
        let topic = Arc::new(Topic::new(&stored.name, stored.id, logs, stored.overrides, min_insync));
        self.insert(topic.clone());
        tracing::info!(topic = new.name, partitions = new.partitions, "topic created");
        Ok(topic)
    }

    /// Deletes a topic: gone for clients and the next start on return, its files a moment later.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), ApiError> {
        let changing = self.changing.lock();
        if self.topic_by_id(topic.id).is_none() {
            let message = "This server does not host this topic-partition.";
            return Err(ApiError::new(ResponseError::UnknownTopicOrPartition, message));
        }
        let left = self.store.retire(&topic.name, topic.id).map_err(|error| storage_error(&error))?;
        {
            let mut index = self.index.write();
            index.by_id.remove(&topic.id);
            index.by_name.remove(&topic.name);
        }
        for log in topic.logs() {
            // A fetch or append that still holds the log gets a refusal instead of a file nobody will read. A
            // compaction that runs ends here, before there can be a new topic of this name in the same directory.
            log.abandon();
        }
        drop(changing);
        store::remove(&left);
        tracing::info!(topic = &*topic.name, "topic deleted");
        Ok(())
    }

    /// Adds partitions up to `count` in total.
    pub(crate) fn grow(&self, topic: &Topic, count: i32) -> Result<(), ApiError> {
        let _changing = self.changing.lock();
        topic.check_growth(count)?;
        let config = self.log_config(topic);
        let added: Result<Vec<_>, _> = (topic.partition_count()..count)
            .map(|index| self.open_log(&topic.name, index, config.clone()).map(Some))
            .collect();
        let added = added?;
        self.save(topic, count, topic.overrides())?;
        topic.add_partitions(added);
        tracing::info!(topic = &*topic.name, partitions = count, "partitions added");
        Ok(())
    }

    /// Replaces a topic's own settings, already checked.
    pub(crate) fn reconfigure(&self, topic: &Topic, overrides: Settings) -> Result<(), ApiError> {
        let _changing = self.changing.lock();
        self.save(topic, topic.partition_count(), overrides.clone())?;
        let config = log_config(&overrides, &self.broker_settings);
        let min_insync = min_insync_replicas(&overrides, &self.broker_settings);
        tracing::info!(topic = &*topic.name, ?overrides, "topic settings changed");
        topic.reconfigure(overrides, min_insync, &config);
        Ok(())
    }

    fn open_log(&self, topic: &str, index: i32, config: LogConfig) -> Result<Arc<Log>, ApiError> {
        let dir = self.store.partition_dir(topic, index);
        self.opener.open(&dir, topic, index, config).map(Arc::new).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot create a partition");
            ApiError::new(ResponseError::KafkaStorageError, error.to_string())
        })
    }

    fn save(&self, topic: &Topic, partitions: i32, overrides: Settings) -> Result<(), ApiError> {
        let stored = Stored { name: topic.name.to_string(), id: topic.id, partitions, overrides };
        self.store.save(&stored).map_err(|error| storage_error(&error))
    }

    /// Makes everything durable and closes the logs; the first fault is returned, the other logs are closed all the
    /// same.
    pub(crate) fn close(&self) -> Result<(), crate::log::LogError> {
        let first_fault = Mutex::new(None);
        parallel::for_each(&self.logs(), |log| {
            if let Err(error) = log.close() {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot close a log cleanly");
                first_fault.lock().get_or_insert(error);
            }
        });
        first_fault.into_inner().map_or(Ok(()), Err)
    }
}

fn storage_error(error: &BrokerError) -> ApiError {
    tracing::error!(error = error as &dyn std::error::Error, "storage failed");
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    ApiError::new(ResponseError::KafkaStorageError, format!("{error}{source}"))
}
