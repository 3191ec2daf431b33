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

use crate::api::{ApiError, NONE};
use crate::broker::Broker;
use crate::log::{Appended, Log};
use crate::reply::{IntoReply, Reply};
use crate::router::{RequestContext, RequestError};
use crate::topics::Topic;

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
        if let Some(topic) = find_topic(broker, ctx, data) {
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

fn find_topic(broker: &Broker, ctx: &RequestContext, data: &TopicProduceData) -> Option<Arc<Topic>> {
    let catalog = broker.catalog();
    if ctx.api_version >= 13 { catalog.topic_by_id(data.topic_id) } else { catalog.topic(&data.name) }
}

/// Appends to each partition on its own.
pub(crate) async fn handle(broker: &Broker, ctx: &RequestContext, request: ProduceRequest) -> ProduceReply {
    let acks = request.acks;
    let refused = if !(-1..=1).contains(&acks) {
        Some(ApiError::new(ResponseError::InvalidRequiredAcks, "acks must be -1, 0 or 1"))
    } else if request.transactional_id.is_some() {
        // The place of transactions: KIP-98's partition check goes here.
        Some(ApiError::new(ResponseError::InvalidTxnState, "this broker has no transactions yet"))
    } else {
        None
    };
    if refused.is_none() {
        wait_while_paused(broker, ctx, &request).await;
    }
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        responses.push(append_to_topic(broker, ctx, topic, acks, refused.as_ref()));
    }
    ProduceReply { response: ProduceResponse::default().with_responses(responses), wanted: acks != 0 }
}

fn append_to_topic(
    broker: &Broker,
    ctx: &RequestContext,
    data: TopicProduceData,
    acks: i16,
    refused: Option<&ApiError>,
) -> TopicProduceResponse {
    let topic = find_topic(broker, ctx, &data).ok_or(match ctx.api_version {
        13.. => ResponseError::UnknownTopicId,
        _ => ResponseError::UnknownTopicOrPartition,
    });
    let append = |partition: PartitionProduceData| {
        let index = partition.index;
        let outcome = match (refused, &topic) {
            (Some(error), _) => Err(error.clone()),
            (None, Err(error)) => Err(ApiError::new(*error, error.to_string())),
            (None, Ok(topic)) if topic.is_internal() => {
                let message = format!("{} can only be written by the broker", topic.name);
                Err(ApiError::new(ResponseError::InvalidTopicException, message))
            }
            (None, Ok(topic)) if acks == -1 && topic.min_insync_replicas() > 1 => {
                let message = "min.insync.replicas is larger than 1, and this broker is the only one";
                Err(ApiError::new(ResponseError::NotEnoughReplicas, message))
            }
            (None, Ok(topic)) if broker.faults().paused().is_paused(&topic.name, index) => Err(
                ApiError::new(ResponseError::RequestTimedOut, "the partition is paused by an injected fault"),
            ),
            (None, Ok(topic)) => topic
                .log(index)
                .map_err(|error| ApiError::new(error, error.to_string()))
                .and_then(|log| append(&log, partition.records)),
        };
        respond(ctx.api_version, index, outcome)
    };
    TopicProduceResponse::default()
        .with_name(data.name)
        .with_topic_id(data.topic_id)
        .with_partition_responses(data.partition_data.into_iter().map(append).collect())
}

fn append(log: &Log, records: Option<Bytes>) -> Result<Appended, ApiError> {
    let records = records.filter(|records| !records.is_empty()).ok_or_else(|| {
        ApiError::new(
            ResponseError::InvalidRecord,
            "a produce request must contain a record batch per partition",
        )
    })?;
    // Into the page cache an append is quick; one that waits for the disk lets the thread's other tasks move on.
    let waits_for_disk = log.config().flush_messages != i64::MAX;
    let appended = if waits_for_disk { block_in_place(|| log.append(records)) } else { log.append(records) };
    appended.map_err(|error| {
        let code = error.kafka_error();
        if code == ResponseError::KafkaStorageError {
            tracing::error!(error = &error as &dyn std::error::Error, "append failed");
        }
        ApiError::new(code, error.to_string())
    })
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
