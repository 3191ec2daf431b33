//! LeaveGroup: members go, or an administrator removes them.

use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::broker::Broker;
use crate::router::RequestContext;

/// Passed on to the group.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    broker.groups().leave_group(&request, ctx.api_version)
}
