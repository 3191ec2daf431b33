//! Refused requests about consumer groups and their offsets.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::{Refuse, refused_at_the_top};
use crate::fault::Coordinator;
use crate::group::{refuse_commit, refuse_join};

refused_at_the_top! {
    HeartbeatRequest => HeartbeatResponse of Coordinator::Group,
    LeaveGroupRequest => LeaveGroupResponse of Coordinator::Group,
    ListGroupsRequest => ListGroupsResponse of Coordinator::Group,
    OffsetDeleteRequest => OffsetDeleteResponse of Coordinator::Group,
    SyncGroupRequest => SyncGroupResponse of Coordinator::Group,
}

impl Refuse for JoinGroupRequest {
    type Answer = JoinGroupResponse;

    fn refuse(self, error: ResponseError, version: i16) -> JoinGroupResponse {
        refuse_join(self.member_id, error, version)
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Group)
    }
}

impl Refuse for OffsetCommitRequest {
    type Answer = OffsetCommitResponse;

    fn refuse(self, error: ResponseError, _: i16) -> OffsetCommitResponse {
        OffsetCommitResponse::default().with_topics(refuse_commit(&self, error))
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Group)
    }
}

impl Refuse for OffsetFetchRequest {
    type Answer = OffsetFetchResponse;

    fn refuse(self, error: ResponseError, version: i16) -> OffsetFetchResponse {
        if version >= 8 {
            let groups = self.groups.into_iter().map(|group| {
                OffsetFetchResponseGroup::default()
                    .with_group_id(group.group_id)
                    .with_error_code(error.code())
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        if version >= 2 {
            return OffsetFetchResponse::default().with_error_code(error.code());
        }
        // Version 1 has no place for an error of the request as a whole.
        let topics = self.topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|partition| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(-1)
                    .with_error_code(error.code())
            });
            OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Group)
    }
}

impl Refuse for FindCoordinatorRequest {
    type Answer = FindCoordinatorResponse;

    fn refuse(self, error: ResponseError, version: i16) -> FindCoordinatorResponse {
        let nowhere = BrokerId(-1);
        if version >= 4 {
            let refused = self.coordinator_keys.into_iter().map(|key| {
                let found = Found::default().with_key(key).with_node_id(nowhere).with_port(-1);
                found.with_error_code(error.code())
            });
            return FindCoordinatorResponse::default().with_coordinators(refused.collect());
        }
        let response = FindCoordinatorResponse::default().with_error_code(error.code());
        response.with_node_id(nowhere).with_port(-1)
    }
}

impl Refuse for DescribeGroupsRequest {
    type Answer = DescribeGroupsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DescribeGroupsResponse {
        let refused = |id| DescribedGroup::default().with_group_id(id).with_error_code(error.code());
        DescribeGroupsResponse::default().with_groups(self.groups.into_iter().map(refused).collect())
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Group)
    }
}

impl Refuse for DeleteGroupsRequest {
    type Answer = DeleteGroupsResponse;

    fn refuse(self, error: ResponseError, _: i16) -> DeleteGroupsResponse {
        let refused = |id| DeletableGroupResult::default().with_group_id(id).with_error_code(error.code());
        DeleteGroupsResponse::default().with_results(self.groups_names.into_iter().map(refused).collect())
    }

    fn coordinator(&self) -> Option<Coordinator> {
        Some(Coordinator::Group)
    }
}
