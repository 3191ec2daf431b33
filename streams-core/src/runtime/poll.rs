//! Poll: from the partitions' queues into the tasks' buffers.

use std::sync::atomic::Ordering;

use rdkafka::error::RDKafkaErrorCode;

use super::error::RuntimeError;
use super::instance::{Event, Instance};
use super::task_bundle::{Input, TaskBundle};
use crate::client::Fetched;
use crate::error::StreamsError;
use crate::task::{RawRecord, Task};
use crate::topology::AutoOffsetReset;

/// Reads what there is for one task, up to `limit` buffered records per input (`buffered.records.per.partition`);
/// answers how many records came. What isn't read stays in librdkafka's queue, and when that is full in the broker.
pub(crate) fn fill(
    bundle: &mut TaskBundle,
    instance: &Instance,
    limit: usize,
    everything: bool,
) -> Result<usize, StreamsError> {
    let mut count = 0;
    for (index, input) in bundle.inputs.iter_mut().enumerate() {
        // Read when half empty, so that batches stay large.
        let buffered = bundle.task.buffered(index);
        if buffered <= limit / 2 && (everything || input.queue.is_ready()) {
            count += fill_input(&mut bundle.task, index, input, instance, limit - buffered)?;
        }
    }
    Ok(count)
}

fn fill_input(
    task: &mut Task,
    index: usize,
    input: &mut Input,
    instance: &Instance,
    max: usize,
) -> Result<usize, StreamsError> {
    let mut records = 0;
    let mut failed = None;
    let mut unreadable = None;
    let next = &mut input.next_offset;
    input.queue.read(max, |fetched| match fetched {
        Fetched::Record(message) if failed.is_none() && message.offset() >= *next => {
            *next = message.offset() + 1;
            records += 1;
            failed = task.enqueue(index, RawRecord::Client(message)).err();
        }
        // Read twice, or not to be read any more.
        Fetched::Record(_) | Fetched::End(_) => {}
        Fetched::Error(code) => unreadable = Some(code),
    });
    input.read_ahead |= records > 0;
    match (failed, unreadable) {
        (Some(error), _) => Err(error),
        (None, Some(code)) => on_fetch_error(input, instance, code).map(|()| records),
        (None, None) => Ok(records),
    }
}

/// An input can't be read. Most errors pass (librdkafka goes on trying); an offset that is gone doesn't.
fn on_fetch_error(
    input: &mut Input,
    instance: &Instance,
    code: RDKafkaErrorCode,
) -> Result<(), StreamsError> {
    let partition = input.partition.clone();
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
            if input.reset == AutoOffsetReset::None {
                let (topic, partition) = (partition.topic.to_string(), partition.partition);
                return Err(RuntimeError::NoOffset { topic, partition }.into());
            }
            // Offsets may begin again: somebody may have made the topic anew.
            let was = std::mem::take(&mut input.next_offset);
            // Partitions are assigned anew by the group thread alone: from here it could be taken for an answer to a
            // rebalance.
            instance.events.send(Event::OffsetGone { partition, policy: input.reset, was });
            Ok(())
        }
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition => {
            let (topic, partition) = (partition.topic.to_string(), partition.partition);
            Err(RuntimeError::Fetch { topic, partition, code }.into())
        }
        code => {
            tracing::debug!(%partition, %code, "fetching has a problem; the client goes on trying");
            Ok(())
        }
    }
}

/// Notes the high watermarks, for lags and metadata.
pub(crate) fn note_ends(bundle: &TaskBundle) {
    for (input, end) in bundle.inputs.iter().zip(&bundle.entry.ends) {
        if let Some(high) = input.queue.cached_end(&input.partition.topic, input.partition.partition) {
            end.store(high, Ordering::Relaxed);
        }
    }
}
