//! What time brings: transactions that took too long are aborted, ends that failed are tried again, ids that nobody uses
//! are forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::coordinator::{Transaction, TransactionCoordinator};
use super::records;
use crate::periodic::{self, Rhythm};
use crate::stop::StopSignal;

impl TransactionCoordinator {
    /// Looks after the transactions until the broker stops.
    pub(crate) async fn run(self: Arc<Self>, stop: StopSignal) {
        let rhythm = Rhythm {
            every: Duration::from_millis(self.config.abort_check_ms),
            thorough_every: Duration::from_millis(self.config.expiry_check_ms),
        };
        periodic::run("looking after transactions", rhythm, stop, move |expiry| {
            self.abort_timed_out();
            if expiry {
                self.remove_expired();
            }
        })
        .await;
    }

    /// Tries again to write the ends that could not be written.
    pub(super) fn settle_all(&self) {
        for transaction in self.all() {
            // The reason was reported; the next round tries again.
            let _ = self.settle(&mut transaction.lock());
        }
    }

    /// Aborts what has lasted longer than its producer allowed (`transaction.timeout.ms`), and fences the producer.
    pub(crate) fn abort_timed_out(&self) {
        for transaction in self.all() {
            let mut transaction = transaction.lock();
            let _ = self.settle(&mut transaction);
            if !transaction.metadata.has_timed_out(self.now_ms()) {
                continue;
            }
            let timeout_ms = transaction.metadata.timeout_ms;
            match self.fence(&mut transaction) {
                Ok(()) => {
                    tracing::info!(transactional_id = %transaction.id, timeout_ms, "transaction timed out: aborted");
                }
                Err(error) => {
                    tracing::warn!(transactional_id = %transaction.id, %error, "cannot abort a transaction that timed out: trying again");
                }
            }
        }
    }

    /// Forgets ids that were not used for `transactional.id.expiration.ms`.
    pub(crate) fn remove_expired(&self) {
        for transaction in self.all() {
            let mut transaction = transaction.lock();
            let due = transaction.metadata.has_expired(self.config.id_expiration_ms, self.now_ms());
            if due && let Err(error) = self.forget(&mut transaction) {
                tracing::warn!(transactional_id = %transaction.id, %error, "cannot forget an idle transactional id: trying again");
            }
        }
    }

    fn forget(&self, transaction: &mut Transaction) -> Result<(), crate::internal_log::StoreError> {
        self.log.append(&[records::entry(&transaction.id, None)], self.now_ms(), None)?;
        transaction.dead = true;
        // Under the id's lock: whoever waits for it finds it dead and gone.
        self.by_id.write().remove(&transaction.id);
        tracing::info!(transactional_id = %transaction.id, "idle transactional id forgotten");
        Ok(())
    }
}
