//! Fetch: record batches as they lie in the log, waiting for `min_bytes` at most `max_wait_ms`.
//!
//! Fetch sessions (KIP-227) are refused the way the protocol foresees: every answer carries session id 0, so clients
//! name all their partitions each time; an incremental request, which needs a session, gets
//! `FETCH_SESSION_ID_NOT_FOUND`.

mod encode;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::{ApiKey, TopicName};
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::{LEADER_EPOCH, check_leader_epoch};
use crate::broker::Broker;
use crate::log::{AbortedTxn, Log};
use crate::router::RequestContext;
pub(crate) use encode::FetchReply;

/// Most bytes of one answer (`fetch.max.bytes` of Apache Kafka's broker); a single larger batch still goes through.
const MAX_RESPONSE_BYTES: usize = 55 * 1024 * 1024;
const READ_COMMITTED: i8 = 1;

/// Reads what is there; if it is too little, waits for more.
pub(crate) async fn handle(broker: &Broker, ctx: &RequestContext, request: FetchRequest) -> FetchReply {
    debug_assert_eq!(ctx.api_key, ApiKey::Fetch);
    if request.session_epoch > 0 && request.session_id != 0 {
        return FetchReply::failed(ResponseError::FetchSessionIdNotFound);
    }
    let mut fetch = Fetch::resolve(broker, ctx, &request);
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    fetch.read();
    if !fetch.is_enough() {
        fetch.wait(deadline, ctx.connection.stopping.clone()).await;
    }
    FetchReply { error: None, topics: fetch.topics }
}

/// The answer to a request that is not looked at.
pub(crate) fn refused(request: &FetchRequest, error: ResponseError) -> FetchReply {
    let refused = |topic| TopicFetch::new(topic, |partition| PartitionFetch::new(partition, Err(error)));
    let topics = request.topics.iter().map(refused);
    FetchReply { error: None, topics: topics.collect() }
}

/// One request on its way: what was asked for and what has been read.
struct Fetch {
    topics: Vec<TopicFetch>,
    min_bytes: usize,
    max_bytes: usize,
    read_committed: bool,
}

/// A topic of the request, named as the request's version does.
pub(crate) struct TopicFetch {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<PartitionFetch>,
}

/// A partition of the request and its part of the answer.
pub(crate) struct PartitionFetch {
    pub(crate) index: i32,
    log: Result<Arc<Log>, ResponseError>,
    offset: i64,
    max_bytes: usize,
    /// By an injected fault: nothing is read. Nothing can be appended meanwhile either, so asking once is enough.
    paused: bool,
    /// What was read, or why nothing could be.
    pub(crate) outcome: Result<Read, ResponseError>,
}

/// The answer for one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) records: Bytes,
    /// For consumers that read committed records: the transactions whose records they are to drop.
    pub(crate) aborted: Option<Vec<AbortedTxn>>,
}

impl Fetch {
    fn resolve(broker: &Broker, ctx: &RequestContext, request: &FetchRequest) -> Self {
        let topics = request.topics.iter().map(|topic| TopicFetch::resolve(broker, ctx.api_version, topic));
        Fetch {
            topics: topics.collect(),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_RESPONSE_BYTES),
            read_committed: request.isolation_level == READ_COMMITTED,
        }
    }

    fn partitions(&self) -> impl Iterator<Item = &PartitionFetch> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Reads every partition, in the order of the request, as far as the bytes go. The first batch is always sent
    /// whole, however large, or a consumer with small limits would never get past it (KIP-74).
    fn read(&mut self) {
        let mut left = self.max_bytes;
        let mut nothing_yet = true;
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let max_bytes = partition.max_bytes.min(left);
            partition.outcome = partition.read(max_bytes, nothing_yet, self.read_committed);
            let bytes = partition.bytes();
            left = left.saturating_sub(bytes);
            nothing_yet &= bytes == 0;
        }
    }

    /// Whether to answer now: enough bytes, something to report, or nothing to wait for.
    fn is_enough(&self) -> bool {
        let bytes: usize = self.partitions().map(PartitionFetch::bytes).sum();
        bytes >= self.min_bytes
            || self.topics.is_empty()
            || self.partitions().any(|partition| partition.outcome.is_err())
    }

    /// Waits until there is enough, the deadline is reached or the broker stops.
    async fn wait(&mut self, deadline: Instant, mut stopping: crate::stop::StopSignal) {
        let timeout = tokio::time::sleep_until(deadline);
        tokio::pin!(timeout);
        loop {
            // Watched before reading: an append in between is not missed.
            let changed = self.any_change();
            self.read();
            if self.is_enough() {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = &mut timeout => return,
                () = stopping.stopped() => return,
            }
        }
    }

    /// Completes when one of the logs has grown.
    fn any_change(&self) -> impl Future<Output = ()> + use<> {
        let logs = self.partitions().filter_map(|partition| partition.log.as_ref().ok());
        let mut changes: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for log in logs {
            let mut end = log.subscribe();
            changes.push(Box::pin(async move {
                // An error means that the log was closed: reading it again says so.
                let _ = end.changed().await;
            }));
        }
        poll_fn(move |context| {
            let ready = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl TopicFetch {
    fn resolve(broker: &Broker, version: i16, asked: &FetchTopic) -> Self {
        let topic = if version >= 13 {
            broker.catalog().topic_by_id(asked.topic_id).ok_or(ResponseError::UnknownTopicId)
        } else {
            broker.catalog().topic(&asked.topic).ok_or(ResponseError::UnknownTopicOrPartition)
        };
        let partition = |asked: &FetchPartition| {
            let log = match &topic {
                Ok(topic) => {
                    check_leader_epoch(asked.current_leader_epoch).and_then(|()| topic.log(asked.partition))
                }
                Err(error) => Err(*error),
            };
            let paused = broker.faults().paused();
            let paused = topic.as_ref().is_ok_and(|topic| paused.is_paused(&topic.name, asked.partition));
            PartitionFetch { paused, ..PartitionFetch::new(asked, log) }
        };
        TopicFetch::new(asked, partition)
    }

    fn new(asked: &FetchTopic, partition: impl Fn(&FetchPartition) -> PartitionFetch) -> Self {
        TopicFetch {
            name: asked.topic.clone(),
            id: asked.topic_id,
            partitions: asked.partitions.iter().map(partition).collect(),
        }
    }
}

impl PartitionFetch {
    fn new(asked: &FetchPartition, log: Result<Arc<Log>, ResponseError>) -> Self {
        PartitionFetch {
            index: asked.partition,
            offset: asked.fetch_offset,
            max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
            paused: false,
            outcome: log.as_ref().map(|_| Read::default()).map_err(|error| *error),
            log,
        }
    }

    fn bytes(&self) -> usize {
        self.outcome.as_ref().map_or(0, |read| read.records.len())
    }

    fn read(&self, max_bytes: usize, min_one: bool, read_committed: bool) -> Result<Read, ResponseError> {
        let log = self.log.as_ref().map_err(|error| *error)?;
        // In this order, so that the stable offset is not behind the end.
        let (stable, end) = (log.last_stable_offset(), log.end_offset());
        if self.paused {
            return Ok(Read {
                high_watermark: end,
                last_stable_offset: stable,
                log_start_offset: log.log_start_offset(),
                records: Bytes::new(),
                aborted: read_committed.then(Vec::new),
            });
        }
        let read = match read_committed {
            true => log
                .read_committed(self.offset, max_bytes, min_one)
                .map(|(records, aborted)| (records, Some(aborted))),
            false => log.read(self.offset, max_bytes, min_one, end).map(|records| (records, None)),
        };
        let (records, aborted) = read.map_err(|error| {
            let code = error.kafka_error();
            if code == ResponseError::KafkaStorageError {
                tracing::error!(error = &error as &dyn std::error::Error, "read failed");
            }
            code
        })?;
        Ok(Read {
            high_watermark: end,
            last_stable_offset: stable,
            log_start_offset: log.log_start_offset(),
            records,
            aborted,
        })
    }
}

const _: () = assert!(LEADER_EPOCH == 0, "diverging epochs need an answer once there is more than one");
