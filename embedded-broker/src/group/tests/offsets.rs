//! Commits, their limits, and expiry.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::{
    EPOCH, Harness, RETENTION, assigning, committing, committing_alone, joining, leaving, live_keys, text,
};
use crate::group::records::{CommittedOffset, Key};
use crate::group::state::GroupState::{Dead, Empty, Stable};

fn clean_up(harness: &mut Harness) {
    harness.input(|group, env| group.clean_up(env));
}

#[test]
fn a_commit_is_stored_with_all_its_fields() {
    let mut harness = Harness::new();
    harness.ms = 5;
    assert_eq!(harness.commit(&committing_alone("t")), None);
    let expected = CommittedOffset {
        offset: 7,
        leader_epoch: 3,
        metadata: text("meta"),
        commit_ms: EPOCH + 5,
        expire_ms: None,
    };
    assert_eq!(harness.group.offsets.get(&text("t"), 0), Some(&expected));
    let entry = harness.log.entries.lock()[0].clone();
    assert_eq!(CommittedOffset::decode(&entry.value.unwrap()), Ok(expected));
}

#[test]
fn a_commit_that_cannot_be_stored_does_not_show() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t"));
    let mut request = committing_alone("t");
    request.topics[0].partitions[0].committed_offset = 8;
    harness.log.fail(true);
    assert_eq!(harness.commit(&request), Some(ResponseError::CoordinatorNotAvailable));
    assert_eq!(harness.committed("t", 0), Some(7));
    harness.log.fail(false);
    assert_eq!(harness.commit(&request), None);
    assert_eq!(harness.committed("t", 0), Some(8));
}

#[test]
fn each_partition_of_a_commit_is_judged_on_its_own() {
    let mut harness = Harness::new();
    let mut request = committing_alone("t");
    let mut wordy = request.topics[0].partitions[0].clone();
    wordy.partition_index = 1;
    wordy.committed_metadata = Some(text("more than sixteen bytes"));
    request.topics[0].partitions.push(wordy);
    request.topics.extend(committing_alone("absent").topics);
    let topics = harness.input(|group, env| group.commit(env, &request, &|topic, _| topic != "absent"));
    let codes: Vec<i16> =
        topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect();
    let too_large = ResponseError::OffsetMetadataTooLarge.code();
    assert_eq!(codes, [0, too_large, ResponseError::UnknownTopicOrPartition.code()]);
    assert_eq!((harness.committed("t", 0), harness.committed("t", 1)), (Some(7), None));
    assert_eq!(harness.committed("absent", 0), None);
}

#[test]
fn offsets_of_a_group_without_members_expire_after_the_retention_since_it_became_empty() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    harness.commit(&committing("t", &ids[0], 1));
    harness.pass_alive(RETENTION * 2, &ids);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), Some(7), "in use");
    harness.leave(leaving(&ids[0]));
    harness.pass(RETENTION - 1);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), Some(7));
    harness.pass(1);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), None);
    harness.assert_state(Dead);
    assert_eq!(live_keys(&harness.log), [], "nothing stays in the log");
}

#[test]
fn offsets_of_topics_that_a_live_group_does_not_subscribe_to_expire_by_their_age() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    harness.commit(&committing("t", &ids[0], 1));
    harness.commit(&committing("beside", &ids[0], 1));
    harness.pass_alive(RETENTION - 1, &ids);
    clean_up(&mut harness);
    assert_eq!(harness.committed("beside", 0), Some(7));
    // Committed again, it is young again: how Kafka Streams keeps what it assigns by hand.
    harness.commit(&committing("beside", &ids[0], 1));
    harness.pass_alive(RETENTION - 1, &ids);
    clean_up(&mut harness);
    assert_eq!(harness.committed("beside", 0), Some(7));
    harness.pass_alive(1, &ids);
    clean_up(&mut harness);
    assert_eq!((harness.committed("beside", 0), harness.committed("t", 0)), (None, Some(7)));
    harness.assert_state(Stable);
}

#[test]
fn nothing_expires_while_a_live_groups_subscriptions_are_unknown() {
    let mut harness = Harness::new();
    let connect = joining("t").with_protocol_type(text("connect"));
    let (id, answer) = harness.join_new(connect);
    answer.now();
    let ids = [id];
    let sync = assigning(&ids, 1).with_protocol_type(None);
    harness.sync(sync).now();
    harness.commit(&committing("t", &ids[0], 1));
    harness.pass_alive(RETENTION * 2, &ids);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), Some(7));
    let delete = harness.input(|group, env| group.delete_offsets(env, &[(text("t"), 0)]));
    assert_eq!(delete, Err(ResponseError::NonEmptyGroup));
}

#[test]
fn offsets_committed_without_group_management_expire_one_by_one() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("old"));
    harness.pass(RETENTION / 2);
    harness.commit(&committing_alone("young"));
    harness.pass(RETENTION / 2);
    clean_up(&mut harness);
    assert_eq!((harness.committed("old", 0), harness.committed("young", 0)), (None, Some(7)));
    harness.assert_state(Empty);
    harness.pass(RETENTION / 2);
    clean_up(&mut harness);
    harness.assert_state(Dead);
}

#[test]
fn a_client_may_choose_the_expiry_itself() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t").with_retention_time_ms(RETENTION * 3));
    harness.pass(RETENTION * 3 - 1);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), Some(7));
    let restarted = harness.restarted().unwrap();
    assert_eq!(restarted.group.offsets.get(&text("t"), 0).unwrap().expire_ms, Some(EPOCH + RETENTION * 3));
    harness.pass(1);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), None);
}

#[test]
fn an_expiry_that_cannot_be_stored_is_tried_again() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t"));
    harness.pass(RETENTION);
    harness.log.fail(true);
    clean_up(&mut harness);
    assert_eq!(harness.committed("t", 0), Some(7));
    harness.assert_state(Empty);
    harness.log.fail(false);
    clean_up(&mut harness);
    harness.assert_state(Dead);
}

#[test]
fn a_group_that_waits_for_its_first_member_is_not_cleaned_away() {
    let mut harness = Harness::new();
    let given = harness.join(joining("t")).now().member_id;
    clean_up(&mut harness);
    harness.assert_state(Empty);
    assert_eq!(harness.join(joining("t").with_member_id(given)).error(), None);
}

#[test]
fn a_deleted_topics_offsets_go_with_it() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t"));
    harness.commit(&committing_alone("kept"));
    harness.input(|group, env| group.drop_topics(env, &|topic| topic == "t"));
    assert_eq!((harness.committed("t", 0), harness.committed("kept", 0)), (None, Some(7)));
    let kept = Key::Offset { group: text("g"), topic: text("kept"), partition: 0 };
    assert_eq!(live_keys(&harness.log), [kept]);
}

#[test]
fn a_deleted_group_leaves_nothing_behind() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    harness.commit(&committing("t", &ids[0], 1));
    harness.leave(leaving(&ids[0]));
    assert_eq!(harness.input(|group, env| group.delete(env)), Ok(()));
    harness.assert_state(Dead);
    assert_eq!(live_keys(&harness.log), []);
    assert!(harness.restarted().is_none());
}

#[test]
fn deletion_goes_through_many_offsets_in_batches() {
    let mut harness = Harness::new();
    let mut request = committing_alone("t");
    let partition = request.topics[0].partitions[0].clone();
    request.topics[0].partitions =
        (0..2_500).map(|index| partition.clone().with_partition_index(index)).collect();
    assert_eq!(harness.commit(&request), None);
    let asked: Vec<(StrBytes, i32)> = (0..2_400).map(|index| (text("t"), index)).collect();
    let results = harness.input(|group, env| group.delete_offsets(env, &asked)).unwrap();
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((harness.committed("t", 2_399), harness.committed("t", 2_400)), (None, Some(7)));
    assert_eq!(live_keys(&harness.log).len(), 100);
}
