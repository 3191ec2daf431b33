//! Transactions of a producer (KIP-98, KIP-447). What is to be done about an error is what librdkafka says of it (`rdkafka.h`,
//! "Transactional producer API"): repeat the call, abort the transaction, or make the producer anew.
//!
//! ```text
//! Unready --init--> Ready --first record or offset--> Open --commit, abort--> Ready
//!                                                     Open --error, to be aborted--> Failed --abort--> Ready
//!                                                     any  --fatal error, unknown outcome--> Dead
//! ```
#![allow(unsafe_code)] // rdkafka keeps its consumers' group metadata and its transactional errors to itself

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::consumer::{Committed, GroupContext, commit_list};
use super::error::ClientError;
use super::millis;
use super::producer::Producer;

/// Where a transactional producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TransactionState {
    /// `init_transactions` was not answered yet: nothing can be produced.
    Unready,
    /// No transaction is open.
    Ready,
    /// Records or offsets are in a transaction.
    Open,
    /// The transaction can't be committed any more, only aborted.
    Failed,
    /// The producer is of no use any more: another one has its transactional id, or nobody knows what became of a commit.
    Dead,
}

const STATES: [TransactionState; 5] = [
    TransactionState::Unready,
    TransactionState::Ready,
    TransactionState::Open,
    TransactionState::Failed,
    TransactionState::Dead,
];

/// The transactions of one producer. Changed by the thread that owns the producer, read by any.
#[derive(Debug)]
pub(super) struct Transactions(AtomicU8);

impl Transactions {
    pub(super) fn new() -> Self {
        Transactions(AtomicU8::new(TransactionState::Unready as u8))
    }

    pub(super) fn state(&self) -> TransactionState {
        STATES[usize::from(self.0.load(Ordering::Acquire)) % STATES.len()]
    }

    fn set(&self, state: TransactionState) {
        self.0.store(state as u8, Ordering::Release);
    }
}

/// What to do about a transactional call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The same call again, a little later.
    Repeat,
    /// Abort the transaction and do its work again.
    Abort,
    /// Close the producer, make a new one, and do the work again.
    Replace,
}

/// A transactional call failed.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) remedy: Remedy,
    pub(crate) error: ClientError,
}

/// Who commits: the member of the group, and in which generation. Taken *before* it is checked that the partitions of a commit are still
/// this member's, so that the broker refuses what was overtaken by a rebalance meanwhile.
pub(crate) struct GroupMetadata(NonNull<rd::rd_kafka_consumer_group_metadata_t>);

impl GroupMetadata {
    /// `None` while the consumer is no member of a generation. librdkafka would give metadata without one, and the broker takes offsets
    /// that come with those from anybody.
    pub(super) fn of(consumer: &BaseConsumer<GroupContext>) -> Option<Self> {
        // SAFETY: a live client. What comes back is ours, and valid until it is destroyed.
        unsafe {
            let raw = rd::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
            let metadata = GroupMetadata(NonNull::new(raw)?);
            (rd::rd_kafka_consumer_group_metadata_generation_id(raw) >= 0).then_some(metadata)
        }
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

impl Producer {
    /// Where the transactions stand; `None`: this producer has none.
    pub(crate) fn transaction(&self) -> Option<TransactionState> {
        self.transactions().map(Transactions::state)
    }

    /// Fences earlier producers of the same transactional id, and ends what they had begun. To be repeated until it succeeds; produce
    /// nothing before.
    pub(crate) fn init_transactions(&self, timeout: Duration) -> Result<(), TransactionError> {
        // SAFETY: a live client.
        let answer = unsafe { rd::rd_kafka_init_transactions(self.native(), millis(timeout)) };
        self.judge("preparing transactions", answer, Some(TransactionState::Ready))
    }

    /// Begins a transaction unless one is open. No request is made: the coordinator hears of it with the first partition.
    pub(crate) fn begin_transaction(&self) -> Result<(), TransactionError> {
        let doing = "beginning a transaction";
        let remedy = match self.transaction() {
            None | Some(TransactionState::Open) => return Ok(()),
            Some(TransactionState::Ready) => {
                // SAFETY: a live client.
                let answer = unsafe { rd::rd_kafka_begin_transaction(self.native()) };
                return self.judge(doing, answer, Some(TransactionState::Open));
            }
            Some(TransactionState::Failed) => Remedy::Abort,
            Some(TransactionState::Unready | TransactionState::Dead) => Remedy::Replace,
        };
        let (doing, code) = (doing.to_owned(), RDKafkaErrorCode::State);
        let message = "the one before has failed, or none can be had".to_owned();
        Err(TransactionError { remedy, error: ClientError::Transaction { doing, code, message } })
    }

    /// Adds offsets (of the next records to read) to the transaction, in the name of `group`; begins one if none is open.
    pub(crate) fn send_offsets(
        &self,
        offsets: &[Committed],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<(), TransactionError> {
        self.begin_transaction()?;
        let doing = || format!("adding {} offsets to the transaction", offsets.len());
        let list = commit_list(offsets).map_err(|source| {
            self.set(TransactionState::Failed);
            TransactionError { remedy: Remedy::Abort, error: ClientError::request(doing(), source) }
        })?;
        // SAFETY: a live client, list and metadata, all of which are only read.
        let answer = unsafe {
            rd::rd_kafka_send_offsets_to_transaction(
                self.native(),
                list.ptr(),
                group.0.as_ptr(),
                millis(timeout),
            )
        };
        self.judge(&doing(), answer, None)
    }

    /// Commits the transaction. A call that is to be repeated goes on where it was: nothing else may be done before it has an answer.
    pub(crate) fn commit_transaction(&self, timeout: Duration) -> Result<(), TransactionError> {
        // SAFETY: a live client.
        let answer = unsafe { rd::rd_kafka_commit_transaction(self.native(), millis(timeout)) };
        self.judge("committing the transaction", answer, Some(TransactionState::Ready))
    }

    /// Aborts the transaction: its records and offsets are as if they had never been. To be repeated like the commit.
    pub(crate) fn abort_transaction(&self, timeout: Duration) -> Result<(), TransactionError> {
        // SAFETY: a live client.
        let answer = unsafe { rd::rd_kafka_abort_transaction(self.native(), millis(timeout)) };
        self.judge("aborting the transaction", answer, Some(TransactionState::Ready))
    }

    /// From outside of the transactional calls it is known that the transaction can't be committed.
    pub(crate) fn transaction_failed(&self) {
        if self.fatal_error().is_some() {
            self.set(TransactionState::Dead);
        } else if self.transaction() == Some(TransactionState::Open) {
            self.set(TransactionState::Failed);
        }
    }

    /// Nobody knows what has become of the transaction: only a new producer of the same id can tell.
    pub(crate) fn transaction_lost(&self) {
        self.set(TransactionState::Dead);
    }

    fn set(&self, state: TransactionState) {
        if let Some(transactions) = self.transactions() {
            transactions.set(state);
        }
    }

    /// Makes an error of librdkafka's one of ours, and notes where the producer stands now.
    fn judge(
        &self,
        doing: &str,
        answer: *mut rd::rd_kafka_error_t,
        on_success: Option<TransactionState>,
    ) -> Result<(), TransactionError> {
        let Some(answer) = NonNull::new(answer) else {
            if let Some(state) = on_success {
                self.set(state);
            }
            return Ok(());
        };
        // SAFETY: an error that librdkafka has just made for us; its text is nul-terminated and copied before the error is destroyed.
        let (code, message, retriable, abortable) = unsafe {
            let raw = answer.as_ptr();
            let message = CStr::from_ptr(rd::rd_kafka_error_string(raw)).to_string_lossy().into_owned();
            let code: RDKafkaErrorCode = rd::rd_kafka_error_code(raw).into();
            let retriable = rd::rd_kafka_error_is_retriable(raw) != 0;
            let abortable = rd::rd_kafka_error_txn_requires_abort(raw) != 0;
            rd::rd_kafka_error_destroy(raw);
            (code, message, retriable, abortable)
        };
        let remedy = match (abortable, retriable) {
            (true, _) => Remedy::Abort,
            (false, true) => Remedy::Repeat,
            // Fatal, or nothing of all: to be treated as fatal.
            (false, false) => Remedy::Replace,
        };
        match remedy {
            Remedy::Abort => self.set(TransactionState::Failed),
            Remedy::Repeat => {}
            Remedy::Replace => self.set(TransactionState::Dead),
        }
        Err(TransactionError {
            remedy,
            error: ClientError::Transaction { doing: doing.to_owned(), code, message },
        })
    }
}
