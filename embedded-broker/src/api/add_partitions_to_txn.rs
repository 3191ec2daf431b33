//! AddPartitionsToTxn: a producer says which partitions its transaction is about to reach (KIP-98).
//!
//! From version 4 on the request is for brokers, which this one has none to talk to of.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use tokio::task::block_in_place;

use crate::api::{NONE, fenced_before};
use crate::broker::Broker;
use crate::internal_log::ProducerEpoch;
use crate::log::TopicPartitionName;
use crate::router::RequestContext;

/// The first version that knows PRODUCER_FENCED.
const FENCED: i16 = 2;

/// Adds all partitions or, if one doesn't exist, none.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let exists = |topic: &str, partition| broker.catalog().has_partition(topic, partition);
    let topics = &request.v3_and_below_topics;
    let names = topics.iter().flat_map(|topic| {
        let name = |partition: &i32| TopicPartitionName::new(topic.name.as_str(), *partition);
        topic.partitions.iter().map(name)
    });
    let names: Vec<TopicPartitionName> = names.collect();
    let outcome = if names.iter().all(|name| exists(&name.topic, name.partition)) {
        let producer = ProducerEpoch {
            id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let id = &request.v3_and_below_transactional_id.0;
        block_in_place(|| broker.transactions().add_partitions(id, producer, names))
    } else {
        Err(ResponseError::OperationNotAttempted)
    };
    let code = outcome.map_or_else(|error| fenced_before(FENCED, ctx, error).code(), |()| NONE);
    let results = topics.iter().map(|topic| {
        let result = |partition: &i32| {
            let unknown = outcome.is_err() && !exists(&topic.name, *partition);
            let code = if unknown { ResponseError::UnknownTopicOrPartition.code() } else { code };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(code)
        };
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(topic.partitions.iter().map(result).collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}
