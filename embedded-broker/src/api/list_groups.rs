//! ListGroups: all groups, or those in certain states (KIP-518) or of certain types (KIP-848).

use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::broker::Broker;
use crate::router::RequestContext;

/// Filters that a version doesn't have are empty and let everything through.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let groups = broker.groups().list_groups(&request.states_filter, &request.types_filter);
    ListGroupsResponse::default().with_groups(groups)
}
