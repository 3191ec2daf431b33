//! Metadata: brokers, topics, partitions; creates topics that are asked for when `auto.create.topics.enable` says so.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use tokio::task::block_in_place;

use crate::api::{CLUSTER_OPERATIONS, LEADER_EPOCH, NONE, TOPIC_OPERATIONS};
use crate::broker::{Broker, NODE_ID};
use crate::config::Settings;
use crate::router::RequestContext;
use crate::topics::{NewTopic, Topic};

/// Describes the topics asked for, or all.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let version = ctx.api_version;
    let topics = match request.topics {
        // In version 0 the empty list means all topics.
        Some(topics) if version > 0 || !topics.is_empty() => {
            let create = version < 4 || request.allow_auto_topic_creation;
            topics.into_iter().map(|topic| named(broker, topic, create)).collect()
        }
        _ => broker.catalog().topics().iter().map(|topic| describe(topic)).collect(),
    };
    let address = broker.advertised(ctx.connection.local);
    let node = MetadataResponseBroker::default()
        .with_node_id(NODE_ID)
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    let mut topics: Vec<MetadataResponseTopic> = topics;
    if version >= 8 && request.include_topic_authorized_operations {
        topics.iter_mut().for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
    }
    let operations = (8..=10).contains(&version) && request.include_cluster_authorized_operations;
    MetadataResponse::default()
        .with_cluster_authorized_operations(if operations { CLUSTER_OPERATIONS } else { i32::MIN })
        .with_brokers(vec![node])
        .with_cluster_id(
            (version >= 2).then(|| StrBytes::from_string(broker.data_dir().cluster_id().to_owned())),
        )
        .with_controller_id(NODE_ID)
        .with_topics(topics)
}

fn named(broker: &Broker, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let Some(name) = asked.name else {
        return match broker.catalog().topic_by_id(asked.topic_id) {
            Some(topic) => describe(&topic),
            None => MetadataResponseTopic::default()
                .with_name(None)
                .with_topic_id(asked.topic_id)
                .with_error_code(ResponseError::UnknownTopicId.code()),
        };
    };
    match find_or_create(broker, &name, create) {
        Ok(topic) => describe(&topic),
        Err(error) => MetadataResponseTopic::default().with_name(Some(name)).with_error_code(error.code()),
    }
}

fn find_or_create(broker: &Broker, name: &str, create: bool) -> Result<Arc<Topic>, ResponseError> {
    if let Some(topic) = broker.catalog().topic(name) {
        return Ok(topic);
    }
    let partitions = broker.settings().num_partitions;
    let new = NewTopic { name, partitions, overrides: Settings::new() };
    if !create || !broker.settings().auto_create_topics {
        // An illegal name is told apart from a missing topic even when nothing would be created.
        return Err(match broker.catalog().check_new(&new) {
            Err(error) if error.error == ResponseError::InvalidTopicException => error.error,
            _ => ResponseError::UnknownTopicOrPartition,
        });
    }
    match block_in_place(|| broker.catalog().create(new)) {
        Ok(topic) => Ok(topic),
        // Another connection was faster.
        Err(error) if error.error == ResponseError::TopicAlreadyExists => {
            broker.catalog().topic(name).ok_or(ResponseError::UnknownTopicOrPartition)
        }
        Err(error) => Err(error.error),
    }
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partition = |index| {
        // A partition whose log can't be opened has no leader, as in Apache Kafka when its directory fails.
        let online = topic.log(index).is_ok();
        MetadataResponsePartition::default()
            .with_error_code(if online { NONE } else { ResponseError::LeaderNotAvailable.code() })
            .with_partition_index(index)
            .with_leader_id(NODE_ID)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE_ID])
            .with_isr_nodes(vec![NODE_ID])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(topic.id)
        .with_is_internal(topic.is_internal())
        .with_partitions((0..topic.partition_count()).map(partition).collect())
}
