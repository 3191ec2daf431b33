//! Heartbeat, LeaveGroup, and the end of a member's session.
//!
//! References: Apache Kafka `GroupMetadataManager.classicGroupHeartbeat`, `classicGroupLeave`,
//! `expireClassicGroupMemberHeartbeat`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::HeartbeatRequest;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::protocol::StrBytes;

use super::classic::{Env, Group};
use super::join::join_error;
use super::state::GroupState;
use super::sync::sync_error;

impl Group {
    /// Handles a Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        env: &Env<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), ResponseError> {
        if self.is_in(GroupState::Dead) {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_ref(), "heartbeat")?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        match self.state() {
            GroupState::Empty | GroupState::Dead => Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => {
                self.reschedule_heartbeat(&request.member_id, env.now);
                Err(ResponseError::RebalanceInProgress)
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.reschedule_heartbeat(&request.member_id, env.now);
                Ok(())
            }
        }
    }

    /// Handles a LeaveGroup for several members; one answer each, in order.
    pub(crate) fn leave(&mut self, env: &Env<'_>, members: &[MemberIdentity]) -> Vec<MemberResponse> {
        let joined_before = self.members.len();
        let mut responses = Vec::with_capacity(members.len());
        for member in members {
            let result = self.leave_one(member);
            responses.push(
                MemberResponse::default()
                    .with_member_id(member.member_id.clone())
                    .with_group_instance_id(member.group_instance_id.clone())
                    .with_error_code(result.err().map_or(0, |error| error.code())),
            );
        }
        match joined_before - self.members.len() {
            // An id given out and not used may have been all that the rebalance waited for.
            0 => self.complete_join_if_all_joined(env),
            left => self.rebalance_or_complete_join(env, &format!("{left} members left")),
        }
        responses
    }

    fn leave_one(&mut self, member: &MemberIdentity) -> Result<(), ResponseError> {
        let member_id = if member.member_id.is_empty() {
            // An administrator removes a static member by its instance id alone.
            let by_instance = member.group_instance_id.as_ref().and_then(|id| self.static_members.get(id));
            by_instance.cloned().ok_or(ResponseError::UnknownMemberId)?
        } else if self.pending_join.remove(&member.member_id).is_some() {
            return Ok(());
        } else {
            self.validate_member(&member.member_id, member.group_instance_id.as_ref(), "leave-group")?;
            member.member_id.clone()
        };
        tracing::info!(
            group = %self.id, member = %member_id, reason = member.reason.as_deref().unwrap_or("not provided"),
            "member leaves"
        );
        self.drop_member(&member_id);
        Ok(())
    }

    /// A member wasn't heard of within its session timeout.
    pub(super) fn expire_session(&mut self, env: &Env<'_>, member_id: &StrBytes) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.session_deadline = None;
        if member.has_satisfied_heartbeat() {
            return;
        }
        tracing::info!(group = %self.id, member = %member_id, "session timed out: removing the member");
        self.drop_member(member_id);
        self.rebalance_or_complete_join(env, &format!("session of {member_id} timed out"));
    }

    /// Removes a member; requests of it that wait are answered so that a client still there joins anew.
    pub(super) fn drop_member(&mut self, member_id: &StrBytes) {
        if let Some(mut member) = self.remove_member(member_id) {
            member.complete_join(join_error(StrBytes::new(), ResponseError::UnknownMemberId));
            member.complete_sync(sync_error(ResponseError::UnknownMemberId));
        }
    }
}

/// The answers to members that leave a group nobody knows.
pub(crate) fn unknown_leavers(members: &[MemberIdentity]) -> Vec<MemberResponse> {
    let unknown = |member: &MemberIdentity| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(ResponseError::UnknownMemberId.code())
    };
    members.iter().map(unknown).collect()
}
