//! OffsetDelete: forgets committed offsets of topics that nobody in the group subscribes to (KIP-496).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::api::NONE;
use crate::broker::Broker;
use crate::router::RequestContext;

/// One result for each partition.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let pairs = |topic: &OffsetDeleteRequestTopic| {
        let name = topic.name.0.clone();
        topic.partitions.iter().map(move |p| (name.clone(), p.partition_index)).collect::<Vec<_>>()
    };
    let asked: Vec<_> = request.topics.iter().flat_map(pairs).collect();
    let results = match broker.groups().delete_offsets(&request.group_id, &asked) {
        Ok(results) => results,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let known = broker.catalog().topic(&topic.name).is_some();
        let partitions = topic.partitions.into_iter().map(|partition| {
            let error = match results.next() {
                Some(Err(error)) => error.code(),
                _ if !known => ResponseError::UnknownTopicOrPartition.code(),
                _ => NONE,
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error)
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
