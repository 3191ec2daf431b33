//! Joining, rebalancing, choosing protocol and leader.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::{
    Harness, REBALANCE, SESSION, assigning, config, heartbeat, joining, joining_static, leaving, protocol,
    syncing, text,
};
use crate::group::config::GroupConfig;
use crate::group::state::GroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};

#[test]
fn a_first_member_leads_and_later_ones_follow() {
    let mut harness = Harness::new();
    let (first, answer) = harness.join_new(joining("t"));
    let answer = answer.now();
    assert_eq!((answer.generation_id, &answer.leader, answer.members.len()), (1, &first, 1));
    assert_eq!(answer.protocol_name, Some(text("range")));
    assert_eq!(answer.protocol_type, Some(text("consumer")));
    assert!(first.starts_with("client-"));

    let (_, mut second) = harness.join_new(joining("t"));
    second.assert_parked();
    assert_eq!(harness.heartbeat(&first), Err(ResponseError::RebalanceInProgress));
    let first_again = harness.join(joining("t").with_member_id(first.clone())).now();
    let second = second.now();
    assert_eq!((first_again.generation_id, second.generation_id), (2, 2));
    assert_eq!((&first_again.leader, &second.leader), (&first, &first));
    assert_eq!(
        (first_again.members.len(), second.members.len()),
        (2, 0),
        "only the leader learns the members"
    );
}

#[test]
fn followers_wait_for_the_leaders_assignment_and_the_group_is_stored_before_it_is_handed_out() {
    let mut harness = Harness::new();
    let ids = harness.completing(3);
    let generation = harness.group.generation;
    let mut follower = harness.sync(syncing(&ids[1], generation));
    follower.assert_parked();
    let stored = harness.log.entries.lock().len();
    let leader = harness.sync(assigning(&ids[..2], generation)).now();
    assert_eq!(harness.log.entries.lock().len(), stored + 1);
    assert_eq!(leader.assignment, ids[0].clone().into_bytes());
    assert_eq!(follower.now().assignment, ids[1].clone().into_bytes());
    let forgotten = harness.sync(syncing(&ids[2], generation)).now();
    assert_eq!((forgotten.error_code, forgotten.assignment.len()), (0, 0), "not named: nothing assigned");
    harness.assert_state(Stable);
}

#[test]
fn a_failed_store_sends_everybody_into_another_rebalance() {
    let mut harness = Harness::new();
    let ids = harness.completing(2);
    let generation = harness.group.generation;
    let follower = harness.sync(syncing(&ids[1], generation));
    harness.log.fail(true);
    let leader = harness.sync(assigning(&ids, generation));
    assert_eq!(leader.error(), Some(ResponseError::CoordinatorNotAvailable));
    assert_eq!(follower.error(), Some(ResponseError::CoordinatorNotAvailable));
    harness.assert_state(PreparingRebalance);
    harness.log.fail(false);
    let mut first = harness.join(joining("t").with_member_id(ids[0].clone()));
    first.assert_parked();
    harness.join(joining("t").with_member_id(ids[1].clone())).now();
    first.now();
    harness.sync_all(&ids);
    harness.assert_state(Stable);
}

#[test]
fn members_that_do_not_join_again_in_time_are_left_out() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    let (newcomer, mut answer) = harness.join_new(joining("t"));
    harness.pass_alive(REBALANCE - 1, &ids);
    answer.assert_parked();
    harness.pass(1);
    let answer = answer.now();
    assert_eq!((answer.error_code, answer.members.len()), (0, 1));
    assert_eq!(answer.leader, newcomer, "the absent leader lost its place");
    assert_eq!(harness.heartbeat(&ids[0]), Err(ResponseError::UnknownMemberId));
}

#[test]
fn the_longest_rebalance_timeout_counts() {
    let mut harness = Harness::new();
    let (patient, answer) = harness.join_new(joining("t").with_rebalance_timeout_ms(200_000));
    answer.now();
    harness.sync(assigning(std::slice::from_ref(&patient), 1)).now();
    let (_, mut second) = harness.join_new(joining("t"));
    harness.pass_alive(REBALANCE + 1, std::slice::from_ref(&patient));
    second.assert_parked();
    harness.pass_alive(200_000 - REBALANCE, std::slice::from_ref(&patient));
    assert_eq!(second.error(), None);
}

#[test]
fn an_initial_delay_gathers_members_and_is_extended_while_they_come() {
    let mut harness = Harness::with(GroupConfig { initial_rebalance_delay_ms: 3_000, ..config() });
    let (_, mut first) = harness.join_new(joining("t"));
    harness.pass(2_000);
    first.assert_parked();
    let (_, mut second) = harness.join_new(joining("t"));
    harness.pass(1_000);
    second.assert_parked();
    first.assert_parked();
    // The delay was extended once, by a whole delay, and nobody came: now it ends.
    harness.pass(2_999);
    second.assert_parked();
    harness.pass(1);
    assert_eq!(first.now().generation_id, 1);
    assert_eq!(second.now().generation_id, 1);
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut harness = Harness::with(GroupConfig { initial_rebalance_delay_ms: 3_000, ..config() });
    let request = joining("t").with_rebalance_timeout_ms(7_000);
    let (_, first) = harness.join_new(request.clone());
    let mut others = Vec::new();
    for _ in 0..7 {
        harness.pass(1_000);
        others.push(harness.join_new(request.clone()).1);
    }
    assert_eq!(first.now().members.len(), 1 + 6, "3 s, 3 s more, and the last second");
}

#[test]
fn a_member_may_repeat_its_join() {
    let mut harness = Harness::new();
    let ids = harness.completing(2);
    // Its answer was lost: the same generation again, members only for the leader.
    let leader = harness.join(joining("t").with_member_id(ids[0].clone())).now();
    let follower = harness.join(joining("t").with_member_id(ids[1].clone())).now();
    assert_eq!((leader.generation_id, leader.members.len()), (2, 2));
    assert_eq!((follower.generation_id, follower.members.len()), (2, 0));
    harness.assert_state(CompletingRebalance);
    harness.sync_all(&ids);
    // A stable group's follower gets the same, its leader a rebalance.
    let follower = harness.join(joining("t").with_member_id(ids[1].clone())).now();
    assert_eq!((follower.generation_id, &follower.leader), (2, &ids[0]));
    harness.assert_state(Stable);
    harness.join(joining("t").with_member_id(ids[0].clone())).assert_parked();
    harness.assert_state(PreparingRebalance);
}

#[test]
fn a_retry_on_another_connection_takes_the_place_of_the_first() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    let request = joining("other").with_member_id(ids[1].clone());
    let first = harness.join(request.clone());
    let mut second = harness.join(request);
    assert_eq!(first.error(), Some(ResponseError::RebalanceInProgress));
    second.assert_parked();
    harness.join(joining("t").with_member_id(ids[0].clone())).now();
    assert_eq!(second.error(), None);
}

#[test]
fn a_join_during_completing_rebalance_sends_the_waiting_syncs_back() {
    let mut harness = Harness::new();
    let ids = harness.completing(2);
    let generation = harness.group.generation;
    let follower = harness.sync(syncing(&ids[1], generation));
    let (_, mut newcomer) = harness.join_new(joining("t"));
    newcomer.assert_parked();
    assert_eq!(follower.error(), Some(ResponseError::RebalanceInProgress));
    harness.assert_state(PreparingRebalance);
}

#[test]
fn the_protocol_most_members_prefer_is_selected_among_those_all_have() {
    let mut harness = Harness::new();
    let protocols = |names: &[&str]| names.iter().map(|name| protocol(name, "t")).collect();
    let first = joining("t").with_protocols(protocols(&["a", "b", "c"]));
    let second = joining("t").with_protocols(protocols(&["c", "b"]));
    let third = joining("t").with_protocols(protocols(&["b", "c"]));
    let (id1, answer) = harness.join_new(first.clone());
    assert_eq!(answer.now().protocol_name, Some(text("a")));
    let (id2, _) = harness.join_new(second.clone());
    let answer = harness.join(first.clone().with_member_id(id1.clone())).now();
    assert_eq!(harness.group.select_protocol(), answer.protocol_name);
    let (_, _) = harness.join_new(third);
    harness.join(second.with_member_id(id2));
    // b: the first's best that all have, and the third's; c: the second's.
    assert_eq!(harness.join(first.with_member_id(id1)).now().protocol_name, Some(text("b")));
}

#[test]
fn an_id_given_out_and_not_used_holds_the_rebalance_up_only_for_a_session() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    let given = harness.join(joining("t")).now();
    assert_eq!(given.error_code, ResponseError::MemberIdRequired.code());
    harness.assert_state(Stable);
    let mut leader = harness.join(joining("t").with_member_id(ids[0].clone()));
    leader.assert_parked();
    harness.pass(SESSION - 1);
    leader.assert_parked();
    harness.pass(1);
    assert_eq!(leader.error(), None);
    let late = harness.join(joining("t").with_member_id(given.member_id));
    assert_eq!(late.error(), Some(ResponseError::UnknownMemberId));
}

#[test]
fn an_id_given_out_can_be_given_back() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    let given = harness.join(joining("t")).now().member_id;
    let leader = harness.join(joining("t").with_member_id(ids[0].clone()));
    assert_eq!(harness.leave(leaving(&given)), None);
    assert_eq!(leader.error(), None, "nothing else held the rebalance up");
}

#[test]
fn a_group_has_at_most_its_maximum_of_members() {
    let mut harness = Harness::with(GroupConfig { max_size: 2, ..config() });
    let ids = harness.stable(2);
    let refused = harness.join(joining("t"));
    assert_eq!(refused.error(), Some(ResponseError::GroupMaxSizeReached));
    harness.assert_state(Stable);
    assert_eq!(harness.heartbeat(&ids[1]), Ok(()));
    // A rebalance admits those that wait, up to the limit.
    harness.join(joining("t").with_member_id(ids[0].clone())).assert_parked();
    let member = harness.join(joining("t").with_member_id(ids[1].clone()));
    assert_eq!(member.error(), None);
}

#[test]
fn a_lowered_maximum_leaves_the_last_ones_out() {
    let mut harness = Harness::new();
    let ids = harness.stable(3);
    let mut after = harness.restarted().unwrap();
    after.config.max_size = 2;
    after.input(|group, env| group.shrink_to_max_size(env));
    after.assert_state(PreparingRebalance);
    let first = after.join(joining("t").with_member_id(ids[0].clone()));
    let second = after.join(joining("t").with_member_id(ids[1].clone()));
    let third = after.join(joining("t").with_member_id(ids[2].clone()));
    assert_eq!(third.error(), Some(ResponseError::GroupMaxSizeReached));
    assert_eq!((first.error(), second.error()), (None, None), "nobody is waited for any more");
}

#[test]
fn members_that_never_sync_are_removed_after_the_rebalance_timeout() {
    let mut harness = Harness::new();
    let ids = harness.completing(2);
    let generation = harness.group.generation;
    let leader = harness.sync(assigning(&ids, generation));
    assert_eq!(leader.error(), None);
    harness.assert_state(Stable);
    harness.pass_alive(REBALANCE - 1, &ids);
    harness.assert_state(Stable);
    harness.pass(1);
    harness.assert_state(PreparingRebalance);
    assert_eq!(harness.heartbeat(&ids[0]), Err(ResponseError::RebalanceInProgress));
    assert_eq!(harness.heartbeat(&ids[1]), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_group_whose_last_member_leaves_is_empty_and_starts_again_where_it_was() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    assert_eq!(harness.leave(leaving(&ids[0])), None);
    harness.assert_state(Empty);
    assert_eq!(harness.group.generation, 2);
    let (_, answer) = harness.join_new(joining("t"));
    assert_eq!(answer.now().generation_id, 3, "generations are never used twice");
}

#[test]
fn static_members_absent_from_a_rebalance_keep_their_place_until_their_session_ends() {
    let mut harness = Harness::new();
    let first = harness.join(joining_static("i")).now().member_id;
    harness.sync(assigning(std::slice::from_ref(&first), 1)).now();
    let second = harness.join(joining_static("j"));
    harness.pass_alive(REBALANCE, std::slice::from_ref(&first));
    let second = second.now();
    assert_eq!(second.generation_id, 2);
    assert_eq!(second.leader, second.member_id);
    let members: Vec<StrBytes> = second.members.iter().map(|member| member.member_id.clone()).collect();
    assert!(members.contains(&first), "the absent one is assigned to all the same");
    assert_eq!(harness.heartbeat_of(&heartbeat(&first, 1)), Err(ResponseError::IllegalGeneration));
}
