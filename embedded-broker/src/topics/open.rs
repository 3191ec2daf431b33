//! Opening partitions' logs: one for a new topic, all of them at start.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::parallel;
use super::store::{Store, Stored};
use super::topic::Partition;
use crate::clock::SharedClock;
use crate::log::{Disk, Log, LogConfig, LogError, TopicPartitionName};

/// What every log of a broker is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    pub(crate) clock: SharedClock,
    pub(crate) disk: Disk,
    /// Whether the last stop was clean, so that the logs need no check.
    pub(crate) clean: bool,
}

impl Opener {
    /// Opens or creates one log.
    pub(super) fn open(
        &self,
        dir: &Path,
        topic: &str,
        partition: i32,
        config: LogConfig,
    ) -> Result<Log, LogError> {
        let name = TopicPartitionName::new(topic, partition);
        Log::open_on(self.disk.clone(), dir, name, config, self.clock.clone(), self.clean)
    }

    /// For logs opened from now on: nothing is known of a clean stop.
    pub(super) fn after_start(self) -> Self {
        Opener { clean: false, ..self }
    }
}

struct Job<'a> {
    topic: &'a Stored,
    partition: i32,
    config: LogConfig,
    opened: Mutex<Partition>,
}

/// Opens the logs of all topics, several at a time: recovery after a crash reads a lot. The result is in the order of
/// `topics`.
pub(super) fn open_all<'a>(
    store: &Store,
    opener: &Opener,
    topics: impl Iterator<Item = (&'a Stored, LogConfig)>,
) -> Vec<Vec<Partition>> {
    let mut jobs = Vec::new();
    let mut counts = Vec::new();
    for (topic, config) in topics {
        counts.push(topic.partitions);
        let job = |partition| Job { topic, partition, config: config.clone(), opened: Mutex::default() };
        jobs.extend((0..topic.partitions).map(job));
    }
    parallel::for_each(&jobs, |job| *job.opened.lock() = open_one(store, opener, job));
    let mut opened = jobs.into_iter().map(|job| job.opened.into_inner());
    counts.into_iter().map(|count| (0..count).map(|_| opened.next().flatten()).collect()).collect()
}

fn open_one(store: &Store, opener: &Opener, job: &Job<'_>) -> Partition {
    let dir = store.partition_dir(&job.topic.name, job.partition);
    match opener.open(&dir, &job.topic.name, job.partition, job.config.clone()) {
        Ok(log) => Some(Arc::new(log)),
        Err(error) => {
            let (topic, partition) = (&job.topic.name, job.partition);
            tracing::error!(
                topic,
                partition,
                error = &error as &dyn std::error::Error,
                "partition is offline"
            );
            None
        }
    }
}
