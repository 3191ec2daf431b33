//! SyncGroup: the leader hands in the assignment, every member receives its part.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::broker::Broker;
use crate::router::RequestContext;

/// The answer comes when the leader has assigned.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    broker.groups().sync_group(request).await
}
