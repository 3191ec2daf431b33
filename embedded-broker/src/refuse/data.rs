//! Refused requests about topics, records and the cluster.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, ApiVersionsRequest, ApiVersionsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeLogDirsRequest, DescribeLogDirsResponse, FetchRequest, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
};

use super::{Refuse, refused_at_the_top};
use crate::api::fetch::{self, FetchReply};
use crate::api::produce::{self, ProduceReply};

refused_at_the_top! {
    ApiVersionsRequest => ApiVersionsResponse,
    DescribeClusterRequest => DescribeClusterResponse,
}

impl Refuse for DescribeLogDirsRequest {
    type Answer = DescribeLogDirsResponse;

    fn refuse(self, error: ResponseError, version: i16) -> DescribeLogDirsResponse {
        let response = DescribeLogDirsResponse::default();
        if version >= 3 {
            return response.with_error_code(error.code());
        }
        // Before, a directory is what can have an error.
        response.with_results(vec![DescribeLogDirsResult::default().with_error_code(error.code())])
    }
}

impl Refuse for ProduceRequest {
    type Answer = ProduceReply;

    fn refuse(self, error: ResponseError, version: i16) -> ProduceReply {
        produce::refused(self, error, version)
    }
}

impl Refuse for FetchRequest {
    type Answer = FetchReply;

    fn refuse(self, error: ResponseError, _: i16) -> FetchReply {
        fetch::refused(&self, error)
    }
}

impl Refuse for ListOffsetsRequest {
    type Answer = ListOffsetsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> ListOffsetsResponse {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error.code())
            });
            ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

impl Refuse for MetadataRequest {
    type Answer = MetadataResponse;

    fn refuse(self, error: ResponseError, version: i16) -> MetadataResponse {
        let topics = self.topics.unwrap_or_default().into_iter().map(|topic| {
            MetadataResponseTopic::default()
                .with_error_code(error.code())
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
        });
        let response = MetadataResponse::default().with_topics(topics.collect());
        // From version 13 on there is a place for an error of the request as a whole.
        if version >= 13 { response.with_error_code(error.code()) } else { response }
    }
}

impl Refuse for CreateTopicsRequest {
    type Answer = CreateTopicsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> CreateTopicsResponse {
        let topics = self
            .topics
            .into_iter()
            .map(|topic| CreatableTopicResult::default().with_name(topic.name).with_error_code(error.code()));
        CreateTopicsResponse::default().with_topics(topics.collect())
    }
}

impl Refuse for DeleteTopicsRequest {
    type Answer = DeleteTopicsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DeleteTopicsResponse {
        let by_name = self.topic_names.into_iter().map(|name| (Some(name), uuid::Uuid::nil()));
        let topics = self.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
        let refused = by_name.chain(topics).map(|(name, id)| {
            DeletableTopicResult::default().with_name(name).with_topic_id(id).with_error_code(error.code())
        });
        DeleteTopicsResponse::default().with_responses(refused.collect())
    }
}

impl Refuse for DeleteRecordsRequest {
    type Answer = DeleteRecordsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DeleteRecordsResponse {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(partition.partition_index)
                    .with_low_watermark(-1)
                    .with_error_code(error.code())
            });
            DeleteRecordsTopicResult::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }
}

impl Refuse for OffsetForLeaderEpochRequest {
    type Answer = OffsetForLeaderEpochResponse;

    fn refuse(self, error: ResponseError, _: i16) -> OffsetForLeaderEpochResponse {
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                EpochEndOffset::default().with_partition(partition.partition).with_error_code(error.code())
            });
            OffsetForLeaderTopicResult::default()
                .with_partitions(partitions.collect())
                .with_topic(topic.topic)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }
}

impl Refuse for DescribeConfigsRequest {
    type Answer = DescribeConfigsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DescribeConfigsResponse {
        let results = self.resources.into_iter().map(|resource| {
            DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(error.code())
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}

impl Refuse for AlterConfigsRequest {
    type Answer = AlterConfigsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> AlterConfigsResponse {
        let results = self.resources.into_iter().map(|resource| {
            AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(error.code())
        });
        AlterConfigsResponse::default().with_responses(results.collect())
    }
}

impl Refuse for IncrementalAlterConfigsRequest {
    type Answer = IncrementalAlterConfigsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> IncrementalAlterConfigsResponse {
        let results = self.resources.into_iter().map(|resource| {
            IncrementalResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(error.code())
        });
        IncrementalAlterConfigsResponse::default().with_responses(results.collect())
    }
}

impl Refuse for CreatePartitionsRequest {
    type Answer = CreatePartitionsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> CreatePartitionsResponse {
        let results = self.topics.into_iter().map(|topic| {
            CreatePartitionsTopicResult::default().with_name(topic.name).with_error_code(error.code())
        });
        CreatePartitionsResponse::default().with_results(results.collect())
    }
}
