//! Heartbeats, leaving, and the end of sessions.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::{
    Harness, REBALANCE, SESSION, assigning, committing, joining, joining_static, leaving, syncing, text,
};
use crate::group::state::GroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};

#[test]
fn a_silent_member_is_removed_after_its_session_timeout() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    harness.pass_alive(SESSION - 1, &ids[..1]);
    harness.assert_state(Stable);
    harness.pass(1);
    harness.assert_state(PreparingRebalance);
    let alone = harness.join(joining("t").with_member_id(ids[0].clone())).now();
    assert_eq!((alone.error_code, alone.members.len()), (0, 1));
}

#[test]
fn a_heartbeat_or_a_commit_keeps_the_session() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    for _ in 0..5 {
        harness.pass(SESSION - 1);
        assert_eq!(harness.heartbeat(&ids[0]), Ok(()));
        let commit = committing("t", &ids[1], harness.group.generation);
        assert_eq!(harness.commit(&commit), None);
    }
    harness.assert_state(Stable);
}

#[test]
fn a_group_whose_members_all_fall_silent_is_empty() {
    let mut harness = Harness::new();
    harness.stable(2);
    harness.pass(SESSION);
    // One after the other: the first starts a rebalance that the second would have to join.
    harness.pass(REBALANCE);
    harness.assert_state(Empty);
}

#[test]
fn a_member_that_waits_for_others_is_not_silent() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    let mut leader = harness.join(joining("t").with_member_id(ids[0].clone()));
    harness.pass_alive(SESSION * 3, &ids[1..]);
    leader.assert_parked();
    harness.join(joining("t").with_member_id(ids[1].clone())).now();
    assert_eq!(leader.error(), None);
    // From now on it counts again.
    harness.assert_state(CompletingRebalance);
    harness.pass_alive(SESSION, &ids[1..]);
    harness.assert_state(PreparingRebalance);
}

#[test]
fn a_member_that_waits_for_its_assignment_is_not_silent() {
    let mut harness = Harness::new();
    let ids = harness.completing(2);
    let generation = harness.group.generation;
    let mut follower = harness.sync(syncing(&ids[1], generation));
    harness.pass_alive(SESSION * 3, &ids[..1]);
    follower.assert_parked();
    harness.sync(assigning(&ids, generation)).now();
    assert_eq!(follower.error(), None);
    harness.pass_alive(SESSION, &ids[..1]);
    harness.assert_state(PreparingRebalance);
}

#[test]
fn a_new_members_parked_join_does_not_hold_its_place_for_ever() {
    let mut harness = Harness::new();
    let (patient, answer) = harness.join_new(joining("t").with_rebalance_timeout_ms(900_000));
    answer.now();
    harness.sync(assigning(std::slice::from_ref(&patient), 1)).now();
    let (_, mut newcomer) = harness.join_new(joining("t"));
    harness.pass_alive(299_999, std::slice::from_ref(&patient));
    newcomer.assert_parked();
    harness.pass(1);
    assert_eq!(newcomer.error(), Some(ResponseError::UnknownMemberId));
    harness.assert_state(PreparingRebalance);
}

#[test]
fn leaving_starts_a_rebalance_at_once() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    assert_eq!(harness.leave(leaving(&ids[0])), None);
    harness.assert_state(PreparingRebalance);
    let alone = harness.join(joining("t").with_member_id(ids[1].clone())).now();
    assert_eq!((alone.members.len(), &alone.leader), (1, &ids[1]));
}

#[test]
fn leaving_answers_what_the_member_waits_for() {
    let mut harness = Harness::new();
    let ids = harness.completing(2);
    let follower = harness.sync(syncing(&ids[1], harness.group.generation));
    harness.leave(leaving(&ids[1]));
    assert_eq!(follower.error(), Some(ResponseError::UnknownMemberId));
    let leader = harness.join(joining("t").with_member_id(ids[0].clone()));
    harness.leave(leaving(&ids[0]));
    // Alone, it was answered before it left.
    assert_eq!(leader.error(), None);
    harness.assert_state(Empty);
}

#[test]
fn several_members_leave_in_one_request_with_an_answer_each() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    let stranger = text("stranger");
    let request = [leaving(&ids[0]), leaving(&stranger), leaving(&ids[1])];
    let answers = harness.input(|group, env| group.leave(env, &request));
    let codes: Vec<i16> = answers.iter().map(|answer| answer.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownMemberId.code(), 0]);
    assert_eq!(answers[1].member_id, stranger);
    harness.assert_state(Empty);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut harness = Harness::new();
    let id = harness.join(joining_static("i")).now().member_id;
    harness.sync(assigning(std::slice::from_ref(&id), 1)).now();
    let by_instance = |name: &str| leaving(&StrBytes::new()).with_group_instance_id(Some(text(name)));
    assert_eq!(harness.leave(by_instance("other")), Some(ResponseError::UnknownMemberId));
    harness.assert_state(Stable);
    assert_eq!(harness.leave(by_instance("i")), None);
    harness.assert_state(Empty);
}
