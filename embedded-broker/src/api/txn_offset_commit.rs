//! TxnOffsetCommit: a group's offsets, committed if a producer's transaction is (KIP-98, KIP-447).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use tokio::task::block_in_place;

use crate::broker::Broker;
use crate::internal_log::ProducerEpoch;
use crate::router::RequestContext;
use crate::topics::offsets_partition;
use crate::txn::{self, OpenTransaction, refusal};

/// The first version that knows TRANSACTION_ABORTABLE (KIP-890).
const ABORTABLE: i16 = 4;
/// From this version on the request itself adds the offsets to the transaction, without AddOffsetsToTxn before.
const ADDS: i16 = 5;

/// Stores the offsets as pending, if the producer's transaction takes in the group's offsets.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let producer = ProducerEpoch { id: request.producer_id.0, epoch: request.producer_epoch };
    let exists = |topic: &str, partition| broker.catalog().has_partition(topic, partition);
    let id = request.transactional_id.0.clone();
    let plain = as_offset_commit(request);
    // The transaction stays locked until the offsets are stored.
    let commit = |open: Result<OpenTransaction<'_>, ResponseError>| {
        let mut open = open?;
        match ctx.api_version {
            ADDS.. => open.enlist(producer, [offsets_partition()], txn::VERSION)?,
            _ => open.check(producer, &offsets_partition())?,
        }
        Ok(broker.groups().commit_in_transaction(&plain, producer, &exists))
    };
    let committed = block_in_place(|| broker.transactions().in_transaction(&id, commit));
    match committed {
        Ok(response) => respond(&plain, |topic, at| response.topics[topic].partitions[at].error_code),
        Err(error) => {
            let code = refused(error, ctx.api_version).code();
            respond(&plain, |_, _| code)
        }
    }
}

/// Every partition is refused for the same reason.
fn refused(error: ResponseError, version: i16) -> ResponseError {
    match refusal(error, version, ABORTABLE, ADDS) {
        ResponseError::NotEnoughReplicas => ResponseError::CoordinatorNotAvailable,
        error => error,
    }
}

fn as_offset_commit(request: TxnOffsetCommitRequest) -> OffsetCommitRequest {
    let topic = |topic: TxnOffsetCommitRequestTopic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_committed_metadata(partition.committed_metadata)
        });
        OffsetCommitRequestTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    };
    OffsetCommitRequest::default()
        .with_group_id(request.group_id)
        .with_generation_id_or_member_epoch(request.generation_id)
        .with_member_id(request.member_id)
        .with_group_instance_id(request.group_instance_id)
        .with_retention_time_ms(-1)
        .with_topics(request.topics.into_iter().map(topic).collect())
}

/// One code for each partition, by the places of topic and partition in the request.
fn respond(request: &OffsetCommitRequest, code: impl Fn(usize, usize) -> i16) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().enumerate().map(|(at_topic, topic)| {
        let partitions = topic.partitions.iter().enumerate().map(|(at, partition)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(at_topic, at))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
