//! DeleteTopics: by name, or from version 6 on by id.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::{ApiError, NONE};
use crate::broker::Broker;
use crate::router::RequestContext;
use crate::topics::Topic;

/// Deletes each topic on its own.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = |name| DeleteTopicState::default().with_name(Some(name));
    let asked: Vec<DeleteTopicState> = if ctx.api_version >= 6 {
        request.topics
    } else {
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut results = Vec::with_capacity(asked.len());
    for state in asked {
        let (topic, outcome) = match find(broker, &state) {
            Ok(topic) => (Some(topic.clone()), broker.delete_topic(&topic).await),
            Err(error) => (None, Err(error)),
        };
        results.push(result(ctx.api_version, &state, topic.as_deref(), outcome));
    }
    DeleteTopicsResponse::default().with_responses(results)
}

fn find(broker: &Broker, state: &DeleteTopicState) -> Result<Arc<Topic>, ApiError> {
    if !broker.settings().delete_topics {
        return Err(ApiError::new(ResponseError::TopicDeletionDisabled, "Topic deletion is disabled."));
    }
    let topic = match &state.name {
        Some(name) => broker.catalog().topic(name).ok_or_else(|| {
            ApiError::new(
                ResponseError::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        }),
        None => broker.catalog().topic_by_id(state.topic_id).ok_or_else(|| {
            ApiError::new(ResponseError::UnknownTopicId, "This server does not host this topic ID.")
        }),
    }?;
    if topic.is_internal() {
        let message = format!("{} is internal and can't be deleted.", topic.name);
        return Err(ApiError::new(ResponseError::InvalidTopicException, message));
    }
    Ok(topic)
}

fn result(
    version: i16,
    state: &DeleteTopicState,
    topic: Option<&Topic>,
    outcome: Result<(), ApiError>,
) -> DeletableTopicResult {
    let named = topic.map(|topic| TopicName(StrBytes::from_string(topic.name.to_string())));
    let mut result = DeletableTopicResult::default().with_name(named.or_else(|| state.name.clone()));
    if version >= 6 {
        result = result.with_topic_id(topic.map_or(state.topic_id, |topic| topic.id));
    }
    match outcome {
        Ok(()) => result.with_error_code(NONE),
        Err(error) if version >= 5 => result.with_error_code(error.code()).with_error_message(error.text()),
        Err(error) => result.with_error_code(error.code()),
    }
}
