//! The group APIs request by request: their answers are Apache Kafka's, and every version is answered.
//!
//! `group_answers.txt` was recorded from Apache Kafka 4.3: with `RECORD_GROUP_ANSWERS_FROM=host:port` (a broker with
//! `group.initial.rebalance.delay.ms=0`) the test asks that broker instead and writes the file.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::support::{Broker, Client, eventually, topic_name};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A consumer's subscription, version 1.
pub(crate) fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.put_i32(1);
    bytes.put_i16(i16::try_from(topic.len()).unwrap());
    bytes.put_slice(topic.as_bytes());
    bytes.put_i32(-1);
    bytes.put_i32(0);
    bytes.freeze()
}

fn protocol(name: &str, topic: &str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(subscription(topic))
}

pub(crate) fn joining(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(20_000)
        .with_rebalance_timeout_ms(20_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", "t")])
}

fn joining_static(group: &str, member: &str, instance: &str) -> JoinGroupRequest {
    joining(group, member).with_group_instance_id(Some(text(instance)))
}

/// A sync; `assign`: who gets the assignment "a".
pub(crate) fn syncing(group: &str, generation: i32, member: &str, assign: &[&str]) -> SyncGroupRequest {
    let give = |id: &&str| {
        SyncGroupRequestAssignment::default().with_member_id(text(id)).with_assignment("a".into())
    };
    SyncGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assign.iter().map(give).collect())
}

fn heartbeat(group: &str, generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(generation)
        .with_member_id(text(member))
}

fn committing(
    group: &str,
    generation: i32,
    member: &str,
    topic: &str,
    partition: i32,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(7)
        .with_committed_leader_epoch(0)
        .with_committed_metadata(Some(text("note")));
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![topic])
}

fn leaving(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let member = |(id, instance): &(&str, Option<&str>)| {
        MemberIdentity::default().with_member_id(text(id)).with_group_instance_id(instance.map(text))
    };
    LeaveGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_members(members.iter().map(member).collect())
}

fn deleting_offset(group: &str, topic: &str) -> OffsetDeleteRequest {
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let topic =
        OffsetDeleteRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(vec![topic])
}

fn fetching(group: &str, topics: Option<&[&str]>) -> OffsetFetchRequest {
    let topic = |name: &&str| {
        OffsetFetchRequestTopics::default().with_name(topic_name(name)).with_partition_indexes(vec![0, 1])
    };
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_member_epoch(-1)
        .with_topics(topics.map(|topics| topics.iter().map(topic).collect()));
    OffsetFetchRequest::default().with_groups(vec![group])
}

/// An error code's name.
fn name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or("ok".to_owned(), |error| format!("{error:?}"))
}

/// Asks and notes the answers.
struct Trace {
    client: Client,
    /// For requests that are answered late.
    second: Client,
    lines: Vec<String>,
}

impl Trace {
    fn note(&mut self, what: &str, answer: impl std::fmt::Display) {
        self.lines.push(format!("{what}: {answer}"));
    }

    fn joined(answer: &JoinGroupResponse) -> String {
        if answer.error_code != 0 {
            return name(answer.error_code);
        }
        let leads = if answer.leader == answer.member_id { "leads" } else { "follows" };
        let (generation, members) = (answer.generation_id, answer.members.len());
        let protocol = answer.protocol_name.as_deref().unwrap_or("null");
        let skip = if answer.skip_assignment { ", skips the assignment" } else { "" };
        format!("generation {generation}, {leads}, sees {members} members, {protocol}{skip}")
    }

    fn synced(answer: &SyncGroupResponse) -> String {
        format!("{}, {} bytes", name(answer.error_code), answer.assignment.len())
    }

    /// Joins and returns the member id.
    fn join(&mut self, what: &str, version: i16, request: &JoinGroupRequest) -> String {
        let answer = self.client.ask(version, request);
        self.note(what, Self::joined(&answer));
        answer.member_id.to_string()
    }

    fn sync(&mut self, what: &str, request: &SyncGroupRequest) {
        let answer = self.client.ask(5, request);
        self.note(what, Self::synced(&answer));
    }

    fn heartbeat(&mut self, what: &str, request: &HeartbeatRequest) {
        let code = self.client.ask(4, request).error_code;
        self.note(what, name(code));
    }

    fn commit(&mut self, what: &str, version: i16, request: &OffsetCommitRequest) {
        let code = self.client.ask(version, request).topics[0].partitions[0].error_code;
        self.note(what, name(code));
    }

    fn leave(&mut self, what: &str, request: &LeaveGroupRequest) {
        let answer = self.client.ask(5, request);
        let members: Vec<String> = answer.members.iter().map(|member| name(member.error_code)).collect();
        self.note(what, format!("{}, {members:?}", name(answer.error_code)));
    }

    fn fetch(&mut self, what: &str, request: &OffsetFetchRequest) {
        let answer = self.client.ask(9, request).groups.remove(0);
        let mut found = Vec::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let metadata = partition.metadata.as_deref().unwrap_or("null");
                let (index, epoch) = (partition.partition_index, partition.committed_leader_epoch);
                found.push(format!(
                    "{}-{index}={} epoch {epoch} '{metadata}' {}",
                    topic.name.as_str(),
                    partition.committed_offset,
                    name(partition.error_code)
                ));
            }
        }
        self.note(what, format!("{}, {found:?}", name(answer.error_code)));
    }

    fn delete_offset(&mut self, what: &str, request: &OffsetDeleteRequest) {
        let answer = self.client.ask(0, request);
        let partition = answer.topics.first().map(|topic| name(topic.partitions[0].error_code));
        self.note(what, format!("{}, {partition:?}", name(answer.error_code)));
    }

    fn delete(&mut self, what: &str, group: &str) {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
        let code = self.client.ask(2, &request).results[0].error_code;
        self.note(what, name(code));
    }

    fn describe(&mut self, what: &str, version: i16, group: &str) {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
        let answer = self.client.ask(version, &request).groups.remove(0);
        let mut members: Vec<String> = answer
            .members
            .iter()
            .map(|member| {
                let (metadata, assignment) = (member.member_metadata.len(), member.member_assignment.len());
                format!("{} at {}, {metadata}/{assignment} bytes", &*member.client_id, &*member.client_host)
            })
            .collect();
        members.sort();
        self.note(
            what,
            format!(
                "{}, {}, '{}', '{}', {members:?}",
                name(answer.error_code),
                &*answer.group_state,
                &*answer.protocol_type,
                &*answer.protocol_data
            ),
        );
    }

    fn list(&mut self, what: &str, group: &str, state: &[&str], kind: &[&str]) {
        let words = |words: &[&str]| words.iter().map(|word| text(word)).collect::<Vec<_>>();
        let request =
            ListGroupsRequest::default().with_states_filter(words(state)).with_types_filter(words(kind));
        let answer = self.client.ask(5, &request);
        let found: Vec<String> = answer
            .groups
            .iter()
            .filter(|listed| *listed.group_id == *group)
            .map(|g| format!("'{}' {} {}", &*g.protocol_type, &*g.group_state, &*g.group_type))
            .collect();
        self.note(what, format!("{}, {found:?}", name(answer.error_code)));
    }
}

fn unknown_group(trace: &mut Trace, g: &str) {
    trace.join("join with an id", 9, &joining(g, "m"));
    trace.sync("sync", &syncing(g, 1, "m", &[]));
    trace.heartbeat("heartbeat", &heartbeat(g, 1, "m"));
    trace.leave("leave", &leaving(g, &[("m", None)]));
    trace.commit("commit v8", 8, &committing(g, 1, "m", "t", 0));
    trace.commit("commit v9", 9, &committing(g, 1, "m", "t", 0));
    trace.fetch("fetch", &fetching(g, Some(&["t"])));
    trace.fetch("fetch all", &fetching(g, None));
    trace.delete_offset("delete an offset", &deleting_offset(g, "t"));
    trace.delete("delete", g);
    trace.describe("describe v5", 5, g);
    trace.describe("describe v6", 6, g);
    trace.join("join with an empty group id", 9, &joining("", ""));
    trace.heartbeat("heartbeat to an empty group id", &heartbeat("", 1, "m"));
    trace.delete("delete an empty group id", "");
    trace.join("join with a short session", 9, &joining(g, "").with_session_timeout_ms(100));
    trace.join("join without protocols", 9, &joining(g, "").with_protocols(Vec::new()));
}

fn without_members(trace: &mut Trace, g: &str) {
    trace.commit("commit", 9, &committing(g, -1, "", "t", 0));
    trace.commit("commit under a member id", 9, &committing(g, -1, "m", "t", 0));
    trace.commit("commit in a generation", 9, &committing(g, 0, "m", "t", 0));
    trace.commit("commit for an unknown topic", 9, &committing(g, -1, "", "absent", 0));
    trace.commit("commit for an unknown partition", 9, &committing(g, -1, "", "t", 99));
    let mut wordy = committing(g, -1, "", "t", 0);
    wordy.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(5000)));
    trace.commit("commit with long metadata", 9, &wordy);
    trace.fetch("fetch", &fetching(g, Some(&["t"])));
    trace.fetch("fetch all", &fetching(g, None));
    trace.describe("describe", 6, g);
    trace.list("list", g, &[], &[]);
    trace.list("list empty ones", g, &["empty"], &["Classic"]);
    trace.list("list stable ones", g, &["Stable"], &[]);
    trace.list("list consumer ones", g, &[], &["consumer"]);
    trace.heartbeat("heartbeat", &heartbeat(g, 0, "m"));
    trace.sync("sync", &syncing(g, 0, "m", &[]));
    trace.leave("leave", &leaving(g, &[("m", None)]));
    trace.delete_offset("delete an offset", &deleting_offset(g, "t"));
    trace.delete_offset("delete an offset that is not there", &deleting_offset(g, "t"));
    trace.delete_offset("delete an offset of an unknown topic", &deleting_offset(g, "absent"));
    trace.delete("delete", g);
    trace.delete("delete again", g);
}

fn two_members(trace: &mut Trace, g: &str) {
    let a = trace.join("join", 9, &joining(g, ""));
    trace.heartbeat("heartbeat before the join", &heartbeat(g, 0, &a));
    trace.describe("describe", 6, g);
    trace.join("join with the id", 9, &joining(g, &a));
    trace.heartbeat("heartbeat before the sync", &heartbeat(g, 1, &a));
    trace.commit("commit before the sync", 9, &committing(g, 1, &a, "t", 0));
    trace.join("join again", 9, &joining(g, &a));
    trace.describe("describe", 6, g);
    let other = syncing(g, 1, &a, &[]).with_protocol_name(Some(text("sticky")));
    trace.sync("sync with another protocol", &other);
    trace.sync("sync of another generation", &syncing(g, 2, &a, &[]));
    trace.sync("sync of a stranger", &syncing(g, 1, "stranger", &[]));
    trace.sync("sync", &syncing(g, 1, &a, &[&a]));
    trace.sync("sync again", &syncing(g, 1, &a, &[]));
    trace.heartbeat("heartbeat", &heartbeat(g, 1, &a));
    trace.heartbeat("heartbeat of another generation", &heartbeat(g, 2, &a));
    trace.heartbeat("heartbeat of a stranger", &heartbeat(g, 1, "stranger"));
    trace.commit("commit", 9, &committing(g, 1, &a, "t", 0));
    trace.commit("commit of another generation", 9, &committing(g, 0, &a, "t", 0));
    trace.commit("commit of a stranger", 9, &committing(g, 1, "stranger", "t", 0));
    trace.commit("commit without a generation", 9, &committing(g, -1, "", "t", 0));
    trace.commit("commit for another topic", 9, &committing(g, 1, &a, "u", 0));
    trace.describe("describe", 6, g);
    trace.list("list", g, &["stable"], &["classic"]);
    trace.delete("delete", g);
    trace.delete_offset("delete an offset in use", &deleting_offset(g, "t"));
    trace.delete_offset("delete another offset", &deleting_offset(g, "u"));
    let sticky = joining(g, "").with_protocols(vec![protocol("sticky", "t")]);
    trace.join("join with another protocol", 9, &sticky);
    trace.join("join with another type", 9, &joining(g, "").with_protocol_type(text("connect")));
    trace.join("join of a stranger", 9, &joining(g, "stranger"));

    let b = trace.join("second: join", 9, &joining(g, ""));
    trace.heartbeat("heartbeat with an id given out", &heartbeat(g, 1, &a));
    trace.second.send(9, &joining(g, &b));
    while trace.client.ask(4, &heartbeat(g, 1, &a)).error_code == 0 {}
    trace.heartbeat("heartbeat during the rebalance", &heartbeat(g, 1, &a));
    trace.commit("commit during the rebalance", 9, &committing(g, 1, &a, "t", 0));
    trace.sync("sync during the rebalance", &syncing(g, 1, &a, &[&a]));
    trace.heartbeat("heartbeat of the one that joins", &heartbeat(g, 1, &b));
    trace.describe("describe", 6, g);
    trace.join("first: join", 9, &joining(g, &a));
    let second = trace.second.receive::<JoinGroupRequest>(9);
    trace.note("second: joined", Trace::joined(&second));
    trace.second.send(5, &syncing(g, 2, &b, &[]));
    trace.sync("first: sync", &syncing(g, 2, &a, &[&a, &b]));
    let second = trace.second.receive::<SyncGroupRequest>(5);
    trace.note("second: synced", Trace::synced(&second));
    trace.join("follower joins again", 9, &joining(g, &b));
    trace.describe("describe", 6, g);
    trace.leave("both leave, and a stranger", &leaving(g, &[(&a, None), ("stranger", None), (&b, None)]));
    trace.describe("describe", 6, g);
    trace.heartbeat("heartbeat", &heartbeat(g, 2, &a));
    trace.join("join", 9, &joining(g, &a));
    trace.commit("commit", 9, &committing(g, 2, &a, "t", 0));
    trace.commit("commit without a generation", 9, &committing(g, -1, "", "t", 0));
    trace.join("join of an old version", 3, &joining(g, ""));
    trace.describe("describe", 6, g);
}

fn static_members(trace: &mut Trace, g: &str) {
    let a = trace.join("join", 9, &joining_static(g, "", "i"));
    trace.sync("sync", &syncing(g, 1, &a, &[&a]).with_group_instance_id(Some(text("i"))));
    let b = trace.join("leader comes back", 9, &joining_static(g, "", "i"));
    trace.sync("sync", &syncing(g, 1, &b, &[]).with_group_instance_id(Some(text("i"))));
    let fenced = |request: HeartbeatRequest| request.with_group_instance_id(Some(text("i")));
    trace.heartbeat("heartbeat", &fenced(heartbeat(g, 1, &b)));
    trace.heartbeat("heartbeat of the old one", &fenced(heartbeat(g, 1, &a)));
    trace.heartbeat("heartbeat of the old one without instance", &heartbeat(g, 1, &a));
    let instance = Some(text("i"));
    let commit = committing(g, 1, &a, "t", 0).with_group_instance_id(instance.clone());
    trace.commit("commit of the old one", 9, &commit);
    trace.sync("sync of the old one", &syncing(g, 1, &a, &[]).with_group_instance_id(instance));
    trace.join("join of the old one", 9, &joining_static(g, &a, "i"));
    trace.join("join under an unknown instance", 9, &joining_static(g, &b, "j"));
    trace.leave("the old one leaves", &leaving(g, &[(&a, Some("i"))]));
    trace.leave("an unknown instance leaves", &leaving(g, &[("", Some("j"))]));
    let c = trace.join("leader comes back, of an old version", 8, &joining_static(g, "", "i"));
    trace.describe("describe", 6, g);
    trace.join("leader joins again", 9, &joining_static(g, &c, "i"));
    trace.join("leader comes back before the sync", 9, &joining_static(g, "", "i"));
    trace.leave("the instance is removed", &leaving(g, &[("", Some("i"))]));
    trace.describe("describe", 6, g);
}

#[test]
fn answers_are_those_of_apache_kafka() {
    let record_from = std::env::var("RECORD_GROUP_ANSWERS_FROM").ok();
    let broker = Broker::start();
    let address = record_from.as_deref().unwrap_or(&broker.address);
    let mut trace =
        Trace { client: Client::connect(address), second: Client::connect(address), lines: Vec::new() };
    for topic in ["t", "u"] {
        trace.client.create_topic(topic, 2, &[]);
    }
    let run = format!("{:?}", std::time::SystemTime::now());
    for (title, part) in [
        ("unknown group", unknown_group as fn(&mut Trace, &str)),
        ("without members", without_members),
        ("two members", two_members),
        ("static members", static_members),
    ] {
        trace.lines.push(format!("# {title}"));
        let group = format!("{title} {run}");
        // A new cluster first makes the topic of the offsets.
        eventually("the coordinator", || {
            let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(&group)]);
            let found = trace.client.ask(4, &find).coordinators[0].error_code;
            found == 0 && trace.client.ask(9, &fetching(&group, None)).groups[0].error_code == 0
        });
        part(&mut trace, &group);
    }
    let mut lines = trace.lines.join("\n") + "\n";
    lines = lines.replace(&run, "RUN");
    if record_from.is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/group_answers.txt");
        std::fs::write(file, &lines).unwrap();
    }
    for (line, (ours, theirs)) in lines.lines().zip(include_str!("group_answers.txt").lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", line + 1);
    }
    assert_eq!(lines.lines().count(), include_str!("group_answers.txt").lines().count());
}

#[test]
fn every_version_is_answered() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    for version in 0..=9 {
        let expected = if version < 4 { "ok" } else { "MemberIdRequired" };
        let joined = client.ask(version, &joining(&format!("g{version}"), ""));
        assert_eq!(name(joined.error_code), expected, "JoinGroup v{version}");
    }
    // The group of JoinGroup v0 goes on.
    let member = client.ask(0, &joining("h", "")).member_id.to_string();
    for version in 0..=5 {
        let mut request = syncing("h", 1, &member, &[&member]);
        if version < 5 {
            (request.protocol_type, request.protocol_name) = (None, None);
        }
        assert_eq!(&client.ask(version, &request).assignment[..], b"a", "SyncGroup v{version}");
    }
    for version in 0..=4 {
        assert_eq!(client.ask(version, &heartbeat("h", 1, &member)).error_code, 0, "Heartbeat v{version}");
    }
    for version in 2..=9 {
        let request = committing("h", 1, &member, "t", 0);
        let answer = client.ask(version, &request);
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "OffsetCommit v{version}");
    }
    for version in 1..=7 {
        let topic =
            OffsetFetchRequestTopic::default().with_name(topic_name("t")).with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_group_id(GroupId(text("h")));
        let answer = client.ask(version, &request.clone().with_topics(Some(vec![topic])));
        let offsets: Vec<i64> = answer.topics[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_eq!(offsets, [7, -1], "OffsetFetch v{version}");
        if version >= 2 {
            let answer = client.ask(version, &request.with_topics(None));
            assert_eq!(answer.topics[0].partitions.len(), 1, "OffsetFetch v{version}, all topics");
        }
    }
    for version in 8..=9 {
        let mut request = fetching("h", None);
        if version < 9 {
            request.groups[0].member_epoch = OffsetFetchRequestGroup::default().member_epoch;
        }
        request.groups.push(OffsetFetchRequestGroup::default().with_group_id(GroupId(text("none"))));
        request.groups[1].topics = None;
        let answer = client.ask(version, &request);
        let topics: Vec<usize> = answer.groups.iter().map(|group| group.topics.len()).collect();
        assert_eq!(topics, [1, 0], "OffsetFetch v{version}");
    }
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![GroupId(text("h")), GroupId(text("none"))])
            .with_include_authorized_operations(version >= 3);
        let answer = client.ask(version, &request);
        let states: Vec<&str> = answer.groups.iter().map(|group| &*group.group_state).collect();
        assert_eq!(states, ["Stable", "Dead"], "DescribeGroups v{version}");
    }
    for version in 0..=5 {
        let answer = client.ask(version, &ListGroupsRequest::default());
        assert!(answer.groups.iter().any(|group| *group.group_id == *"h"), "ListGroups v{version}");
    }
    for version in 0..=6 {
        let request = match version {
            0..=3 => FindCoordinatorRequest::default().with_key(text("h")),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("h"), text("i")]),
        };
        let answer = client.ask(version, &request);
        let port = match version {
            0..=3 => answer.port,
            _ => answer.coordinators[1].port,
        };
        assert!(broker.address.ends_with(&format!(":{port}")), "FindCoordinator v{version}");
    }
    for version in 0..=5 {
        let request = match version {
            0..=2 => LeaveGroupRequest::default()
                .with_group_id(GroupId(text("h")))
                .with_member_id(text("stranger")),
            _ => leaving("h", &[("stranger", None)]),
        };
        let answer = client.ask(version, &request);
        let code = if version < 3 { answer.error_code } else { answer.members[0].error_code };
        assert_eq!(name(code), "UnknownMemberId", "LeaveGroup v{version}");
    }
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("h"))]);
        let answer = client.ask(version, &request);
        assert_eq!(name(answer.results[0].error_code), "NonEmptyGroup", "DeleteGroups v{version}");
    }
}

#[test]
fn coordinators_of_other_kinds_are_refused() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let find = |key_type, key: &str| {
        FindCoordinatorRequest::default().with_key_type(key_type).with_coordinator_keys(vec![text(key)])
    };
    let mut ask = |request: FindCoordinatorRequest| name(client.ask(6, &request).coordinators[0].error_code);
    assert_eq!(ask(find(1, "transactional id")), "ok");
    assert_eq!(ask(find(1, "")), "InvalidRequest");
    assert_eq!(ask(find(2, "share group")), "InvalidRequest");
    assert_eq!(ask(find(99, "x")), "InvalidRequest");
}
