//! FindCoordinator: this broker coordinates every group and every transaction.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::NONE;
use crate::broker::{Broker, NODE_ID};
use crate::fault;
use crate::router::RequestContext;

/// Key types: a group's id, a transactional id. Version 6 adds share groups (2), which this broker doesn't have.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// From this version on several keys are asked at once (KIP-699).
const BATCHED: i16 = 4;

/// Names this broker for each key.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let find = |key: &StrBytes| coordinator(broker, ctx, request.key_type, key);
    if ctx.api_version >= BATCHED {
        let found = request.coordinator_keys.iter().map(find).collect();
        return FindCoordinatorResponse::default().with_coordinators(found);
    }
    let found = find(&request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn coordinator(broker: &Broker, ctx: &RequestContext, key_type: i8, key: &StrBytes) -> Coordinator {
    let refusal = match key_type {
        GROUP => None,
        TRANSACTION if !key.is_empty() => None,
        TRANSACTION => Some("the transactional id is empty"),
        _ => Some("this broker coordinates groups (key type 0) and transactions (key type 1) only"),
    };
    let refused = |error: ResponseError, reason: &'static str| {
        Coordinator::default()
            .with_key(key.clone())
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str(reason)))
            .with_node_id(BrokerId(-1))
            .with_port(-1)
    };
    if let Some(reason) = refusal {
        return refused(ResponseError::InvalidRequest, reason);
    }
    let kind = if key_type == GROUP { fault::Coordinator::Group } else { fault::Coordinator::Transaction };
    if broker.faults().is_lost(kind) {
        return refused(ResponseError::CoordinatorNotAvailable, "the coordinator is lost");
    }
    let address = broker.advertised(ctx.connection.local);
    Coordinator::default()
        .with_key(key.clone())
        .with_error_code(NONE)
        .with_node_id(NODE_ID)
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into())
}
