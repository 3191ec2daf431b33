//! One module per API: `async fn handle(broker, context, request) -> response`.
//!
//! A handler gets a request whose version is supported and answers every fault with the protocol's error code. It runs
//! on a thread it shares with others: what waits for the disk goes through `block_in_place`.

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod alter_configs;
pub(crate) mod api_versions;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_transactions;
pub(crate) mod end_txn;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_transactions;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;
pub(crate) mod txn_offset_commit;
pub(crate) mod write_txn_markers;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::broker::{Broker, NODE_ID};
use crate::config::ConfigError;
use crate::log::{AppendError, LogError};
use crate::router::RequestContext;
use crate::topics::Topic;

/// "No error" in the protocol.
pub(crate) const NONE: i16 = 0;

/// The leader epoch of every partition: the only broker has led from the start.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Resource types of the config APIs (`ConfigResource.Type`).
pub(crate) const TOPIC_RESOURCE: i8 = 2;
pub(crate) const BROKER_RESOURCE: i8 = 4;

/// What anybody may do without an authorizer: bits by `AclOperation` code, as Apache Kafka sets them.
pub(crate) const CLUSTER_OPERATIONS: i32 = operations(&[5, 7, 8, 9, 10, 11, 12]);
pub(crate) const GROUP_OPERATIONS: i32 = operations(&[3, 6, 8]);
pub(crate) const TOPIC_OPERATIONS: i32 = operations(&[3, 4, 5, 6, 7, 8, 10, 11]);

const fn operations(codes: &[u32]) -> i32 {
    let (mut bits, mut at) = (0, 0);
    while at < codes.len() {
        bits |= 1 << codes[at];
        at += 1;
    }
    bits
}

/// A fault of one item of a request: the protocol's error and a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Goes into `error_code`.
    pub(crate) error: ResponseError,
    /// Goes into `error_message` where the response has one.
    pub(crate) message: String,
}

impl ApiError {
    /// An error with a message of its own.
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        ApiError { error, message: message.into() }
    }

    /// `error_code`.
    pub(crate) fn code(&self) -> i16 {
        self.error.code()
    }

    /// `error_message`.
    pub(crate) fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        ApiError::new(ResponseError::InvalidConfig, error.to_string())
    }
}

/// The protocol's error for a log's, noted in the broker's log if it is the disk's fault.
pub(crate) fn log_error(error: &LogError) -> ResponseError {
    let code = error.kafka_error();
    if code == ResponseError::KafkaStorageError {
        tracing::error!(error = error as &dyn std::error::Error, "storage failed");
    }
    code
}

/// The protocol's error for a refused append, noted in the broker's log if it is the disk's fault.
pub(crate) fn append_error(error: &AppendError) -> ResponseError {
    let code = error.kafka_error();
    if code == ResponseError::KafkaStorageError {
        tracing::error!(error = error as &dyn std::error::Error, "append failed");
    }
    code
}

/// Requests before version `first` know PRODUCER_FENCED under its old name.
pub(crate) fn fenced_before(first: i16, ctx: &RequestContext, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if ctx.api_version < first => ResponseError::InvalidProducerEpoch,
        error => error,
    }
}

/// Compares the leader epoch a client knows with ours (KIP-320); -1 means that it knows none.
pub(crate) fn check_leader_epoch(current: i32) -> Result<(), ResponseError> {
    if current < 0 || current == LEADER_EPOCH {
        Ok(())
    } else if current < LEADER_EPOCH {
        Err(ResponseError::FencedLeaderEpoch)
    } else {
        Err(ResponseError::UnknownLeaderEpoch)
    }
}

/// The topic whose settings a request wants to change.
pub(crate) fn alterable_topic(
    broker: &Broker,
    resource_type: i8,
    name: &str,
) -> Result<Arc<Topic>, ApiError> {
    let refused = |message: String| Err(ApiError::new(ResponseError::InvalidRequest, message));
    match resource_type {
        TOPIC_RESOURCE => match broker.catalog().topic(name) {
            Some(topic) if topic.is_internal() => {
                refused(format!("The settings of {name} can't be changed."))
            }
            Some(topic) => Ok(topic),
            None => Err(ApiError::new(
                ResponseError::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            )),
        },
        BROKER_RESOURCE if name.is_empty() || name == NODE_ID.0.to_string() => {
            refused("This broker's settings are fixed when it is started.".to_owned())
        }
        other => refused(format!("Unexpected resource type {other}.")),
    }
}
