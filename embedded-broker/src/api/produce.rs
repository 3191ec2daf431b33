//! Produce: appends each partition's batches and answers with their offsets.
//!
//! On one node an append is replicated as soon as it is in the log, so `acks=1` and `acks=all` differ only in that
//! `acks=all` honours `min.insync.replicas`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use tokio::task::block_in_place;

use crate::api::{ApiError, NONE, append_error};
use crate::broker::Broker;
use crate::fault::Coordinator;
use crate::internal_log::ProducerEpoch;
use crate::log::{Appended, BatchHeader, Origin, TopicPartitionName};
use crate::reply::{IntoReply, Reply};
use crate::router::{RequestContext, RequestError};
use crate::topics::Topic;
use crate::txn::{self, OpenTransaction, refusal};

/// The answer, or with `acks=0` none.
pub(crate) struct ProduceReply {
    response: ProduceResponse,
    wanted: bool,
}

impl IntoReply for ProduceReply {
    fn into_reply(self, ctx: &RequestContext) -> Result<Reply, RequestError> {
        if self.wanted {
            return self.response.into_reply(ctx);
        }
        // A client that wants no answers learns of a fault by losing the connection, as with Apache Kafka.
        let partitions = self.response.responses.iter().flat_map(|topic| &topic.partition_responses);
        match partitions.filter_map(|partition| ResponseError::try_from_code(partition.error_code)).next() {
            None => Ok(Reply::Nothing),
            Some(error) => Ok(Reply::Close(format!("produce with acks=0 failed: {error}"))),
        }
    }
}

/// The answer to a request that is not looked at.
pub(crate) fn refused(request: ProduceRequest, error: ResponseError, version: i16) -> ProduceReply {
    let refused = |partition: PartitionProduceData| {
        respond(version, partition.index, Err(ApiError::new(error, error.to_string())))
    };
    let topics = request.topic_data.into_iter().map(|topic| {
        TopicProduceResponse::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_partition_responses(topic.partition_data.into_iter().map(refused).collect())
    });
    let response = ProduceResponse::default().with_responses(topics.collect());
    ProduceReply { response, wanted: request.acks != 0 }
}

/// Waits, at most as long as the client does, until none of the request's partitions is paused by a fault.
async fn wait_while_paused(broker: &Broker, ctx: &RequestContext, request: &ProduceRequest) {
    let paused = broker.faults().paused();
    if paused.is_none() {
        return;
    }
    let mut partitions = Vec::new();
    for data in &request.topic_data {
        if let Ok(topic) = find_topic(broker, ctx.api_version, data) {
            partitions.extend(data.partition_data.iter().map(|data| (topic.name.to_string(), data.index)));
        }
    }
    let at_most = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut stopping = ctx.connection.stopping.clone();
    tokio::select! {
        () = paused.resumed(&partitions, at_most) => {}
        () = stopping.stopped() => {}
    }
}

/// The first version that knows TRANSACTION_ABORTABLE (KIP-890).
const ABORTABLE: i16 = 11;
/// From this version on the request itself adds its partitions to the transaction, without AddPartitionsToTxn before.
const ADDS: i16 = 12;

/// What holds for all partitions of a request.
struct Terms<'a> {
    broker: &'a Broker,
    version: i16,
    acks: i16,
    /// None for a request without transactional id.
    transaction: Option<Result<OpenTransaction<'a>, ResponseError>>,
}

/// Appends to each partition on its own. The transaction stays locked meanwhile, so nothing gets behind its end.
pub(crate) async fn handle(broker: &Broker, ctx: &RequestContext, request: ProduceRequest) -> ProduceReply {
    let (version, acks) = (ctx.api_version, request.acks);
    wait_while_paused(broker, ctx, &request).await;
    if request.transactional_id.is_some() && broker.faults().is_lost(Coordinator::Transaction) {
        // Nobody can say whether the transaction is open.
        return refused(request, ResponseError::NotEnoughReplicas, version);
    }
    let topics = request.topic_data;
    let responses = match request.transactional_id {
        None => Terms { broker, version, acks, transaction: None }.append_all(topics),
        Some(id) => broker.transactions().in_transaction(&id.0, |mut open| {
            if let Ok(open) = &mut open
                && version >= ADDS
            {
                // Refused again, batch by batch.
                let _ = enlist(broker, open, version, &topics);
            }
            Terms { broker, version, acks, transaction: Some(open) }.append_all(topics)
        }),
    };
    ProduceReply { response: ProduceResponse::default().with_responses(responses), wanted: acks != 0 }
}

fn find_topic(broker: &Broker, version: i16, data: &TopicProduceData) -> Result<Arc<Topic>, ResponseError> {
    if version >= 13 {
        broker.catalog().topic_by_id(data.topic_id).ok_or(ResponseError::UnknownTopicId)
    } else {
        broker.catalog().topic(&data.name).ok_or(ResponseError::UnknownTopicOrPartition)
    }
}

/// Adds all partitions of the request that exist to the transaction, as of the producer of the first batch.
fn enlist(
    broker: &Broker,
    open: &mut OpenTransaction<'_>,
    version: i16,
    topics: &[TopicProduceData],
) -> Result<(), ResponseError> {
    let mut partitions = Vec::new();
    let mut producer = None;
    for data in topics {
        let Ok(topic) = find_topic(broker, version, data) else { continue };
        for partition in data.partition_data.iter().filter(|data| topic.log(data.index).is_ok()) {
            let header = partition.records.as_ref().and_then(|records| BatchHeader::parse(records).ok());
            if let Some(header) = header.filter(BatchHeader::is_transactional) {
                producer.get_or_insert(producer_of(&header));
                partitions.push(TopicPartitionName::new(topic.name.clone(), partition.index));
            }
        }
    }
    let Some(producer) = producer else { return Ok(()) };
    if partitions.iter().all(|partition| open.check(producer, partition).is_ok()) {
        return Ok(());
    }
    block_in_place(|| open.enlist(producer, partitions, txn::VERSION))
}

fn producer_of(header: &BatchHeader) -> ProducerEpoch {
    ProducerEpoch { id: header.producer_id, epoch: header.producer_epoch }
}

impl Terms<'_> {
    fn append_all(&self, topics: Vec<TopicProduceData>) -> Vec<TopicProduceResponse> {
        topics.into_iter().map(|topic| self.append_to_topic(topic)).collect()
    }

    fn append_to_topic(&self, data: TopicProduceData) -> TopicProduceResponse {
        let topic = find_topic(self.broker, self.version, &data);
        let append = |partition: PartitionProduceData| {
            let index = partition.index;
            let outcome = match &topic {
                Err(error) => Err(ApiError::new(*error, error.to_string())),
                Ok(topic) => {
                    self.check(topic, index).and_then(|()| self.append(topic, index, partition.records))
                }
            };
            respond(self.version, index, outcome)
        };
        TopicProduceResponse::default()
            .with_name(data.name)
            .with_topic_id(data.topic_id)
            .with_partition_responses(data.partition_data.into_iter().map(append).collect())
    }

    fn check(&self, topic: &Topic, index: i32) -> Result<(), ApiError> {
        if !(-1..=1).contains(&self.acks) {
            return Err(ApiError::new(ResponseError::InvalidRequiredAcks, "acks must be -1, 0 or 1"));
        }
        if topic.is_internal() {
            let message = format!("{} can only be written by the broker", topic.name);
            return Err(ApiError::new(ResponseError::InvalidTopicException, message));
        }
        if self.acks == -1 && topic.min_insync_replicas() > 1 {
            let message = "min.insync.replicas is larger than 1, and this broker is the only one";
            return Err(ApiError::new(ResponseError::NotEnoughReplicas, message));
        }
        if self.broker.faults().paused().is_paused(&topic.name, index) {
            let message = "the partition is paused by an injected fault";
            return Err(ApiError::new(ResponseError::RequestTimedOut, message));
        }
        Ok(())
    }

    fn append(&self, topic: &Topic, index: i32, records: Option<Bytes>) -> Result<Appended, ApiError> {
        let log = topic.log(index).map_err(|error| ApiError::new(error, error.to_string()))?;
        let records = records.filter(|records| !records.is_empty()).ok_or_else(|| {
            ApiError::new(
                ResponseError::InvalidRecord,
                "a produce request must contain a record batch per partition",
            )
        })?;
        let origin = self.admit(topic, index, &records)?;
        // Into the page cache an append is quick; one that waits for the disk lets the thread's other tasks move on.
        let waits_for_disk = log.config().flush_messages != i64::MAX;
        let append = || log.append_from(origin, records);
        let appended = if waits_for_disk { block_in_place(append) } else { append() };
        appended.map_err(|error| ApiError::new(append_error(&error), error.to_string()))
    }

    /// A transactional batch is written only while its producer's transaction is open and has the partition.
    fn admit(&self, topic: &Topic, index: i32, records: &Bytes) -> Result<Origin, ApiError> {
        let Some(open) = &self.transaction else { return Ok(Origin::Client) };
        // What can't be parsed is refused by the log, with the reason.
        let Some(header) = BatchHeader::parse(records).ok().filter(BatchHeader::is_transactional) else {
            return Ok(Origin::Client);
        };
        let partition = TopicPartitionName::new(topic.name.clone(), index);
        let admitted = match open {
            Ok(open) => open.check(producer_of(&header), &partition),
            Err(error) => Err(*error),
        };
        admitted.map(|()| Origin::Transaction).map_err(|error| {
            let error = refusal(error, self.version, ABORTABLE, ADDS);
            let message = format!("{partition} can't be written in this transaction: {error}");
            ApiError::new(error, message)
        })
    }
}

fn respond(version: i16, index: i32, outcome: Result<Appended, ApiError>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(appended) => {
            let response = response
                .with_error_code(NONE)
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.log_append_time);
            if version >= 5 { response.with_log_start_offset(appended.log_start_offset) } else { response }
        }
        Err(error) => {
            let response = response.with_error_code(error.code()).with_base_offset(-1);
            if version >= 8 { response.with_error_message(error.text()) } else { response }
        }
    }
}
