//! JoinGroup: a member enters a group or takes part in its rebalance.

use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::group::Client;
use crate::router::RequestContext;

/// The answer comes when all members of the group have joined.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let client = Client { id: ctx.client_id.clone(), host: StrBytes::from_string(ctx.client_host()) };
    broker.groups().join_group(request, ctx.api_version, client).await
}
