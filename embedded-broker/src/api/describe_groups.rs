//! DescribeGroups: state and members of groups.

use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::api::GROUP_OPERATIONS;
use crate::broker::Broker;
use crate::router::RequestContext;

/// From this version on a client can ask what it may do (KIP-430).
const OPERATIONS: i16 = 3;

/// A group that doesn't exist is described as dead.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut response = broker.groups().describe_groups(&request, ctx.api_version);
    if ctx.api_version >= OPERATIONS && request.include_authorized_operations {
        for group in response.groups.iter_mut().filter(|group| group.error_code == 0) {
            group.authorized_operations = GROUP_OPERATIONS;
        }
    }
    response
}
