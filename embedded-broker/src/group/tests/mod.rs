//! A group on a clock that the test moves, over a log in memory that can be told to fail.

mod coordinator;
mod matrix;
mod offsets;
mod pending;
mod rebalance;
mod restart;
mod session;
mod static_members;

use std::cell::Cell;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, SyncGroupRequest,
    SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::classic::{Env, Group, Now};
use super::config::GroupConfig;
use super::join::Join;
use super::load;
use super::member::Client;
use super::records::Key;
use super::state::GroupState;
use crate::internal_log::testing::MemoryLog;

/// Settings of the tests; times in milliseconds.
pub(super) const SESSION: i64 = 10_000;
pub(super) const REBALANCE: i64 = 60_000;
pub(super) const RETENTION: i64 = 100_000;
/// The wall clock's start; the monotonic one starts at 0.
pub(super) const EPOCH: i64 = 1_700_000_000_000;

pub(super) fn config() -> GroupConfig {
    GroupConfig {
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        initial_rebalance_delay_ms: 0,
        max_size: usize::MAX,
        new_member_join_timeout_ms: 300_000,
        max_offset_metadata_bytes: 16,
        offsets_retention_ms: RETENTION,
        offsets_retention_check_interval_ms: 1_000,
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The keys that a compacted log would keep.
pub(super) fn live_keys(log: &MemoryLog) -> Vec<Key> {
    let mut live: Vec<Key> = Vec::new();
    for entry in log.entries.lock().iter() {
        let key = Key::decode(&entry.key).unwrap().unwrap();
        live.retain(|other| *other != key);
        if entry.value.is_some() {
            live.push(key);
        }
    }
    live
}

/// The answer to a request, there or still to come.
#[derive(Debug)]
pub(super) struct Answer<T>(oneshot::Receiver<T>);

impl<T: std::fmt::Debug> Answer<T> {
    #[track_caller]
    pub(super) fn now(mut self) -> T {
        self.0.try_recv().expect("no answer yet")
    }

    #[track_caller]
    pub(super) fn assert_parked(&mut self) {
        let state = self.0.try_recv();
        assert!(matches!(state, Err(oneshot::error::TryRecvError::Empty)), "answered: {state:?}");
    }
}

impl Answer<JoinGroupResponse> {
    #[track_caller]
    pub(super) fn error(self) -> Option<ResponseError> {
        ResponseError::try_from_code(self.now().error_code)
    }
}

impl Answer<SyncGroupResponse> {
    #[track_caller]
    pub(super) fn error(self) -> Option<ResponseError> {
        ResponseError::try_from_code(self.now().error_code)
    }
}

pub(super) struct Harness {
    pub(super) group: Group,
    pub(super) log: Arc<MemoryLog>,
    pub(super) config: GroupConfig,
    pub(super) ms: i64,
    ids: Cell<u32>,
}

impl Harness {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: GroupConfig) -> Self {
        let group = Group::new(text("g"), Now { wall_ms: EPOCH, mono_ms: 0 });
        Harness { group, log: Arc::default(), config, ms: 0, ids: Cell::new(0) }
    }

    /// One input, and what is due after it, as the coordinator does it.
    pub(super) fn input<R>(&mut self, input: impl FnOnce(&mut Group, &Env<'_>) -> R) -> R {
        let new_id = || {
            self.ids.set(self.ids.get() + 1);
            self.ids.get().to_string()
        };
        let now = Now { wall_ms: EPOCH + self.ms, mono_ms: self.ms };
        let env = Env { now, config: &self.config, log: &*self.log, new_id: &new_id };
        let result = input(&mut self.group, &env);
        self.group.advance(&env);
        result
    }

    /// Lets time pass in one step.
    pub(super) fn pass(&mut self, ms: i64) {
        self.ms += ms;
        self.input(|_, _| ());
    }

    /// Lets time pass in steps, with heartbeats of the members given.
    pub(super) fn pass_alive(&mut self, ms: i64, alive: &[StrBytes]) {
        let end = self.ms + ms;
        while self.ms < end {
            self.pass((end - self.ms).min(SESSION / 2));
            for id in alive {
                let _ = self.heartbeat(id);
            }
        }
    }

    #[track_caller]
    pub(super) fn assert_state(&self, state: GroupState) {
        assert_eq!(self.group.state(), state);
    }

    pub(super) fn join(&mut self, request: JoinGroupRequest) -> Answer<JoinGroupResponse> {
        self.join_version(request, 9)
    }

    pub(super) fn join_version(
        &mut self,
        request: JoinGroupRequest,
        version: i16,
    ) -> Answer<JoinGroupResponse> {
        let (reply, answer) = oneshot::channel();
        let client = Client { id: text("client"), host: text("/127.0.0.1") };
        self.input(|group, env| group.join(env, Join { request, version, client }, reply));
        Answer(answer)
    }

    /// A new dynamic member, through MEMBER_ID_REQUIRED to its parked join.
    #[track_caller]
    pub(super) fn join_new(&mut self, request: JoinGroupRequest) -> (StrBytes, Answer<JoinGroupResponse>) {
        let first = self.join(request.clone()).now();
        assert_eq!(first.error_code, ResponseError::MemberIdRequired.code());
        let id = first.member_id;
        let answer = self.join(request.with_member_id(id.clone()));
        (id, answer)
    }

    pub(super) fn sync(&mut self, request: SyncGroupRequest) -> Answer<SyncGroupResponse> {
        let (reply, answer) = oneshot::channel();
        self.input(|group, env| group.sync(env, &request, reply));
        Answer(answer)
    }

    pub(super) fn heartbeat(&mut self, id: &StrBytes) -> Result<(), ResponseError> {
        let generation = self.group.generation;
        self.heartbeat_of(&heartbeat(id, generation))
    }

    pub(super) fn heartbeat_of(&mut self, request: &HeartbeatRequest) -> Result<(), ResponseError> {
        self.input(|group, env| group.heartbeat(env, request))
    }

    /// The member's error, if any.
    pub(super) fn leave(&mut self, member: MemberIdentity) -> Option<ResponseError> {
        let answers = self.input(|group, env| group.leave(env, &[member]));
        ResponseError::try_from_code(answers[0].error_code)
    }

    /// The first partition's error, if any.
    pub(super) fn commit(&mut self, request: &OffsetCommitRequest) -> Option<ResponseError> {
        let topics = self.input(|group, env| group.commit(env, request, &|topic, _| topic != "absent"));
        ResponseError::try_from_code(topics[0].partitions[0].error_code)
    }

    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        self.group.offsets.get(&text(topic), partition).map(|committed| committed.offset)
    }

    /// Members "a", "b", ... in a stable group, the leader first; the assignment of each is its id.
    #[track_caller]
    pub(super) fn stable(&mut self, members: usize) -> Vec<StrBytes> {
        let ids = self.completing(members);
        self.sync_all(&ids);
        self.assert_state(GroupState::Stable);
        ids
    }

    /// As many members, joined, before anybody has synced; the leader first.
    #[track_caller]
    pub(super) fn completing(&mut self, members: usize) -> Vec<StrBytes> {
        let mut ids: Vec<StrBytes> = Vec::new();
        for _ in 0..members {
            // Who was in joins again, so that the next generation starts with all.
            let (id, newest) = self.join_new(joining("t"));
            let mut answers: Vec<_> =
                ids.iter().map(|id| self.join(joining("t").with_member_id(id.clone()))).collect();
            ids.push(id);
            answers.push(newest);
            for answer in answers {
                assert_eq!(answer.error(), None);
            }
        }
        self.assert_state(GroupState::CompletingRebalance);
        let leader = self.group.leader_or_empty();
        ids.sort_by_key(|id| *id != leader);
        ids
    }

    /// The leader (first) assigns each member its own id, and everybody gets it.
    #[track_caller]
    pub(super) fn sync_all(&mut self, ids: &[StrBytes]) {
        let generation = self.group.generation;
        let mut answers: Vec<_> =
            ids[1..].iter().map(|id| (id, self.sync(syncing(id, generation)))).collect();
        answers.push((&ids[0], self.sync(assigning(ids, generation))));
        for (id, answer) in answers {
            assert_eq!(answer.now().assignment, id.clone().into_bytes());
        }
    }

    /// The group as another broker would load it from the log, at the same time.
    pub(super) fn restarted(&self) -> Option<Harness> {
        let now = Now { wall_ms: EPOCH + self.ms, mono_ms: self.ms };
        let group = load::load(&*self.log, now).unwrap().into_iter().next()?;
        let ids = Cell::new(self.ids.get());
        Some(Harness { group, log: self.log.clone(), config: self.config.clone(), ms: self.ms, ids })
    }
}

/// A consumer's subscription to one topic.
pub(super) fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.put_i32(1);
    bytes.put_i16(i16::try_from(topic.len()).unwrap());
    bytes.put_slice(topic.as_bytes());
    bytes.put_i32(-1);
    bytes.freeze()
}

pub(super) fn protocol(name: &str, topic: &str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(subscription(topic))
}

/// A join of a consumer that knows the range assignor.
pub(super) fn joining(topic: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(i32::try_from(SESSION).unwrap())
        .with_rebalance_timeout_ms(i32::try_from(REBALANCE).unwrap())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", topic)])
}

pub(super) fn joining_static(instance_id: &str) -> JoinGroupRequest {
    joining("t").with_group_instance_id(Some(text(instance_id)))
}

pub(super) fn syncing(id: &StrBytes, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(id.clone())
        .with_generation_id(generation)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
}

/// The sync of the leader, the first of `ids`: everybody's assignment is its id.
pub(super) fn assigning(ids: &[StrBytes], generation: i32) -> SyncGroupRequest {
    let assign = |id: &StrBytes| {
        SyncGroupRequestAssignment::default()
            .with_member_id(id.clone())
            .with_assignment(id.clone().into_bytes())
    };
    syncing(&ids[0], generation).with_assignments(ids.iter().map(assign).collect())
}

pub(super) fn heartbeat(id: &StrBytes, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(id.clone())
        .with_generation_id(generation)
}

pub(super) fn leaving(id: &StrBytes) -> MemberIdentity {
    MemberIdentity::default().with_member_id(id.clone())
}

/// A commit of offset 7 for partition 0 of `topic` by a member.
pub(super) fn committing(topic: &str, id: &StrBytes, generation: i32) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(7)
        .with_committed_leader_epoch(3)
        .with_committed_metadata(Some(text("meta")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(id.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_retention_time_ms(-1)
        .with_topics(vec![topic])
}

/// A commit outside group management.
pub(super) fn committing_alone(topic: &str) -> OffsetCommitRequest {
    committing(topic, &StrBytes::new(), -1)
}
