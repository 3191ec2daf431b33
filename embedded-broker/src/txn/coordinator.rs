//! A lock around each transactional id, and storage: what request handlers call. Methods block on disk.
//!
//! An id's lock is held while one request is handled, including its writes to the log of transactions, to the partitions
//! (a batch of the producer, a marker) and to the groups: what memory says and what the logs say agree on the order, and
//! no batch gets into a transaction behind its marker. Lock order: transaction, then group or partition.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use parking_lot::{Mutex, RwLock};

use super::config::TransactionConfig;
use super::load;
use super::metadata::{End, EndRequest, Metadata};
use super::records;
use super::state::TransactionState;
use crate::clock::SharedClock;
use crate::internal_log::{InternalLog, ProducerEpoch, ReplayError};
use crate::log::{Marker, TopicPartitionName};
use crate::producer_ids::ProducerIds;

/// Where transactions end: the partitions of topics, and the groups behind the offsets topic.
pub(crate) trait Partitions: Send + Sync {
    /// Writes a marker. A partition that is gone needs none.
    ///
    /// # Errors
    /// The partition can't be written to now: the caller tries again.
    fn end_transaction(&self, partition: &TopicPartitionName, marker: &Marker) -> Result<(), ResponseError>;
}

/// A transactional id in memory.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) id: StrBytes,
    pub(super) metadata: Metadata,
    /// It was forgotten: whoever still holds it looks it up again.
    pub(super) dead: bool,
}

/// All transactional ids of the broker.
pub(crate) struct TransactionCoordinator {
    pub(super) config: TransactionConfig,
    pub(super) log: Arc<dyn InternalLog>,
    partitions: Arc<dyn Partitions>,
    producer_ids: Arc<ProducerIds>,
    pub(super) clock: SharedClock,
    pub(super) by_id: RwLock<HashMap<StrBytes, Arc<Mutex<Transaction>>>>,
}

impl fmt::Debug for TransactionCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionCoordinator").field("config", &self.config).finish_non_exhaustive()
    }
}

impl TransactionCoordinator {
    /// Loads the transactional ids and finishes the transactions whose end was decided when the last broker stopped.
    ///
    /// # Errors
    /// [`ReplayError`] if the log can't be read.
    pub(crate) fn open(
        config: TransactionConfig,
        log: Arc<dyn InternalLog>,
        partitions: Arc<dyn Partitions>,
        producer_ids: Arc<ProducerIds>,
        clock: SharedClock,
    ) -> Result<Arc<Self>, ReplayError> {
        let by_id = RwLock::default();
        let coordinator = TransactionCoordinator { config, log, partitions, producer_ids, clock, by_id };
        coordinator.reload()?;
        Ok(Arc::new(coordinator))
    }

    /// Takes what the log says of transactional ids in the place of what was in memory, and finishes what had been decided.
    ///
    /// # Errors
    /// [`ReplayError`] if the log can't be read.
    pub(crate) fn reload(&self) -> Result<(), ReplayError> {
        let by_id = load::load(&*self.log)?.into_iter().map(|(id, metadata)| {
            let transaction = Transaction { id: id.clone(), metadata, dead: false };
            (id, Arc::new(Mutex::new(transaction)))
        });
        *self.by_id.write() = by_id.collect();
        self.settle_all();
        Ok(())
    }

    /// Loses every transactional id from memory.
    pub(crate) fn forget_all(&self) {
        let all: Vec<_> = self.by_id.write().drain().collect();
        for (_, transaction) in all {
            transaction.lock().dead = true;
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn new_producer_id(&self) -> Result<i64, ResponseError> {
        self.producer_ids.next().map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "no producer id can be handed out");
            ResponseError::CoordinatorNotAvailable
        })
    }

    /// All ids there are now.
    pub(super) fn all(&self) -> Vec<Arc<Mutex<Transaction>>> {
        self.by_id.read().values().cloned().collect()
    }

    pub(super) fn find(&self, id: &StrBytes) -> Option<Arc<Mutex<Transaction>>> {
        self.by_id.read().get(id).cloned()
    }

    /// Does something with an id, under its lock; `None` if there is no such id.
    pub(super) fn visit<R>(&self, id: &StrBytes, input: impl FnOnce(&mut Transaction) -> R) -> Option<R> {
        loop {
            let found = self.find(id)?;
            let mut transaction = found.lock();
            // A dead one has left the table: the next is another.
            if !transaction.dead {
                return Some(input(&mut transaction));
            }
        }
    }

    fn create(&self, id: &StrBytes, timeout_ms: i32) -> Result<(), ResponseError> {
        let metadata = Metadata::new(self.new_producer_id()?, timeout_ms, self.now_ms());
        // A copy: the request's bytes are not kept for it.
        let id = StrBytes::from_string(id.to_string());
        let transaction = Transaction { id: id.clone(), metadata, dead: false };
        self.by_id.write().entry(id).or_insert_with(|| Arc::new(Mutex::new(transaction)));
        Ok(())
    }

    /// InitProducerId with a transactional id: ends what an older instance left open and gives the next epoch.
    /// `expected` is what a producer says it has that wants to go on with a new epoch (KIP-360).
    ///
    /// # Errors
    /// `INVALID_TRANSACTION_TIMEOUT`, `PRODUCER_FENCED` if `expected` is not current, `CONCURRENT_TRANSACTIONS` while
    /// the end of the last transaction can't be written.
    pub(crate) fn init_producer_id(
        &self,
        id: &StrBytes,
        timeout_ms: i32,
        expected: Option<ProducerEpoch>,
    ) -> Result<ProducerEpoch, ResponseError> {
        if id.is_empty() || i16::try_from(id.len()).is_err() {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=self.config.max_timeout_ms).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        loop {
            let init = |transaction: &mut Transaction| self.init(transaction, timeout_ms, expected);
            match self.visit(id, init) {
                Some(result) => return result,
                None => self.create(id, timeout_ms)?,
            }
        }
    }

    fn init(
        &self,
        transaction: &mut Transaction,
        timeout_ms: i32,
        expected: Option<ProducerEpoch>,
    ) -> Result<ProducerEpoch, ResponseError> {
        self.settle(transaction)?;
        transaction.metadata.check_init(expected)?;
        let mut expected = expected;
        if transaction.metadata.state == TransactionState::Ongoing {
            self.fence(transaction)?;
            // The epoch of the abort is nobody's: the next one is the new instance's.
            expected = expected.map(|_| transaction.metadata.producer());
        }
        let next =
            transaction.metadata.init(timeout_ms, expected, self.now_ms(), &mut || self.new_producer_id())?;
        self.store(transaction, next)?;
        let ProducerEpoch { id: producer_id, epoch } = transaction.metadata.producer();
        tracing::info!(transactional_id = %transaction.id, producer_id, epoch, "transactional producer initialised");
        Ok(transaction.metadata.producer())
    }

    /// Aborts an open transaction against its producer, who is fenced by it.
    pub(super) fn fence(&self, transaction: &mut Transaction) -> Result<(), ResponseError> {
        let next = transaction.metadata.fence(self.now_ms());
        self.store(transaction, next)?;
        self.settle(transaction)
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn: the transaction reaches more partitions, which opens it.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`, and `COORDINATOR_NOT_AVAILABLE` if it
    /// can't be stored.
    pub(crate) fn add_partitions(
        &self,
        id: &StrBytes,
        producer: ProducerEpoch,
        partitions: Vec<TopicPartitionName>,
    ) -> Result<(), ResponseError> {
        self.in_transaction(id, |open| open?.enlist(producer, partitions, 0))
    }

    /// EndTxn: on return the transaction is committed or aborted in all its partitions and groups; should a partition's
    /// disk fail, it is sure to be. The answer is what the producer goes on with.
    ///
    /// # Errors
    /// `INVALID_TXN_STATE` without an open transaction; else as `add_partitions`.
    pub(crate) fn end(&self, id: &StrBytes, request: EndRequest) -> Result<ProducerEpoch, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let end = |transaction: &mut Transaction| {
            // An earlier end that is not through yet; the rules below say so if it still isn't.
            let _ = self.settle(transaction);
            let mut new_id = || self.new_producer_id();
            match transaction.metadata.end(request, self.now_ms(), &mut new_id)? {
                End::Done => {}
                End::Prepare(next) => {
                    self.store(transaction, next)?;
                    // Decided and stored: it will be through, if not now.
                    let _ = self.settle(transaction);
                }
            }
            Ok(transaction.metadata.next_producer())
        };
        self.visit(id, end).unwrap_or(Err(ResponseError::InvalidProducerIdMapping))
    }

    /// Makes `next` the state of the id, in the log first. After an error nothing has changed.
    pub(super) fn store(&self, transaction: &mut Transaction, next: Metadata) -> Result<(), ResponseError> {
        let entry = records::entry(&transaction.id, Some(&next));
        self.log.append(&[entry], next.updated_ms, None).map_err(|error| {
            tracing::warn!(
                transactional_id = %transaction.id, error = &error as &dyn std::error::Error,
                "cannot store a transaction's state"
            );
            error.for_coordinator()
        })?;
        transaction.metadata = next;
        Ok(())
    }

    /// Writes the markers that are missing after a decision, and that they are written.
    ///
    /// # Errors
    /// `CONCURRENT_TRANSACTIONS` if it can't be done now; what is done stays done.
    pub(super) fn settle(&self, transaction: &mut Transaction) -> Result<(), ResponseError> {
        if !transaction.metadata.state.is_prepared() {
            return Ok(());
        }
        let marker = transaction.metadata.marker();
        while let Some(partition) = transaction.metadata.partitions.first().cloned() {
            self.partitions.end_transaction(&partition, &marker).map_err(|error| {
                tracing::warn!(
                    transactional_id = %transaction.id, %partition, %error,
                    "cannot write a transaction marker: trying again later"
                );
                ResponseError::ConcurrentTransactions
            })?;
            // In memory only: after a crash the markers are written again, which does no harm.
            transaction.metadata.partitions.pop_first();
        }
        let complete = transaction.metadata.complete(self.now_ms());
        self.store(transaction, complete).map_err(|_| ResponseError::ConcurrentTransactions)
    }
}
