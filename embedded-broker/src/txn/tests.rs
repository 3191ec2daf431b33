//! The coordinator over a log in memory and partitions that can be told to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;

use super::coordinator::{Partitions, TransactionCoordinator};
use super::metadata::{EndRequest, Metadata};
use super::state::TransactionState;
use super::{Filter, TransactionConfig};
use crate::clock::{Clock, ManualClock};
use crate::internal_log::ProducerEpoch;
use crate::internal_log::testing::MemoryLog;
use crate::log::{Marker, TopicPartitionName};
use crate::producer_ids::ProducerIds;

const TIMEOUT: i32 = 1_000;
const EXPIRATION: i64 = 10_000;

/// Notes the markers it gets.
#[derive(Debug, Default)]
struct Written {
    markers: Mutex<Vec<(String, Marker)>>,
    fails: AtomicBool,
}

impl Partitions for Written {
    fn end_transaction(&self, partition: &TopicPartitionName, marker: &Marker) -> Result<(), ResponseError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(ResponseError::KafkaStorageError);
        }
        self.markers.lock().push((partition.to_string(), *marker));
        Ok(())
    }
}

struct Harness {
    coordinator: Arc<TransactionCoordinator>,
    log: Arc<MemoryLog>,
    written: Arc<Written>,
    ids: Arc<ProducerIds>,
    clock: Arc<ManualClock>,
    _dir: Arc<tempfile::TempDir>,
}

fn id() -> StrBytes {
    StrBytes::from_static_str("id")
}

fn partition(index: i32) -> TopicPartitionName {
    TopicPartitionName::new("t", index)
}

fn end(producer: ProducerEpoch, commit: bool, version: i16) -> EndRequest {
    EndRequest { producer, commit, version }
}

impl Harness {
    fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let ids = Arc::new(ProducerIds::open(dir.path()).unwrap());
        Harness::over(Arc::default(), Arc::default(), ids, Arc::new(ManualClock::new(1_000_000)), dir)
    }

    fn over(
        log: Arc<MemoryLog>,
        written: Arc<Written>,
        ids: Arc<ProducerIds>,
        clock: Arc<ManualClock>,
        dir: Arc<tempfile::TempDir>,
    ) -> Self {
        let config = TransactionConfig {
            max_timeout_ms: 60_000,
            id_expiration_ms: EXPIRATION,
            abort_check_ms: 10,
            expiry_check_ms: 10,
        };
        let (partitions, shared) = (written.clone(), clock.clone());
        let coordinator =
            TransactionCoordinator::open(config, log.clone(), partitions, ids.clone(), shared).unwrap();
        Harness { coordinator, log, written, ids, clock, _dir: dir }
    }

    /// A broker started again on the same log.
    fn restarted(&self) -> Self {
        let (log, written, ids) = (self.log.clone(), self.written.clone(), self.ids.clone());
        Harness::over(log, written, ids, self.clock.clone(), self._dir.clone())
    }

    fn init(&self) -> ProducerEpoch {
        self.coordinator.init_producer_id(&id(), TIMEOUT, None).unwrap()
    }

    fn init_again(&self, producer: ProducerEpoch) -> Result<ProducerEpoch, ResponseError> {
        self.coordinator.init_producer_id(&id(), TIMEOUT, Some(producer))
    }

    fn add(&self, producer: ProducerEpoch, index: i32) -> Result<(), ResponseError> {
        self.coordinator.add_partitions(&id(), producer, vec![partition(index)])
    }

    /// As a client does that takes a new epoch with each transaction.
    fn enlist(&self, producer: ProducerEpoch, index: i32) -> Result<(), ResponseError> {
        self.coordinator.in_transaction(&id(), |open| open?.enlist(producer, [partition(index)], 2))
    }

    fn end(&self, request: EndRequest) -> Result<ProducerEpoch, ResponseError> {
        self.coordinator.end(&id(), request)
    }

    fn metadata(&self) -> Metadata {
        self.coordinator.visit(&id(), |transaction| transaction.metadata.clone()).unwrap()
    }

    fn set_epoch(&self, epoch: i16) -> ProducerEpoch {
        self.coordinator.visit(&id(), |transaction| transaction.metadata.epoch = epoch).unwrap();
        self.metadata().producer()
    }

    fn state(&self) -> TransactionState {
        self.metadata().state
    }

    /// Partition, epoch and outcome of the markers since the last call.
    fn markers(&self) -> Vec<(String, i16, bool)> {
        let markers = std::mem::take(&mut *self.written.markers.lock());
        markers.into_iter().map(|(name, marker)| (name, marker.producer_epoch, marker.commit)).collect()
    }

    fn fail_markers(&self, fails: bool) {
        self.written.fails.store(fails, Ordering::SeqCst);
    }
}

#[test]
fn a_transaction_ends_with_a_marker_in_each_of_its_partitions() {
    let harness = Harness::new();
    let producer = harness.init();
    assert_eq!((producer.epoch, harness.state()), (0, TransactionState::Empty));
    harness.add(producer, 0).unwrap();
    harness.add(producer, 1).unwrap();
    harness.add(producer, 1).unwrap();
    assert_eq!(harness.state(), TransactionState::Ongoing);
    assert_eq!(harness.end(end(producer, true, 0)), Ok(producer));
    assert_eq!(harness.markers(), [("t-0".to_owned(), 0, true), ("t-1".to_owned(), 0, true)]);
    assert_eq!(harness.state(), TransactionState::CompleteCommit);
    // The request came again, and once with another wish.
    assert_eq!(harness.end(end(producer, true, 0)), Ok(producer));
    assert_eq!(harness.end(end(producer, false, 0)), Err(ResponseError::InvalidTxnState));
    harness.add(producer, 2).unwrap();
    assert_eq!(harness.end(end(producer, false, 0)), Ok(producer));
    assert_eq!(harness.markers(), [("t-2".to_owned(), 0, false)]);
    assert_eq!(harness.end(end(producer, true, 0)), Err(ResponseError::InvalidTxnState));
}

#[test]
fn who_is_not_the_current_instance_is_told_so() {
    let harness = Harness::new();
    let old = harness.init();
    harness.add(old, 0).unwrap();
    let new = harness.init();
    // What the old one left is aborted under an epoch that is nobody's.
    assert_eq!(harness.markers(), [("t-0".to_owned(), 1, false)]);
    assert_eq!(new, ProducerEpoch { id: old.id, epoch: 2 });
    assert_eq!(harness.add(old, 0), Err(ResponseError::ProducerFenced));
    assert_eq!(harness.end(end(old, true, 0)), Err(ResponseError::ProducerFenced));
    let stranger = ProducerEpoch { id: old.id + 1, epoch: 0 };
    assert_eq!(harness.add(stranger, 0), Err(ResponseError::InvalidProducerIdMapping));
    assert_eq!(harness.end(end(stranger, true, 0)), Err(ResponseError::InvalidProducerIdMapping));
    let nobody = StrBytes::from_static_str("nobody");
    let unknown = harness.coordinator.end(&nobody, end(new, true, 0));
    assert_eq!(unknown, Err(ResponseError::InvalidProducerIdMapping));
    assert_eq!(harness.end(end(new, true, 0)), Err(ResponseError::InvalidTxnState), "nothing was begun");
}

#[test]
fn timeouts_and_names_out_of_range_are_refused() {
    let harness = Harness::new();
    for timeout in [0, -1, 60_001] {
        let refused = harness.coordinator.init_producer_id(&id(), timeout, None);
        assert_eq!(refused, Err(ResponseError::InvalidTransactionTimeout));
    }
    let empty = harness.coordinator.init_producer_id(&StrBytes::new(), TIMEOUT, None);
    assert_eq!(empty, Err(ResponseError::InvalidRequest));
}

#[test]
fn a_producer_may_ask_for_a_new_epoch_of_its_own_accord() {
    let harness = Harness::new();
    let first = harness.init();
    let second = harness.init_again(first).unwrap();
    assert_eq!(second, ProducerEpoch { id: first.id, epoch: 1 });
    assert_eq!(harness.init_again(first), Ok(second), "the answer was lost");
    let third = harness.init_again(second).unwrap();
    assert_eq!(harness.init_again(first), Err(ResponseError::ProducerFenced));
    harness.add(third, 0).unwrap();
    assert_eq!(harness.init_again(second), Err(ResponseError::ProducerFenced), "a transaction is open");
    assert_eq!(harness.markers(), [], "and stays so");
    let fourth = harness.init_again(third).unwrap();
    assert_eq!((fourth.epoch, harness.markers().len()), (4, 1));
    // A new instance takes the right to ask again away.
    harness.init();
    assert_eq!(harness.init_again(fourth), Err(ResponseError::ProducerFenced));
}

#[test]
fn when_epochs_run_out_the_producer_gets_a_new_id() {
    let harness = Harness::new();
    harness.init();
    let last = harness.set_epoch(i16::MAX - 1);
    let next = harness.init_again(last).unwrap();
    assert!(next.id != last.id && next.epoch == 0);
    assert_eq!(harness.init_again(last), Ok(next), "the answer was lost");

    // Within a transaction: the marker has the old id's last epoch, what follows the new id.
    let last = harness.set_epoch(i16::MAX - 1);
    harness.enlist(last, 0).unwrap();
    let next = harness.end(end(last, true, 2)).unwrap();
    assert!(next.id != last.id && next.epoch == 0);
    assert_eq!(harness.markers(), [("t-0".to_owned(), i16::MAX, true)]);
    assert_eq!(harness.end(end(last, true, 2)), Ok(next), "the answer was lost");
    assert_eq!(harness.end(end(last, false, 2)), Err(ResponseError::InvalidTxnState));

    // A producer with the last epoch can be fenced.
    let last = harness.set_epoch(i16::MAX - 1);
    harness.add(last, 0).unwrap();
    let next = harness.init();
    assert!(next.id != last.id && next.epoch == 0);
}

#[test]
fn later_clients_get_a_new_epoch_with_each_transaction() {
    let harness = Harness::new();
    let first = harness.init();
    harness.enlist(first, 0).unwrap();
    let second = harness.end(end(first, true, 2)).unwrap();
    assert_eq!(second, ProducerEpoch { id: first.id, epoch: 1 });
    assert_eq!(harness.markers(), [("t-0".to_owned(), 1, true)]);
    assert_eq!(harness.end(end(first, true, 2)), Ok(second), "the answer was lost");
    assert_eq!(harness.end(end(first, false, 2)), Err(ResponseError::InvalidTxnState));
    assert_eq!(harness.end(end(second, true, 2)), Err(ResponseError::InvalidTxnState), "nothing was begun");
    // To be sure a client aborts what it may not have begun.
    let third = harness.end(end(second, false, 2)).unwrap();
    assert_eq!((third.epoch, harness.markers()), (2, vec![]));
    assert_eq!(harness.add(second, 0), Err(ResponseError::ProducerFenced), "a late request");
    harness.enlist(third, 0).unwrap();
    assert_eq!(harness.end(end(second, true, 2)), Err(ResponseError::ProducerFenced));
}

#[test]
fn a_decision_whose_markers_fail_is_kept_and_carried_out_later() {
    let harness = Harness::new();
    let producer = harness.init();
    harness.add(producer, 0).unwrap();
    harness.fail_markers(true);
    assert_eq!(harness.end(end(producer, true, 0)), Ok(producer));
    assert_eq!(harness.state(), TransactionState::PrepareCommit);
    let waits = Err(ResponseError::ConcurrentTransactions);
    assert_eq!(harness.add(producer, 1), waits);
    assert_eq!(harness.end(end(producer, true, 0)).map(drop), waits);
    assert_eq!(harness.end(end(producer, false, 0)), Err(ResponseError::InvalidTxnState));
    assert_eq!(harness.coordinator.init_producer_id(&id(), TIMEOUT, None).map(drop), waits);
    harness.fail_markers(false);
    harness.coordinator.abort_timed_out();
    assert_eq!(harness.markers(), [("t-0".to_owned(), 0, true)]);
    assert_eq!(harness.state(), TransactionState::CompleteCommit);
    harness.add(producer, 1).unwrap();
}

#[test]
fn what_cannot_be_stored_has_not_happened() {
    let harness = Harness::new();
    let producer = harness.init();
    harness.log.fail(true);
    assert_eq!(harness.add(producer, 0), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(harness.state(), TransactionState::Empty);
    harness.log.fail(false);
    harness.add(producer, 0).unwrap();
    harness.log.fail(true);
    assert_eq!(harness.end(end(producer, true, 0)), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!((harness.state(), harness.markers()), (TransactionState::Ongoing, vec![]));
    let other = harness.coordinator.init_producer_id(&id(), TIMEOUT, None);
    assert_eq!(other, Err(ResponseError::CoordinatorNotAvailable));
    harness.log.fail(false);
    assert_eq!(harness.end(end(producer, true, 0)), Ok(producer), "the epoch is still its own");
}

#[test]
fn a_restart_carries_out_what_was_decided_and_keeps_what_was_open() {
    let harness = Harness::new();
    let producer = harness.init();
    harness.add(producer, 0).unwrap();
    harness.add(producer, 1).unwrap();
    let after = harness.restarted();
    assert_eq!((after.state(), after.markers()), (TransactionState::Ongoing, vec![]));
    assert_eq!(after.metadata().partitions.len(), 2);
    after.fail_markers(true);
    after.end(end(producer, true, 0)).unwrap();
    after.fail_markers(false);
    let after = after.restarted();
    assert_eq!(after.state(), TransactionState::CompleteCommit);
    assert_eq!(after.markers(), [("t-0".to_owned(), 0, true), ("t-1".to_owned(), 0, true)]);
    // Another start finds nothing to do, and the next instance another epoch.
    let after = after.restarted();
    assert_eq!(after.markers(), []);
    assert_eq!(after.init().epoch, 1);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    for version in [0, 2] {
        let harness = Harness::new();
        let producer = harness.init();
        harness
            .coordinator
            .in_transaction(&id(), |open| open?.enlist(producer, [partition(0)], version))
            .unwrap();
        harness.clock.advance(i64::from(TIMEOUT));
        harness.coordinator.abort_timed_out();
        assert_eq!(harness.state(), TransactionState::Ongoing);
        harness.clock.advance(1);
        harness.coordinator.abort_timed_out();
        assert_eq!(harness.state(), TransactionState::CompleteAbort);
        assert_eq!(harness.markers(), [("t-0".to_owned(), 1, false)]);
        assert_eq!(harness.end(end(producer, true, version)), Err(ResponseError::ProducerFenced));
        let aborted = harness.end(end(producer, false, version));
        match version {
            // It wanted no more than what has happened, and learns its new epoch.
            2 => assert_eq!(aborted, Ok(ProducerEpoch { id: producer.id, epoch: 1 })),
            _ => assert_eq!(aborted, Err(ResponseError::ProducerFenced)),
        }
    }
}

#[test]
fn an_idle_id_is_forgotten_and_one_with_an_open_transaction_is_not() {
    let harness = Harness::new();
    let producer = harness.init();
    harness.add(producer, 0).unwrap();
    harness.clock.advance(EXPIRATION * 2);
    harness.coordinator.remove_expired();
    harness.end(end(producer, true, 0)).unwrap();
    harness.clock.advance(EXPIRATION - 1);
    harness.coordinator.remove_expired();
    assert_eq!(harness.state(), TransactionState::CompleteCommit);
    harness.clock.advance(1);
    harness.log.fail(true);
    harness.coordinator.remove_expired();
    assert_eq!(harness.state(), TransactionState::CompleteCommit, "tried again");
    harness.log.fail(false);
    harness.coordinator.remove_expired();
    assert_eq!(harness.add(producer, 0), Err(ResponseError::InvalidProducerIdMapping));
    assert_eq!(harness.restarted().add(producer, 0), Err(ResponseError::InvalidProducerIdMapping));
    // A producer that comes back and names what it had is as good as a new one.
    let again = harness.init_again(producer).unwrap();
    assert!(again.id != producer.id && again.epoch == 0);
}

#[test]
fn batches_are_admitted_to_partitions_of_the_open_transaction_only() {
    let harness = Harness::new();
    let producer = harness.init();
    let check = |producer, index| {
        harness.coordinator.in_transaction(&id(), |open| open?.check(producer, &partition(index)))
    };
    assert_eq!(check(producer, 0), Err(ResponseError::TransactionAbortable));
    harness.add(producer, 0).unwrap();
    assert_eq!(check(producer, 0), Ok(()));
    assert_eq!(check(producer, 1), Err(ResponseError::TransactionAbortable));
    let older = ProducerEpoch { epoch: -1, ..producer };
    assert_eq!(check(older, 0), Err(ResponseError::ProducerFenced));
    harness.end(end(producer, true, 0)).unwrap();
    assert_eq!(check(producer, 0), Err(ResponseError::TransactionAbortable));
}

#[test]
fn tools_see_what_is_open_for_how_long() {
    let harness = Harness::new();
    let producer = harness.init();
    harness.add(producer, 3).unwrap();
    harness.clock.advance(50);
    let list = |states: &[&'static str], open_ms| {
        let states: Vec<StrBytes> = states.iter().map(|name| StrBytes::from_static_str(name)).collect();
        let filter = Filter { states: &states, producer_ids: &[], open_ms, id_pattern: None };
        harness.coordinator.list(&filter).len()
    };
    assert_eq!((list(&[], -1), list(&["Ongoing"], -1), list(&["Empty"], -1)), (1, 1, 0));
    assert_eq!((list(&[], 49), list(&[], 50)), (1, 0));
    let described = harness.coordinator.describe(&id());
    assert_eq!((described.error_code, &*described.transaction_state), (0, "Ongoing"));
    assert_eq!((described.topics[0].partitions[0], described.transaction_timeout_ms), (3, TIMEOUT));
    assert_eq!(described.transaction_start_time_ms, harness.clock.now_ms() - 50);
    let unknown = harness.coordinator.describe(&StrBytes::from_static_str("nobody"));
    assert_eq!(unknown.error_code, ResponseError::TransactionalIdNotFound.code());
}
