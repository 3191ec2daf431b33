//! One consumer group of the classic protocol: its data, and the questions the handlers ask of it.
//!
//! A group is a synchronous state machine (Apache Kafka's `ClassicGroup` and the classic half of its
//! `GroupMetadataManager`). Inputs are requests and the passing of time; answers leave through one-shot senders.
//! What each input does is in a file of its own: `join`, `sync`, `session` (heartbeat, leave, expiry),
//! `rebalance`, `offsets`, `describe`. Nothing here waits, reads a clock or draws a random number: [`Env`] brings
//! the time, the settings, the log and new member ids.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::protocol::StrBytes;

use super::config::GroupConfig;
use super::member::Member;
use super::offsets::Offsets;
use super::records::{Key, StoredGroup};
use super::state::GroupState;
use super::subscription;
use crate::internal_log::{Entry, InternalLog, StoreError};

/// The protocol type of Kafka's consumers; the only one whose subscriptions the broker can read.
pub(crate) const CONSUMER_PROTOCOL: &str = "consumer";

/// The time of an input, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds since the epoch: commit timestamps, expiry of offsets.
    pub(crate) wall_ms: i64,
    /// Milliseconds since some fixed point, never going back: session and rebalance timeouts.
    pub(crate) mono_ms: i64,
}

/// What a group needs from outside while it handles an input.
pub(crate) struct Env<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a GroupConfig,
    pub(crate) log: &'a dyn InternalLog,
    /// The random part of new member ids.
    pub(crate) new_id: &'a dyn Fn() -> String,
}

/// When the join phase ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinTimer {
    /// The first rebalance of an empty group waits for more members (`group.initial.rebalance.delay.ms`).
    Initial { deadline: i64, delay_ms: i64, remaining_ms: i64 },
    /// Who hasn't joined by then is out.
    Rebalance { deadline: i64 },
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) id: StrBytes,
    state: GroupState,
    pub(super) previous_state: GroupState,
    /// When `state` was entered (wall clock); none for groups stored by very old releases.
    pub(super) state_since_ms: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<StrBytes>,
    /// The protocol selected for this generation.
    pub(super) protocol: Option<StrBytes>,
    pub(super) leader: Option<StrBytes>,
    /// By member id, so that all walks have one order.
    pub(super) members: BTreeMap<StrBytes, Member>,
    /// `group.instance.id` -> member id.
    pub(super) static_members: HashMap<StrBytes, StrBytes>,
    /// Ids given out with MEMBER_ID_REQUIRED (KIP-394) and not yet joined, with the time they are forgotten.
    pub(super) pending_join: BTreeMap<StrBytes, i64>,
    /// Members of this generation whose SyncGroup is still to come.
    pub(super) pending_sync: BTreeSet<StrBytes>,
    /// What the members of this generation subscribe to; none if unknown.
    pub(super) subscribed_topics: Option<BTreeSet<StrBytes>>,
    /// Somebody joined since the initial delay was last extended.
    pub(super) new_member_added: bool,
    pub(super) join_timer: Option<JoinTimer>,
    pub(super) sync_deadline: Option<i64>,
    pub(super) offsets: Offsets,
}

impl Group {
    /// An empty group.
    pub(crate) fn new(id: StrBytes, now: Now) -> Self {
        Group {
            id,
            state: GroupState::Empty,
            previous_state: GroupState::Empty,
            state_since_ms: Some(now.wall_ms),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            new_member_added: false,
            join_timer: None,
            sync_deadline: None,
            offsets: Offsets::default(),
        }
    }

    /// Takes over what the log says of the group. A group with members is stable: they carry on with heartbeats
    /// and commits in the same generation, each given a whole session timeout from now.
    pub(crate) fn restore(&mut self, stored: StoredGroup, now: Now) {
        self.state = if stored.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        self.previous_state = self.state;
        self.state_since_ms = Some(stored.state_since_ms).filter(|ms| *ms >= 0);
        self.generation = stored.generation;
        self.protocol_type = Some(stored.protocol_type).filter(|name| !name.is_empty());
        self.leader = stored.leader;
        self.protocol = stored.protocol;
        for stored in stored.members {
            let mut member = Member::stored(stored, self.protocol.as_ref());
            member.session_deadline = Some(now.mono_ms.saturating_add(member.session_timeout_ms));
            if let Some(instance_id) = &member.instance_id {
                self.static_members.insert(instance_id.clone(), member.id.clone());
            }
            self.members.insert(member.id.clone(), member);
        }
        self.subscribed_topics = self.compute_subscribed_topics();
    }

    /// The group's id.
    pub(crate) fn id(&self) -> &StrBytes {
        &self.id
    }

    /// The current state.
    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    pub(super) fn is_in(&self, state: GroupState) -> bool {
        self.state == state
    }

    pub(super) fn transition_to(&mut self, next: GroupState, now: Now) {
        if !self.state.may_become(next) {
            // A bug of this module; staying keeps the group usable.
            tracing::error!(group = %self.id, from = %self.state, to = %next, "illegal group transition refused");
            debug_assert!(false, "illegal transition {} -> {next}", self.state);
            return;
        }
        self.previous_state = self.state;
        self.state = next;
        self.state_since_ms = Some(now.wall_ms);
    }

    pub(super) fn is_leader(&self, member_id: &StrBytes) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    /// The leader's id for responses; empty if there is none.
    pub(super) fn leader_or_empty(&self) -> StrBytes {
        self.leader.clone().unwrap_or_default()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|name| name.as_str() == CONSUMER_PROTOCOL)
    }

    /// The longest rebalance timeout of any member.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    pub(super) fn awaiting_join(&self) -> usize {
        self.members.values().filter(|member| member.is_awaiting_join()).count()
    }

    pub(super) fn has_all_members_joined(&self) -> bool {
        self.pending_join.is_empty() && self.members.values().all(Member::is_awaiting_join)
    }

    /// That the member is of this group and, if static, has not been replaced by a newer instance.
    pub(super) fn validate_member(
        &self,
        member_id: &StrBytes,
        instance_id: Option<&StrBytes>,
        operation: &str,
    ) -> Result<(), ResponseError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if current != member_id => {
                    tracing::info!(
                        group = %self.id, member = %member_id, instance = %instance_id, %current, operation,
                        "fenced: another member has this group.instance.id"
                    );
                    return Err(ResponseError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Adds a member that waits for its JoinGroup's answer.
    pub(super) fn add_member(&mut self, member: Member, protocol_type: &StrBytes) {
        if self.members.is_empty() {
            self.protocol_type = Some(super::member::own(protocol_type));
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Forgets a member, joined or pending. A request of it that still waits is answered by whoever parked it.
    pub(super) fn remove_member(&mut self, member_id: &StrBytes) -> Option<Member> {
        let removed = self.members.remove(member_id);
        if let Some(instance_id) = removed.as_ref().and_then(|member| member.instance_id.as_ref()) {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        removed
    }

    /// Whether a joining member fits in: its type, and one protocol at least that every member supports.
    pub(super) fn supports_protocols<'a>(
        &self,
        protocol_type: &StrBytes,
        mut protocols: impl Iterator<Item = &'a StrBytes>,
    ) -> bool {
        if self.is_in(GroupState::Empty) {
            return !protocol_type.is_empty() && protocols.next().is_some();
        }
        self.protocol_type.as_ref() == Some(protocol_type)
            && protocols.any(|name| self.members.values().all(|member| member.supports(name)))
    }

    /// The protocol most members prefer among those that all support. None only without members.
    pub(super) fn select_protocol(&self) -> Option<StrBytes> {
        let candidate = |name: &StrBytes| self.members.values().all(|member| member.supports(name));
        let mut votes: Vec<(StrBytes, usize)> = Vec::new();
        for member in self.members.values() {
            let Some((vote, _)) = member.protocols.iter().find(|(name, _)| candidate(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| name == vote) {
                Some((_, count)) => *count += 1,
                None => votes.push((vote.clone(), 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    /// The union of what the members subscribe to, if this is a group of consumers and all can be read.
    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<StrBytes>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            match subscription::topics(&member.metadata(protocol)) {
                Some(subscribed) => topics.extend(subscribed),
                None => {
                    tracing::warn!(group = %self.id, member = %member.id, "unreadable subscription: offsets of the group do not expire");
                    return None;
                }
            }
        }
        Some(topics)
    }

    /// Whether a topic's offsets are in use by members; also if that can't be known.
    pub(super) fn is_subscribed_to(&self, topic: &StrBytes) -> bool {
        self.uses_consumer_protocol()
            && self.subscribed_topics.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// What the leader is told about the members.
    pub(super) fn current_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.clone().unwrap_or_default();
        let describe = |member: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance_id.clone())
                .with_metadata(member.metadata(&protocol))
        };
        self.members.values().map(describe).collect()
    }

    /// Starts (again) the time a member may be silent.
    pub(super) fn reschedule_heartbeat(&mut self, member_id: &StrBytes, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_deadline = Some(now.mono_ms.saturating_add(member.session_timeout_ms));
        }
    }

    /// Writes the group's metadata with the given assignments (member id -> assignment).
    pub(super) fn store(
        &self,
        env: &Env<'_>,
        assignment: &dyn Fn(&Member) -> Bytes,
    ) -> Result<(), StoreError> {
        let protocol = self.protocol.clone().unwrap_or_default();
        let stored = StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms.unwrap_or(-1),
            members: self.members.values().map(|m| m.to_stored(&protocol, &assignment(m))).collect(),
        };
        let entry = Entry { key: Key::Group(self.id.clone()).encode(), value: Some(stored.encode()) };
        env.log.append(&[entry], env.now.wall_ms, None).map(drop)
    }

    /// The group is gone for good: everything parked is answered, and whoever looks next finds nothing.
    pub(super) fn die(&mut self, now: Now) {
        self.answer_parked(ResponseError::CoordinatorNotAvailable);
        self.transition_to(GroupState::Dead, now);
    }
}
