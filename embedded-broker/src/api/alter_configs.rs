//! AlterConfigs: replaces all of a topic's own settings. `IncrementalAlterConfigs` is the kinder sibling.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use tokio::task::block_in_place;

use crate::api::{self, ApiError, NONE};
use crate::broker::Broker;
use crate::router::RequestContext;
use crate::topics::check_overrides;

/// Alters each resource on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), ApiError> {
    let topic = api::alterable_topic(broker, resource.resource_type, &resource.resource_name)?;
    let mut given = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic configs: {}", config.name);
            return Err(ApiError::new(ResponseError::InvalidRequest, message));
        };
        given.push((config.name.as_str(), value.as_str()));
    }
    let overrides = check_overrides(given, broker.catalog().broker_settings())?;
    if validate_only {
        return Ok(());
    }
    block_in_place(|| broker.catalog().reconfigure(&topic, overrides))
}
