//! OffsetForLeaderEpoch: where a leader's epoch ended (KIP-320). There is one epoch, and it has not ended.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::api::{LEADER_EPOCH, NONE, check_leader_epoch};
use crate::broker::Broker;
use crate::router::RequestContext;

/// Answers for each partition on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let result = EpochEndOffset::default().with_partition(partition.partition);
            match end_of_epoch(broker, &topic.topic, partition) {
                Ok(Some(end)) => {
                    result.with_error_code(NONE).with_leader_epoch(LEADER_EPOCH).with_end_offset(end)
                }
                Ok(None) => result.with_error_code(NONE).with_leader_epoch(-1).with_end_offset(-1),
                Err(error) => result.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// The end of the current epoch; `None` for an epoch that never was.
fn end_of_epoch(
    broker: &Broker,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<i64>, ResponseError> {
    let log = broker.catalog().log(topic, asked.partition)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    Ok((asked.leader_epoch == LEADER_EPOCH).then(|| log.end_offset()))
}
