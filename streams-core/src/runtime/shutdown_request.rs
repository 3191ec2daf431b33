//! The request that every instance of the application stops (`SHUTDOWN_APPLICATION`).
//!
//! The JVM sends it in the group protocol's user data, which the client's own assignors do not have. Here it goes with
//! the tasks: the instance that fails marks the committed offsets of its tasks before it leaves, and who is given one of
//! these tasks next finds the mark, and stops before it processes anything, leaving the mark for the next. So the
//! instances stop one after another, each as soon as a marked task comes to it.
//!
//! Marks that are there when an instance starts don't concern it: it was started afterwards. Its first commit takes them
//! away.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::launch;
use super::rebalance::GroupThread;
use crate::client::{Committed, GroupConsumer};
use crate::error::StreamsError;
use crate::offset_metadata::OffsetMetadata;
use crate::task::TopicPartition;

/// The mark's name among the processors' additions to the metadata; its value is the request's number.
const MARK: &str = "kstreams.shutdown-requested";
/// How long the marks are tried to be set: a group that rebalances refuses commits.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the mark out of committed metadata; answers the request's number.
pub(crate) fn take_mark(committed: &mut Committed) -> Option<i64> {
    let mut metadata = OffsetMetadata::decode(&committed.metadata);
    let request = metadata.processor_metadata.remove(MARK)?;
    committed.metadata = metadata.encode();
    Some(request)
}

fn mark(mut committed: Committed, request: i64) -> Committed {
    let mut metadata = OffsetMetadata::decode(&committed.metadata);
    metadata.processor_metadata.insert(MARK.to_owned(), request);
    committed.metadata = metadata.encode();
    committed
}

/// The requests that were made before this instance starts.
///
/// # Errors
/// When the group's coordinator doesn't answer.
pub(crate) fn known_requests(
    instance: &Instance,
    consumer: &GroupConsumer,
) -> Result<BTreeSet<i64>, StreamsError> {
    let inputs = instance.plan.read().all_inputs();
    if inputs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let committed = launch::ask(instance, |timeout| consumer.committed(&inputs, timeout))?;
    Ok(committed.into_iter().filter_map(|mut committed| take_mark(&mut committed)).collect())
}

/// Marks the tasks of this instance, which processes none any more and is about to leave.
pub(super) fn post(group: &mut GroupThread) {
    let entries: Vec<_> = group.instance.tasks.read().values().cloned().collect();
    let owned = entries.iter().filter(|entry| entry.owned.load(Ordering::Acquire));
    let inputs: Vec<(TopicPartition, i64)> =
        owned.flat_map(|entry| entry.inputs.iter().cloned().zip(entry.starts.iter().copied())).collect();
    let partitions: Vec<TopicPartition> = inputs.iter().map(|(partition, _)| partition.clone()).collect();
    // Any number that no other request has.
    let request = i64::from_be_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap_or(&[0; 8]));
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let posted = group.consumer.committed(&partitions, TIMEOUT).and_then(|committed| {
            let marked = committed.into_iter().zip(&inputs).map(|(committed, (_, start))| {
                // Where nothing is committed the next instance begins where this one did.
                let offset = Some(committed.offset.unwrap_or(*start));
                mark(Committed { offset, ..committed }, request)
            });
            group.consumer.commit(&marked.collect::<Vec<_>>(), true)
        });
        match posted {
            Ok(()) => {
                tracing::error!(tasks = entries.len(), "asked every instance of the application to stop");
                return;
            }
            Err(error) if Instant::now() >= deadline => {
                tracing::error!(%error, "cannot ask the other instances to stop: stop them by hand");
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the group does not take the request to stop yet");
                group.answer_group();
                group.wait(Duration::from_millis(50));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of the metadata has to survive, with and without a mark.
    #[test]
    fn a_mark_is_set_and_taken_away() {
        let mut metadata = OffsetMetadata::new(42);
        metadata.processor_metadata.insert("store".to_owned(), 7);
        let plain = Committed {
            partition: TopicPartition::new("in", 0),
            offset: Some(3),
            metadata: metadata.encode(),
        };
        let mut marked = mark(plain.clone(), -5);
        assert_ne!(marked, plain);
        assert_eq!(take_mark(&mut marked), Some(-5));
        assert_eq!(marked, plain);
        assert_eq!(take_mark(&mut marked), None);
        assert_eq!(marked, plain);
    }
}
