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
//!
//! The guarantees differ in step 3 alone:
//!
//! | `processing.guarantee` | step 3 |
//! |---|---|
//! | `at_least_once` | the offsets go to the group |
//! | `exactly_once_v2` | the offsets go into the transaction that the records are in, and it is committed |
//! | `at_most_once` | the offsets are there already ([`commit_ahead`]); at the end those of records that were not processed are taken back |

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::delivery;
use super::error::RuntimeError;
use super::fail_point::{self, Moment};
use super::instance::{Heartbeat, Instance, ThreadHandle};
use super::produce::ChangelogTarget;
use super::task_bundle::{Input, TaskBundle};
use super::transaction::{CALL_TIMEOUT, REPEAT_AFTER};
use crate::client::{ClientError, Committed, GroupConsumer, Producer, Remedy, TransactionError};
use crate::config::ProcessingGuarantee;
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
    /// Whether the tasks are closed afterwards.
    pub(crate) last: bool,
}

impl<'a> Committer<'a> {
    /// For a commit of some of a thread's tasks, of what has changed.
    pub(crate) fn new(
        instance: &'a Instance,
        thread: &'a ThreadHandle,
        consumer: &'a GroupConsumer,
        deadline: Instant,
    ) -> Self {
        let (producer, heartbeat) = (&thread.producer, &*thread.heartbeat);
        Committer { instance, consumer, producer, heartbeat, deadline, all_offsets: false, last: false }
    }
}

/// The offsets of one task, by input number.
type Offsets = Vec<(usize, Committed)>;

/// Commits these tasks of one thread together.
pub(crate) fn commit(
    committer: &Committer<'_>,
    bundles: &mut [&mut TaskBundle],
) -> Result<CommitOutcome, StreamsError> {
    let mut offsets = Vec::new();
    for bundle in bundles.iter_mut() {
        committer.heartbeat.works_for(&bundle.entry);
        let consumed = bundle.task.prepare_commit()?;
        offsets.push(to_commit(committer, bundle, &consumed));
    }
    fail_point::reached(Moment::CachesFlushed);
    let waiting = Instant::now();
    let outcome = flush(committer, bundles).and_then(|flushed| {
        if !flushed {
            return Ok(CommitOutcome::NotOwned);
        }
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

/// How far each input was processed, and what else is to be committed.
fn to_commit(committer: &Committer<'_>, bundle: &TaskBundle, consumed: &[ConsumedOffset]) -> Offsets {
    let mut offsets: Offsets = consumed
        .iter()
        .map(|consumed| {
            let input = &bundle.inputs[consumed.input];
            let offset = if bundle.task.buffered(consumed.input) == 0 {
                input.queue.next_to_read(&input.partition, consumed.offset)
            } else {
                consumed.offset
            };
            (consumed.input, processed_up_to(bundle, input, offset, consumed.partition_time))
        })
        .collect();
    let unchanged = bundle.inputs.iter().enumerate().filter(|(index, input)| {
        input.committed.offset.is_some() && !consumed.iter().any(|consumed| consumed.input == *index)
    });
    let guarantee = committer.instance.settings.guarantee;
    if committer.all_offsets && guarantee != ProcessingGuarantee::AtMostOnce {
        offsets.extend(unchanged.map(|(index, input)| (index, input.committed.clone())));
    } else if offsets.is_empty() && guarantee == ProcessingGuarantee::ExactlyOnceV2 {
        // What a punctuation wrote comes without an offset. One is sent all the same: by it the broker sees whether the task is
        // still this member's.
        offsets.extend(bundle.inputs.first().map(|input| (0, as_it_is(bundle, input))));
    }
    offsets
}

/// What to commit for an input when everything before `offset` is done: beside it, how far its time has come, and what nodes
/// keep there.
fn processed_up_to(bundle: &TaskBundle, input: &Input, offset: i64, partition_time: i64) -> Committed {
    let processor_metadata = bundle.task.processor_metadata().clone();
    let metadata = OffsetMetadata { partition_time, processor_metadata }.encode();
    Committed { partition: input.partition.clone(), offset: Some(offset), metadata }
}

/// The committed offset of the first input, or where it was read from first.
fn as_it_is(bundle: &TaskBundle, input: &Input) -> Committed {
    let offset = input.committed.offset.or(bundle.entry.starts.first().copied());
    Committed { offset, ..input.committed.clone() }
}

/// Waits until everything produced is acknowledged; no longer when a task is taken away meanwhile, which answers false.
fn flush(committer: &Committer<'_>, bundles: &[&mut TaskBundle]) -> Result<bool, StreamsError> {
    let limit = delivery::limit(&committer.instance.settings);
    let flushed = delivery::flush(committer.producer, committer.heartbeat, limit, || all_owned(bundles))?;
    if flushed {
        delivery::check(committer.instance, committer.producer)?;
    }
    Ok(flushed)
}

/// Step 3.
fn commit_offsets(
    committer: &Committer<'_>,
    bundles: &[&mut TaskBundle],
    offsets: &[Offsets],
) -> Result<CommitOutcome, StreamsError> {
    let request = || offsets.iter().flatten().map(|(_, offset)| offset.clone()).collect::<Vec<_>>();
    match committer.instance.settings.guarantee {
        ProcessingGuarantee::AtLeastOnce => send(committer, bundles, &request(), to_group),
        ProcessingGuarantee::ExactlyOnceV2 => {
            let outcome = send(committer, bundles, &request(), to_transaction)?;
            if matches!(outcome, CommitOutcome::Done) {
                fail_point::reached(Moment::OffsetsSent);
                commit_transaction(committer)?;
            }
            Ok(outcome)
        }
        ProcessingGuarantee::AtMostOnce => {
            let request = match committer.last {
                true => not_processed(bundles),
                false if committer.all_offsets => {
                    let inputs = bundles.iter().flat_map(|bundle| &bundle.inputs);
                    inputs.map(|input| input.committed.clone()).collect()
                }
                false => Vec::new(),
            };
            send(committer, bundles, &request, to_group)
        }
    }
}

/// Sends offsets until there is an answer or the time is over.
fn send(
    committer: &Committer<'_>,
    bundles: &[&mut TaskBundle],
    request: &[Committed],
    to: SendOnce,
) -> Result<CommitOutcome, StreamsError> {
    loop {
        committer.heartbeat.beat();
        match to(committer, bundles, request)? {
            Sent::Taken => return Ok(CommitOutcome::Done),
            Sent::NotOwned => return Ok(CommitOutcome::NotOwned),
            Sent::NotYet(error) if Instant::now() >= committer.deadline => {
                return Ok(CommitOutcome::Postponed(error));
            }
            Sent::NotYet(error) => {
                tracing::debug!(%error, "the commit has to be repeated");
                std::thread::sleep(REPEAT_AFTER);
            }
        }
    }
}

/// One attempt to send offsets.
type SendOnce = fn(&Committer<'_>, &[&mut TaskBundle], &[Committed]) -> Result<Sent, StreamsError>;

/// What became of offsets that were sent.
enum Sent {
    Taken,
    /// A rebalance answers commits with an error for as long as it lasts.
    NotYet(ClientError),
    NotOwned,
}

fn all_owned(bundles: &[&mut TaskBundle]) -> bool {
    bundles.iter().all(|bundle| bundle.entry.owned.load(Ordering::Acquire))
}

fn to_group(
    committer: &Committer<'_>,
    bundles: &[&mut TaskBundle],
    request: &[Committed],
) -> Result<Sent, StreamsError> {
    let _gate = committer.instance.commit_gate.read();
    if !all_owned(bundles) {
        return Ok(Sent::NotOwned);
    }
    match committer.consumer.commit(request, true) {
        Ok(()) => Ok(Sent::Taken),
        Err(error) if error.is_retriable() || error.is_fenced() => Ok(Sent::NotYet(error)),
        Err(error) => Err(RuntimeError::from(error).into()),
    }
}

/// First the member's generation, then the look at who owns the tasks: what a rebalance overtakes between the two is refused by the
/// broker, and what came before it is seen here. (The broker alone could not tell: the threads of an instance are one member.)
fn to_transaction(
    committer: &Committer<'_>,
    bundles: &[&mut TaskBundle],
    request: &[Committed],
) -> Result<Sent, StreamsError> {
    let group = committer.consumer.group_metadata();
    let _gate = committer.instance.commit_gate.read();
    if !all_owned(bundles) {
        return Ok(Sent::NotOwned);
    }
    let Some(group) = group else { return Ok(Sent::NotYet(ClientError::not_a_member())) };
    match committer.producer.send_offsets(request, &group, CALL_TIMEOUT) {
        Ok(()) => Ok(Sent::Taken),
        Err(TransactionError { remedy: Remedy::Repeat, error }) => Ok(Sent::NotYet(error)),
        Err(failed) => Err(RuntimeError::from(failed.error).into()),
    }
}

/// A commit without an answer may have happened or not: it is asked for again until that is known.
fn commit_transaction(committer: &Committer<'_>) -> Result<(), StreamsError> {
    let start = Instant::now();
    loop {
        committer.heartbeat.beat();
        match committer.producer.commit_transaction(CALL_TIMEOUT) {
            Ok(()) => return Ok(()),
            Err(TransactionError { remedy: Remedy::Repeat, error }) => {
                if start.elapsed() > COMMIT_TIMEOUT {
                    committer.producer.transaction_lost();
                    return Err(RuntimeError::from(error).into());
                }
                tracing::debug!(%error, "the commit of the transaction has no answer yet");
                std::thread::sleep(REPEAT_AFTER);
            }
            Err(failed) => return Err(RuntimeError::from(failed.error).into()),
        }
    }
}

/// After this a new producer is made, which learns from the coordinator how the transaction ended.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// At-most-once: commits the offsets behind everything that was read, so that it may be processed. Before `Done` none of it may.
///
/// # Errors
/// When the offsets are refused for good.
pub(crate) fn commit_ahead(
    committer: &Committer<'_>,
    bundles: &mut [&mut TaskBundle],
) -> Result<CommitOutcome, StreamsError> {
    let mut ahead = Vec::new();
    for (task, bundle) in bundles.iter().enumerate() {
        for (index, input) in bundle.inputs.iter().enumerate().filter(|(_, input)| input.read_ahead) {
            let time = bundle.task.partition_time(index);
            ahead.push((task, index, processed_up_to(bundle, input, input.next_offset, time)));
        }
    }
    let request: Vec<Committed> = ahead.iter().map(|(.., committed)| committed.clone()).collect();
    let outcome = send(committer, bundles, &request, to_group)?;
    if matches!(outcome, CommitOutcome::Done) {
        fail_point::reached(Moment::Ahead);
        for (task, index, committed) in ahead {
            let input = &mut bundles[task].inputs[index];
            (input.committed, input.read_ahead) = (committed, false);
        }
    }
    Ok(outcome)
}

/// At-most-once, at the end: the offsets of records that were read and not processed.
fn not_processed(bundles: &[&mut TaskBundle]) -> Vec<Committed> {
    let inputs = bundles.iter().flat_map(|bundle| {
        bundle.inputs.iter().enumerate().map(|(index, input)| (bundle.task.next_to_process(index), input))
    });
    let back = inputs.filter(|(next, input)| next.is_some_and(|next| Some(next) < input.committed.offset));
    back.map(|(next, input)| Committed { offset: next, ..input.committed.clone() }).collect()
}

fn note_committed(instance: &Instance, bundle: &mut TaskBundle, offsets: Offsets) {
    let ahead = instance.settings.guarantee == ProcessingGuarantee::AtMostOnce;
    for (index, committed) in offsets {
        let offset = committed.offset.unwrap_or(-1);
        bundle.entry.committed[index].store(offset, Ordering::Relaxed);
        if instance.settings.is_repartition(&committed.partition.topic) {
            instance.purgeable.lock().insert(committed.partition.clone(), offset);
        }
        if instance.refused.any() {
            instance.refused.forget(&committed.partition, offset);
        }
        let input = &mut bundle.inputs[index];
        input.processed = committed.offset;
        if !ahead {
            input.committed = committed;
        }
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
            Some(input) => bundle.inputs[input].processed,
            None => acknowledged(committer, target)?,
        };
        if let Some(next) = next {
            batch.set_changelog_offset(&target.topic_name, target.partition, next).map_err(failed)?;
        }
    }
    for input in &bundle.inputs {
        if let Some(offset) = input.processed {
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
    if !target.acknowledged.settle() {
        let (topic, partition) = (target.topic_name.to_string(), target.partition);
        return Err(RuntimeError::ChangelogBegunAnew { topic, partition }.into());
    }
    Ok(target.acknowledged.next_offset())
}
