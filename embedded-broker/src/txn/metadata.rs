//! The state of one transactional id and the rules by which it changes.
//!
//! Every rule takes the state as it is and gives the next one, which the caller stores before it counts. References:
//! Apache Kafka `TransactionMetadata` and the checks of `TransactionCoordinator`; KIP-360 for producers that ask for a new
//! epoch of their own accord; KIP-890 for the epoch that grows with each transaction ("version 2" clients).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;

use super::state::TransactionState;
use crate::internal_log::ProducerEpoch;
use crate::log::{Marker, TopicPartitionName};

/// No producer id, or no epoch, yet.
pub(crate) const NONE: i64 = -1;
const NO_EPOCH: i16 = -1;

/// From this version on clients expect a new epoch with each transaction.
const BUMPS: i16 = 2;

/// A transactional id as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) producer_id: i64,
    /// The producer id before, if epochs ran out.
    pub(crate) previous_producer_id: i64,
    /// The producer id from the end of this transaction on, if epochs run out with it.
    pub(crate) next_producer_id: i64,
    pub(crate) epoch: i16,
    /// The epoch before, if the producer itself asked for the present one: it may ask again. Not in the log.
    pub(crate) last_epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) state: TransactionState,
    /// Where markers are to be written.
    pub(crate) partitions: BTreeSet<TopicPartitionName>,
    /// When the transaction began, milliseconds since the epoch; -1 before the first.
    pub(crate) started_ms: i64,
    pub(crate) updated_ms: i64,
    /// `transaction.version` of the client as of its last request: 0 or 2.
    pub(crate) client_version: i16,
}

/// What EndTxn leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It had been done: the request came again.
    Done,
    /// This is to be stored, then markers are to be written.
    Prepare(Metadata),
}

/// An EndTxn request, or what amounts to one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndRequest {
    pub(crate) producer: ProducerEpoch,
    pub(crate) commit: bool,
    /// The client's `transaction.version`.
    pub(crate) version: i16,
}

/// Epochs end one before the largest number, so that a producer with the last epoch can still be fenced.
fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

type NewId<'a> = &'a mut dyn FnMut() -> Result<i64, ResponseError>;

impl Metadata {
    /// A transactional id nobody used before.
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Metadata {
            producer_id,
            previous_producer_id: NONE,
            next_producer_id: NONE,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            client_version: 0,
        }
    }

    /// What identifies the producer.
    pub(crate) fn producer(&self) -> ProducerEpoch {
        ProducerEpoch { id: self.producer_id, epoch: self.epoch }
    }

    /// What the producer goes on with when its transaction has ended.
    pub(crate) fn next_producer(&self) -> ProducerEpoch {
        match self.next_producer_id {
            NONE => self.producer(),
            id => ProducerEpoch { id, epoch: 0 },
        }
    }

    /// The marker that ends the transaction as it was decided.
    pub(crate) fn marker(&self) -> Marker {
        Marker {
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            commit: self.state == TransactionState::PrepareCommit,
        }
    }

    /// Whether a producer that names its id and epoch may be given a new epoch: it has the current ones, or is asking
    /// again after an answer that was lost. A transaction that is open belongs to the current epoch alone.
    pub(crate) fn check_init(&self, expected: Option<ProducerEpoch>) -> Result<(), ResponseError> {
        let Some(expected) = expected else { return Ok(()) };
        if self.epoch == NO_EPOCH {
            // Just created: the producer's id was forgotten here.
            return Ok(());
        }
        let idle = self.state.is_idle();
        let current = expected == self.producer();
        let again = idle && expected.id == self.producer_id && expected.epoch == self.last_epoch;
        let rotated = idle && expected.id == self.previous_producer_id && is_exhausted(expected.epoch);
        if current || again || rotated { Ok(()) } else { Err(ResponseError::ProducerFenced) }
    }

    /// InitProducerId of an id without an open transaction: the next epoch, or when epochs have run out a new
    /// producer id.
    pub(crate) fn init(
        &self,
        timeout_ms: i32,
        expected: Option<ProducerEpoch>,
        now_ms: i64,
        new_id: NewId<'_>,
    ) -> Result<Metadata, ResponseError> {
        self.check_init(expected)?;
        let mut next = Metadata {
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            client_version: 0,
            last_epoch: expected.map_or(NO_EPOCH, |_| self.epoch),
            ..self.clone()
        };
        let asks_again = expected.is_some_and(|expected| expected != self.producer());
        if self.epoch != NO_EPOCH && asks_again {
            next.last_epoch = self.last_epoch;
        } else if is_exhausted(self.epoch) {
            next.previous_producer_id = self.producer_id;
            next.producer_id = new_id()?;
            next.epoch = 0;
        } else {
            next.epoch = self.epoch + 1;
        }
        Ok(next)
    }

    /// The open transaction is to be aborted without its producer's consent: it timed out, or a newer instance begins.
    /// The epoch it is aborted with is nobody's.
    pub(crate) fn fence(&self, now_ms: i64) -> Metadata {
        Metadata {
            epoch: self.epoch.saturating_add(1),
            last_epoch: NO_EPOCH,
            state: TransactionState::PrepareAbort,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// That the request comes from the current instance.
    pub(crate) fn check_producer(&self, producer: ProducerEpoch) -> Result<(), ResponseError> {
        if producer.id != self.producer_id {
            Err(ResponseError::InvalidProducerIdMapping)
        } else if producer.epoch != self.epoch {
            Err(ResponseError::ProducerFenced)
        } else if self.state.is_prepared() {
            Err(ResponseError::ConcurrentTransactions)
        } else {
            Ok(())
        }
    }

    /// The transaction reaches more partitions; `None` if it has them all. The first opens it.
    pub(crate) fn add(
        &self,
        added: impl IntoIterator<Item = TopicPartitionName>,
        version: i16,
        now_ms: i64,
    ) -> Option<Metadata> {
        let open = self.state == TransactionState::Ongoing;
        let mut partitions = if open { self.partitions.clone() } else { BTreeSet::new() };
        partitions.extend(added);
        if open && partitions.len() == self.partitions.len() {
            return None;
        }
        Some(Metadata {
            state: TransactionState::Ongoing,
            partitions,
            started_ms: if open { self.started_ms } else { now_ms },
            updated_ms: now_ms,
            client_version: version,
            ..self.clone()
        })
    }

    /// EndTxn.
    pub(crate) fn end(
        &self,
        request: EndRequest,
        now_ms: i64,
        new_id: NewId<'_>,
    ) -> Result<End, ResponseError> {
        let EndRequest { producer, commit, version } = request;
        // The answer of a version 2 client's request brought the next epoch; without the answer it has the one before.
        let (bumped, rotated) = match self.client_version >= BUMPS {
            true => (self.follows(producer), self.follows_by_rotation(producer)),
            false => (false, false),
        };
        let again = (bumped || rotated) && !self.state.is_open();
        if producer.id != self.producer_id && !rotated {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.epoch && !again {
            return Err(ResponseError::ProducerFenced);
        }
        let same_epoch_ends_again = version < BUMPS;
        match (self.state, commit) {
            (TransactionState::Ongoing, _) => self.prepare(commit, version, now_ms, new_id),
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false)
                if again || same_epoch_ends_again =>
            {
                Ok(End::Done)
            }
            // It was aborted in its producer's absence.
            (TransactionState::CompleteAbort, true) if again => Err(ResponseError::ProducerFenced),
            // A version 2 client can't know whether a partition was added; to be sure it aborts.
            (state, false) if state.is_idle() && !again && !same_epoch_ends_again => {
                let begun = Metadata { started_ms: now_ms, partitions: BTreeSet::new(), ..self.clone() };
                begun.prepare(false, version, now_ms, new_id)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    fn follows(&self, producer: ProducerEpoch) -> bool {
        producer.id == self.producer_id && producer.epoch.checked_add(1) == Some(self.epoch)
    }

    fn follows_by_rotation(&self, producer: ProducerEpoch) -> bool {
        producer.id == self.previous_producer_id && producer.epoch == i16::MAX - 1 && self.epoch == 0
    }

    fn prepare(
        &self,
        commit: bool,
        version: i16,
        now_ms: i64,
        new_id: NewId<'_>,
    ) -> Result<End, ResponseError> {
        let state = if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        let mut next = Metadata { state, updated_ms: now_ms, client_version: version, ..self.clone() };
        if version >= BUMPS {
            if is_exhausted(self.epoch) {
                next.next_producer_id = new_id()?;
            }
            next.last_epoch = self.epoch;
            next.epoch = self.epoch.saturating_add(1);
        }
        Ok(End::Prepare(next))
    }

    /// All markers are written.
    pub(crate) fn complete(&self, now_ms: i64) -> Metadata {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        let mut next = Metadata { state, updated_ms: now_ms, partitions: BTreeSet::new(), ..self.clone() };
        if self.next_producer_id != NONE {
            next.previous_producer_id = self.producer_id;
            next.producer_id = self.next_producer_id;
            next.next_producer_id = NONE;
            next.epoch = 0;
        }
        next
    }

    /// Whether an open transaction has lasted longer than its producer allowed.
    pub(crate) fn has_timed_out(&self, now_ms: i64) -> bool {
        self.state == TransactionState::Ongoing
            && self.started_ms.saturating_add(i64::from(self.timeout_ms)) < now_ms
    }

    /// Whether nobody has used the id for so long that it is forgotten.
    pub(crate) fn has_expired(&self, expiration_ms: i64, now_ms: i64) -> bool {
        self.state.is_idle() && self.updated_ms.saturating_add(expiration_ms) <= now_ms
    }
}

impl TransactionState {
    fn is_open(self) -> bool {
        self == TransactionState::Ongoing
    }
}
