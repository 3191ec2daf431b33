//! The watch: what is done now and then, off the threads that must not wait.
//!
//! - Metadata of the sources: librdkafka watches only the subscribed (representative) topics, so each instance looks at
//!   all of them itself.
//! - Purge: committed records of repartition topics are deleted (`repartition.purge.interval.ms`).
//! - Last stable offsets of inputs that tasks wait for (`stable_end`).
//! - Membership: whether the group knows this instance (`membership`).
//! - Cleanup: directories of tasks that moved away (`state.cleanup.delay.ms`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::assignment::FoundInputs;
use super::cluster;
use super::error::{Chain, RuntimeError};
use super::instance::{Event, Instance};
use super::internal;
use super::membership::{self, Outsiders};
use super::rebalance::GroupThread;
use super::sources::{self, ClusterTopics};
use crate::client::Waker;
use crate::error::StreamsError;
use crate::internal_topics::TopicManager;
use crate::task::{TaskId, TopicPartition};

/// The wait for topics that were just made.
const SOON: Duration = Duration::from_millis(200);
/// Old local state is looked for this often; how old it has to be is `state.cleanup.delay.ms`.
const CLEANUP_EVERY: Duration = Duration::from_secs(60);

/// The watch's state.
pub(crate) struct Watch {
    instance: Arc<Instance>,
    admin: Arc<AdminClient<DefaultClientContext>>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    topics: TopicManager,
    /// What was purged last, so that nothing is purged twice.
    purged: BTreeMap<TopicPartition, i64>,
    outsiders: Outsiders,
}

/// Ends the watch when dropped.
pub(crate) struct WatchHandle {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Watch {
    /// Starts the watch's thread.
    pub(crate) fn start(
        instance: &Arc<Instance>,
        admin: Arc<AdminClient<DefaultClientContext>>,
        topics: TopicManager,
    ) -> Result<WatchHandle, RuntimeError> {
        let (stop, waker) = (Arc::new(AtomicBool::new(false)), instance.stable_ends.waker().clone());
        let handle = WatchHandle { stop: stop.clone(), waker: waker.clone() };
        let watch = Watch {
            instance: instance.clone(),
            admin,
            topics,
            stop,
            waker,
            purged: BTreeMap::new(),
            outsiders: Outsiders::default(),
        };
        let name = format!("{}-watch", instance.settings.client_id);
        instance.spawn(name, move || watch.run())?;
        Ok(handle)
    }

    fn run(mut self) {
        let settings = &self.instance.settings;
        let (metadata_every, purge_every) = (settings.metadata_interval, settings.repartition_purge_interval);
        let (mut next_metadata, mut next_purge) =
            (Instant::now() + metadata_every, Instant::now() + purge_every);
        let (mut next_cleanup, mut next_look) = (Instant::now(), Instant::now());
        while !self.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= next_metadata {
                let again_soon = self.look_at_metadata();
                next_metadata = now + if again_soon { SOON.min(metadata_every) } else { metadata_every };
            }
            if now >= next_purge {
                next_purge = now + purge_every;
                self.purge();
            }
            if now >= next_cleanup {
                next_cleanup = now + CLEANUP_EVERY;
                self.clean_up();
            }
            if now >= next_look {
                next_look = now + membership::LOOK_EVERY;
                self.outsiders.look(&self.instance, &self.admin);
            }
            self.instance.stable_ends.answer(&self.admin, self.instance.settings.request_timeout);
            let next = next_metadata.min(next_purge).min(next_cleanup).min(next_look);
            self.waker.wait(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Whether to look again soon: something was made that has to show up.
    fn look_at_metadata(&self) -> bool {
        let settings = &self.instance.settings;
        let topics = match cluster::all_topics(&self.admin, settings.request_timeout) {
            Ok(topics) => topics,
            Err(error) => {
                tracing::debug!(%error, "no metadata now; looking again later");
                return false;
            }
        };
        if let Some(topic) = self.vanished(&topics) {
            self.instance.events.send(Event::Failed(RuntimeError::InternalTopicVanished { topic }.into()));
            return false;
        }
        let found = match sources::counts(&self.instance.topology, &settings.application_id, &topics) {
            Ok(found) => found,
            Err(RuntimeError::UnknownSourceTopic { topic }) => {
                self.instance.events.send(Event::Failed(RuntimeError::TopicVanished { topic }.into()));
                return false;
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the sources' metadata make no sense");
                return false;
            }
        };
        match self.prepare(&topics, &found) {
            Err(error) => {
                self.instance.events.send(Event::Failed(error));
                false
            }
            Ok(true) => true,
            Ok(false) => {
                self.instance.events.send(Event::Metadata(found));
                false
            }
        }
    }

    /// An internal topic that was there before and is not any more. Brokers that create topics on demand make it again
    /// as soon as something is written, without its settings; then offsets that go back tell (`commit`).
    fn vanished(&self, topics: &ClusterTopics) -> Option<String> {
        let internal = self.instance.internal_topics.lock();
        internal.keys().find(|topic| !topics.contains_key(*topic)).cloned()
    }

    /// A part of the topology that had no inputs, because its pattern matched nothing, needs its internal topics before
    /// it gets tasks. Answers whether they are yet to show up.
    fn prepare(&self, topics: &ClusterTopics, found: &[FoundInputs]) -> Result<bool, StreamsError> {
        let new = {
            let plan = self.instance.plan.read();
            found.iter().any(|found| !found.topics.is_empty() && !plan.has_inputs(found.sub_topology))
        };
        if new {
            internal::ensure(&self.instance, &self.topics, topics)?;
        }
        Ok(found.iter().any(FoundInputs::waits_for_representative))
    }

    /// Deletes folders of tasks that moved away.
    fn clean_up(&self) {
        let Some(directory) = self.instance.state_dir.lock().clone() else { return };
        let now_ms = self.instance.clock.now_ms();
        match directory.clean_obsolete(now_ms, self.instance.settings.cleanup_delay) {
            Ok(deleted) if deleted.is_empty() => {}
            Ok(deleted) => {
                tracing::info!(tasks = %super::rebalance::list(&deleted), "deleted local state of tasks that moved away")
            }
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot delete old local state"),
        }
    }

    fn purge(&mut self) {
        let committed = std::mem::take(&mut *self.instance.purgeable.lock());
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &committed {
            if self.purged.get(partition).is_none_or(|purged| purged < offset) {
                // The offset is a committed one, so the list takes it.
                let _ =
                    list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset));
            }
        }
        if list.count() == 0 {
            return;
        }
        let options = AdminOptions::new().request_timeout(Some(self.instance.settings.request_timeout));
        match futures::executor::block_on(self.admin.delete_records(&list, &options)) {
            Ok(_) => {
                tracing::debug!(partitions = list.count(), "purged committed records of repartition topics");
                self.purged.extend(committed);
            }
            Err(error) => tracing::debug!(%error, "cannot purge repartition topics now; trying again later"),
        }
    }
}

/// What the group thread makes of new metadata.
///
/// # Errors
/// When instances could come to share the tasks out differently.
pub(super) fn compare(group: &mut GroupThread, now: &[FoundInputs]) -> Result<(), StreamsError> {
    let mut changed: BTreeSet<TaskId> = BTreeSet::new();
    let mut subscription = None;
    {
        let mut plan = group.instance.plan.write();
        let before = plan.subscription();
        for found in now {
            if let Some(added) = plan.compare(found)? {
                tracing::info!(added.sub_topology, topics = ?added.topics, "new topics of a source pattern");
                changed.extend(plan.add(added));
            }
        }
        let after = plan.subscription();
        if before != after {
            subscription = Some(after);
        }
    }
    if let Some(topics) = subscription {
        let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        group.consumer.subscribe(&topics).map_err(RuntimeError::from)?;
    }
    reopen(group, &changed);
    Ok(())
}

/// Makes running tasks again, with their new inputs: they commit and close, and are launched when they are released.
fn reopen(group: &mut GroupThread, tasks: &BTreeSet<TaskId>) {
    let ours: BTreeSet<TaskId> = {
        let entries = group.instance.tasks.read();
        tasks.iter().copied().filter(|id| entries.contains_key(id)).collect()
    };
    if ours.is_empty() {
        return;
    }
    group.instance.transition(super::State::Rebalancing);
    let deadline = Instant::now() + group.instance.settings.give_up_timeout;
    group.reopening.extend(&ours);
    group.take_back(&ours, true, deadline);
}
