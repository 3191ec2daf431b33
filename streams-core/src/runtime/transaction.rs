//! Transactions of a processing thread, under exactly-once: how they are prepared, and what becomes of one that fails.
//!
//! One transaction holds the work of all tasks of the thread since the last commit; [`commit`](super::commit) ends it. When it can't be
//! committed it is aborted, and what the tasks did since their last commit is forgotten with it: uncommitted layers, caches, buffers and
//! the processors' own state go with the tasks, which are made anew on the state of the last commit and read their inputs again
//! from the committed offsets. A producer that is of no use any more takes its thread along; another one comes in its place.
//!
//! Attempts that follow each other wait longer each time, and end with an error after `task.timeout.ms`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::error::RDKafkaErrorCode;

use super::delivery;
use super::error::{Chain, RuntimeError};
use super::instance::{Event, Heartbeat, Instance, TaskEntry};
use super::thread::ProcessingThread;
use crate::client::{ClientError, Producer, Remedy, TransactionError, TransactionState};
use crate::error::StreamsError;

/// Of one call; it is repeated as long as that may help.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Before a call is repeated.
pub(super) const REPEAT_AFTER: Duration = Duration::from_millis(50);
/// Transactions that can't be prepared for so long are told of: somebody may be waiting for the start.
const TELL_AFTER: Duration = Duration::from_secs(20);
/// An abort that isn't answered for so long is left to the transaction's time-out at the broker.
const ABORT_TIMEOUT: Duration = Duration::from_secs(30);
/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// After a failure a commit is no sign of success yet: other tasks of the thread may come before the one that fails each time.
const QUIET: Duration = Duration::from_secs(30);

/// Transactions of one thread, and of those that took its place, that failed one after the other; without transactions, times that the
/// brokers did not take its records.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: Mutex<Option<Failed>>,
    /// Whether there are any: looked at after each commit.
    any: AtomicBool,
}

#[derive(Debug)]
struct Failed {
    first: Instant,
    last: Instant,
    count: u32,
}

impl Attempts {
    /// A transaction was committed.
    pub(super) fn succeeded(&self) {
        if self.any.load(Ordering::Relaxed) {
            self.forget(QUIET);
        }
    }

    fn forget(&self, quiet: Duration) {
        let over = self.failed.lock().take_if(|failed| failed.last.elapsed() >= quiet);
        if over.is_some() {
            self.any.store(false, Ordering::Relaxed);
        }
    }

    /// One more failed: how long to wait before the next; `None` when the first is longer ago than `limit`.
    fn pause(&self, limit: Duration) -> Option<Duration> {
        let mut failed = self.failed.lock();
        self.any.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let failed = failed.get_or_insert(Failed { first: now, last: now, count: 0 });
        (failed.last, failed.count) = (now, failed.count + 1);
        (failed.first.elapsed() < limit).then(|| pause_after(failed.count))
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// Readies a producer for transactions, if it has them: fences earlier ones of its name, and ends what they had begun.
///
/// # Errors
/// When the brokers refuse (the message has the remedy), or don't answer until `give_up`.
pub(super) fn prepare(
    instance: &Instance,
    producer: &Producer,
    heartbeat: &Heartbeat,
    give_up: Instant,
) -> Result<(), StreamsError> {
    let mut told = Instant::now() + TELL_AFTER;
    while producer.transaction() == Some(TransactionState::Unready) && !instance.is_closing() {
        heartbeat.beat();
        let left = give_up.saturating_duration_since(Instant::now());
        match producer.init_transactions(left.clamp(REPEAT_AFTER, CALL_TIMEOUT)) {
            Ok(()) => return Ok(()),
            Err(TransactionError { remedy: Remedy::Repeat, error }) if !left.is_zero() => {
                if Instant::now() >= told {
                    told = give_up;
                    let error = refused(instance, error);
                    tracing::warn!(error = %Chain(&error), "waiting for the brokers to prepare transactions");
                }
                std::thread::sleep(REPEAT_AFTER);
            }
            Err(failed) => return Err(refused(instance, failed.error).into()),
        }
    }
    Ok(())
}

/// What to do about brokers that refuse transactions.
fn refused(instance: &Instance, error: ClientError) -> RuntimeError {
    use RDKafkaErrorCode as C;
    let remedy = match error.code() {
        Some(C::UnsupportedFeature | C::UnsupportedVersion) => {
            "the brokers have no transactions: exactly_once_v2 needs Apache Kafka 2.5 or newer; use at_least_once".to_owned()
        }
        Some(C::TransactionalIdAuthorizationFailed) => format!(
            "allow this user Describe and Write on transactional ids that begin with {}- (kafka-acls --transactional-id)",
            instance.settings.application_id
        ),
        Some(C::ClusterAuthorizationFailed) => {
            "allow this user IdempotentWrite on the cluster (kafka-acls --cluster)".to_owned()
        }
        Some(C::InvalidTransactionTimeout) => {
            "producer.transaction.timeout.ms is above the brokers' transaction.max.timeout.ms: lower the one or raise the other".to_owned()
        }
        _ => "is the transaction coordinator there (topic __transaction_state, as many brokers as its replication factor says)?".to_owned(),
    };
    RuntimeError::TransactionsRefused { remedy, source: Box::new(error) }
}

impl ProcessingThread {
    /// What has to happen before the first record.
    pub(super) fn prepare_producer(&self) -> Result<(), StreamsError> {
        let give_up = Instant::now() + self.instance.settings.task_timeout;
        prepare(&self.instance, &self.handle.producer, &self.handle.heartbeat, give_up)
    }

    /// What becomes of an error of a round: one of the transaction costs the work since the last commit, a record that was not delivered in
    /// time the producer, too, any other the thread.
    pub(super) fn recover(&mut self, error: StreamsError) -> Result<(), StreamsError> {
        match self.handle.producer.transaction() {
            Some(TransactionState::Failed) => self.start_over(error),
            Some(TransactionState::Dead) => Err(self.producer_lost(error)),
            None if delivery::is_to_be_repeated(&error) => Err(self.producer_lost(error)),
            _ => Err(error),
        }
    }

    /// Aborts the transaction and has every task made anew, after a pause unless it is known what to do otherwise this time.
    fn start_over(&mut self, error: StreamsError) -> Result<(), StreamsError> {
        let is_ready = self.end_by_abort();
        // The abort waits for the report of every record.
        let pause = match delivery::after_abort(&self.instance, &self.handle.producer)? {
            true => Some(Duration::ZERO),
            false => self.handle.attempts.pause(self.instance.settings.task_timeout),
        };
        let Some(pause) = pause else { return Err(self.given_up(error)) };
        tracing::warn!(
            error = %Chain(&error), ?pause,
            "the transaction failed and is aborted; its records are processed again"
        );
        if is_ready {
            self.make_tasks_anew(pause);
            Ok(())
        } else {
            Err(self.producer_lost(error))
        }
    }

    /// The error that makes the group thread replace this thread and its producer.
    fn producer_lost(&self, error: StreamsError) -> StreamsError {
        match self.handle.attempts.pause(self.instance.settings.task_timeout) {
            Some(pause) => RuntimeError::ProducerLost { pause, source: Box::new(error) }.into(),
            None => self.given_up(error),
        }
    }

    fn given_up(&self, error: StreamsError) -> StreamsError {
        let (tried, source) = (self.instance.settings.task_timeout, Box::new(error));
        match self.handle.producer.transaction() {
            Some(_) => RuntimeError::TransactionsFail { tried, source }.into(),
            None => RuntimeError::DeliveriesFail { tried, source }.into(),
        }
    }

    /// Whether some work of the thread's tasks is in a transaction.
    pub(super) fn in_transaction(&self) -> bool {
        matches!(self.handle.producer.transaction(), Some(TransactionState::Open | TransactionState::Failed))
    }

    /// Aborts what is open; false when that can't be done, and the producer is of no use any more.
    pub(super) fn abort(&self) -> bool {
        let is_ready = self.end_by_abort();
        // Of records that the abort took back nobody needs to hear.
        self.handle.producer.take_failed();
        is_ready
    }

    /// As [`abort`](Self::abort), and leaves the reports of what could not be delivered.
    fn end_by_abort(&self) -> bool {
        let (producer, start) = (&self.handle.producer, Instant::now());
        while self.in_transaction() {
            self.handle.heartbeat.beat();
            match producer.abort_transaction(CALL_TIMEOUT) {
                Ok(()) => break,
                Err(TransactionError { remedy: Remedy::Repeat | Remedy::Abort, error }) => {
                    tracing::debug!(%error, "the abort has to be repeated");
                    if start.elapsed() > ABORT_TIMEOUT {
                        producer.transaction_lost();
                    } else {
                        std::thread::sleep(REPEAT_AFTER);
                    }
                }
                Err(TransactionError { error, .. }) => {
                    tracing::warn!(%error, "the transaction cannot be aborted; it ends by its time-out, or with the next producer");
                    producer.transaction_lost();
                }
            }
        }
        producer.transaction() != Some(TransactionState::Dead)
    }

    /// Closes all tasks without commit and has them made anew on the state of their last commit.
    pub(super) fn make_tasks_anew(&mut self, pause: Duration) {
        let now_ms = self.instance.clock.now_ms();
        let entries: Vec<Arc<TaskEntry>> = self.tasks.iter().map(|bundle| bundle.entry.clone()).collect();
        self.tasks.drain(..).for_each(|bundle| bundle.close_dirty(now_ms));
        if !entries.is_empty() {
            self.instance.events.send(Event::Aborted(entries, pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_wait_longer_each_time_and_end_after_the_limit() {
        let attempts = Attempts::default();
        let minute = Duration::from_secs(60);
        let pauses: Vec<_> = (0..9).map(|_| attempts.pause(minute).unwrap().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(attempts.pause(Duration::ZERO), None, "too long ago");
        attempts.succeeded();
        assert_eq!(
            attempts.pause(minute),
            Some(LONGEST_PAUSE),
            "one commit right after a failure says nothing"
        );
        attempts.forget(Duration::ZERO);
        assert_eq!(attempts.pause(minute), Some(FIRST_PAUSE), "a commit after some quiet ends the row");
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
