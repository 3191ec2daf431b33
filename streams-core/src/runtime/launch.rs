//! From tasks that are this instance's now to tasks in the hands of the restore thread: committed offsets, queues, entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::create::TaskSeed;
use super::error::RuntimeError;
use super::instance::TaskEntry;
use super::rebalance::GroupThread;
use super::restore::RestoreCommand;
use super::task_bundle::Input;
use crate::client::Committed;
use crate::error::StreamsError;
use crate::task::{TaskId, TopicPartition};
use crate::topology::AutoOffsetReset;

/// How the inputs come to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// They are new: answer the group's assignment.
    Assign,
    /// These are assigned already: go back to the committed offsets. Others are new topics of a pattern.
    Again(BTreeSet<TopicPartition>),
}

/// One request for committed offsets; they are asked for again until `task.timeout.ms`.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);

/// A seek waits for the client's own threads only.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes tasks again that are this instance's and that nobody works on: from their last commit.
pub(crate) fn relaunch(group: &mut GroupThread, tasks: &[TaskId]) -> Result<(), StreamsError> {
    let (mut ours, mut assigned) = (Vec::new(), BTreeSet::new());
    {
        let mut entries = group.instance.tasks.write();
        for id in tasks {
            if let Some(entry) = entries.remove(id) {
                ours.push(*id);
                assigned.extend(entry.inputs.iter().cloned());
            }
        }
    }
    launch(group, &ours, &Start::Again(assigned))
}

/// Takes tasks up. An empty list of new ones still has to be answered to the group.
pub(crate) fn launch(group: &mut GroupThread, tasks: &[TaskId], start: &Start) -> Result<(), StreamsError> {
    let instance = group.instance.clone();
    let inputs: Vec<(TaskId, Vec<TopicPartition>)> = {
        let plan = instance.plan.read();
        tasks.iter().map(|id| (*id, plan.inputs_of(*id))).collect()
    };
    let partitions: Vec<TopicPartition> =
        inputs.iter().flat_map(|(_, inputs)| inputs.iter().cloned()).collect();
    let committed = read_committed(group, &partitions)?;
    let starts = start_offsets(group, &committed)?;
    let mut committed = committed.into_iter();
    let mut start_of: BTreeMap<TopicPartition, i64> = starts.iter().cloned().collect();
    let mut seeds = Vec::new();
    for (id, inputs) in inputs {
        let thread_index = instance.least_loaded_thread();
        let Some(thread) = instance.thread(thread_index) else { continue };
        let entry = Arc::new(TaskEntry::new(id, thread_index, inputs.clone()));
        let mut made = Vec::with_capacity(inputs.len());
        for partition in inputs {
            let queue =
                group.consumer.split(&partition, thread.mailbox.waker()).map_err(RuntimeError::from)?;
            let committed = committed.next().unwrap_or_else(|| nothing_committed(&partition));
            let reset = instance.settings.reset_of(&instance.topology, &partition.topic);
            let next_offset = start_of.remove(&partition).unwrap_or(0);
            made.push(Input { partition, queue, reset, committed, next_offset, idle_since_ms: None });
        }
        instance.tasks.write().insert(id, entry.clone());
        seeds.push(Box::new(TaskSeed { entry, thread, inputs: made, since: Instant::now() }));
    }
    match start {
        Start::Assign => group.consumer.assign(&starts).map_err(RuntimeError::from)?,
        Start::Again(assigned) => {
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
    // Offsets outside the group's subscription expire by age even while the group lives. Nobody else commits for these
    // partitions before the tasks run, so nothing newer can be overwritten.
    let again: Vec<Committed> =
        seeds.iter().flat_map(|seed| seed.inputs.iter().map(|input| input.committed.clone())).collect();
    if let Err(error) = group.consumer.commit(&again, false) {
        tracing::debug!(%error, "cannot commit unchanged offsets again now");
    }
    for seed in seeds {
        group.restorer.send(RestoreCommand::Add(seed));
    }
    Ok(())
}

fn nothing_committed(partition: &TopicPartition) -> Committed {
    Committed { partition: partition.clone(), offset: None, metadata: String::new() }
}

/// Asks until there is an answer: without it nothing can start. Heartbeats go on meanwhile.
fn read_committed(
    group: &GroupThread,
    partitions: &[TopicPartition],
) -> Result<Vec<Committed>, StreamsError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let give_up = Instant::now() + group.instance.settings.task_timeout;
    loop {
        match group.consumer.committed(partitions, COMMITTED_TIMEOUT) {
            Ok(committed) => return Ok(committed),
            Err(error)
                if error.is_retriable() && Instant::now() < give_up && !group.instance.is_closing() =>
            {
                tracing::warn!(%error, "no answer about committed offsets; asking again");
                std::thread::sleep(Duration::from_millis(200));
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
    let mut starts = Vec::with_capacity(committed.len());
    for committed in committed {
        let partition = &committed.partition;
        let start = match committed.offset {
            Some(offset) => offset,
            None => reset_offset(
                group,
                partition,
                instance.settings.reset_of(&instance.topology, &partition.topic),
            )?,
        };
        starts.push((partition.clone(), start));
    }
    Ok(starts)
}

/// The offset at which a reset policy begins.
fn reset_offset(
    group: &GroupThread,
    partition: &TopicPartition,
    policy: AutoOffsetReset,
) -> Result<i64, StreamsError> {
    let (consumer, timeout) = (&group.consumer, group.instance.settings.request_timeout);
    let one = std::slice::from_ref(partition);
    let found = match policy {
        AutoOffsetReset::Earliest => consumer.first_offsets(one, timeout),
        AutoOffsetReset::Latest => consumer.end_offsets(one, timeout),
        AutoOffsetReset::ByDurationMs(age_ms) => {
            let time = group.instance.clock.now_ms().saturating_sub(age_ms);
            match consumer.offset_at(partition, time, timeout) {
                Ok(Some(offset)) => Ok(vec![offset]),
                Ok(None) => consumer.end_offsets(one, timeout),
                Err(error) => Err(error),
            }
        }
        AutoOffsetReset::None => {
            let (topic, partition) = (partition.topic.to_string(), partition.partition);
            return Err(RuntimeError::NoOffset { topic, partition }.into());
        }
    };
    Ok(found.map_err(RuntimeError::from)?.first().copied().unwrap_or(0))
}

/// Reads an input on from where its source's policy says: the next record is not in the topic any more.
pub(crate) fn on_offset_gone(
    group: &mut GroupThread,
    partition: TopicPartition,
    policy: AutoOffsetReset,
) -> Result<(), StreamsError> {
    let ours = group.instance.tasks.read().values().any(|entry| entry.inputs.contains(&partition));
    if !ours {
        return Ok(());
    }
    // Records of that age are gone: the oldest there are come next.
    let policy =
        if let AutoOffsetReset::ByDurationMs(_) = policy { AutoOffsetReset::Earliest } else { policy };
    let offset = reset_offset(group, &partition, policy)?;
    tracing::warn!(%partition, offset, "the next record of an input is not in its topic any more; going on at another offset");
    group.consumer.unassign(std::slice::from_ref(&partition)).map_err(RuntimeError::from)?;
    group.consumer.assign(&[(partition, offset)]).map_err(RuntimeError::from)?;
    Ok(())
}
