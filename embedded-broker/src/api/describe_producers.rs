//! DescribeProducers: who has written to a partition with an id, and whose transaction is open there (KIP-664).

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::log::{ActiveProducer, Log};
use crate::router::RequestContext;

/// Describes each partition on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |index: &i32| {
            let response = PartitionResponse::default().with_partition_index(*index);
            match broker.catalog().log(&topic.name, *index) {
                Ok(log) => response.with_active_producers(producers(&log)),
                Err(error) => response
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(error.to_string()))),
            }
        };
        let partitions = topic.partition_indexes.iter().map(partition).collect();
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers(log: &Log) -> Vec<ProducerState> {
    let describe = |producer: ActiveProducer| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer.producer_id))
            .with_producer_epoch(producer.epoch.into())
            .with_last_sequence(producer.last_sequence)
            .with_last_timestamp(producer.last_ms)
            .with_coordinator_epoch(producer.coordinator_epoch)
            .with_current_txn_start_offset(producer.open_since.unwrap_or(-1))
    };
    log.active_producers().into_iter().map(describe).collect()
}
