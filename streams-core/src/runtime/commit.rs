//! Commit: in this order, because each step makes the next one true.
//!
//! 1. Flush the caches downstream, and note how far each input was processed (`Task::prepare_commit`).
//! 2. Flush the producer: every output and changelog record up to here is acknowledged.
//! 3. Commit the offsets, while the assignment lock says that every task is still ours: a committed input offset implies
//!    that every record it caused is acknowledged.
//! 4. Write the stores' updates with the acknowledged changelog offsets, in one batch: what is in RocksDB is never ahead
//!    of the changelog.
//!
//! A failure before 3 leaves everything as it was: the records are processed again. A failure between 3 and 4 leaves
//! the local state behind the changelog: its tail is replayed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::RuntimeError;
use super::fail_point::{self, Moment};
use super::instance::{Heartbeat, Instance};
use super::produce::ChangelogTarget;
use super::task_bundle::TaskBundle;
use crate::client::{ClientError, Committed, GroupConsumer, Producer};
use crate::error::StreamsError;
use crate::offset_metadata::OffsetMetadata;
use crate::task::{ConsumedOffset, TopicPartition};

/// What became of a commit.
#[derive(Debug)]
pub(crate) enum CommitOutcome {
    /// Everything is committed.
    Done,
    /// The group was rebalancing, or its coordinator not there: nothing was lost, try again later.
    Postponed(ClientError),
    /// A task isn't this instance's any more: nothing was committed.
    NotOwned,
}

/// What a commit needs besides the tasks.
pub(crate) struct Committer<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) consumer: &'a GroupConsumer,
    pub(crate) producer: &'a Producer,
    pub(crate) heartbeat: &'a Heartbeat,
    /// When to give up trying.
    pub(crate) deadline: Instant,
    /// Whether to commit unchanged offsets again, so that they don't expire.
    pub(crate) all_offsets: bool,
}

/// Commits these tasks of one thread together.
pub(crate) fn commit(
    committer: &Committer<'_>,
    bundles: &mut [&mut TaskBundle],
) -> Result<CommitOutcome, StreamsError> {
    let mut offsets = Vec::new();
    for bundle in bundles.iter_mut() {
        let consumed = bundle.task.prepare_commit()?;
        offsets.push(to_commit(bundle, &consumed, committer.all_offsets)?);
    }
    fail_point::reached(Moment::CachesFlushed);
    let waiting = Instant::now();
    let outcome = flush(committer).and_then(|()| {
        fail_point::reached(Moment::Acknowledged);
        commit_offsets(committer, bundles, &offsets)
    });
    committer.heartbeat.was_blocked(waiting);
    let outcome = outcome?;
    if !matches!(outcome, CommitOutcome::Done) {
        return Ok(outcome);
    }
    fail_point::reached(Moment::OffsetsCommitted);
    for (bundle, offsets) in bundles.iter_mut().zip(offsets) {
        note_committed(committer.instance, bundle, offsets);
        write(committer, bundle)?;
        fail_point::reached(Moment::TaskWritten);
    }
    fail_point::reached(Moment::Done);
    Ok(CommitOutcome::Done)
}

/// The offsets of one task, by input number.
fn to_commit(
    bundle: &TaskBundle,
    consumed: &[ConsumedOffset],
    all: bool,
) -> Result<Vec<(usize, Committed)>, StreamsError> {
    let mut offsets: Vec<(usize, Committed)> = consumed
        .iter()
        .map(|consumed| {
            let partition = bundle.inputs[consumed.input].partition.clone();
            let metadata = OffsetMetadata {
                partition_time: consumed.partition_time,
                processor_metadata: bundle.task.processor_metadata().clone(),
            };
            let metadata = metadata.encode();
            (consumed.input, Committed { partition, offset: Some(consumed.offset), metadata })
        })
        .collect();
    if all {
        for (index, input) in bundle.inputs.iter().enumerate() {
            if input.committed.offset.is_some() && !offsets.iter().any(|(changed, _)| *changed == index) {
                offsets.push((index, input.committed.clone()));
            }
        }
    }
    Ok(offsets)
}

/// Waits until everything produced is acknowledged.
fn flush(committer: &Committer<'_>) -> Result<(), StreamsError> {
    let start = Instant::now();
    // Beyond the client's own delivery time-out nothing can be outstanding; this bounds a client that hangs.
    let limit = committer.instance.settings.delivery_timeout + Duration::from_secs(10);
    while !committer.producer.flush(Duration::from_millis(500)) {
        committer.heartbeat.beat();
        if start.elapsed() > limit {
            let in_flight = committer.producer.in_flight();
            return Err(RuntimeError::NotAcknowledged { in_flight, waited: start.elapsed() }.into());
        }
    }
    super::delivery::check(committer.instance, committer.producer)
}

fn commit_offsets(
    committer: &Committer<'_>,
    bundles: &[&mut TaskBundle],
    offsets: &[Vec<(usize, Committed)>],
) -> Result<CommitOutcome, StreamsError> {
    let request: Vec<Committed> = offsets.iter().flatten().map(|(_, offset)| offset.clone()).collect();
    loop {
        committer.heartbeat.beat();
        let answer = {
            let _gate = committer.instance.commit_gate.read();
            if bundles.iter().any(|bundle| !bundle.entry.owned.load(Ordering::Acquire)) {
                return Ok(CommitOutcome::NotOwned);
            }
            committer.consumer.commit(&request, true)
        };
        match answer {
            Ok(()) => return Ok(CommitOutcome::Done),
            Err(error) if error.is_retriable() || error.is_fenced() => {
                if Instant::now() >= committer.deadline {
                    return Ok(CommitOutcome::Postponed(error));
                }
                tracing::debug!(%error, "the commit has to be repeated");
                std::thread::sleep(RETRY_AFTER);
            }
            Err(error) => return Err(RuntimeError::from(error).into()),
        }
    }
}

/// A rebalance answers commits with an error for as long as it lasts.
const RETRY_AFTER: Duration = Duration::from_millis(50);

fn note_committed(instance: &Instance, bundle: &mut TaskBundle, offsets: Vec<(usize, Committed)>) {
    for (index, committed) in offsets {
        let offset = committed.offset.unwrap_or(-1);
        bundle.entry.committed[index].store(offset, Ordering::Relaxed);
        if instance.settings.is_repartition(&committed.partition.topic) {
            instance.purgeable.lock().insert(committed.partition.clone(), offset);
        }
        bundle.inputs[index].committed = committed;
    }
}

/// Step 4, for one task.
fn write(committer: &Committer<'_>, bundle: &mut TaskBundle) -> Result<(), StreamsError> {
    let id = bundle.entry.id;
    let failed = |source| StreamsError::Store { task: id.to_string(), source };
    let mut batch = bundle.backend.new_batch();
    bundle.task.write_commit(&mut batch)?;
    for target in bundle.changelogs.iter().filter(|target| target.persistent) {
        let next = match target.source_input {
            Some(input) => bundle.inputs[input].committed.offset,
            None => acknowledged(committer, target)?,
        };
        if let Some(next) = next {
            batch.set_changelog_offset(&target.topic_name, target.partition, next).map_err(failed)?;
        }
    }
    for input in &bundle.inputs {
        if let Some(offset) = input.committed.offset {
            batch.set_position(&input.partition.topic, input.partition.partition, offset).map_err(failed)?;
        }
    }
    batch.set_stream_time(bundle.task.stream_time()).map_err(failed)?;
    bundle.backend.write(batch).map_err(failed)?;
    bundle.task.committed();
    Ok(())
}

/// The offset behind the last acknowledged record of a changelog; `None` when nothing was written to it.
fn acknowledged(committer: &Committer<'_>, target: &ChangelogTarget) -> Result<Option<i64>, StreamsError> {
    if target.acknowledged.take_unknown() {
        // The broker had a record already and didn't say where. All is acknowledged and nobody else writes here, so the
        // partition's end is the answer.
        let partition = TopicPartition::new(target.topic_name.clone(), target.partition);
        let ends = committer
            .consumer
            .end_offsets(&[partition], committer.instance.settings.request_timeout)
            .map_err(RuntimeError::from)?;
        ends.iter().for_each(|end| target.acknowledged.learn(*end));
    }
    Ok(target.acknowledged.next_offset())
}
