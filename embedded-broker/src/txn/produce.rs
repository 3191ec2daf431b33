//! Writing within a transaction: which batches and pending offsets belong to it.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::coordinator::{Transaction, TransactionCoordinator};
use super::state::TransactionState;
use crate::internal_log::ProducerEpoch;
use crate::log::TopicPartitionName;

/// A transactional id under its lock. Its transaction can't end while this is held, so what was admitted can be written.
pub(crate) struct OpenTransaction<'a> {
    coordinator: &'a TransactionCoordinator,
    transaction: &'a mut Transaction,
}

impl TransactionCoordinator {
    /// Does something within a transactional id's lock; `input` gets `INVALID_PRODUCER_ID_MAPPING` if there is no such
    /// id, `INVALID_REQUEST` if it is empty.
    pub(crate) fn in_transaction<R>(
        &self,
        id: &StrBytes,
        input: impl FnOnce(Result<OpenTransaction<'_>, ResponseError>) -> R,
    ) -> R {
        if id.is_empty() {
            return input(Err(ResponseError::InvalidRequest));
        }
        loop {
            let Some(found) = self.find(id) else {
                return input(Err(ResponseError::InvalidProducerIdMapping));
            };
            let mut transaction = found.lock();
            if !transaction.dead {
                // An end that is not through yet; `check_producer` says so if it still isn't.
                let _ = self.settle(&mut transaction);
                return input(Ok(OpenTransaction { coordinator: self, transaction: &mut transaction }));
            }
        }
    }
}

impl OpenTransaction<'_> {
    /// Adds partitions to the transaction and opens it if need be. `version` is the client's `transaction.version`.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`, and `COORDINATOR_NOT_AVAILABLE` if it
    /// can't be stored.
    pub(crate) fn enlist(
        &mut self,
        producer: ProducerEpoch,
        partitions: impl IntoIterator<Item = TopicPartitionName>,
        version: i16,
    ) -> Result<(), ResponseError> {
        self.transaction.metadata.check_producer(producer)?;
        match self.transaction.metadata.add(partitions, version, self.coordinator.now_ms()) {
            Some(next) => self.coordinator.store(self.transaction, next),
            None => Ok(()),
        }
    }

    /// That the producer may write to the partition within its transaction.
    ///
    /// # Errors
    /// `TRANSACTION_ABORTABLE` if the partition was not added; else as `enlist`.
    pub(crate) fn check(
        &self,
        producer: ProducerEpoch,
        partition: &TopicPartitionName,
    ) -> Result<(), ResponseError> {
        let metadata = &self.transaction.metadata;
        metadata.check_producer(producer)?;
        let enlisted = metadata.state == TransactionState::Ongoing && metadata.partitions.contains(partition);
        if enlisted { Ok(()) } else { Err(ResponseError::TransactionAbortable) }
    }
}

/// What a producer is told that may not write, by what its request's version knows: up to `abortable` - 1 the error of
/// old, from `abortable` on that it is to abort (KIP-890), from `adds` on that the last transaction is still ending.
pub(crate) fn refusal(error: ResponseError, version: i16, abortable: i16, adds: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if version < abortable => ResponseError::InvalidTxnState,
        // Retriable for clients of any age.
        ResponseError::ConcurrentTransactions if version < adds => ResponseError::NotEnoughReplicas,
        error => error,
    }
}
