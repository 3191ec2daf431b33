//! The shell around the groups: creation, removal, timers, refusals by version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::{
    EPOCH, MemoryLog, assigning, committing, committing_alone, config, joining, leaving, live_keys, text,
};
use crate::clock::ManualClock;
use crate::group::member::Client;
use crate::group::{GroupConfig, GroupCoordinator};
use crate::stop;

fn open(log: &Arc<MemoryLog>, config: GroupConfig) -> (Arc<GroupCoordinator>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(EPOCH));
    (GroupCoordinator::open(log.clone(), config, clock.clone()).unwrap(), clock)
}

fn client() -> Client {
    Client { id: text("client"), host: text("/127.0.0.1") }
}

/// Waits for a condition; the limit is for a broken build only.
async fn eventually(condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit, "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn stable_member(groups: &GroupCoordinator, request: JoinGroupRequest) -> StrBytes {
    let id = groups.join_group(request.clone(), 9, client()).await.member_id;
    let joined = groups.join_group(request.with_member_id(id.clone()), 9, client()).await;
    assert_eq!(joined.error_code, 0);
    let synced = groups.sync_group(assigning(std::slice::from_ref(&id), joined.generation_id)).await;
    assert_eq!(synced.error_code, 0);
    id
}

fn state(groups: &GroupCoordinator) -> String {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]);
    groups.describe_groups(&request, 5).groups[0].group_state.to_string()
}

#[tokio::test]
async fn the_timer_task_ends_sessions_and_expires_offsets() {
    let log = Arc::new(MemoryLog::default());
    let quick =
        GroupConfig { min_session_timeout_ms: 1, offsets_retention_check_interval_ms: 20, ..config() };
    let (groups, clock) = open(&log, quick);
    let (stopping, stop) = stop::channel();
    let task = tokio::spawn(groups.clone().run(stop));
    stable_member(&groups, joining("t").with_session_timeout_ms(100)).await;
    groups.offset_commit(&committing_alone("t").with_group_id(GroupId(text("h"))), 9, &|_, _| true);
    eventually(|| state(&groups) != "Stable").await;
    clock.advance(super::RETENTION);
    eventually(|| groups.list_groups(&[], &[]).is_empty()).await;
    assert_eq!(live_keys(&log), []);
    stopping.stop();
    task.await.unwrap();
}

#[tokio::test]
async fn a_stopping_broker_answers_what_is_parked_and_parks_nothing_more() {
    let (groups, _) = open(&Arc::default(), config());
    let (stopping, stop) = stop::channel();
    let task = tokio::spawn(groups.clone().run(stop));
    stable_member(&groups, joining("t")).await;
    let parked = tokio::spawn({
        let groups = groups.clone();
        async move { groups.join_group(joining("t"), 3, client()).await }
    });
    eventually(|| state(&groups) == "PreparingRebalance").await;
    stopping.stop();
    task.await.unwrap();
    assert_eq!(parked.await.unwrap().error_code, ResponseError::NotCoordinator.code());
    let late = groups.join_group(joining("t"), 3, client()).await;
    assert_eq!(late.error_code, ResponseError::NotCoordinator.code());
}

#[tokio::test]
async fn an_unknown_group_is_created_by_a_newcomers_join_and_by_nothing_else() {
    let (groups, _) = open(&Arc::default(), config());
    let unknown = ResponseError::UnknownMemberId.code();
    let join = groups.join_group(joining("t").with_member_id(text("m")), 9, client()).await;
    assert_eq!(join.error_code, unknown);
    assert_eq!(groups.sync_group(assigning(&[text("m")], 1)).await.error_code, unknown);
    let heartbeat = HeartbeatRequest::default().with_group_id(GroupId(text("g")));
    assert_eq!(groups.heartbeat(&heartbeat).error_code, unknown);
    let leave = LeaveGroupRequest::default().with_group_id(GroupId(text("g")));
    let left = groups.leave_group(&leave.clone().with_members(vec![leaving(&text("m"))]), 5);
    assert_eq!((left.error_code, left.members[0].error_code), (0, unknown));
    assert_eq!(groups.leave_group(&leave.with_member_id(text("m")), 2).error_code, unknown);
    let commit = |version| {
        let answer = groups.offset_commit(&committing("t", &text("m"), 1), version, &|_, _| true);
        ResponseError::try_from_code(answer.topics[0].partitions[0].error_code)
    };
    assert_eq!(commit(8), Some(ResponseError::IllegalGeneration));
    assert_eq!(commit(9), Some(ResponseError::GroupIdNotFound));
    assert_eq!(groups.delete_group(&text("g")), Err(ResponseError::GroupIdNotFound));
    assert_eq!(groups.delete_offsets(&text("g"), &[]), Err(ResponseError::GroupIdNotFound));
    assert_eq!(groups.fetch_all_offsets(&text("g"), true), []);
    assert_eq!(
        groups.fetch_offsets(&text("g"), &[(text("t"), vec![3])], true),
        [(text("t"), vec![(3, Ok(None))])]
    );
    assert_eq!(groups.list_groups(&[], &[]), []);
}

#[tokio::test]
async fn unknown_groups_are_described_as_dead_and_from_version_6_as_missing() {
    let (groups, _) = open(&Arc::default(), config());
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]);
    let old = groups.describe_groups(&request, 5).groups.remove(0);
    assert_eq!((&*old.group_state, old.error_code), ("Dead", 0));
    let new = groups.describe_groups(&request, 6).groups.remove(0);
    assert_eq!((&*new.group_state, new.error_code), ("Dead", ResponseError::GroupIdNotFound.code()));
    assert_eq!(new.error_message.as_deref(), Some("Group g not found."));
}

#[tokio::test]
async fn names_and_timeouts_out_of_range_are_refused() {
    let (groups, _) = open(&Arc::default(), config());
    let join = async |request| {
        ResponseError::try_from_code(groups.join_group(request, 9, client()).await.error_code)
    };
    assert_eq!(
        join(joining("t").with_group_id(GroupId(text("")))).await,
        Some(ResponseError::InvalidGroupId)
    );
    let session = |ms| joining("t").with_session_timeout_ms(ms);
    assert_eq!(join(session(5_999)).await, Some(ResponseError::InvalidSessionTimeout));
    assert_eq!(join(session(1_800_001)).await, Some(ResponseError::InvalidSessionTimeout));
    assert_eq!(join(session(6_000)).await, Some(ResponseError::MemberIdRequired));
    let long = text(&"x".repeat(40_000));
    assert_eq!(
        join(joining("t").with_group_id(GroupId(long.clone()))).await,
        Some(ResponseError::InvalidGroupId)
    );
    let instance = joining("t").with_group_instance_id(Some(long));
    assert_eq!(join(instance).await, Some(ResponseError::InvalidRequest));
}

#[tokio::test]
async fn versions_before_7_get_no_null_protocol() {
    let (groups, _) = open(&Arc::default(), config());
    let old = groups.join_group(joining("t"), 6, client()).await;
    let new = groups.join_group(joining("t"), 7, client()).await;
    assert_eq!((old.protocol_name, new.protocol_name), (Some(StrBytes::new()), None));
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let (groups, _) = open(&Arc::default(), config());
    stable_member(&groups, joining("t")).await;
    groups.offset_commit(&committing_alone("t").with_group_id(GroupId(text("alone"))), 9, &|_, _| true);
    let names = |states: &[&str], types: &[&str]| {
        let words = |words: &[&str]| words.iter().map(|word| text(word)).collect::<Vec<_>>();
        let listed = groups.list_groups(&words(states), &words(types));
        listed.iter().map(|group| group.group_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[], &[]), ["alone", "g"]);
    assert_eq!(names(&["stable"], &[]), ["g"]);
    assert_eq!(names(&["Empty", "Dead"], &["Classic"]), ["alone"]);
    assert_eq!(names(&[], &["consumer"]), Vec::<String>::new());
}

#[tokio::test]
async fn a_deleted_group_can_be_made_anew() {
    let (groups, _) = open(&Arc::default(), config());
    groups.offset_commit(&committing_alone("t"), 9, &|_, _| true);
    assert_eq!(groups.delete_group(&text("g")), Ok(()));
    assert_eq!(groups.delete_group(&text("g")), Err(ResponseError::GroupIdNotFound));
    stable_member(&groups, joining("t")).await;
    assert_eq!(state(&groups), "Stable");
    assert_eq!(groups.delete_group(&text("g")), Err(ResponseError::NonEmptyGroup));
}
