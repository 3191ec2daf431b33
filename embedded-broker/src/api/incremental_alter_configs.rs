//! IncrementalAlterConfigs: sets, removes, appends to or subtracts from single settings of a topic (KIP-339).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use tokio::task::block_in_place;

use crate::api::{self, ApiError, NONE};
use crate::broker::Broker;
use crate::config::key::{ConfigKey, Kind};
use crate::config::{Settings, topic as topic_keys};
use crate::router::RequestContext;
use crate::topics::{check_overrides, effective};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Alters each resource on its own; one resource's changes happen together or not at all.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let outcome = alter(broker, &resource, request.validate_only);
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match outcome {
            Ok(()) => response.with_error_code(NONE),
            Err(error) => response.with_error_code(error.code()).with_error_message(error.text()),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), ApiError> {
    let topic = api::alterable_topic(broker, resource.resource_type, &resource.resource_name)?;
    let defaults = broker.catalog().broker_settings();
    let mut settings = topic.overrides();
    for (position, config) in resource.configs.iter().enumerate() {
        if resource.configs.iter().skip(position + 1).any(|other| other.name == config.name) {
            let message = format!("Error due to duplicate config keys: {}", config.name);
            return Err(ApiError::new(ResponseError::InvalidRequest, message));
        }
        apply(&mut settings, config, defaults)?;
    }
    let settings =
        check_overrides(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())), defaults)?;
    if validate_only {
        return Ok(());
    }
    block_in_place(|| broker.catalog().reconfigure(&topic, settings))
}

fn apply(settings: &mut Settings, config: &AlterableConfig, defaults: &Settings) -> Result<(), ApiError> {
    let name = config.name.as_str();
    let value = || {
        config.value.as_ref().map(|value| value.to_string()).ok_or_else(|| {
            ApiError::new(ResponseError::InvalidRequest, format!("Null value not supported for: {name}"))
        })
    };
    match config.config_operation {
        SET => {
            settings.insert(name.to_owned(), value()?);
        }
        DELETE => {
            settings.remove(name);
        }
        APPEND | SUBTRACT => {
            let key = list_key(name)?;
            let mut items: Vec<String> = split(effective(key, settings, defaults).0);
            for item in split(&value()?) {
                items.retain(|present| *present != item);
                if config.config_operation == APPEND {
                    items.push(item);
                }
            }
            settings.insert(name.to_owned(), items.join(","));
        }
        other => {
            let message = format!("Unknown operation {other} for config {name}");
            return Err(ApiError::new(ResponseError::InvalidRequest, message));
        }
    }
    Ok(())
}

fn list_key(name: &str) -> Result<&'static ConfigKey, ApiError> {
    match topic_keys::find(name) {
        Some(key) if matches!(key.kind, Kind::List(_)) => Ok(key),
        _ => {
            let message = format!("Config value append/subtract is not allowed for config key: {name}");
            Err(ApiError::new(ResponseError::InvalidConfig, message))
        }
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::protocol::StrBytes;

    fn change(operation: i8, value: &str) -> AlterableConfig {
        AlterableConfig::default()
            .with_name(StrBytes::from_static_str("cleanup.policy"))
            .with_config_operation(operation)
            .with_value(Some(StrBytes::from_string(value.to_owned())))
    }

    #[test]
    fn appending_starts_from_the_value_in_force() {
        let (mut settings, defaults) = (Settings::new(), Settings::new());
        apply(&mut settings, &change(APPEND, "compact"), &defaults).unwrap();
        assert_eq!(settings["cleanup.policy"], "delete,compact");
        apply(&mut settings, &change(SUBTRACT, "delete"), &defaults).unwrap();
        assert_eq!(settings["cleanup.policy"], "compact");
        apply(&mut settings, &change(DELETE, ""), &defaults).unwrap();
        assert!(settings.is_empty());
    }

    #[test]
    fn only_lists_can_be_appended_to() {
        let change = change(APPEND, "5").with_name(StrBytes::from_static_str("retention.ms"));
        let error = apply(&mut Settings::new(), &change, &Settings::new()).unwrap_err();
        assert_eq!(error.error, ResponseError::InvalidConfig);
    }
}
