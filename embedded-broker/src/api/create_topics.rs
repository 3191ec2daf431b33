//! CreateTopics: new topics with partitions and settings, or (`validate_only`) whether they could be created.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::task::block_in_place;
use uuid::Uuid;

use crate::api::{ApiError, NONE};
use crate::broker::{Broker, NODE_ID};
use crate::config::{Settings, topic as topic_keys};
use crate::router::RequestContext;
use crate::topics::{NewTopic, check_overrides, effective};

/// Creates each topic on its own: one that fails does not keep the others from being created.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut times = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_insert(0) += 1;
    }
    let mut results = Vec::with_capacity(times.len());
    for topic in request.topics {
        // A name given twice is refused once, as in Apache Kafka.
        match times.remove(&topic.name) {
            None => continue,
            Some(1) => results.push(create(broker, ctx, &topic, request.validate_only)),
            Some(_) => {
                let error = ApiError::new(ResponseError::InvalidRequest, "Duplicate topic name.");
                results.push(failed(&topic, ctx.api_version, &error));
            }
        }
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn create(
    broker: &Broker,
    ctx: &RequestContext,
    topic: &CreatableTopic,
    validate_only: bool,
) -> CreatableTopicResult {
    match try_create(broker, topic, validate_only) {
        Ok(created) => succeeded(broker, ctx.api_version, topic, &created),
        Err(error) => failed(topic, ctx.api_version, &error),
    }
}

struct Created {
    id: Uuid,
    partitions: i32,
    overrides: Settings,
}

fn try_create(broker: &Broker, topic: &CreatableTopic, validate_only: bool) -> Result<Created, ApiError> {
    let partitions = partition_count(broker, topic)?;
    let overrides = overrides(broker, topic)?;
    let new = NewTopic { name: &topic.name, partitions, overrides: overrides.clone() };
    let id = if validate_only {
        broker.catalog().check_new(&new)?;
        Uuid::nil()
    } else {
        block_in_place(|| broker.catalog().create(new))?.id
    };
    Ok(Created { id, partitions, overrides })
}

/// How many partitions the request asks for, by number or by assigning each to the only broker.
fn partition_count(broker: &Broker, topic: &CreatableTopic) -> Result<i32, ApiError> {
    if topic.assignments.is_empty() {
        check_replication_factor(topic.replication_factor)?;
        return Ok(if topic.num_partitions == -1 {
            broker.settings().num_partitions
        } else {
            topic.num_partitions
        });
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message = "Partitions and replication factor must be -1 when replicas are assigned.";
        return Err(ApiError::new(ResponseError::InvalidRequest, message));
    }
    let mut indexes: Vec<i32> =
        topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    let consecutive = indexes.iter().zip(0..).all(|(index, expected)| *index == expected);
    let here = topic.assignments.iter().all(|assignment| assignment.broker_ids == [NODE_ID]);
    if !consecutive || !here {
        let message =
            format!("Partitions must be numbered from 0 and assigned to broker {} alone.", NODE_ID.0);
        return Err(ApiError::new(ResponseError::InvalidReplicaAssignment, message));
    }
    i32::try_from(indexes.len())
        .map_err(|_| ApiError::new(ResponseError::InvalidPartitions, "too many partitions"))
}

fn check_replication_factor(factor: i16) -> Result<(), ApiError> {
    match factor {
        -1 | 1 => Ok(()),
        2.. => Err(ApiError::new(
            ResponseError::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} \
                 cannot be reached because only 1 broker(s) are registered."
            ),
        )),
        _ => Err(ApiError::new(
            ResponseError::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )),
    }
}

fn overrides(broker: &Broker, topic: &CreatableTopic) -> Result<Settings, ApiError> {
    let mut given = Vec::with_capacity(topic.configs.len());
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic configs: {}", config.name);
            return Err(ApiError::new(ResponseError::InvalidConfig, message));
        };
        given.push((config.name.as_str(), value.as_str()));
    }
    check_overrides(given, broker.catalog().broker_settings()).map_err(ApiError::from)
}

fn succeeded(
    broker: &Broker,
    version: i16,
    topic: &CreatableTopic,
    created: &Created,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(NONE);
    if version < 5 {
        return result.with_configs(None);
    }
    let configs = topic_keys::KEYS.iter().map(|key| {
        let (value, source) = effective(key, &created.overrides, broker.catalog().broker_settings());
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(key.name))
            .with_value(Some(StrBytes::from_string(value.to_owned())))
            .with_config_source(source as i8)
    });
    let result = result
        .with_num_partitions(created.partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()));
    if version >= 7 { result.with_topic_id(created.id) } else { result }
}

fn failed(topic: &CreatableTopic, version: i16, error: &ApiError) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(error.code())
        .with_error_message(error.text());
    if version >= 5 { result.with_configs(Some(Vec::new())) } else { result.with_configs(None) }
}
