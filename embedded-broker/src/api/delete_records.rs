//! DeleteRecords: moves the start of a partition forward (KIP-107), as repartition topics are purged.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use tokio::task::block_in_place;

use crate::api::{NONE, log_error};
use crate::broker::Broker;
use crate::router::RequestContext;

/// The offset that stands for the end of the log.
const HIGH_WATERMARK: i64 = -1;

/// Purges each partition on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let result =
                DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
            match purge(broker, &topic.name, partition) {
                Ok(start) => result.with_error_code(NONE).with_low_watermark(start),
                Err(error) => result.with_error_code(error.code()).with_low_watermark(-1),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn purge(broker: &Broker, name: &str, asked: &DeleteRecordsPartition) -> Result<i64, ResponseError> {
    let topic = broker.catalog().topic(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let log = topic.log(asked.partition_index)?;
    // Only logs that delete old records may lose them at their start; in a compacted one every key counts.
    if topic.is_internal() || !broker.catalog().log_config(&topic).delete {
        return Err(ResponseError::PolicyViolation);
    }
    let offset = if asked.offset == HIGH_WATERMARK { log.end_offset() } else { asked.offset };
    if !(0..=log.end_offset()).contains(&offset) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    block_in_place(|| log.delete_records_before(offset)).map_err(|error| log_error(&error))
}
