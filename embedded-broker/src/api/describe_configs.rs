//! DescribeConfigs: a topic's settings or the broker's, each with its source.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::{ApiError, BROKER_RESOURCE, NONE, TOPIC_RESOURCE};
use crate::broker::{Broker, NODE_ID};
use crate::config::key::ConfigKey;
use crate::config::{Settings, broker as broker_keys, topic as topic_keys};
use crate::router::RequestContext;
use crate::topics::{Source, effective};

/// Describes each resource on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let detail = Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(broker, &resource, detail) {
            Ok(configs) => result.with_error_code(NONE).with_configs(configs),
            Err(error) => result.with_error_code(error.code()).with_error_message(error.text()),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

#[derive(Debug, Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

fn describe(
    broker: &Broker,
    resource: &DescribeConfigsResource,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let wanted = |key: &&ConfigKey| match &resource.configuration_keys {
        Some(names) => names.iter().any(|name| name.as_str() == key.name),
        None => true,
    };
    let settings = &broker.settings().given;
    match resource.resource_type {
        TOPIC_RESOURCE => {
            let topic = broker.catalog().topic(&resource.resource_name).ok_or_else(|| {
                ApiError::new(
                    ResponseError::UnknownTopicOrPartition,
                    "This server does not host this topic-partition.",
                )
            })?;
            let overrides = topic.overrides();
            let keys = topic_keys::KEYS.iter().filter(wanted);
            Ok(keys.map(|key| topic_entry(key, &overrides, settings, detail)).collect())
        }
        // The empty name stands for the defaults of all brokers, which can't be set here.
        BROKER_RESOURCE if resource.resource_name.is_empty() => Ok(Vec::new()),
        BROKER_RESOURCE if resource.resource_name.as_str() == NODE_ID.0.to_string() => Ok(broker_keys::KEYS
            .iter()
            .filter(wanted)
            .map(|key| broker_entry(key, settings, detail))
            .collect()),
        BROKER_RESOURCE => {
            let message = format!(
                "Unexpected broker id, expected {} but received {}",
                NODE_ID.0, resource.resource_name
            );
            Err(ApiError::new(ResponseError::InvalidRequest, message))
        }
        other => {
            Err(ApiError::new(ResponseError::InvalidRequest, format!("Unsupported resource type: {other}")))
        }
    }
}

fn topic_entry(
    key: &ConfigKey,
    own: &Settings,
    broker: &Settings,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let (value, source) = effective(key, own, broker);
    let mut synonyms = Vec::new();
    if detail.synonyms {
        if let Some(value) = own.get(key.name) {
            synonyms.push(synonym(key.name, value, Source::Topic));
        }
        if let Some(name) = key.synonym {
            if let Some(value) = broker.get(name) {
                synonyms.push(synonym(name, value, Source::Broker));
            }
            synonyms.push(synonym(name, key.default, Source::Default));
        }
    }
    entry(key, value, source, false, detail).with_synonyms(synonyms)
}

fn broker_entry(key: &ConfigKey, given: &Settings, detail: Detail) -> DescribeConfigsResourceResult {
    let (value, source) = match given.get(key.name) {
        Some(value) => (value.as_str(), Source::Broker),
        None => (key.default, Source::Default),
    };
    let mut synonyms = Vec::new();
    if detail.synonyms {
        if source == Source::Broker {
            synonyms.push(synonym(key.name, value, source));
        }
        synonyms.push(synonym(key.name, key.default, Source::Default));
    }
    entry(key, value, source, true, detail).with_synonyms(synonyms)
}

fn entry(
    key: &ConfigKey,
    value: &str,
    source: Source,
    read_only: bool,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(key.name))
        .with_value(Some(StrBytes::from_string(value.to_owned())))
        .with_read_only(read_only)
        .with_config_source(source as i8)
        .with_config_type(key.type_id())
        .with_documentation(detail.documentation.then(|| StrBytes::from_static_str(key.doc)))
}

fn synonym(name: &'static str, value: &str, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_string(value.to_owned())))
        .with_source(source as i8)
}
