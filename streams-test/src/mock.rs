//! A processor on its own: what it forwards is caught, its stores and clock are the test's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kstreams_core::Topology;
use kstreams_core::config::StreamsConfig;
use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
use kstreams_state_stores::{Record, StateStore, StoreBuilder};

use crate::driver::{DriverError, TopologyTestDriver};

const NODE: &str = "processor";
const TOPIC: &str = "mock-input";

type Shared<T> = Arc<Mutex<T>>;

/// Runs one [`Processor`] without a topology around it (`MockProcessorContext`): give it records, look at what it
/// forwarded, move its clock, read its stores.
///
/// ```
/// use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
/// use kstreams_state_stores::Record;
/// use kstreams_test::MockProcessorContext;
///
/// struct Double;
/// impl Processor<String, i64, String, i64> for Double {
///     fn process(&mut self, record: Record<String, i64>, ctx: &mut ProcessorContext<'_, String, i64>) -> ProcessResult {
///         let doubled = record.value * 2;
///         ctx.forward(record.with_value(doubled))
///     }
/// }
///
/// let mut mock = MockProcessorContext::builder().build(|| Double)?;
/// mock.process(Record::new("a".to_owned(), 21, 0))?;
/// assert_eq!(mock.take_forwarded()[0].value, 42);
/// # Ok::<(), kstreams_test::DriverError>(())
/// ```
pub struct MockProcessorContext<KIn, VIn, KOut, VOut> {
    driver: TopologyTestDriver,
    inbox: Shared<Option<Record<KIn, VIn>>>,
    forwarded: Shared<Vec<Record<KOut, VOut>>>,
}

/// What a [`MockProcessorContext`] is built with: the stores that the processor uses.
pub struct MockBuilder {
    topology: Topology,
    stores: Vec<String>,
    config: StreamsConfig,
    start_wall_clock_ms: i64,
    error: Option<DriverError>,
}

impl MockBuilder {
    /// Adds a store and connects it to the processor.
    #[must_use]
    pub fn with_store(mut self, builder: impl StoreBuilder + 'static) -> Self {
        self.stores.push(builder.name().to_owned());
        if let Err(error) = self.topology.add_state_store(builder, &[]) {
            self.error = self.error.or(Some(DriverError::Streams(error.into())));
        }
        self
    }

    /// Sets the wall clock at the start, in ms since the epoch; 0 otherwise.
    #[must_use]
    pub fn with_start_wall_clock_ms(mut self, ms: i64) -> Self {
        self.start_wall_clock_ms = ms;
        self
    }

    /// Uses these settings instead of the default ones.
    #[must_use]
    pub fn with_config(mut self, config: StreamsConfig) -> Self {
        self.config = config;
        self
    }

    /// Makes the processor and calls its `init`.
    ///
    /// # Errors
    /// When a store cannot be opened or `init` fails.
    pub fn build<KIn, VIn, KOut, VOut, P>(
        mut self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> Result<MockProcessorContext<KIn, VIn, KOut, VOut>, DriverError>
    where
        P: Processor<KIn, VIn, KOut, VOut> + 'static,
        KIn: Clone + Send + 'static,
        VIn: Clone + Send + 'static,
        KOut: Clone + Send + 'static,
        VOut: Clone + Send + 'static,
    {
        if let Some(error) = self.error {
            return Err(error);
        }
        let inbox: Shared<Option<Record<KIn, VIn>>> = Arc::default();
        let forwarded: Shared<Vec<Record<KOut, VOut>>> = Arc::default();
        let (taken, caught) = (Arc::clone(&inbox), Arc::clone(&forwarded));
        let built = self
            .topology
            .add_source::<(), ()>("source", TOPIC)
            .and_then(|topology| {
                let feed = move || Feed { inbox: Arc::clone(&taken) };
                topology.add_processor("feed", feed, &["source"])
            })
            .and_then(|topology| topology.add_processor(NODE, supplier, &["feed"]))
            .and_then(|topology| {
                let catch = move || Catch { forwarded: Arc::clone(&caught) };
                topology.add_processor("catch", catch, &[NODE])
            });
        built.map_err(|error| DriverError::Streams(error.into()))?;
        for store in &self.stores {
            let connected = self.topology.connect_processor_and_state_stores(NODE, &[store]);
            connected.map_err(|error| DriverError::Streams(error.into()))?;
        }
        let driver = TopologyTestDriver::with_config(self.topology, &self.config, self.start_wall_clock_ms)?;
        Ok(MockProcessorContext { driver, inbox, forwarded })
    }
}

impl MockProcessorContext<(), (), (), ()> {
    /// Begins a mock; add stores, then [`build`](MockBuilder::build).
    pub fn builder() -> MockBuilder {
        MockBuilder {
            topology: Topology::new(),
            stores: Vec::new(),
            config: StreamsConfig::new("mock", "none:1"),
            start_wall_clock_ms: 0,
            error: None,
        }
    }
}

impl<KIn, VIn, KOut, VOut> MockProcessorContext<KIn, VIn, KOut, VOut> {
    /// Gives the processor a record, as one of topic `mock-input`, partition 0, with offsets from 0.
    ///
    /// # Errors
    /// When the processor fails.
    pub fn process(&mut self, record: Record<KIn, VIn>) -> Result<(), DriverError> {
        let (timestamp, headers) = (record.timestamp, record.headers.clone());
        *lock(&self.inbox) = Some(record);
        let raw = kstreams_core::task::OwnedRecord { timestamp, headers, ..Default::default() };
        self.driver.pipe_raw(TOPIC, raw)
    }

    /// Moves the wall clock and fires what is due.
    ///
    /// # Errors
    /// When a punctuation fails.
    pub fn advance_wall_clock_time(&mut self, by: Duration) -> Result<(), DriverError> {
        self.driver.advance_wall_clock_time(by)
    }

    /// Takes what was forwarded since the last call.
    pub fn take_forwarded(&mut self) -> Vec<Record<KOut, VOut>> {
        std::mem::take(&mut *lock(&self.forwarded))
    }

    /// Runs `f` on one of the stores.
    ///
    /// # Errors
    /// When there is no store of that name or it has another type.
    pub fn with_store<S: StateStore + 'static, T>(
        &self,
        name: &str,
        f: impl FnOnce(&mut S) -> T,
    ) -> Result<T, DriverError> {
        self.driver.with_store(name, f)
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the test's typed record in the place of the driver's empty one.
struct Feed<K, V> {
    inbox: Shared<Option<Record<K, V>>>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Processor<(), (), K, V> for Feed<K, V> {
    fn process(&mut self, _record: Record<(), ()>, ctx: &mut ProcessorContext<'_, K, V>) -> ProcessResult {
        let record = lock(&self.inbox).take();
        record.map_or(Ok(()), |record| ctx.forward(record))
    }
}

/// Keeps what the processor forwards.
struct Catch<K, V> {
    forwarded: Shared<Vec<Record<K, V>>>,
}

impl<K: Send + 'static, V: Send + 'static> Processor<K, V> for Catch<K, V> {
    fn process(&mut self, record: Record<K, V>, _ctx: &mut ProcessorContext<'_, (), ()>) -> ProcessResult {
        lock(&self.forwarded).push(record);
        Ok(())
    }
}
