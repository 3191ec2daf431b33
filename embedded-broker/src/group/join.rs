//! JoinGroup: new members, members that come again, static members that replace their former selves.
//!
//! References: Apache Kafka `GroupMetadataManager.classicGroupJoin*`, KIP-62 (rebalance timeout), KIP-345 (static
//! membership), KIP-394 (member ids required), KIP-814 (skip assignment).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::classic::{Env, Group};
use super::member::{Client, Member, Reply, own};
use super::state::GroupState;

/// From this version a dynamic member first asks for its id (KIP-394).
const KNOWN_MEMBER_ID_VERSION: i16 = 4;
/// From this version a leader can be told to keep the assignment (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// A JoinGroup with what belongs to it.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) request: JoinGroupRequest,
    pub(crate) version: i16,
    pub(crate) client: Client,
}

impl Join {
    fn reason(&self) -> &str {
        match self.request.reason.as_deref() {
            None | Some("") => "not provided",
            Some(reason) => reason,
        }
    }
}

/// The answer to a join that failed.
pub(crate) fn join_error(member_id: StrBytes, error: ResponseError) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_member_id(member_id)
        .with_protocol_name(None)
}

fn answer(reply: Reply<JoinGroupResponse>, response: JoinGroupResponse) {
    // The client may have closed the connection.
    let _ = reply.send(response);
}

impl Group {
    /// Handles a JoinGroup. The answer may wait for the other members.
    pub(crate) fn join(&mut self, env: &Env<'_>, join: Join, reply: Reply<JoinGroupResponse>) {
        let member_id = &join.request.member_id;
        let protocols = join.request.protocols.iter().map(|protocol| &protocol.name);
        if !self.accepts(member_id, env.config.max_size) {
            self.drop_member(member_id);
            answer(reply, join_error(StrBytes::new(), ResponseError::GroupMaxSizeReached));
            self.complete_join_if_all_joined(env);
        } else if self.is_in(GroupState::Dead) {
            answer(reply, join_error(member_id.clone(), ResponseError::CoordinatorNotAvailable));
        } else if !self.supports_protocols(&join.request.protocol_type, protocols) {
            answer(reply, join_error(member_id.clone(), ResponseError::InconsistentGroupProtocol));
        } else if member_id.is_empty() {
            self.join_new(env, join, reply);
        } else {
            self.join_existing(env, join, reply);
        }
    }

    /// Whether there is room. While a rebalance gathers members, those that wait are counted: with a lowered
    /// `group.max.size` the last to join again are left out.
    fn accepts(&self, member_id: &StrBytes, max_size: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state() {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(Member::is_awaiting_join) || self.awaiting_join() < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < max_size
            }
        }
    }

    fn join_new(&mut self, env: &Env<'_>, join: Join, reply: Reply<JoinGroupResponse>) {
        let random = (env.new_id)();
        if let Some(instance_id) = &join.request.group_instance_id {
            let new_id = StrBytes::from_string(format!("{instance_id}-{random}"));
            match self.static_members.get(instance_id).cloned() {
                Some(old_id) => self.replace_static(env, join, &old_id, new_id, reply),
                None => self.add_and_rebalance(env, join, new_id, reply),
            }
            return;
        }
        let new_id = StrBytes::from_string(format!("{}-{random}", join.client.id));
        if join.version < KNOWN_MEMBER_ID_VERSION {
            self.add_and_rebalance(env, join, new_id, reply);
            return;
        }
        // The client comes back with this id; so a join whose answer is lost leaves no member behind.
        let deadline = env.now.mono_ms.saturating_add(i64::from(join.request.session_timeout_ms));
        self.pending_join.insert(new_id.clone(), deadline);
        answer(reply, join_error(new_id, ResponseError::MemberIdRequired));
    }

    fn join_existing(&mut self, env: &Env<'_>, join: Join, reply: Reply<JoinGroupResponse>) {
        let request = &join.request;
        let member_id = own(&request.member_id);
        if self.pending_join.contains_key(&member_id) && request.group_instance_id.is_none() {
            self.add_and_rebalance(env, join, member_id, reply);
            return;
        }
        if let Err(error) = self.validate_member(&member_id, request.group_instance_id.as_ref(), "join-group")
        {
            answer(reply, join_error(member_id, error));
            return;
        }
        let same = self.members.get(&member_id).is_some_and(|member| member.matches(request));
        let leader = self.is_leader(&member_id);
        let why = match self.state() {
            GroupState::PreparingRebalance => "member joins again",
            // The answer to its JoinGroup was lost: the same again, for the same generation.
            GroupState::CompletingRebalance if same => {
                answer(reply, self.generation_response(&member_id, leader));
                return;
            }
            // A leader that joins wants a new assignment for reasons the broker can't see (topic metadata).
            GroupState::Stable if leader => "leader joins again",
            // Followers without news get the generation they are in and sync into their assignment.
            GroupState::Stable if same => {
                answer(reply, self.generation_response(&member_id, false));
                return;
            }
            GroupState::CompletingRebalance | GroupState::Stable => "member's metadata changed",
            GroupState::Empty | GroupState::Dead => {
                answer(reply, join_error(member_id, ResponseError::UnknownMemberId));
                return;
            }
        };
        let reason = format!("{why}: {member_id}; client reason: {}", join.reason());
        if let Some(member) = self.members.get_mut(&member_id) {
            member.update(&join.request);
            await_join(member, reply);
        }
        self.rebalance_or_complete_join(env, &reason);
    }

    fn add_and_rebalance(
        &mut self,
        env: &Env<'_>,
        join: Join,
        member_id: StrBytes,
        reply: Reply<JoinGroupResponse>,
    ) {
        if self.is_in(GroupState::PreparingRebalance) && self.previous_state == GroupState::Empty {
            self.new_member_added = true;
        }
        let reason = format!("new member {member_id}; client reason: {}", join.reason());
        let mut member = Member::joining(member_id, &join.request, join.client);
        member.join_reply = Some(reply);
        // While its join is parked a new member can't send heartbeats, and a closed connection isn't seen: members
        // of clients that retried would stay for ever if nothing limited the wait.
        member.session_deadline = Some(env.now.mono_ms.saturating_add(env.config.new_member_join_timeout_ms));
        self.add_member(member, &join.request.protocol_type);
        self.rebalance_or_complete_join(env, &reason);
    }

    /// A static member came back without its id, usually restarted: the old id is fenced, the new one takes its
    /// place and assignment; while the group is stable and its protocol stays, without a rebalance.
    fn replace_static(
        &mut self,
        env: &Env<'_>,
        join: Join,
        old_id: &StrBytes,
        new_id: StrBytes,
        reply: Reply<JoinGroupResponse>,
    ) {
        tracing::info!(group = %self.id, old = %old_id, new = %new_id, "static member replaces its former self");
        let leader_before = self.leader_or_empty();
        self.rename_static(old_id, new_id.clone());
        self.reschedule_heartbeat(&new_id, env.now);
        let Some(member) = self.members.get_mut(&new_id) else { return };
        let before = (member.protocols.clone(), member.rebalance_timeout_ms, member.session_timeout_ms);
        member.update(&join.request);
        member.client = Client { id: own(&join.client.id), host: join.client.host.clone() };
        await_join(member, reply);
        let reason = format!("static member {new_id} replaced {old_id}; client reason: {}", join.reason());
        match self.state() {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                if let Err(error) = self.store(env, &|member| member.assignment.clone()) {
                    tracing::warn!(group = %self.id, member = %new_id, %error, "cannot store the new id of a static member: keeping the old");
                    if let Some(member) = self.members.get_mut(&new_id) {
                        member.complete_join(join_error(StrBytes::new(), error.for_coordinator()));
                        (member.protocols, member.rebalance_timeout_ms, member.session_timeout_ms) = before;
                    }
                    self.rename_static(&new_id, old_id.clone());
                    self.reschedule_heartbeat(old_id, env.now);
                    return;
                }
                let leads = self.is_leader(&new_id) && join.version >= SKIP_ASSIGNMENT_VERSION;
                // Older versions can't say "you lead, but don't assign": the leader named is the old id, so that
                // the member thinks it follows.
                let leader = if leads { new_id.clone() } else { leader_before };
                let response =
                    self.generation_response(&new_id, leads).with_leader(leader).with_skip_assignment(leads);
                if let Some(member) = self.members.get_mut(&new_id) {
                    member.complete_join(response);
                }
            }
            // The leader may hold the old id already; what it assigns to that would be lost.
            GroupState::CompletingRebalance => self.prepare_rebalance(env, &reason),
            GroupState::Stable | GroupState::PreparingRebalance => {
                self.rebalance_or_complete_join(env, &reason);
            }
            GroupState::Empty | GroupState::Dead => {
                if let Some(mut member) = self.remove_member(&new_id) {
                    member.complete_join(join_error(StrBytes::new(), ResponseError::UnknownMemberId));
                }
            }
        }
    }

    /// Gives a static member another id. What the old id waits for is answered with FENCED_INSTANCE_ID.
    fn rename_static(&mut self, old_id: &StrBytes, new_id: StrBytes) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        member.complete_join(join_error(old_id.clone(), ResponseError::FencedInstanceId));
        member.complete_sync(super::sync::sync_error(ResponseError::FencedInstanceId));
        member.id = new_id.clone();
        member.is_new = false;
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), new_id.clone());
        }
        self.members.insert(new_id, member);
    }

    /// The current generation as told to a member.
    pub(super) fn generation_response(&self, member_id: &StrBytes, with_members: bool) -> JoinGroupResponse {
        JoinGroupResponse::default()
            .with_member_id(member_id.clone())
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_leader(self.leader_or_empty())
            .with_members(if with_members { self.current_members() } else { Vec::new() })
    }
}

/// Parks a member's join. An earlier one still parked (the client gave up on it and retried) is told to come again.
fn await_join(member: &mut Member, reply: Reply<JoinGroupResponse>) {
    let id = member.id.clone();
    member.complete_join(join_error(id, ResponseError::RebalanceInProgress));
    member.join_reply = Some(reply);
}
