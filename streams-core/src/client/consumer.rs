//! A consumer: the instance's one group member, or the restore consumer with its manual assignment.
//!
//! The rebalance callback only stores the event; `incremental_assign` and `incremental_unassign` are called when the
//! processing threads are done with it. Until then librdkafka keeps the member in the group and waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::end_offsets;
use super::error::ClientError;
use super::queue::PartitionQueue;
use super::transactions::GroupMetadata;
use super::waker::Waker;
use crate::task::TopicPartition;

/// What `poll` tells.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// Partitions of subscribed topics that are now this member's; answer with `assign`.
    Assigned(Vec<TopicPartition>),
    /// Partitions to give up; answer with `unassign`. When they are lost, somebody else may have them already.
    Revoked {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// Whether it is too late to commit.
        lost: bool,
    },
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The partition.
    pub(crate) partition: TopicPartition,
    /// The next offset to read; `None` when nothing was committed.
    pub(crate) offset: Option<i64>,
    /// The metadata committed with it; empty when there is none.
    pub(crate) metadata: String,
}

/// Receives librdkafka's callbacks of one consumer.
pub(super) struct GroupContext {
    name: String,
    events: Mutex<Vec<GroupEvent>>,
    /// Set by `close`: nobody answers events any more, partitions are given up at once.
    closing: AtomicBool,
    /// Whether it was said that the group has members of another kind: librdkafka asks twice a second.
    waits_for_others: AtomicBool,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(&self.name, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(client = %self.name, %error, reason, "client error");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = names(list);
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let answer = if assigned {
                consumer.incremental_assign(list)
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answer {
                tracing::warn!(client = %self.name, %error, "cannot answer a rebalance while closing");
            }
            return;
        }
        let event = if assigned {
            self.waits_for_others.store(false, Ordering::Relaxed);
            GroupEvent::Assigned(partitions)
        } else {
            GroupEvent::Revoked { partitions, lost: consumer.assignment_lost() }
        };
        self.events.lock().push(event);
    }
}

/// Writes a line of librdkafka's log as an event of target `librdkafka`.
pub(super) fn log(client: &str, level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel as L;
    match level {
        L::Emerg | L::Alert | L::Critical | L::Error => {
            tracing::error!(target: "librdkafka", client, facility, "{message}");
        }
        L::Warning => tracing::warn!(target: "librdkafka", client, facility, "{message}"),
        L::Notice | L::Info => tracing::info!(target: "librdkafka", client, facility, "{message}"),
        L::Debug => tracing::debug!(target: "librdkafka", client, facility, "{message}"),
    }
}

/// A consumer; all calls may come from any thread.
pub(crate) struct GroupConsumer {
    consumer: RwLock<Arc<BaseConsumer<GroupContext>>>,
    name: String,
    config: ClientConfig,
    /// Woken when there is something to poll.
    waker: Option<Arc<Waker>>,
}

impl GroupConsumer {
    /// Creates the client; connects in the background. `config` needs a `group.id`.
    pub(crate) fn new(name: &str, config: &ClientConfig) -> Result<Self, ClientError> {
        Self::make(name, config, None)
    }

    /// The same; `waker` is woken when there is something to `poll`.
    pub(crate) fn waking(name: &str, config: &ClientConfig, waker: &Arc<Waker>) -> Result<Self, ClientError> {
        Self::make(name, config, Some(waker.clone()))
    }

    fn make(name: &str, config: &ClientConfig, waker: Option<Arc<Waker>>) -> Result<Self, ClientError> {
        let consumer = RwLock::new(client(name, config, waker.as_ref())?);
        Ok(GroupConsumer { consumer, name: name.to_owned(), config: config.clone(), waker })
    }

    fn client(&self) -> Arc<BaseConsumer<GroupContext>> {
        self.consumer.read().clone()
    }

    /// Puts a new client in the place of this one, which has lost its group and does not find it again. It is in no group yet, and has
    /// nothing assigned. The old one ends in the background.
    pub(crate) fn renew(&self) -> Result<(), ClientError> {
        let new = client(&self.name, &self.config, self.waker.as_ref())?;
        let old = std::mem::replace(&mut *self.consumer.write(), new);
        drop(end_in_background(old));
        Ok(())
    }

    /// Joins the group for these topics.
    pub(crate) fn subscribe(&self, topics: &[&str]) -> Result<(), ClientError> {
        self.client()
            .subscribe(topics)
            .map_err(|source| ClientError::request(format!("subscribing to {}", topics.join(", ")), source))
    }

    /// Leaves the group; the revocation comes through `poll`.
    pub(crate) fn unsubscribe(&self) {
        self.client().unsubscribe();
    }

    /// Serves the group protocol for at most `timeout`, and answers what happened. Records never come here: every
    /// partition's queue is split off before it is assigned.
    pub(crate) fn poll(&self, timeout: Duration) -> Result<Vec<GroupEvent>, ClientError> {
        let consumer = self.client();
        let polled = consumer.poll(timeout);
        let events = std::mem::take(&mut *consumer.context().events.lock());
        match polled {
            Some(Err(source)) if is_fatal(&source) => Err(ClientError::request("polling the group", source)),
            Some(Err(error)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::InconsistentGroupProtocol)
                    && !consumer.context().waits_for_others.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!(
                        "the group has members with another assignor: a JVM application with this application.id runs, or was \
                         stopped less than its session.timeout.ms ago; waiting for the group to be empty"
                    );
                }
                tracing::debug!(%error, "consumer event");
                Ok(events)
            }
            Some(Ok(message)) => {
                use rdkafka::Message as _;
                tracing::warn!(
                    topic = message.topic(),
                    "a record came through the main queue and was dropped"
                );
                Ok(events)
            }
            None => Ok(events),
        }
    }

    /// Splits a partition's queue off; do so before `assign`.
    pub(crate) fn split(
        &self,
        partition: &TopicPartition,
        waker: &Arc<Waker>,
    ) -> Result<PartitionQueue, ClientError> {
        PartitionQueue::split(&self.client(), &partition.topic, partition.partition, waker.clone())
            .ok_or_else(|| {
                let source = KafkaError::Subscription(format!("no queue for {partition}"));
                ClientError::request(format!("splitting the queue of {partition}"), source)
            })
    }

    /// Adds partitions and begins to fetch them, each from an offset.
    pub(crate) fn assign(&self, partitions: &[(TopicPartition, i64)]) -> Result<(), ClientError> {
        let list = list(partitions.iter().map(|(partition, start)| (partition, Offset::Offset(*start))))?;
        self.client().incremental_assign(&list).map_err(|source| {
            ClientError::request(format!("assigning {} partitions", partitions.len()), source)
        })
    }

    /// Gives partitions up.
    pub(crate) fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        let list = list(partitions.iter().map(|partition| (partition, Offset::Invalid)))?;
        self.client().incremental_unassign(&list).map_err(|source| {
            ClientError::request(format!("giving up {} partitions", partitions.len()), source)
        })
    }

    /// Goes on reading assigned partitions elsewhere. Waits for the client's own threads only, at most `timeout`.
    pub(crate) fn seek(
        &self,
        partitions: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let list = list(partitions.iter().map(|(partition, start)| (partition, Offset::Offset(*start))))?;
        let doing = || format!("seeking in {} partitions", partitions.len());
        let answer = self
            .client()
            .seek_partitions(list, timeout)
            .map_err(|source| ClientError::request(doing(), source))?;
        for element in answer.elements() {
            element.error().map_err(|source| ClientError::request(doing(), source))?;
        }
        Ok(())
    }

    /// Asks for committed offsets, in the order of `partitions`; waits at most `timeout`.
    pub(crate) fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Committed>, ClientError> {
        let request = list(partitions.iter().map(|partition| (partition, Offset::Invalid)))?;
        let doing = || format!("reading the committed offsets of {} partitions", partitions.len());
        let answer = self
            .client()
            .committed_offsets(request, timeout)
            .map_err(|source| ClientError::request(doing(), source))?;
        partitions
            .iter()
            .zip(answer.elements())
            .map(|(partition, element)| {
                element.error().map_err(|source| ClientError::request(doing(), source))?;
                let offset = match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                Ok(Committed {
                    partition: partition.clone(),
                    offset,
                    metadata: element.metadata().to_owned(),
                })
            })
            .collect()
    }

    /// Commits (offset = the next to read). Synchronous: waits for the coordinator, within the client's own time-outs.
    pub(crate) fn commit(&self, offsets: &[Committed], wait: bool) -> Result<(), ClientError> {
        let doing = || format!("committing {} offsets", offsets.len());
        let failed = |source| ClientError::request(doing(), source);
        let request = commit_list(offsets).map_err(failed)?;
        if request.count() == 0 {
            return Ok(());
        }
        self.client()
            .commit(&request, if wait { CommitMode::Sync } else { CommitMode::Async })
            .map_err(failed)
    }

    /// Whether the group has members of another kind at the moment, so that it can't be joined.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.client().context().waits_for_others.load(Ordering::Relaxed)
    }

    /// In whose name this consumer's offsets are committed by a transaction; `None` while it is no member of its group.
    pub(crate) fn group_metadata(&self) -> Option<GroupMetadata> {
        GroupMetadata::of(&self.client())
    }

    /// The ends of partitions in their order, past open transactions too, whatever this consumer is allowed to read.
    pub(crate) fn high_watermarks(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<i64>, ClientError> {
        end_offsets::high_watermarks(self.client().client(), partitions, timeout)
    }

    /// The end offsets (high watermarks; under read_committed the last stable offsets) of partitions, in their order,
    /// with one request per broker.
    pub(crate) fn end_offsets(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<i64>, ClientError> {
        self.list_offsets(partitions, Offset::End, timeout)
    }

    /// The offsets of the first records of partitions, in their order.
    pub(crate) fn first_offsets(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<i64>, ClientError> {
        self.list_offsets(partitions, Offset::Beginning, timeout)
    }

    /// Where the first record of at least this time (ms since the epoch) is.
    pub(crate) fn offset_at(
        &self,
        partition: &TopicPartition,
        time_ms: i64,
        timeout: Duration,
    ) -> Result<Option<i64>, ClientError> {
        let failed = |source| ClientError::request(format!("looking a time up in {partition}"), source);
        let request = list([(partition, Offset::Offset(time_ms.max(0)))].into_iter())?;
        let answer = self.client().offsets_for_times(request, timeout).map_err(failed)?;
        let found =
            answer.find_partition(&partition.topic, partition.partition).map(|element| element.offset());
        Ok(match found {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }

    /// ListOffsets takes -1 (latest) and -2 (earliest) where a timestamp stands; librdkafka passes them on.
    fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        which: Offset,
        timeout: Duration,
    ) -> Result<Vec<i64>, ClientError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let doing = || format!("reading the offsets of {}", display(partitions));
        let failed = |source| ClientError::request(doing(), source);
        let request = list(partitions.iter().map(|partition| (partition, which)))?;
        let answer = self.client().offsets_for_times(request, timeout).map_err(failed)?;
        partitions
            .iter()
            .map(|partition| {
                let element =
                    answer.find_partition(&partition.topic, partition.partition).ok_or_else(|| {
                        failed(KafkaError::OffsetFetch(rdkafka::error::RDKafkaErrorCode::UnknownPartition))
                    })?;
                element.error().map_err(failed)?;
                Ok(match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => 0,
                })
            })
            .collect()
    }

    /// Leaves the group and destroys the client, within `timeout`; else the rest goes on in the background, and the
    /// answer is false. Partition queues and messages still alive keep the client alive.
    pub(crate) fn close(self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let finished = end_in_background(self.consumer.into_inner());
        let closed = finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok();
        if !closed {
            tracing::warn!("the consumer did not close in time; it is left to its background thread");
        }
        closed
    }
}

fn client(
    name: &str,
    config: &ClientConfig,
    waker: Option<&Arc<Waker>>,
) -> Result<Arc<BaseConsumer<GroupContext>>, ClientError> {
    let context = GroupContext {
        name: name.to_owned(),
        events: Mutex::default(),
        closing: AtomicBool::new(false),
        waits_for_others: AtomicBool::new(false),
    };
    let mut consumer: BaseConsumer<GroupContext> =
        config.create_with_context(context).map_err(ClientError::config)?;
    if let Some(waker) = waker.cloned() {
        consumer.set_nonempty_callback(move || waker.wake());
    }
    Ok(Arc::new(consumer))
}

/// Drops a client, which closes it: librdkafka polls until the group was left. Tells when that is done; never, when it can't be begun.
fn end_in_background(consumer: Arc<BaseConsumer<GroupContext>>) -> Receiver<()> {
    consumer.context().closing.store(true, Ordering::Release);
    let (done, finished) = std::sync::mpsc::channel();
    let closer = std::thread::Builder::new().name("kstreams-client-close".into()).spawn(move || {
        drop(consumer);
        let _ = done.send(());
    });
    if let Err(error) = closer {
        tracing::warn!(%error, "no thread to close a consumer in");
    }
    finished
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
}

fn names(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

fn list<'a>(
    partitions: impl Iterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        list.add_partition_offset(&partition.topic, partition.partition, offset)
            .map_err(|source| ClientError::request(format!("naming {partition}"), source))?;
    }
    Ok(list)
}

/// Offsets with their metadata, those that there are.
pub(super) fn commit_list(offsets: &[Committed]) -> Result<TopicPartitionList, KafkaError> {
    let mut request = TopicPartitionList::with_capacity(offsets.len());
    for committed in offsets {
        let Some(offset) = committed.offset else { continue };
        let mut element = request.add_partition(&committed.partition.topic, committed.partition.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(&committed.metadata);
    }
    Ok(request)
}

fn display(partitions: &[TopicPartition]) -> String {
    match partitions {
        [] => "no partition".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last} ({} partitions)", partitions.len()),
    }
}
