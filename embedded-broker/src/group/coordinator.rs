//! Locks, timers and waiting around the groups: what request handlers call.
//!
//! Each group has a lock of its own, held while one input is handled (that includes its append to the log, so memory
//! and log agree on the order) and never across an await. Lock order: group, then group table or timers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::classic::{Env, Group, Now};
use super::config::GroupConfig;
use super::describe;
use super::join::{Join, join_error};
use super::member::{Client, own};
use super::offsets::refuse_commit;
use super::pending::{OpenTransactions, note_open_transactions};
use super::records::CommittedOffset;
use super::state::GroupState;
use super::sync::sync_error;
use super::timers::Timers;
use super::{load, session};
use crate::clock::SharedClock;
use crate::internal_log::{InternalLog, ReplayError};
use crate::stop::StopSignal;

/// From this OffsetCommit version an unknown group is said to be unknown (KIP-848).
const GROUP_NOT_FOUND_COMMIT_VERSION: i16 = 9;
/// Before this LeaveGroup version there is one member, without a list (KIP-345).
const LEAVE_LIST_VERSION: i16 = 3;
/// Before this JoinGroup version the protocol name can't be null (KIP-559).
const NULL_PROTOCOL_VERSION: i16 = 7;

type Groups = HashMap<StrBytes, Arc<Mutex<Group>>>;

/// A committed offset or the lack of one; an error if a transaction is about to change it and the reader minds.
pub(crate) type FetchedPartition = (i32, Result<Option<CommittedOffset>, ResponseError>);
/// What an OffsetFetch found in one topic.
pub(crate) type FetchedTopic = (StrBytes, Vec<FetchedPartition>);

/// All groups of the broker.
pub(crate) struct GroupCoordinator {
    config: GroupConfig,
    pub(super) log: Arc<dyn InternalLog>,
    clock: SharedClock,
    started: Instant,
    groups: RwLock<Groups>,
    timers: Mutex<Timers>,
    /// Producer id to the groups in which its transaction may have committed offsets.
    pub(super) open_transactions: Mutex<OpenTransactions>,
    /// Wakes the timer task when something is due earlier than it thinks.
    wake: Notify,
    /// The broker stops: nothing is parked any more.
    closed: AtomicBool,
}

impl fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCoordinator").field("config", &self.config).finish_non_exhaustive()
    }
}

impl GroupCoordinator {
    /// Loads offsets and groups from the log. Members of stored groups get a whole session timeout to be heard of.
    ///
    /// # Errors
    /// [`ReplayError`] if the log can't be read.
    pub(crate) fn open(
        log: Arc<dyn InternalLog>,
        config: GroupConfig,
        clock: SharedClock,
    ) -> Result<Arc<Self>, ReplayError> {
        let coordinator = GroupCoordinator {
            config,
            log,
            clock,
            started: Instant::now(),
            groups: RwLock::default(),
            timers: Mutex::default(),
            open_transactions: Mutex::default(),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
        };
        coordinator.reload()?;
        Ok(Arc::new(coordinator))
    }

    /// Takes what the log says of offsets and groups in the place of what was in memory.
    pub(crate) fn reload(&self) -> Result<(), ReplayError> {
        // Held to the end: a transaction ends before, and the log tells of it, or after, in the groups loaded.
        let mut open = self.open_transactions.lock();
        open.clear();
        let mut loaded = load::load(&*self.log, self.now())?;
        for group in &mut loaded {
            let env = self.env();
            group.shrink_to_max_size(&env);
            group.advance(&env);
            self.note_deadline(group);
            note_open_transactions(&mut open, group);
        }
        tracing::debug!(groups = loaded.len(), "committed offsets and groups loaded");
        let by_id = loaded.into_iter().map(|group| (group.id().clone(), Arc::new(Mutex::new(group))));
        *self.groups.write() = by_id.collect();
        Ok(())
    }

    /// Loses every group from memory: what was parked is answered `NOT_COORDINATOR`.
    pub(crate) fn forget(&self) {
        self.for_each_group(|group, env| {
            group.answer_parked(ResponseError::NotCoordinator);
            group.die(env.now);
        });
    }

    /// Does what is due, until the broker stops; then answers every request still parked.
    pub(crate) async fn run(self: Arc<Self>, mut stop: StopSignal) {
        let check_every = Duration::from_millis(self.config.offsets_retention_check_interval_ms);
        let mut next_check = Instant::now() + check_every;
        loop {
            let next = self.timers.lock().next().and_then(|ms| u64::try_from(ms).ok());
            let due = next.map(|ms| self.started + Duration::from_millis(ms));
            let until = due.map_or(next_check, |due| due.min(next_check));
            tokio::select! {
                () = stop.stopped() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
            self.advance();
            if Instant::now() >= next_check {
                self.clean_up();
                next_check = Instant::now() + check_every;
            }
        }
        // First the mark, THEN the answers: who parks a request after this finds the mark.
        self.closed.store(true, Ordering::SeqCst);
        self.for_each_group(|group, _| group.answer_parked(ResponseError::NotCoordinator));
    }

    /// Nobody would answer a request parked after the stop.
    fn release_if_closed(&self, id: &StrBytes) {
        if self.closed.load(Ordering::SeqCst) {
            self.with_group(id, |group, _| group.answer_parked(ResponseError::NotCoordinator));
        }
    }

    /// Lets every group do what is due.
    pub(crate) fn advance(&self) {
        loop {
            let now = self.now().mono_ms;
            let Some(id) = self.timers.lock().pop_due(now) else { return };
            // The visit itself does what is due and notes the next time.
            self.with_group(&id, |_, _| ());
        }
    }

    /// Drops expired offsets and unused groups.
    pub(crate) fn clean_up(&self) {
        self.for_each_group(|group, env| group.clean_up(env));
    }

    /// Drops the offsets of topics that were deleted.
    pub(crate) fn topics_deleted(&self, deleted: &dyn Fn(&str) -> bool) {
        self.for_each_group(|group, env| group.drop_topics(env, deleted));
    }

    fn now(&self) -> Now {
        let mono_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { wall_ms: self.clock.now_ms(), mono_ms }
    }

    fn env(&self) -> Env<'_> {
        Env {
            now: self.now(),
            config: &self.config,
            log: &*self.log,
            new_id: &|| uuid::Uuid::new_v4().to_string(),
        }
    }

    fn note_deadline(&self, group: &Group) {
        if let Some(deadline) = group.next_deadline()
            && self.timers.lock().note(group.id(), deadline)
        {
            self.wake.notify_one();
        }
    }

    fn find(&self, id: &StrBytes) -> Option<Arc<Mutex<Group>>> {
        self.groups.read().get(id).cloned()
    }

    fn find_or_create(&self, id: &StrBytes) -> Arc<Mutex<Group>> {
        if let Some(group) = self.find(id) {
            return group;
        }
        let id = own(id);
        let new = || Arc::new(Mutex::new(Group::new(id.clone(), self.now())));
        self.groups.write().entry(id.clone()).or_insert_with(new).clone()
    }

    /// Handles one input of a group; `None` if there is no such group.
    pub(super) fn with_group<R>(
        &self,
        id: &StrBytes,
        input: impl FnOnce(&mut Group, &Env<'_>) -> R,
    ) -> Option<R> {
        self.visit(&*self.find(id)?, input).ok()
    }

    /// Handles one input of a group that is created if need be.
    pub(super) fn with_group_or_new<R>(
        &self,
        id: &StrBytes,
        input: impl FnOnce(&mut Group, &Env<'_>) -> R,
    ) -> R {
        let mut input = input;
        loop {
            match self.visit(&self.find_or_create(id), input) {
                Ok(result) => return result,
                // It died after we found it, and has left the table: the next is another.
                Err(unused) => input = unused,
            }
        }
    }

    /// Handles one input and what is due after it. Gives the input back if the group is dead.
    fn visit<R, F: FnOnce(&mut Group, &Env<'_>) -> R>(&self, group: &Mutex<Group>, input: F) -> Result<R, F> {
        let mut group = group.lock();
        if group.state() == GroupState::Dead {
            return Err(input);
        }
        let env = self.env();
        let result = input(&mut group, &env);
        group.advance(&env);
        if group.state() == GroupState::Dead {
            // Under the group's lock: whoever waits for it finds it dead and gone.
            self.groups.write().remove(group.id());
        } else {
            self.note_deadline(&group);
        }
        Ok(result)
    }

    fn for_each_group(&self, input: impl Fn(&mut Group, &Env<'_>)) {
        let groups: Vec<Arc<Mutex<Group>>> = self.groups.read().values().cloned().collect();
        for group in groups {
            // A group that died meanwhile needs nothing.
            let _ = self.visit(&group, &input);
        }
    }

    /// JoinGroup.
    pub(crate) async fn join_group(
        &self,
        request: JoinGroupRequest,
        version: i16,
        client: Client,
    ) -> JoinGroupResponse {
        name_protocol(self.join_any_version(request, version, client).await, version)
    }

    async fn join_any_version(
        &self,
        request: JoinGroupRequest,
        version: i16,
        client: Client,
    ) -> JoinGroupResponse {
        let member_id = request.member_id.clone();
        if let Err(error) = self.check_join(&request) {
            return join_error(member_id, error);
        }
        let (reply, answer) = oneshot::channel();
        let group_id = request.group_id.0.clone();
        let join = Join { request, version, client };
        if member_id.is_empty() {
            self.with_group_or_new(&group_id, |group, env| group.join(env, join, reply));
        } else if self.with_group(&group_id, |group, env| group.join(env, join, reply)).is_none() {
            return join_error(member_id, ResponseError::UnknownMemberId);
        }
        self.release_if_closed(&group_id);
        answer.await.unwrap_or_else(|_| join_error(member_id, ResponseError::UnknownMemberId))
    }

    fn check_join(&self, request: &JoinGroupRequest) -> Result<(), ResponseError> {
        check_group_id(&request.group_id)?;
        let names = request.protocols.iter().map(|protocol| &protocol.name);
        let names = names.chain([&request.protocol_type]).chain(&request.group_instance_id);
        if names.into_iter().any(|name| !fits(name)) {
            return Err(ResponseError::InvalidRequest);
        }
        let allowed = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        Ok(())
    }

    /// SyncGroup.
    pub(crate) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        if let Err(error) = check_group_id(&request.group_id) {
            return sync_error(error);
        }
        let (reply, answer) = oneshot::channel();
        if self.with_group(&request.group_id, |group, env| group.sync(env, &request, reply)).is_none() {
            return sync_error(ResponseError::UnknownMemberId);
        }
        self.release_if_closed(&request.group_id);
        answer.await.unwrap_or_else(|_| sync_error(ResponseError::UnknownMemberId))
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let beat = || {
            check_group_id(&request.group_id)?;
            let known = self.with_group(&request.group_id, |group, env| group.heartbeat(env, request));
            known.unwrap_or(Err(ResponseError::UnknownMemberId))
        };
        HeartbeatResponse::default().with_error_code(code(beat()))
    }

    /// LeaveGroup.
    pub(crate) fn leave_group(&self, request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
        if let Err(error) = check_group_id(&request.group_id) {
            return LeaveGroupResponse::default().with_error_code(error.code());
        }
        let single = [MemberIdentity::default().with_member_id(request.member_id.clone())];
        let leaving = if version < LEAVE_LIST_VERSION { &single[..] } else { &request.members };
        let members = self
            .with_group(&request.group_id, |group, env| group.leave(env, leaving))
            .unwrap_or_else(|| session::unknown_leavers(leaving));
        if version < LEAVE_LIST_VERSION {
            let error = members.first().map_or(0, |member| member.error_code);
            return LeaveGroupResponse::default().with_error_code(error);
        }
        LeaveGroupResponse::default().with_members(members)
    }

    /// OffsetCommit. `exists` says which partitions there are.
    pub(crate) fn offset_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        exists: &dyn Fn(&str, i32) -> bool,
    ) -> OffsetCommitResponse {
        let id = &request.group_id.0;
        let topics = if !fits(id) {
            refuse_commit(request, ResponseError::InvalidGroupId)
        } else if request.generation_id_or_member_epoch < 0 {
            // A consumer without group management or a tool: the group needn't be there.
            self.with_group_or_new(id, |group, env| group.commit(env, request, exists))
        } else {
            let committed = self.with_group(id, |group, env| group.commit(env, request, exists));
            committed.unwrap_or_else(|| {
                refuse_commit(
                    request,
                    match version {
                        ..GROUP_NOT_FOUND_COMMIT_VERSION => ResponseError::IllegalGeneration,
                        _ => ResponseError::GroupIdNotFound,
                    },
                )
            })
        };
        OffsetCommitResponse::default().with_topics(topics)
    }

    /// OffsetFetch for the partitions given, in their order; an unknown group has committed nothing. Who asks for
    /// `stable` offsets is refused one that an open transaction has pending.
    pub(crate) fn fetch_offsets(
        &self,
        group: &StrBytes,
        asked: &[(StrBytes, Vec<i32>)],
        stable: bool,
    ) -> Vec<FetchedTopic> {
        let group = self.find(group);
        let group = group.as_ref().map(|group| group.lock());
        let find = |topic: &StrBytes, partition: i32| match &group {
            Some(group) => (partition, group.offsets.fetch(topic, partition, stable)),
            None => (partition, Ok(None)),
        };
        let topic = |(topic, partitions): &(StrBytes, Vec<i32>)| {
            (topic.clone(), partitions.iter().map(|partition| find(topic, *partition)).collect())
        };
        asked.iter().map(topic).collect()
    }

    /// OffsetFetch for everything the group has committed.
    pub(crate) fn fetch_all_offsets(&self, group: &StrBytes, stable: bool) -> Vec<FetchedTopic> {
        let Some(group) = self.find(group) else { return Vec::new() };
        let group = group.lock();
        let topics = group.offsets.partitions().into_iter().map(|(topic, partitions)| {
            let fetch = |partition| (partition, group.offsets.fetch(topic, partition, stable));
            (topic.clone(), partitions.into_iter().map(fetch).collect())
        });
        topics.collect()
    }

    /// OffsetDelete: one result for each partition asked, or an error for the whole group.
    pub(crate) fn delete_offsets(
        &self,
        group: &StrBytes,
        asked: &[(StrBytes, i32)],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        check_group_id(group)?;
        let known = self.with_group(group, |group, env| group.delete_offsets(env, asked));
        known.unwrap_or(Err(ResponseError::GroupIdNotFound))
    }

    /// ListGroups, by id. Empty filters let everything through; words are compared without case.
    pub(crate) fn list_groups(&self, states: &[StrBytes], types: &[StrBytes]) -> Vec<ListedGroup> {
        let passes = |filter: &[StrBytes], word: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
        };
        let groups: Vec<Arc<Mutex<Group>>> = self.groups.read().values().cloned().collect();
        let listed = groups.iter().map(|group| group.lock().listed());
        let mut listed: Vec<ListedGroup> = listed
            .filter(|group| passes(states, &group.group_state) && passes(types, &group.group_type))
            .filter(|group| *group.group_state != *GroupState::Dead.name())
            .collect();
        listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        listed
    }

    /// DescribeGroups.
    pub(crate) fn describe_groups(
        &self,
        request: &DescribeGroupsRequest,
        version: i16,
    ) -> DescribeGroupsResponse {
        let describe = |id: &GroupId| {
            let known = self.with_group(id, |group, _| group.describe());
            known.unwrap_or_else(|| describe::unknown_group(id.clone(), version))
        };
        DescribeGroupsResponse::default().with_groups(request.groups.iter().map(describe).collect())
    }

    /// DeleteGroups, one group.
    pub(crate) fn delete_group(&self, id: &StrBytes) -> Result<(), ResponseError> {
        self.with_group(id, |group, env| group.delete(env)).unwrap_or(Err(ResponseError::GroupIdNotFound))
    }
}

/// The answer to a join that is not let in.
pub(crate) fn refuse_join(member_id: StrBytes, error: ResponseError, version: i16) -> JoinGroupResponse {
    name_protocol(join_error(member_id, error), version)
}

/// Gives the protocol a name where the version can't do without.
fn name_protocol(mut response: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    if version < NULL_PROTOCOL_VERSION {
        response.protocol_name.get_or_insert_default();
    }
    response
}

/// The error code of a result.
fn code(result: Result<(), ResponseError>) -> i16 {
    result.map_or_else(|error| error.code(), |()| 0)
}

fn check_group_id(id: &StrBytes) -> Result<(), ResponseError> {
    if id.is_empty() || !fits(id) { Err(ResponseError::InvalidGroupId) } else { Ok(()) }
}

/// Names are stored with 16-bit lengths; flexible protocol versions could carry longer ones.
pub(super) fn fits(name: &StrBytes) -> bool {
    i16::try_from(name.len()).is_ok()
}
