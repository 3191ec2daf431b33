//! Heartbeat: a member is alive, and learns of rebalances.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::broker::Broker;
use crate::router::RequestContext;

/// Passed on to the group.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    broker.groups().heartbeat(&request)
}
