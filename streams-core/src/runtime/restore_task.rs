//! Restore of one task: its changelogs from where its stores stand to where they ended when the task came.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kstreams_state_stores::{BulkRestore, ChangelogId, Headers, RestoreRecord, StoreError, StoreSpec};
use rdkafka::error::RDKafkaErrorCode;

use super::database;
use super::error::RuntimeError;
use super::instance::{Instance, RestoreProgress};
use super::produce::ChangelogTarget;
use super::restore_listener::Listener;
use super::task_bundle::TaskBundle;
use crate::client::{Fetched, GroupConsumer, Message, PartitionQueue, Waker};
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::metrics::RestoreMetrics;
use crate::task::TopicPartition;

/// Records read from one changelog at a time.
const BATCH: usize = 5_000;
/// A replayed tail is written to the database when it has grown to this.
const TAIL_BYTES: usize = 8 * 1_024 * 1_024;

/// What a step did.
pub(crate) enum Step {
    /// So many records were read; there is more to come.
    Read(usize),
    /// Every changelog is restored.
    Done,
}

/// How a changelog is read.
enum Phase {
    /// Not begun: waits for room to sort in.
    Waiting,
    /// An empty store, by sorted chunks.
    Bulk(PartitionQueue, Box<BulkRestore>),
    /// What came after the local state.
    Tail(PartitionQueue),
    Done,
}

struct Changelog {
    id: ChangelogId,
    spec: StoreSpec,
    progress: Arc<RestoreProgress>,
    phase: Phase,
    /// Whether the store is rebuilt from the start, in bulk.
    rebuild: bool,
    next: i64,
    end: i64,
    restored: u64,
}

impl Changelog {
    fn partition(&self) -> &TopicPartition {
        &self.progress.partition
    }

    fn advance(&mut self, next: i64) {
        self.next = self.next.max(next);
        self.progress.position.store(self.next, Ordering::Relaxed);
    }
}

/// A task on its way to run.
pub(crate) struct Restoring {
    bundle: TaskBundle,
    changelogs: Vec<Changelog>,
    listener: Listener,
    metrics: RestoreMetrics,
    timeout: Duration,
}

impl Restoring {
    /// Learns where each changelog stands and ends. A failure gives the task back.
    pub(crate) fn start(
        instance: &Instance,
        thread: &str,
        consumer: &GroupConsumer,
        bundle: TaskBundle,
    ) -> Result<Self, Box<(TaskBundle, StreamsError)>> {
        match plan(instance, consumer, &bundle) {
            Ok(changelogs) => {
                *bundle.entry.restore.write() =
                    changelogs.iter().map(|changelog| changelog.progress.clone()).collect();
                let listener = instance.restore_listener.clone();
                let metrics = RestoreMetrics::new(thread, &bundle.entry.id.to_string());
                let timeout = instance.settings.request_timeout;
                Ok(Restoring { bundle, changelogs, listener, metrics, timeout })
            }
            Err(error) => Err(Box::new((bundle, error))),
        }
    }

    pub(crate) fn id(&self) -> crate::task::TaskId {
        self.bundle.entry.id
    }

    /// Offsets to go; more than records where the changelog is compacted.
    pub(crate) fn remaining(&self) -> i64 {
        self.changelogs.iter().map(|changelog| (changelog.end - changelog.next).max(0)).sum()
    }

    /// Records restored so far.
    pub(crate) fn restored(&self) -> u64 {
        self.changelogs.iter().map(|changelog| changelog.restored).sum()
    }

    /// Hands the metrics on.
    pub(crate) fn flush_metrics(&mut self, now_ms: i64) {
        self.metrics.remaining(u64::try_from(self.remaining()).unwrap_or(0));
        self.metrics.flush(now_ms);
    }

    /// Stores that are being rebuilt now.
    pub(crate) fn bulks_at_work(&self) -> usize {
        self.changelogs.iter().filter(|changelog| matches!(changelog.phase, Phase::Bulk(..))).count()
    }

    /// Changelogs that wait to be rebuilt.
    pub(crate) fn changelogs_to_begin(&self) -> usize {
        let waiting = |changelog: &&Changelog| matches!(changelog.phase, Phase::Waiting) && changelog.rebuild;
        self.changelogs.iter().filter(waiting).count()
    }

    /// Begins to read what waits: tails at once, rebuilds as far as there is room to sort in.
    pub(crate) fn begin(
        &mut self,
        consumer: &GroupConsumer,
        waker: &Arc<Waker>,
        room: &mut usize,
        chunk_bytes: usize,
    ) -> Result<(), StreamsError> {
        let task = self.bundle.entry.id;
        let mut starts = Vec::new();
        for changelog in &mut self.changelogs {
            if !matches!(changelog.phase, Phase::Waiting) || changelog.rebuild && *room == 0 {
                continue;
            }
            let queue = consumer.split(changelog.partition(), waker).map_err(RuntimeError::from)?;
            changelog.phase = if changelog.rebuild {
                *room -= 1;
                let bulk = BulkRestore::new(&self.bundle.backend, &changelog.spec, chunk_bytes)
                    .map_err(|source| StreamsError::Store { task: task.to_string(), source })?;
                Phase::Bulk(queue, Box::new(bulk))
            } else {
                Phase::Tail(queue)
            };
            self.listener.start(&changelog.progress, changelog.next, changelog.end);
            starts.push((changelog.partition().clone(), changelog.next));
        }
        if !starts.is_empty() {
            consumer.assign(&starts).map_err(RuntimeError::from)?;
        }
        Ok(())
    }

    /// Reads and applies what has been fetched.
    pub(crate) fn step(&mut self, consumer: &GroupConsumer) -> Result<Step, StreamsError> {
        let mut read = 0;
        for index in 0..self.changelogs.len() {
            read += self.step_changelog(index, consumer)?;
        }
        let done = self.changelogs.iter().all(|changelog| matches!(changelog.phase, Phase::Done));
        if done || self.bundle.task.uncommitted_bytes() > TAIL_BYTES {
            self.write_tails()?;
        }
        Ok(if done { Step::Done } else { Step::Read(read) })
    }

    fn step_changelog(&mut self, index: usize, consumer: &GroupConsumer) -> Result<usize, StreamsError> {
        let task_id = self.bundle.entry.id;
        let failed = |source: StoreError| StreamsError::Store { task: task_id.to_string(), source };
        let changelog = &mut self.changelogs[index];
        let (Phase::Bulk(queue, _) | Phase::Tail(queue)) = &mut changelog.phase else { return Ok(0) };
        let mut messages = Vec::new();
        let mut next = changelog.next;
        let mut unreadable = None;
        if queue.is_ready() {
            let end = changelog.end;
            queue.read(BATCH, |fetched| match fetched {
                // What another writer (there should be none) adds meanwhile isn't ours to restore.
                Fetched::Record(message) if message.offset() < end => {
                    next = message.offset() + 1;
                    messages.push(message);
                }
                Fetched::Record(message) => next = message.offset(),
                Fetched::End(offset) => next = next.max(offset),
                Fetched::Error(code) => unreadable = Some(code),
            });
        }
        let with_headers = changelog.spec.restores_headers();
        match &mut changelog.phase {
            Phase::Bulk(_, bulk) => {
                for message in &messages {
                    if let Some(record) = record(message, with_headers) {
                        bulk.push(&record).map_err(failed)?;
                    }
                }
            }
            Phase::Tail(_) if !messages.is_empty() => {
                let mut records = messages.iter().filter_map(|message| record(message, with_headers));
                self.bundle.task.restore(changelog.id, &mut records)?;
            }
            _ => {}
        }
        let count = messages.len();
        let records = u64::try_from(count).unwrap_or(u64::MAX);
        changelog.restored += records;
        self.metrics.restore.add(records);
        changelog.advance(next);
        if count > 0 {
            self.listener.batch(&changelog.progress, changelog.next, count);
        }
        if let Some(code) = unreadable {
            self.on_error(index, consumer, code)?;
        }
        if self.changelogs[index].next >= self.changelogs[index].end {
            self.complete(index, consumer)?;
        }
        Ok(count)
    }

    /// The end is reached: the store is whole.
    fn complete(&mut self, index: usize, consumer: &GroupConsumer) -> Result<(), StreamsError> {
        let task = self.bundle.entry.id;
        let changelog = &mut self.changelogs[index];
        let partition = changelog.partition().clone();
        match std::mem::replace(&mut changelog.phase, Phase::Done) {
            Phase::Bulk(queue, bulk) => {
                drop(queue);
                let restored = bulk
                    .finish(&partition.topic, partition.partition, changelog.next)
                    .map_err(|source| StreamsError::Store { task: task.to_string(), source })?;
                tracing::debug!(%task, %partition, ?restored, "store rebuilt");
                self.bundle.task.bulk_restored(changelog.id, &restored);
            }
            Phase::Tail(queue) => drop(queue),
            Phase::Waiting | Phase::Done => return Ok(()),
        }
        consumer.unassign(&[partition]).map_err(RuntimeError::from)?;
        self.listener.end(&changelog.progress, changelog.restored);
        Ok(())
    }

    /// The next offset is gone while the changelog is read: begin again from its start.
    fn on_error(
        &mut self,
        index: usize,
        consumer: &GroupConsumer,
        code: RDKafkaErrorCode,
    ) -> Result<(), StreamsError> {
        let changelog = &mut self.changelogs[index];
        let partition = changelog.partition().clone();
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                tracing::warn!(%partition, offset = changelog.next, "the changelog has lost the next record to restore; reading it again from the start");
                drop(std::mem::replace(&mut changelog.phase, Phase::Waiting));
                changelog.rebuild = BulkRestore::supports(&self.bundle.backend, &changelog.spec);
                consumer.unassign(std::slice::from_ref(&partition)).map_err(RuntimeError::from)?;
                let first = consumer.first_offsets(&[partition], self.timeout).map_err(RuntimeError::from)?;
                changelog.next = first.first().copied().unwrap_or(0);
                Ok(())
            }
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed => {
                let (topic, partition) = (partition.topic.to_string(), partition.partition);
                Err(RuntimeError::Fetch { topic, partition, code }.into())
            }
            code => {
                tracing::debug!(%partition, %code, "fetching has a problem; the client goes on trying");
                Ok(())
            }
        }
    }

    /// Writes what tails have brought, with the offsets they have reached.
    fn write_tails(&mut self) -> Result<(), StreamsError> {
        let task = self.bundle.entry.id;
        let failed = |source: StoreError| StreamsError::Store { task: task.to_string(), source };
        let mut batch = self.bundle.backend.new_batch();
        self.bundle.task.write_commit(&mut batch)?;
        for changelog in
            self.changelogs.iter().filter(|changelog| !changelog.rebuild && changelog.spec.persistent)
        {
            let partition = changelog.partition();
            batch
                .set_changelog_offset(&partition.topic, partition.partition, changelog.next)
                .map_err(failed)?;
        }
        self.bundle.backend.write(batch).map_err(failed)?;
        self.bundle.task.committed();
        Ok(())
    }

    /// The restored task.
    pub(crate) fn finish(self) -> TaskBundle {
        self.bundle
    }

    /// Breaks off: the task goes elsewhere, or it failed.
    pub(crate) fn close(mut self, consumer: &GroupConsumer, now_ms: i64) {
        let mut partitions = Vec::new();
        for changelog in &mut self.changelogs {
            if matches!(changelog.phase, Phase::Bulk(..) | Phase::Tail(_)) {
                partitions.push(changelog.partition().clone());
                self.listener.suspended(&changelog.progress, changelog.restored);
            }
            changelog.phase = Phase::Done;
        }
        if let Err(error) = consumer.unassign(&partitions) {
            tracing::warn!(%error, "cannot give changelogs up");
        }
        self.bundle.close_dirty(now_ms);
    }
}

/// Headers are read only where the store needs them: it costs a call into the client.
fn record(message: &Message, with_headers: bool) -> Option<RestoreRecord<'_>> {
    Some(RestoreRecord {
        key: message.key()?,
        value: message.value(),
        timestamp: message.timestamp(),
        headers: if with_headers { message.headers() } else { Headers::new() },
        partition: message.partition(),
        offset: message.offset(),
    })
}

/// The changelog was made by this start. A new store has none; that of an old one would be lost.
fn warn_of_empty(bundle: &TaskBundle, target: &ChangelogTarget) {
    if bundle.inputs.iter().any(|input| input.committed.offset.is_some_and(|offset| offset > 0)) {
        tracing::warn!(
            task = %bundle.entry.id, store = %target.store, changelog = %target.topic_name,
            "the store begins empty although the task has processed records before: its changelog was not there and was made; if the store isn't new, the topic was deleted: reset the application to rebuild the store from the input"
        );
    }
}

/// Where every changelog of the task stands and ends.
fn plan(
    instance: &Instance,
    consumer: &GroupConsumer,
    bundle: &TaskBundle,
) -> Result<Vec<Changelog>, StreamsError> {
    let task = bundle.entry.id;
    let local = database::changelog_offsets(&bundle.backend)
        .map_err(|source| StreamsError::Store { task: task.to_string(), source })?;
    let partitions: Vec<TopicPartition> =
        bundle.task.changelogs().iter().map(|changelog| changelog.partition.clone()).collect();
    let timeout = instance.settings.request_timeout;
    let firsts = consumer.first_offsets(&partitions, timeout).map_err(RuntimeError::from)?;
    // Under exactly-once not the last stable offset: a transaction whose input offsets are committed may still have to be marked so
    // in the changelog. The consumer comes past open transactions only when they are decided.
    let ends = match instance.settings.guarantee {
        ProcessingGuarantee::ExactlyOnceV2 => consumer.high_watermarks(&partitions, timeout),
        ProcessingGuarantee::AtLeastOnce | ProcessingGuarantee::AtMostOnce => {
            consumer.end_offsets(&partitions, timeout)
        }
    };
    let ends = ends.map_err(RuntimeError::from)?;
    let mut changelogs = Vec::new();
    for (index, target) in bundle.changelogs.iter().enumerate() {
        let Some(store) = instance.topology.stores.get(&target.store) else { continue };
        let (first, mut end) = (firsts[index], ends[index]);
        if let Some(input) = target.source_input {
            // A source topic as changelog: what is behind the committed offset will come as input.
            end = bundle.inputs[input].committed.offset.unwrap_or(first).min(end);
        }
        let known = local.get(&partitions[index]).copied();
        let lost = known.filter(|known| *known > ends[index]);
        if let Some(held) = lost.filter(|_| target.source_input.is_none()) {
            let (topic, partition) = (target.topic_name.to_string(), target.partition);
            return Err(RuntimeError::ChangelogLost { topic, partition, held, end }.into());
        }
        if known.is_none() && instance.internal_topics.lock().get(&*target.topic_name) == Some(&true) {
            warn_of_empty(bundle, target);
        }
        if let Some(known) = known.filter(|known| *known < first || *known > end) {
            tracing::warn!(
                %task, store = %target.store, offset = known, first, end,
                "the local state is not a part of its changelog any more; it is rebuilt from the changelog"
            );
        }
        let valid = known.filter(|known| (first..=end).contains(known));
        let bulk = BulkRestore::supports(&bundle.backend, &store.spec);
        let next = valid.unwrap_or(first);
        let rebuild = valid.is_none() && bulk && (next < end || known.is_some());
        let phase = if next >= end && !rebuild { Phase::Done } else { Phase::Waiting };
        let progress = Arc::new(RestoreProgress {
            store: target.store.clone(),
            partition: partitions[index].clone(),
            position: AtomicI64::new(next),
            end: AtomicI64::new(end),
        });
        let id = ChangelogId(u32::try_from(index).unwrap_or(u32::MAX));
        let spec = store.spec.clone();
        changelogs.push(Changelog { id, spec, progress, phase, rebuild, next, end, restored: 0 });
    }
    Ok(changelogs)
}
