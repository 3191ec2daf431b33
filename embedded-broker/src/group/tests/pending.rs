//! Offsets within a transaction: who may commit them, when they show, what a restart makes of them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::OffsetCommitRequest;

use super::{Harness, RETENTION, committing, committing_alone, joining, leaving, text};
use crate::group::state::GroupState::{Dead, Empty};
use crate::internal_log::{InternalLog, ProducerEpoch};
use crate::log::Marker;

const PRODUCER: ProducerEpoch = ProducerEpoch { id: 7, epoch: 1 };

fn commit(harness: &mut Harness, request: &OffsetCommitRequest) -> Option<ResponseError> {
    let topics = harness.input(|group, env| group.commit_in(env, request, Some(PRODUCER), &|_, _| true));
    ResponseError::try_from_code(topics[0].partitions[0].error_code)
}

fn end(harness: &mut Harness, commit: bool) {
    let marker = Marker { producer_id: PRODUCER.id, producer_epoch: PRODUCER.epoch, commit };
    harness.log.end_transaction(&marker).unwrap();
    harness.group.end_transaction(PRODUCER.id, commit);
}

fn unstable(harness: &Harness, topic: &str) -> bool {
    let stable = harness.group.offsets.fetch(&text(topic), 0, true);
    assert!(
        harness.group.offsets.fetch(&text(topic), 0, false).is_ok(),
        "who does not mind gets the last one"
    );
    stable == Err(ResponseError::UnstableOffsetCommit)
}

#[test]
fn pending_offsets_show_when_the_transaction_commits() {
    let mut harness = Harness::new();
    assert_eq!(commit(&mut harness, &committing_alone("t")), None);
    assert_eq!(harness.committed("t", 0), None);
    assert!(unstable(&harness, "t") && !unstable(&harness, "other"));
    let after = harness.restarted().unwrap();
    assert!(unstable(&after, "t"), "a restart does not decide it");
    end(&mut harness, true);
    assert_eq!((harness.committed("t", 0), unstable(&harness, "t")), (Some(7), false));
    assert_eq!(harness.restarted().unwrap().committed("t", 0), Some(7));
}

#[test]
fn pending_offsets_go_when_it_aborts() {
    let mut harness = Harness::new();
    harness.commit(&committing_alone("t"));
    let mut later = committing_alone("t");
    later.topics[0].partitions[0].committed_offset = 8;
    commit(&mut harness, &later);
    end(&mut harness, false);
    assert_eq!((harness.committed("t", 0), unstable(&harness, "t")), (Some(7), false));
    assert_eq!(harness.restarted().unwrap().committed("t", 0), Some(7));
}

#[test]
fn of_two_commits_the_later_one_counts_whenever_the_transaction_ends() {
    let mut harness = Harness::new();
    commit(&mut harness, &committing_alone("t"));
    let mut later = committing_alone("t");
    later.topics[0].partitions[0].committed_offset = 9;
    harness.commit(&later);
    end(&mut harness, true);
    assert_eq!(harness.committed("t", 0), Some(9));
    assert_eq!(harness.restarted().unwrap().committed("t", 0), Some(9));
}

#[test]
fn members_are_checked_and_a_producer_without_one_is_not() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    assert_eq!(commit(&mut harness, &committing("t", &ids[0], 0)), Some(ResponseError::IllegalGeneration));
    let stranger = committing("t", &text("stranger"), 1);
    assert_eq!(commit(&mut harness, &stranger), Some(ResponseError::UnknownMemberId));
    assert_eq!(commit(&mut harness, &committing("t", &ids[0], 1)), None);
    assert_eq!(commit(&mut harness, &committing_alone("t")), None, "before KIP-447");
    // While the others join, what was read before may still be committed.
    harness.join(joining("t")).now();
    assert_eq!(commit(&mut harness, &committing("t", &ids[0], 1)), None);
}

#[test]
fn a_group_with_pending_offsets_does_not_expire() {
    let mut harness = Harness::new();
    let ids = harness.stable(1);
    harness.commit(&committing("t", &ids[0], 1));
    harness.leave(leaving(&ids[0]));
    let generation = harness.group.generation;
    assert_eq!(commit(&mut harness, &committing_alone("t")), None, "generation {generation}");
    harness.pass(RETENTION * 2);
    harness.input(|group, env| group.clean_up(env));
    harness.assert_state(Empty);
    assert_eq!(harness.committed("t", 0), Some(7));
    end(&mut harness, false);
    harness.input(|group, env| group.clean_up(env));
    harness.assert_state(Dead);
}

#[test]
fn what_is_deleted_behind_them_takes_pending_offsets_along() {
    let mut harness = Harness::new();
    commit(&mut harness, &committing_alone("t"));
    commit(&mut harness, &committing_alone("kept"));
    harness.input(|group, env| group.drop_topics(env, &|topic| topic == "t"));
    assert!(!unstable(&harness, "t") && unstable(&harness, "kept"));
    end(&mut harness, true);
    assert_eq!((harness.committed("t", 0), harness.committed("kept", 0)), (None, Some(7)));
    let after = harness.restarted().unwrap();
    assert_eq!((after.committed("t", 0), after.committed("kept", 0)), (None, Some(7)));
}
