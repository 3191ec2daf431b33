//! CreatePartitions: more partitions for existing topics.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use tokio::task::block_in_place;

use crate::api::{ApiError, NONE};
use crate::broker::{Broker, NODE_ID};
use crate::router::RequestContext;

/// Grows each topic on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut seen = HashSet::new();
    let results = request.topics.iter().map(|topic| {
        let outcome = if seen.insert(topic.name.clone()) {
            grow(broker, topic, request.validate_only)
        } else {
            Err(ApiError::new(ResponseError::InvalidRequest, "Duplicate topic name."))
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        match outcome {
            Ok(()) => result.with_error_code(NONE),
            Err(error) => result.with_error_code(error.code()).with_error_message(error.text()),
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn grow(broker: &Broker, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), ApiError> {
    let topic = broker.catalog().topic(&asked.name).ok_or_else(|| {
        ApiError::new(
            ResponseError::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        )
    })?;
    if topic.is_internal() {
        let message = format!("{} is internal: its number of partitions is fixed.", topic.name);
        return Err(ApiError::new(ResponseError::InvalidTopicException, message));
    }
    let added = asked.count.saturating_sub(topic.partition_count());
    if let Some(assignments) = &asked.assignments {
        let here = assignments.iter().all(|assignment| assignment.broker_ids == [NODE_ID]);
        if usize::try_from(added).ok() != Some(assignments.len()) || !here {
            let message =
                format!("Each of the {added} new partitions must be assigned to broker {} alone.", NODE_ID.0);
            return Err(ApiError::new(ResponseError::InvalidReplicaAssignment, message));
        }
    }
    if validate_only {
        topic.check_growth(asked.count)
    } else {
        block_in_place(|| broker.catalog().grow(&topic, asked.count))
    }
}
