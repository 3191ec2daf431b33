//! Static membership (KIP-345): a restarted member takes its own place.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::{Harness, SESSION, assigning, joining, joining_static, protocol, syncing, text};
use crate::group::state::GroupState::{CompletingRebalance, PreparingRebalance, Stable};

/// A stable group of static members "i" (the leader) and "j".
fn stable_pair(harness: &mut Harness) -> [StrBytes; 2] {
    let first = harness.join(joining_static("i")).now().member_id;
    let second = harness.join(joining_static("j"));
    harness.join(joining_static("i").with_member_id(first.clone())).now();
    let ids = [first, second.now().member_id];
    harness.sync_all(&ids);
    assert_eq!(harness.group.leader_or_empty(), ids[0]);
    ids
}

#[test]
fn ids_of_static_members_show_their_instance() {
    let mut harness = Harness::new();
    let answer = harness.join(joining_static("i")).now();
    assert_eq!(answer.error_code, 0, "no id is asked for first");
    assert!(answer.member_id.starts_with("i-"), "{}", answer.member_id);
}

#[test]
fn a_restarted_follower_keeps_generation_and_assignment_without_a_rebalance() {
    let mut harness = Harness::new();
    let [leader, old] = stable_pair(&mut harness);
    let again = harness.join(joining_static("j")).now();
    assert_eq!((again.error_code, again.generation_id), (0, 2));
    assert_ne!(again.member_id, old);
    assert_eq!((&again.leader, again.members.len(), again.skip_assignment), (&leader, 0, false));
    harness.assert_state(Stable);
    let synced = harness.sync(syncing(&again.member_id, 2)).now();
    assert_eq!(synced.assignment, old.into_bytes());
    assert_eq!(harness.heartbeat(&again.member_id), Ok(()));
}

#[test]
fn a_restarted_leader_is_told_to_skip_the_assignment() {
    let mut harness = Harness::new();
    let [old, _] = stable_pair(&mut harness);
    let again = harness.join(joining_static("i")).now();
    assert_eq!((again.generation_id, again.skip_assignment), (2, true));
    assert_eq!(again.leader, again.member_id);
    assert_eq!(again.members.len(), 2);
    let synced = harness.sync(syncing(&again.member_id, 2)).now();
    assert_eq!(synced.assignment, old.into_bytes());
    harness.assert_state(Stable);
}

#[test]
fn a_restarted_leader_of_an_older_version_is_made_to_believe_it_follows() {
    let mut harness = Harness::new();
    let [old, _] = stable_pair(&mut harness);
    let again = harness.join_version(joining_static("i"), 8).now();
    assert_eq!((&again.leader, again.skip_assignment, again.members.len()), (&old, false, 0));
    // It leads all the same: its next join is a leader's.
    harness.join(joining_static("i").with_member_id(again.member_id)).assert_parked();
    harness.assert_state(PreparingRebalance);
}

#[test]
fn a_changed_subscription_is_taken_over_and_a_changed_protocol_rebalances() {
    let mut harness = Harness::new();
    stable_pair(&mut harness);
    let subscribed = harness.join(joining_static("j").with_protocols(vec![protocol("range", "other")]));
    assert_eq!(subscribed.error(), None, "Apache Kafka looks at the protocol only");
    harness.assert_state(Stable);

    // All have both; the one selected so far loses a vote, and with it the majority.
    let mut harness = Harness::new();
    let both = |first, second| vec![protocol(first, "t"), protocol(second, "t")];
    let id = harness.join(joining_static("i").with_protocols(both("range", "sticky"))).now().member_id;
    harness.sync(assigning(std::slice::from_ref(&id), 1).with_protocol_name(None)).now();
    let answer = harness.join(joining_static("i").with_protocols(both("sticky", "range"))).now();
    assert_eq!((answer.generation_id, answer.protocol_name), (2, Some(text("sticky"))));
    harness.assert_state(CompletingRebalance);
}

#[test]
fn a_replacement_during_completing_rebalance_starts_another() {
    let mut harness = Harness::new();
    let first = harness.join(joining_static("i")).now().member_id;
    let second = harness.join(joining_static("j"));
    harness.join(joining_static("i").with_member_id(first.clone())).now();
    second.now();
    harness.assert_state(CompletingRebalance);
    let generation = harness.group.generation;
    // The leader may have computed an assignment for the id that is replaced now.
    let mut again = harness.join(joining_static("j"));
    again.assert_parked();
    harness.assert_state(PreparingRebalance);
    let stale = harness.sync(assigning(std::slice::from_ref(&first), generation));
    assert_eq!(stale.error(), Some(ResponseError::RebalanceInProgress));
}

#[test]
fn a_replacement_fences_what_the_old_one_waits_for() {
    let mut harness = Harness::new();
    let first = harness.join(joining_static("i")).now().member_id;
    harness.sync(assigning(std::slice::from_ref(&first), 1)).now();
    let second = harness.join(joining_static("j"));
    let mut second_again = harness.join(joining_static("j"));
    assert_eq!(second.error(), Some(ResponseError::FencedInstanceId));
    second_again.assert_parked();
    // Its session counts like any other's: it waits, so it is not silent.
    harness.pass_alive(SESSION * 2, std::slice::from_ref(&first));
    second_again.assert_parked();
    let follower = {
        harness.join(joining_static("i").with_member_id(first.clone())).now();
        let id = second_again.now().member_id;
        harness.sync(syncing(&id, 2))
    };
    drop(harness.join(joining_static("j")));
    assert_eq!(follower.error(), Some(ResponseError::FencedInstanceId));
}

#[test]
fn a_replacement_that_cannot_be_stored_is_taken_back() {
    let mut harness = Harness::new();
    let [_, old] = stable_pair(&mut harness);
    harness.log.fail(true);
    let again = harness.join(joining_static("j"));
    assert_eq!(again.error(), Some(ResponseError::CoordinatorNotAvailable));
    harness.log.fail(false);
    harness.assert_state(Stable);
    assert_eq!(harness.heartbeat(&old), Ok(()));
    let again = harness.join(joining_static("j")).now();
    assert_eq!(again.error_code, 0);
}

#[test]
fn a_replaced_member_survives_a_restart_of_the_broker_under_its_new_id() {
    let mut harness = Harness::new();
    let [_, old] = stable_pair(&mut harness);
    let new = harness.join(joining_static("j")).now().member_id;
    let mut after = harness.restarted().unwrap();
    assert_eq!(after.heartbeat(&new), Ok(()));
    assert_eq!(after.heartbeat(&old), Err(ResponseError::UnknownMemberId));
}

#[test]
fn static_and_dynamic_members_mix() {
    let mut harness = Harness::new();
    let fixed = harness.join(joining_static("i")).now().member_id;
    let (_, dynamic) = harness.join_new(joining("t"));
    let leader = harness.join(joining_static("i").with_member_id(fixed)).now();
    assert_eq!(dynamic.error(), None);
    let instances: Vec<Option<StrBytes>> =
        leader.members.iter().map(|member| member.group_instance_id.clone()).collect();
    assert!(instances.contains(&Some(text("i"))) && instances.contains(&None));
}
