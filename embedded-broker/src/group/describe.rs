//! What administrators see of a group: ListGroups and DescribeGroups.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::protocol::StrBytes;

use super::classic::Group;
use super::member::Member;
use super::state::GroupState;

/// The type of every group here (KIP-848 calls it so).
pub(crate) const GROUP_TYPE: &str = "classic";

impl Group {
    /// The group's line in a listing.
    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup::default()
            .with_group_id(GroupId(self.id().clone()))
            .with_protocol_type(self.protocol_type.clone().unwrap_or_default())
            .with_group_state(StrBytes::from_static_str(self.state().name()))
            .with_group_type(StrBytes::from_static_str(GROUP_TYPE))
    }

    /// The group with its members. Only a stable group shows a protocol and the metadata for it; assignments are the
    /// last ones given.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.is_in(GroupState::Stable);
        let protocol = self.protocol.clone().filter(|_| stable);
        let metadata =
            |member: &Member| protocol.as_ref().map(|name| member.metadata(name)).unwrap_or_default();
        let member = |member: &Member| {
            DescribedGroupMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance_id.clone())
                .with_client_id(member.client.id.clone())
                .with_client_host(member.client.host.clone())
                .with_member_assignment(member.assignment.clone())
                .with_member_metadata(metadata(member))
        };
        DescribedGroup::default()
            .with_group_id(GroupId(self.id().clone()))
            .with_group_state(StrBytes::from_static_str(self.state().name()))
            .with_protocol_type(self.protocol_type.clone().unwrap_or_default())
            .with_members(self.members.values().map(member).collect())
            .with_protocol_data(protocol.clone().unwrap_or_default())
    }
}

/// The description of a group that isn't there: dead, and from version 6 (KIP-1043) an error too.
pub(crate) fn unknown_group(id: GroupId, version: i16) -> DescribedGroup {
    let dead = DescribedGroup::default().with_group_state(StrBytes::from_static_str(GroupState::Dead.name()));
    if version < 6 {
        return dead.with_group_id(id);
    }
    let message = format!("Group {} not found.", id.as_str());
    dead.with_group_id(id)
        .with_error_code(ResponseError::GroupIdNotFound.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
