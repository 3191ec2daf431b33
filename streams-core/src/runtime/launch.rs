//! From tasks that are this instance's now to tasks in the hands of the restore thread: committed offsets, queues, entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::create::TaskSeed;
use super::error::RuntimeError;
use super::instance::{Instance, TaskEntry};
use super::rebalance::GroupThread;
use super::shutdown_request;
use super::task_bundle::Input;
use crate::client::{ClientError, Committed};
use crate::config::ProcessingGuarantee;
use crate::error::StreamsError;
use crate::task::{TaskId, TopicPartition};
use crate::topology::AutoOffsetReset;

/// How the inputs come to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// They are new: answer the group's assignment.
    Assign,
    /// Some are assigned already: go back to the committed offsets. Others are new topics of a pattern.
    Again {
        /// Those that are assigned.
        assigned: BTreeSet<TopicPartition>,
        /// How long to wait: a task that can't be made should not be tried without pause.
        delay: Duration,
    },
}

/// Of the first request; of those that follow each waits twice as long, up to the longest. They go on until `task.timeout.ms`, or until
/// the instance is closed, which must not wait long for the last of them.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(5);
/// After an answer that may change: a topic that was just made has no leader yet.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A seek waits for the client's own threads only.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// Tasks that are to be made again, but whose committed offsets the group could not tell yet.
pub(crate) struct Relaunch {
    entries: Vec<Arc<TaskEntry>>,
    /// How long to wait before they are made.
    delay: Duration,
    /// Of the next request.
    timeout: Duration,
    give_up: Instant,
}

/// Makes tasks again that are this instance's and that nobody works on: from their last commit.
pub(crate) fn relaunch(
    group: &mut GroupThread,
    tasks: &[TaskId],
    delay: Duration,
) -> Result<(), StreamsError> {
    let entries = {
        let known = group.instance.tasks.read();
        tasks.iter().filter_map(|id| known.get(id).cloned()).collect()
    };
    let give_up = Instant::now() + group.instance.settings.task_timeout;
    try_relaunch(group, Relaunch { entries, delay, timeout: FIRST_TIMEOUT, give_up })
}

/// Tries again what could not be done before. Between two attempts the group is served: it may take the tasks away meanwhile, or the
/// membership may be lost because of the very coordinator that doesn't answer.
pub(crate) fn try_relaunches(group: &mut GroupThread) -> Result<(), StreamsError> {
    // While tasks are given up, assigning would be taken for the answer.
    if group.revocation.is_some() {
        return Ok(());
    }
    std::mem::take(&mut group.relaunches).into_iter().try_for_each(|again| try_relaunch(group, again))
}

fn try_relaunch(group: &mut GroupThread, mut again: Relaunch) -> Result<(), StreamsError> {
    let instance = group.instance.clone();
    {
        // Neither those that have left meanwhile, nor those that came again.
        let known = instance.tasks.read();
        again.entries.retain(|entry| known.get(&entry.id).is_some_and(|now| Arc::ptr_eq(now, entry)));
    }
    if again.entries.is_empty() {
        return Ok(());
    }
    let ids: Vec<TaskId> = again.entries.iter().map(|entry| entry.id).collect();
    let partitions = inputs_of(&instance, &ids);
    let committed = match group.consumer.committed(&partitions, again.timeout) {
        Ok(committed) => committed,
        Err(error) if error.is_retriable() && Instant::now() < again.give_up => {
            tracing::debug!(%error, "tasks can't be made again yet");
            again.timeout = (again.timeout * 2).min(LONGEST_TIMEOUT);
            group.relaunches.push(again);
            return Ok(());
        }
        Err(error) => return Err(RuntimeError::from(error).into()),
    };
    let assigned = again.entries.iter().flat_map(|entry| entry.inputs.iter().cloned()).collect();
    ids.iter().for_each(|id| drop(instance.tasks.write().remove(id)));
    launch_from(group, &ids, committed, &Start::Again { assigned, delay: again.delay })
}

/// Takes tasks up. An empty list of new ones still has to be answered to the group.
pub(crate) fn launch(group: &mut GroupThread, tasks: &[TaskId], start: &Start) -> Result<(), StreamsError> {
    let partitions = inputs_of(&group.instance, tasks);
    let committed = read_committed(group, &partitions)?;
    launch_from(group, tasks, committed, start)
}

/// The inputs of tasks, one task after the other.
fn inputs_of(instance: &Instance, tasks: &[TaskId]) -> Vec<TopicPartition> {
    let plan = instance.plan.read();
    tasks.iter().flat_map(|id| plan.inputs_of(*id)).collect()
}

/// Takes tasks up from what is committed for their inputs.
fn launch_from(
    group: &mut GroupThread,
    tasks: &[TaskId],
    mut committed: Vec<Committed>,
    start: &Start,
) -> Result<(), StreamsError> {
    let instance = group.instance.clone();
    let (inputs, markers) = {
        let plan = instance.plan.read();
        let inputs: Vec<(TaskId, Vec<TopicPartition>)> =
            tasks.iter().map(|id| (*id, plan.inputs_of(*id))).collect();
        let markers: Vec<TopicPartition> = tasks.iter().filter_map(|id| plan.marker_of(*id)).collect();
        (inputs, markers)
    };
    let requests: Vec<i64> = committed.iter_mut().filter_map(shutdown_request::take_mark).collect();
    if requests.iter().any(|request| !instance.known_requests.read().contains(request)) {
        return Err(RuntimeError::ShutdownRequested.into());
    }
    let starts = start_offsets(group, &committed)?;
    let mut committed = committed.into_iter();
    let not_before = match start {
        Start::Assign => Instant::now(),
        Start::Again { delay, .. } => Instant::now() + *delay,
    };
    let mut start_of: BTreeMap<TopicPartition, i64> = starts.iter().cloned().collect();
    let mut seeds = Vec::new();
    for (id, inputs) in inputs {
        let thread_index = instance.least_loaded_thread();
        let Some(thread) = instance.thread(thread_index) else { continue };
        let from = inputs.iter().map(|input| start_of.get(input).copied().unwrap_or(0)).collect();
        let entry = Arc::new(TaskEntry::new(id, thread_index, inputs.clone(), from));
        let mut made = Vec::with_capacity(inputs.len());
        let waits = inputs.len() > 1 && instance.settings.guarantee == ProcessingGuarantee::ExactlyOnceV2;
        for partition in inputs {
            let queue =
                group.consumer.split(&partition, thread.mailbox.waker()).map_err(RuntimeError::from)?;
            let committed = committed.next().unwrap_or_else(|| nothing_committed(&partition));
            let reset = instance.settings.reset_of(&instance.topology, &partition.topic);
            let next_offset = start_of.remove(&partition).unwrap_or(0);
            let stable_end = waits.then(|| instance.stable_ends.of(&partition));
            let input = Input::new(partition, queue, reset, committed, next_offset);
            made.push(Input { stable_end, ..input });
        }
        instance.tasks.write().insert(id, entry.clone());
        seeds.push(Box::new(TaskSeed { entry, thread, inputs: made, not_before, tries: 0 }));
    }
    match start {
        Start::Assign => {
            // The group's own partitions have to be among those it assigned; there is nothing in them.
            let markers = markers.into_iter().map(|marker| (marker, 0));
            let all: Vec<_> = starts.into_iter().chain(markers).collect();
            group.consumer.assign(&all).map_err(RuntimeError::from)?
        }
        Start::Again { assigned, .. } => {
            let (known, new): (Vec<_>, Vec<_>) =
                starts.into_iter().partition(|(partition, _)| assigned.contains(partition));
            if !new.is_empty() {
                group.consumer.assign(&new).map_err(RuntimeError::from)?;
            }
            if !known.is_empty() {
                group.consumer.seek(&known, SEEK_TIMEOUT).map_err(RuntimeError::from)?;
            }
        }
    }
    if instance.settings.guarantee == ProcessingGuarantee::AtLeastOnce {
        commit_again(group, &seeds);
    }
    for seed in seeds {
        group.restorers.add(seed);
    }
    Ok(())
}

/// Offsets outside the group's subscription expire by age even while the group lives. Nobody else commits for these
/// partitions before the tasks run. Under the other guarantees it has to be certain that nothing newer is overwritten, by a request
/// that was late: there the first commit does it.
fn commit_again(group: &GroupThread, seeds: &[Box<TaskSeed>]) {
    let again: Vec<Committed> =
        seeds.iter().flat_map(|seed| seed.inputs.iter().map(|input| input.committed.clone())).collect();
    if let Err(error) = group.consumer.commit(&again, false) {
        tracing::debug!(%error, "cannot commit unchanged offsets again now");
    }
}

fn nothing_committed(partition: &TopicPartition) -> Committed {
    Committed { partition: partition.clone(), offset: None, metadata: String::new() }
}

fn read_committed(
    group: &GroupThread,
    partitions: &[TopicPartition],
) -> Result<Vec<Committed>, StreamsError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    ask(&group.instance, |timeout| group.consumer.committed(partitions, timeout))
}

/// Asks until there is an answer, at most `task.timeout.ms`: without it nothing can start. Heartbeats go on meanwhile. The request is
/// told how long it may take.
pub(super) fn ask<T>(
    instance: &Instance,
    request: impl Fn(Duration) -> Result<T, ClientError>,
) -> Result<T, StreamsError> {
    let give_up = Instant::now() + instance.settings.task_timeout;
    let mut timeout = FIRST_TIMEOUT;
    loop {
        match request(timeout) {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_retriable() && Instant::now() < give_up && !instance.is_closing() => {
                tracing::debug!(%error, "no answer yet; asking again");
                timeout = (timeout * 2).min(LONGEST_TIMEOUT);
                std::thread::sleep(RETRY_AFTER);
            }
            Err(error) => return Err(RuntimeError::from(error).into()),
        }
    }
}

/// Where to read each partition from: behind what was committed, else by the policy of its source. Offsets are looked up
/// here, so that it is known when a partition without records is read to its end.
fn start_offsets(
    group: &GroupThread,
    committed: &[Committed],
) -> Result<Vec<(TopicPartition, i64)>, StreamsError> {
    let instance = &group.instance;
    let mut by_policy: BTreeMap<AutoOffsetReset, Vec<TopicPartition>> = BTreeMap::new();
    for unknown in committed.iter().filter(|committed| committed.offset.is_none()) {
        let policy = instance.settings.reset_of(&instance.topology, &unknown.partition.topic);
        by_policy.entry(policy).or_default().push(unknown.partition.clone());
    }
    let mut starts: Vec<(TopicPartition, i64)> = committed
        .iter()
        .filter_map(|committed| committed.offset.map(|offset| (committed.partition.clone(), offset)))
        .collect();
    for (policy, partitions) in by_policy {
        let offsets = reset_offsets(group, &partitions, policy)?;
        starts.extend(partitions.into_iter().zip(offsets));
    }
    Ok(starts)
}

/// The offsets at which a reset policy begins, in the order of `partitions`.
fn reset_offsets(
    group: &GroupThread,
    partitions: &[TopicPartition],
    policy: AutoOffsetReset,
) -> Result<Vec<i64>, StreamsError> {
    let consumer = &group.consumer;
    match policy {
        AutoOffsetReset::Earliest => {
            ask(&group.instance, |timeout| consumer.first_offsets(partitions, timeout))
        }
        AutoOffsetReset::Latest => ask(&group.instance, |timeout| consumer.end_offsets(partitions, timeout)),
        AutoOffsetReset::ByDuration(age) => {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let time = group.instance.clock.now_ms().saturating_sub(age_ms);
            let mut offsets = ask(&group.instance, |timeout| consumer.end_offsets(partitions, timeout))?;
            for (partition, offset) in partitions.iter().zip(&mut offsets) {
                let found = ask(&group.instance, |timeout| consumer.offset_at(partition, time, timeout))?;
                *offset = found.unwrap_or(*offset);
            }
            Ok(offsets)
        }
        AutoOffsetReset::None => {
            let first = partitions.first();
            let topic = first.map(|partition| partition.topic.to_string()).unwrap_or_default();
            let partition = first.map_or(-1, |partition| partition.partition);
            Err(RuntimeError::NoOffset { topic, partition }.into())
        }
    }
}

/// Reads an input on from where its source's policy says: the next record is not in the topic any more.
pub(crate) fn on_offset_gone(
    group: &mut GroupThread,
    partition: TopicPartition,
    policy: AutoOffsetReset,
    was: i64,
) -> Result<(), StreamsError> {
    let ours = group.instance.tasks.read().values().any(|entry| entry.inputs.contains(&partition));
    if !ours {
        return Ok(());
    }
    // Records of that age are gone: the oldest there are come next.
    let policy = if let AutoOffsetReset::ByDuration(_) = policy { AutoOffsetReset::Earliest } else { policy };
    let offsets = reset_offsets(group, std::slice::from_ref(&partition), policy)?;
    let offset = offsets.first().copied().unwrap_or(0);
    if offset > was {
        tracing::warn!(
            %partition, from = was, to = offset,
            "records of an input were deleted before they were processed and are skipped: its retention is too short for the application's lag, or somebody deleted them"
        );
    } else {
        tracing::warn!(
            %partition, committed = was, offset,
            "an input ends before the offset that was committed: its topic was made anew or cut; reading it from where the source's policy says"
        );
    }
    group.consumer.unassign(std::slice::from_ref(&partition)).map_err(RuntimeError::from)?;
    group.consumer.assign(&[(partition, offset)]).map_err(RuntimeError::from)?;
    Ok(())
}
