//! SyncGroup: the leader's assignment, stored and then handed to every member.
//!
//! References: Apache Kafka `GroupMetadataManager.classicGroupSync*`, KIP-559 (protocol type and name).

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::classic::{Env, Group};
use super::member::Reply;
use super::state::GroupState;

/// The answer to a sync that failed.
pub(crate) fn sync_error(error: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}

impl Group {
    /// Handles a SyncGroup. A follower's answer waits for the leader's.
    pub(crate) fn sync(
        &mut self,
        env: &Env<'_>,
        request: &SyncGroupRequest,
        reply: Reply<SyncGroupResponse>,
    ) {
        let refusal = self.validate_sync(request).err().or(match self.state() {
            GroupState::Empty | GroupState::Dead => Some(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => Some(ResponseError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => None,
        });
        if let Some(error) = refusal {
            let _ = reply.send(sync_error(error));
            return;
        }
        self.pending_sync.remove(&request.member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
        if self.is_in(GroupState::Stable) {
            let assignment = self.members.get(&request.member_id).map(|m| m.assignment.clone());
            let _ = reply.send(self.sync_response(assignment.unwrap_or_default()));
            return;
        }
        if let Some(member) = self.members.get_mut(&request.member_id) {
            // An earlier sync still parked is a retry's predecessor.
            member.complete_sync(sync_error(ResponseError::RebalanceInProgress));
            member.sync_reply = Some(reply);
        }
        if self.is_leader(&request.member_id) {
            self.assign(env, request);
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ResponseError> {
        if self.is_in(GroupState::Dead) {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_ref(), "sync-group")?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |asked: &Option<StrBytes>, ours: &Option<StrBytes>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Stores the leader's assignment, THEN hands it out: a member must not work on what a restarted broker
    /// wouldn't know of.
    fn assign(&mut self, env: &Env<'_>, request: &SyncGroupRequest) {
        let given: HashMap<&StrBytes, &Bytes> =
            request.assignments.iter().map(|a| (&a.member_id, &a.assignment)).collect();
        let assignment =
            |id: &StrBytes| given.get(id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
        tracing::info!(
            group = %self.id, generation = self.generation, members = self.members.len(),
            leader = %request.member_id, "assignment received"
        );
        match self.store(env, &|member| assignment(&member.id)) {
            Ok(()) => {
                for member in self.members.values_mut() {
                    member.assignment = assignment(&member.id);
                }
                self.propagate_assignment(env, None);
                self.transition_to(GroupState::Stable, env.now);
            }
            Err(error) => {
                tracing::warn!(group = %self.id, generation = self.generation, %error, "cannot store the assignment: rebalancing again");
                self.reset_assignment(env, error.for_coordinator());
                self.rebalance_or_complete_join(env, "the assignment could not be stored");
            }
        }
    }

    /// Takes back the assignments and answers everybody who waits for one with `error`.
    pub(super) fn reset_assignment(&mut self, env: &Env<'_>, error: ResponseError) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.propagate_assignment(env, Some(error));
    }

    /// Answers the parked SyncGroups. Their members' sessions start again: had one expired while the answer was
    /// ours to give, nothing would watch the member any more.
    fn propagate_assignment(&mut self, env: &Env<'_>, error: Option<ResponseError>) {
        let template =
            self.sync_response(Bytes::new()).with_error_code(error.map_or(0, |error| error.code()));
        for member in self.members.values_mut() {
            if member.complete_sync(template.clone().with_assignment(member.assignment.clone())) {
                member.session_deadline = Some(env.now.mono_ms.saturating_add(member.session_timeout_ms));
            }
        }
    }

    fn sync_response(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_assignment(assignment)
    }
}
