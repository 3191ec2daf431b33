//! Rebalances: gathering the members, starting the next generation, and the timers of both.
//!
//! Reference: Apache Kafka `GroupMetadataManager.prepareRebalance`, `completeClassicGroupJoin`,
//! `tryCompleteInitialRebalanceElseSchedule`, `expirePendingSync`.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::classic::{Env, Group, JoinTimer, Now};
use super::join::join_error;
use super::state::GroupState;
use super::sync::sync_error;

/// What is due next in a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Join,
    Sync,
    Session(StrBytes),
    PendingJoin(StrBytes),
}

impl Group {
    /// A member came, changed or went: starts a rebalance, or ends the join phase of the one under way if this was
    /// the last member waited for.
    pub(super) fn rebalance_or_complete_join(&mut self, env: &Env<'_>, reason: &str) {
        match self.state() {
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(env, reason);
            }
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(env),
            GroupState::Dead => {}
        }
    }

    pub(super) fn prepare_rebalance(&mut self, env: &Env<'_>, reason: &str) {
        if self.is_in(GroupState::CompletingRebalance) {
            self.reset_assignment(env, ResponseError::RebalanceInProgress);
        }
        self.sync_deadline = None;
        tracing::info!(
            group = %self.id, state = %self.state(), generation = self.generation, reason,
            "preparing to rebalance"
        );
        let initial = self.is_in(GroupState::Empty);
        self.transition_to(GroupState::PreparingRebalance, env.now);
        if initial {
            let delay_ms = env.config.initial_rebalance_delay_ms;
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            let deadline = env.now.mono_ms.saturating_add(delay_ms);
            self.new_member_added = false;
            self.join_timer = Some(JoinTimer::Initial { deadline, delay_ms, remaining_ms });
        } else if self.has_all_members_joined() {
            self.complete_join(env);
        } else {
            self.start_rebalance_timer(env.now);
        }
    }

    fn start_rebalance_timer(&mut self, now: Now) {
        let deadline = now.mono_ms.saturating_add(self.rebalance_timeout_ms());
        self.join_timer = Some(JoinTimer::Rebalance { deadline });
    }

    /// An initial rebalance always lasts its delay, whoever has joined.
    pub(super) fn complete_join_if_all_joined(&mut self, env: &Env<'_>) {
        if self.is_in(GroupState::PreparingRebalance)
            && self.previous_state != GroupState::Empty
            && self.has_all_members_joined()
        {
            self.complete_join(env);
        }
    }

    /// The initial delay passed: it is extended while members keep coming, up to the rebalance timeout.
    fn end_initial_delay(&mut self, env: &Env<'_>, delay_ms: i64, remaining_ms: i64) {
        if !self.new_member_added || remaining_ms == 0 {
            self.complete_join(env);
            return;
        }
        self.new_member_added = false;
        let next_delay_ms = env.config.initial_rebalance_delay_ms.min(remaining_ms);
        self.join_timer = Some(JoinTimer::Initial {
            deadline: env.now.mono_ms.saturating_add(next_delay_ms),
            delay_ms: next_delay_ms,
            remaining_ms: (remaining_ms - delay_ms).max(0),
        });
    }

    /// Ends the join phase: dynamic members that didn't come are out, the others form the next generation.
    fn complete_join(&mut self, env: &Env<'_>) {
        self.join_timer = None;
        let absent = self.members.values().filter(|m| !m.is_awaiting_join() && m.instance_id.is_none());
        let absent: Vec<StrBytes> = absent.map(|member| member.id.clone()).collect();
        for member_id in &absent {
            self.remove_member(member_id);
        }
        if !absent.is_empty() {
            tracing::info!(group = %self.id, ?absent, "removed members that did not join in time");
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members, and none has come: they keep their places until their sessions end.
            tracing::warn!(group = %self.id, "no member joined the rebalance: waiting on");
            self.start_rebalance_timer(env.now);
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.protocol = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.become_empty(env);
        } else {
            self.transition_to(GroupState::CompletingRebalance, env.now);
            self.answer_joins(env);
        }
    }

    fn become_empty(&mut self, env: &Env<'_>) {
        self.transition_to(GroupState::Empty, env.now);
        tracing::info!(group = %self.id, generation = self.generation, "group is now empty");
        if let Err(error) = self.store(env, &|_| Bytes::new()) {
            // After a restart the former generation would be back, with members that don't come: their sessions
            // end and the group is empty again.
            tracing::warn!(group = %self.id, %error, "cannot store that the group is empty");
        }
    }

    fn answer_joins(&mut self, env: &Env<'_>) {
        tracing::info!(
            group = %self.id, generation = self.generation, members = self.members.len(),
            protocol = self.protocol.as_deref(), leader = self.leader.as_deref(), "generation started"
        );
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            let response = self.generation_response(&id, self.is_leader(&id));
            if let Some(member) = self.members.get_mut(&id) {
                member.complete_join(response);
                member.is_new = false;
            }
            self.reschedule_heartbeat(&id, env.now);
            self.pending_sync.insert(id);
        }
        self.sync_deadline = Some(env.now.mono_ms.saturating_add(self.rebalance_timeout_ms()));
    }

    /// Keeps the leader if it has joined, else takes a member that has; false if none has.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(super::member::Member::is_awaiting_join) {
            return true;
        }
        let joined = self.members.values().find(|member| member.is_awaiting_join());
        let Some(new_leader) = joined.map(|member| member.id.clone()) else { return false };
        tracing::info!(group = %self.id, leader = %new_leader, "the former leader did not join: new leader");
        self.leader = Some(new_leader);
        true
    }

    /// Members that joined and never asked for their assignment are out.
    fn expire_pending_sync(&mut self, env: &Env<'_>) {
        self.sync_deadline = None;
        let late: Vec<StrBytes> = self.pending_sync.iter().cloned().collect();
        let in_generation = matches!(self.state(), GroupState::CompletingRebalance | GroupState::Stable);
        if late.is_empty() || !in_generation {
            return;
        }
        for member_id in &late {
            self.remove_member(member_id);
        }
        self.prepare_rebalance(env, &format!("no SyncGroup in time from {late:?}"));
    }

    /// After a restart with a lowered `group.max.size`: the members join again, and only so many are let in.
    pub(crate) fn shrink_to_max_size(&mut self, env: &Env<'_>) {
        if self.members.len() > env.config.max_size {
            self.prepare_rebalance(env, "the group is larger than group.max.size");
        }
    }

    /// When [`Group::advance`] has something to do next (monotonic milliseconds).
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.next_timer().map(|(deadline, _)| deadline)
    }

    fn next_timer(&self) -> Option<(i64, Timer)> {
        let join = self.join_timer.map(|timer| match timer {
            JoinTimer::Initial { deadline, .. } | JoinTimer::Rebalance { deadline } => {
                (deadline, Timer::Join)
            }
        });
        let sync = self.sync_deadline.map(|deadline| (deadline, Timer::Sync));
        let sessions = self.members.values().filter_map(|m| m.session_deadline.map(|at| (at, &m.id)));
        let session = sessions.min().map(|(at, id)| (at, Timer::Session(id.clone())));
        let pending = self.pending_join.iter().map(|(id, at)| (*at, id)).min();
        let pending = pending.map(|(at, id)| (at, Timer::PendingJoin(id.clone())));
        [join, sync, session, pending].into_iter().flatten().min()
    }

    /// Does everything that is due, in order of time. To be called after every input too: a delay of zero is due
    /// at once.
    pub(crate) fn advance(&mut self, env: &Env<'_>) {
        while let Some((deadline, timer)) = self.next_timer() {
            if deadline > env.now.mono_ms {
                return;
            }
            // Each arm clears or moves its timer, so that the loop ends.
            match timer {
                Timer::Join => match self.join_timer.take() {
                    Some(JoinTimer::Initial { delay_ms, remaining_ms, .. }) => {
                        self.end_initial_delay(env, delay_ms, remaining_ms);
                    }
                    Some(JoinTimer::Rebalance { .. }) => self.complete_join(env),
                    None => {}
                },
                Timer::Sync => self.expire_pending_sync(env),
                Timer::Session(member_id) => self.expire_session(env, &member_id),
                Timer::PendingJoin(member_id) => {
                    tracing::info!(group = %self.id, member = %member_id, "id given out and not used in time");
                    self.pending_join.remove(&member_id);
                    self.complete_join_if_all_joined(env);
                }
            }
        }
    }

    /// Answers everything parked with `error`; members keep their places.
    pub(crate) fn answer_parked(&mut self, error: ResponseError) {
        for member in self.members.values_mut() {
            let id = member.id.clone();
            member.complete_join(join_error(id, error));
            member.complete_sync(sync_error(error));
        }
    }
}
