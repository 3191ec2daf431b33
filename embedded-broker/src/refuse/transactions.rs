//! Refused requests about producers and their transactions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, TopicResponse};
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarkerTopic;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use super::{Refuse, refused_at_the_top};
use crate::fault::Coordinator;

refused_at_the_top! {
    AddOffsetsToTxnRequest => AddOffsetsToTxnResponse of Coordinator::Transaction,
    EndTxnRequest => EndTxnResponse of Coordinator::Transaction,
    ListTransactionsRequest => ListTransactionsResponse of Coordinator::Transaction,
}

impl Refuse for InitProducerIdRequest {
    type Answer = InitProducerIdResponse;

    fn refuse(self, error: ResponseError, _: i16) -> InitProducerIdResponse {
        let response = InitProducerIdResponse::default().with_error_code(error.code());
        response.with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
    }

    fn coordinator(&self) -> Option<Coordinator> {
        // Without a transactional id any broker hands out an id.
        self.transactional_id.as_ref().map(|_| Coordinator::Transaction)
    }
}

/// The results of one transaction's partitions.
fn refuse_partitions(
    topics: Vec<AddPartitionsToTxnTopic>,
    error: ResponseError,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let refused = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(error.code())
        });
        AddPartitionsToTxnTopicResult::default()
            .with_results_by_partition(partitions.collect())
            .with_name(topic.name)
    });
    refused.collect()
}

impl Refuse for AddPartitionsToTxnRequest {
    type Answer = AddPartitionsToTxnResponse;

    fn refuse(self, error: ResponseError, version: i16) -> AddPartitionsToTxnResponse {
        if version < 4 {
            let topics = refuse_partitions(self.v3_and_below_topics, error);
            return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics);
        }
        let results = self.transactions.into_iter().map(|transaction| {
            AddPartitionsToTxnResult::default()
                .with_transactional_id(transaction.transactional_id)
                .with_topic_results(refuse_partitions(transaction.topics, error))
        });
        AddPartitionsToTxnResponse::default().with_results_by_transaction(results.collect())
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Transaction)
    }
}

impl Refuse for TxnOffsetCommitRequest {
    type Answer = TxnOffsetCommitResponse;

    fn refuse(self, error: ResponseError, _: i16) -> TxnOffsetCommitResponse {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error.code())
            });
            TxnOffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        TxnOffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn coordinator(&self) -> Option<Coordinator> {
        // Offsets are the group's, in a transaction as outside.
        Some(Coordinator::Group)
    }
}

impl Refuse for WriteTxnMarkersRequest {
    type Answer = WriteTxnMarkersResponse;

    fn refuse(self, error: ResponseError, _: i16) -> WriteTxnMarkersResponse {
        let topic = |topic: WritableTxnMarkerTopic| {
            let partitions = topic.partition_indexes.iter().map(|partition| {
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_error_code(error.code())
            });
            WritableTxnMarkerTopicResult::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        };
        let markers = self.markers.into_iter().map(|marker| {
            WritableTxnMarkerResult::default()
                .with_producer_id(marker.producer_id)
                .with_topics(marker.topics.into_iter().map(topic).collect())
        });
        WriteTxnMarkersResponse::default().with_markers(markers.collect())
    }
}

impl Refuse for DescribeProducersRequest {
    type Answer = DescribeProducersResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DescribeProducersResponse {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|partition| {
                PartitionResponse::default().with_partition_index(*partition).with_error_code(error.code())
            });
            TopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        DescribeProducersResponse::default().with_topics(topics.collect())
    }
}

impl Refuse for DescribeTransactionsRequest {
    type Answer = DescribeTransactionsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DescribeTransactionsResponse {
        let refused =
            |id| TransactionState::default().with_transactional_id(id).with_error_code(error.code());
        let states = self.transactional_ids.into_iter().map(refused).collect();
        DescribeTransactionsResponse::default().with_transaction_states(states)
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Transaction)
    }
}
