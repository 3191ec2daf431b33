//! ListOffsets: the earliest and latest offset, the first at or after a timestamp, the one with the largest timestamp.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::api::{LEADER_EPOCH, NONE, check_leader_epoch, log_error};
use crate::broker::Broker;
use crate::log::Log;
use crate::router::RequestContext;

/// Timestamps with a meaning of their own (`ListOffsetsRequest` of Apache Kafka).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

const READ_COMMITTED: i8 = 1;

/// Looks up each partition on its own.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == READ_COMMITTED;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let found = look_up(broker, &topic, partition, read_committed);
            respond(ctx.api_version, partition.partition_index, found)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// An offset and its timestamp; -1 for either that there is none.
type Found = (i64, i64);

fn look_up(
    broker: &Broker,
    topic: &ListOffsetsTopic,
    partition: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<Found, ResponseError> {
    let log = broker.catalog().log(&topic.name, partition.partition_index)?;
    check_leader_epoch(partition.current_leader_epoch)?;
    find(&log, partition.timestamp, read_committed)
}

fn find(log: &Log, timestamp: i64, read_committed: bool) -> Result<Found, ResponseError> {
    let upper = if read_committed { log.last_stable_offset() } else { log.end_offset() };
    let found = match timestamp {
        LATEST => Some((upper, -1)),
        EARLIEST | EARLIEST_LOCAL => Some((log.log_start_offset(), -1)),
        LATEST_TIERED => None,
        MAX_TIMESTAMP => {
            log.max_timestamp().map_err(|error| log_error(&error))?.filter(|(offset, _)| *offset < upper)
        }
        ..0 => return Err(ResponseError::UnsupportedVersion),
        timestamp => log
            .offset_for_time(timestamp)
            .map_err(|error| log_error(&error))?
            .filter(|(offset, _)| *offset < upper),
    };
    Ok(found.unwrap_or((-1, -1)))
}

fn respond(version: i16, index: i32, found: Result<Found, ResponseError>) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok((offset, timestamp)) => {
            let response = response.with_error_code(NONE).with_offset(offset).with_timestamp(timestamp);
            if version >= 4 { response.with_leader_epoch(LEADER_EPOCH) } else { response }
        }
        Err(error) => response.with_error_code(error.code()).with_offset(-1).with_timestamp(-1),
    }
}
