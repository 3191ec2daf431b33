//! DeleteGroups: forgets groups without members, with their offsets (KIP-229).

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use crate::api::NONE;
use crate::broker::Broker;
use crate::router::RequestContext;

/// One result for each group.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let delete = |id: GroupId| {
        let code = broker.groups().delete_group(&id).map_or_else(|error| error.code(), |()| NONE);
        DeletableGroupResult::default().with_group_id(id).with_error_code(code)
    };
    DeleteGroupsResponse::default().with_results(request.groups_names.into_iter().map(delete).collect())
}
