//! A consumer group of one member, which commits offsets without a transaction.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::groups::{joining, syncing};
use crate::support::{Client, topic_name};

pub(super) const GROUP: &str = "members";

/// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS: join again.
const LEFT_BEHIND: [i16; 3] = [25, 22, 27];
const MEMBER_ID_REQUIRED: i16 = 79;
const UNKNOWN_MEMBER_ID: i16 = 25;

#[derive(Debug)]
pub(super) struct Member {
    id: StrBytes,
    generation: i32,
    /// The last offset that was committed, and one whose commit was never answered.
    pub(super) committed: i64,
    pub(super) unanswered: Option<i64>,
    next: i64,
}

impl Member {
    pub(super) fn join(client: &mut Client) -> Self {
        let mut member =
            Member { id: StrBytes::default(), generation: -1, committed: -1, unanswered: None, next: 0 };
        member.join_again(client);
        member
    }

    /// Takes part in a new generation; commits of the one before are refused from now on.
    pub(super) fn join_again(&mut self, client: &mut Client) {
        let before = self.generation;
        loop {
            let request: JoinGroupRequest = joining(GROUP, &self.id);
            let joined = client.ask(5, &request);
            match joined.error_code {
                MEMBER_ID_REQUIRED => self.id = joined.member_id,
                UNKNOWN_MEMBER_ID => self.id = StrBytes::default(),
                code => {
                    assert_eq!(code, 0, "joining");
                    (self.id, self.generation) = (joined.member_id, joined.generation_id);
                    break;
                }
            }
        }
        let synced = client.ask(3, &syncing(GROUP, self.generation, &self.id, &[&self.id]));
        assert_eq!(synced.error_code, 0, "syncing");
        if before >= 0 {
            let code =
                client.ask(7, &self.commit_request(before, 1_000_000)).topics[0].partitions[0].error_code;
            assert!(LEFT_BEHIND.contains(&code), "a commit of generation {before}: {code}");
        }
    }

    /// The broker has come back: the group may remember the member, or not.
    pub(super) fn come_back(&mut self, client: &mut Client) {
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        let code = client.ask(3, &heartbeat).error_code;
        if code != 0 {
            assert!(LEFT_BEHIND.contains(&code), "heartbeat: {code}");
            self.join_again(client);
        }
    }

    /// The next commit, as it is sent.
    pub(super) fn next_commit(&mut self) -> OffsetCommitRequest {
        self.next += 1;
        self.commit_request(self.generation, self.next)
    }

    pub(super) fn commit(&mut self, client: &mut Client) {
        let request = self.next_commit();
        let code = client.ask(7, &request).topics[0].partitions[0].error_code;
        assert_eq!(code, 0, "commit of the member");
        self.committed = self.next;
    }

    /// A commit was sent, and the broker died.
    pub(super) fn never_answered(&mut self) {
        self.unanswered = Some(self.next);
    }

    fn commit_request(&self, generation: i32, offset: i64) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("")));
        let topic =
            OffsetCommitRequestTopic::default().with_name(topic_name("log")).with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic])
    }
}
