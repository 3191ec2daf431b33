//! One call on the runtime: its attempts, and how it tells the task's thread that it is over.

use std::any::Any;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use kstreams_state_stores::Record;
use parking_lot::Mutex;

use super::{AsyncOptions, AsyncProcessor};
use crate::client::Waker;
use crate::error::StreamsError;
use crate::processor::{ProcessError, ProcessErrorKind, ProcessResult, RecordMetadata};

/// How the calls of a task reach its thread.
#[derive(Debug, Default)]
pub(crate) struct CallSignal {
    /// Something is over that the thread has not seen.
    ready: AtomicBool,
    /// Of the thread; of nobody else where a test drives the task.
    waker: Arc<Waker>,
    retries: AtomicU64,
    timeouts: AtomicU64,
}

impl CallSignal {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        CallSignal { waker, ..CallSignal::default() }
    }

    fn notify(&self) {
        self.ready.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether a call has ended since this was asked last.
    pub(crate) fn take_ready(&self) -> bool {
        // A read first: it costs nothing while nothing ends.
        self.ready.load(Ordering::Relaxed) && self.ready.swap(false, Ordering::AcqRel)
    }

    /// Waits until a call ends or the thread is woken for another reason, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.waker.wait(timeout);
    }

    /// Lets the next wait return at once: another reason to wake up may have been taken for ours.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Attempts that were repeated and attempts that took too long, since this was asked last.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        (self.retries.swap(0, Ordering::Relaxed), self.timeouts.swap(0, Ordering::Relaxed))
    }
}

/// Results that the task's thread has not fetched, by the numbers of their records.
pub(super) struct Finished<T> {
    results: Mutex<Vec<(u64, T)>>,
    signal: Arc<CallSignal>,
}

impl<T> Finished<T> {
    pub(super) fn new(signal: Arc<CallSignal>) -> Self {
        Finished { results: Mutex::new(Vec::new()), signal }
    }

    fn push(&self, number: u64, result: T) {
        self.results.lock().push((number, result));
        self.signal.notify();
    }

    pub(super) fn take(&self) -> Vec<(u64, T)> {
        std::mem::take(&mut self.results.lock())
    }
}

/// What a call ends with.
pub(super) type CallResult<K, V> = ProcessResult<Vec<Record<K, V>>>;

/// A call to be run.
pub(super) struct Call<P, KOut, VOut> {
    pub(super) node: Arc<str>,
    pub(super) number: u64,
    pub(super) processor: Arc<P>,
    pub(super) options: Arc<AsyncOptions>,
    pub(super) finished: Arc<Finished<CallResult<KOut, VOut>>>,
}

impl<P, KOut, VOut> Call<P, KOut, VOut>
where
    KOut: Send + 'static,
    VOut: Send + 'static,
{
    /// Runs the call and reports its end, whatever that is.
    pub(super) async fn run<KIn, VIn>(self, record: Record<KIn, VIn>, metadata: RecordMetadata)
    where
        P: AsyncProcessor<KIn, VIn, KOut, VOut>,
        KIn: Clone + Send,
        VIn: Clone + Send,
    {
        let mut report = Report { node: self.node, number: self.number, finished: Some(self.finished) };
        let signal = report.signal();
        let result = attempts(&*self.processor, record, metadata, &self.options, signal.as_deref()).await;
        report.send(result);
    }
}

/// Reports a call's end: also that of one that was dropped before it was done, because its runtime went away.
struct Report<T> {
    node: Arc<str>,
    number: u64,
    finished: Option<Arc<Finished<ProcessResult<T>>>>,
}

impl<T> Report<T> {
    fn signal(&self) -> Option<Arc<CallSignal>> {
        self.finished.as_ref().map(|finished| Arc::clone(&finished.signal))
    }

    fn send(&mut self, result: ProcessResult<T>) {
        if let Some(finished) = self.finished.take() {
            finished.push(self.number, result);
        }
    }
}

impl<T> Drop for Report<T> {
    fn drop(&mut self) {
        // Not the record's fault: no handler is asked, and the record is processed again.
        self.send(Err(ProcessError::fatal(StreamsError::AsyncCancelled { node: self.node.to_string() })));
    }
}

/// Calls until an attempt succeeds, or none is left.
async fn attempts<KIn, VIn, KOut, VOut>(
    processor: &impl AsyncProcessor<KIn, VIn, KOut, VOut>,
    record: Record<KIn, VIn>,
    metadata: RecordMetadata,
    options: &AsyncOptions,
    signal: Option<&CallSignal>,
) -> CallResult<KOut, VOut>
where
    KIn: Clone + Send,
    VIn: Clone + Send,
{
    let mut record = Some(record);
    let mut attempt = 0;
    loop {
        let is_last = attempt >= options.retries;
        // The record itself goes into the last attempt, which for most is the first one.
        let input = if is_last { record.take() } else { record.clone() };
        let Some(input) = input else { return Ok(Vec::new()) };
        let metadata = metadata.clone();
        let one = AssertUnwindSafe(async move { processor.process(input, metadata).await });
        let error = match tokio::time::timeout(options.timeout, one.catch_unwind()).await {
            Ok(Ok(Ok(records))) => return Ok(records),
            Ok(Ok(Err(error))) if !is_worth_another(options, &error) => return Err(error),
            Ok(Ok(Err(error))) => error,
            Ok(Err(panic)) => return Err(panicked(&*panic)),
            Err(_) => {
                signal.inspect(|signal| _ = signal.timeouts.fetch_add(1, Ordering::Relaxed));
                StreamsError::AsyncTimeout { timeout: options.timeout, attempt: attempt + 1 }.into()
            }
        };
        if is_last {
            return Err(error);
        }
        signal.inspect(|signal| _ = signal.retries.fetch_add(1, Ordering::Relaxed));
        tracing::debug!(%error, attempt = attempt + 1, "an asynchronous call is repeated");
        tokio::time::sleep(shortened(options.longest_wait(attempt))).await;
        attempt += 1;
    }
}

fn is_worth_another(options: &AsyncOptions, error: &ProcessError) -> bool {
    let ProcessErrorKind::User(error) = &error.0 else { return false };
    let error: &(dyn Error + 'static) = &**error;
    options.retry_if.as_ref().is_none_or(|retry_if| retry_if(error))
}

fn panicked(panic: &(dyn Any + Send)) -> ProcessError {
    crate::topology::panic_error(panic)
}

/// A random time between a half of `wait` and all of it.
fn shortened(wait: Duration) -> Duration {
    // Each state is seeded anew, which is chance enough.
    let chance = RandomState::new().hash_one(()) >> 32;
    wait / 2 + (wait / 2).mul_f64(chance as f64 / f64::from(u32::MAX))
}
