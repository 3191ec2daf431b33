//! What a broker started again on the log makes of a group.

use kafka_protocol::ResponseError;

use super::{Harness, SESSION, committing, committing_alone, joining, leaving, syncing};
use crate::group::state::GroupState::{Empty, PreparingRebalance, Stable};

#[test]
fn members_carry_on_in_the_same_generation() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    let generation = harness.group.generation;
    harness.commit(&committing("t", &ids[0], generation));
    let mut after = harness.restarted().unwrap();
    after.assert_state(Stable);
    for id in &ids {
        assert_eq!(after.heartbeat(id), Ok(()));
        assert_eq!(after.sync(syncing(id, generation)).now().assignment, id.clone().into_bytes());
    }
    assert_eq!(after.commit(&committing("t", &ids[1], generation)), None);
    assert_eq!(after.committed("t", 0), Some(7));
    // Who leads, and with what, is known too: a follower's join changes nothing, the leader's rebalances.
    let follower = after.join(joining("t").with_member_id(ids[1].clone())).now();
    assert_eq!((follower.generation_id, &follower.leader), (generation, &ids[0]));
    after.join(joining("t").with_member_id(ids[0].clone())).assert_parked();
    after.assert_state(PreparingRebalance);
}

#[test]
fn members_that_do_not_come_back_are_removed_after_a_whole_session() {
    let mut harness = Harness::new();
    let ids = harness.stable(2);
    harness.pass_alive(SESSION - 1, &ids);
    let mut after = harness.restarted().unwrap();
    after.pass_alive(SESSION - 1, &ids[..1]);
    after.assert_state(Stable);
    after.pass(1);
    after.assert_state(PreparingRebalance);
}

#[test]
fn a_rebalance_cut_off_by_the_restart_is_run_again() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    drop(harness.join(joining("t").with_member_id(ids[0].clone())));
    assert_eq!(harness.group.generation, 2);
    // Generation 2 was never stored: the member is told, and joins again.
    let mut after = harness.restarted().unwrap();
    let commit = committing("t", &ids[0], 2);
    assert_eq!(after.commit(&commit), Some(ResponseError::IllegalGeneration));
    let again = after.join(joining("t").with_member_id(ids[0].clone())).now();
    assert_eq!((again.error_code, again.generation_id), (0, 2));
}

#[test]
fn an_empty_group_keeps_its_generation_and_the_time_it_became_empty() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    harness.commit(&committing("t", &ids[0], 1));
    harness.leave(leaving(&ids[0]));
    let since = harness.group.state_since_ms;
    harness.pass(500);
    let after = harness.restarted().unwrap();
    after.assert_state(Empty);
    assert_eq!((after.group.generation, after.group.state_since_ms), (2, since));
    assert_eq!(after.group.protocol_type.as_deref(), Some("consumer"));
}

#[test]
fn a_group_of_offsets_only_comes_back_as_such() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t"));
    let after = harness.restarted().unwrap();
    after.assert_state(Empty);
    assert_eq!((after.group.protocol_type.clone(), after.committed("t", 0)), (None, Some(7)));
}

#[test]
fn a_record_that_cannot_be_read_costs_only_itself() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t"));
    harness.commit(&committing_alone("other"));
    harness.log.entries.lock()[0].value = Some(bytes::Bytes::from_static(b"\x00\x63"));
    let after = harness.restarted().unwrap();
    assert_eq!((after.committed("t", 0), after.committed("other", 0)), (None, Some(7)));
}
