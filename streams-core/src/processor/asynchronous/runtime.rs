//! Where calls run: on a tokio runtime of the application, or on one of the instance's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::call::CallSignal;
use crate::client::Waker;
use crate::error::StreamsError;

/// Threads of a runtime of our own: calls wait, they don't compute.
const OWN_THREADS: usize = 2;

/// The tokio runtime that asynchronous steps run their calls on. By order: the one in the settings
/// ([`StreamsConfig::async_runtime`](crate::StreamsConfig::async_runtime)); the one that
/// [`KafkaStreams::start`](crate::KafkaStreams::start) was awaited on, where it has several threads; one of its own, made
/// when the first step needs it.
#[derive(Clone)]
pub struct AsyncRuntime(Arc<Mutex<Place>>);

#[derive(Default)]
struct Place {
    handle: Option<Handle>,
    own: Option<Runtime>,
    /// How long a transaction may last, where calls are waited for in one.
    transaction_timeout: Option<Duration>,
    /// Steps that are known to be able to take longer.
    slow: BTreeSet<Arc<str>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // In whatever context this happens, and without waiting for a call that doesn't end.
        if let Some(own) = self.own.take() {
            own.shutdown_background();
        }
    }
}

impl AsyncRuntime {
    /// Calls run on `given`; without it on the runtime that the instance is started on, or else on one of its own.
    pub fn new(given: Option<Handle>) -> Self {
        let (transaction_timeout, slow) = (None, BTreeSet::new());
        AsyncRuntime(Arc::new(Mutex::new(Place { handle: given, own: None, transaction_timeout, slow })))
    }

    /// Calls are made within transactions of at most this length.
    pub(crate) fn in_transactions(&self, timeout: Duration) {
        self.0.lock().transaction_timeout = Some(timeout);
    }

    /// Says so, once, when a step may take longer than the transaction that waits for it.
    pub(super) fn check_longest_call(&self, node: &Arc<str>, longest: Duration) {
        let mut place = self.0.lock();
        let Some(timeout) = place.transaction_timeout.filter(|timeout| longest >= *timeout) else { return };
        if place.slow.insert(Arc::clone(node)) {
            tracing::warn!(
                %node, longest_call_ms = longest.as_millis(), transaction_timeout_ms = timeout.as_millis(),
                "all attempts of an asynchronous step may take longer than a transaction lasts: then it is aborted, and its records are processed again, perhaps for ever; give the step shorter time-outs or fewer retries (AsyncOptions), or raise producer.transaction.timeout.ms (up to the brokers' transaction.max.timeout.ms)"
            );
        }
    }

    /// Takes the runtime that this is called on, unless one was given. One with a single thread is left alone: the
    /// program may block it while it waits for its streams.
    pub(crate) fn use_ambient(&self) {
        let mut place = self.0.lock();
        if place.handle.is_none()
            && let Ok(handle) = Handle::try_current()
            && handle.runtime_flavor() == RuntimeFlavor::MultiThread
        {
            place.handle = Some(handle);
        }
    }

    /// The runtime, made if there is none.
    pub(super) fn handle(&self) -> Result<Handle, StreamsError> {
        let mut place = self.0.lock();
        if let Some(handle) = &place.handle {
            return Ok(handle.clone());
        }
        let own = Builder::new_multi_thread()
            .worker_threads(OWN_THREADS)
            .thread_name("kstreams-async")
            .enable_all()
            .build()
            .map_err(|source| StreamsError::AsyncRuntime { source: Arc::new(source) })?;
        let handle = own.handle().clone();
        (place.handle, place.own) = (Some(handle.clone()), Some(own));
        Ok(handle)
    }
}

/// What a task is given for its asynchronous steps.
#[derive(Clone)]
pub struct AsyncEnvironment {
    pub(super) runtime: AsyncRuntime,
    waker: Arc<Waker>,
    /// Results go on in the order of their records whatever the steps say.
    pub(super) in_order: bool,
}

impl AsyncEnvironment {
    /// For a task of a processing thread, which `waker` wakes.
    pub(crate) fn new(runtime: AsyncRuntime, waker: Arc<Waker>) -> Self {
        AsyncEnvironment { runtime, waker, in_order: false }
    }

    /// For a task that is driven by a test: results go on in the order of their records, so that every run gives the
    /// same.
    pub fn in_order(runtime: Option<Handle>) -> Self {
        AsyncEnvironment { runtime: AsyncRuntime::new(runtime), waker: Arc::default(), in_order: true }
    }

    pub(crate) fn signal(&self) -> CallSignal {
        CallSignal::new(Arc::clone(&self.waker))
    }
}
