//! What time brings: transactions that took too long are aborted, ends that failed are tried again, ids that nobody uses
//! are forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::coordinator::{Transaction, TransactionCoordinator};
use super::records;
use crate::stop::StopSignal;

impl TransactionCoordinator {
    /// Looks after the transactions until the broker stops.
    pub(crate) async fn run(self: Arc<Self>, mut stop: StopSignal) {
        let every = Duration::from_millis(self.config.abort_check_ms);
        let expiry_every = Duration::from_millis(self.config.expiry_check_ms);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expiry_due = Instant::now() + expiry_every;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.stopped() => return,
            }
            let expiry = Instant::now() >= expiry_due;
            if expiry {
                expiry_due = Instant::now() + expiry_every;
            }
            let coordinator = self.clone();
            let done = tokio::task::spawn_blocking(move || {
                coordinator.abort_timed_out();
                if expiry {
                    coordinator.remove_expired();
                }
            });
            if let Err(panic) = done.await {
                tracing::error!(%panic, "looking after transactions failed");
            }
        }
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
