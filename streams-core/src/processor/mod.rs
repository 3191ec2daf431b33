//! The Processor API: what a node of a topology does with a record.
//!
//! A [`Processor`] takes records of one type and forwards records of another to its children; a [`FixedKeyProcessor`]
//! must keep the key, so that nothing has to be repartitioned after it. Both get a context for one call, through which
//! they forward, reach their state stores, schedule punctuations and look at the record's metadata.

mod asynchronous;
mod context;
mod fixed_key;
mod store_handle;
mod wrapper;

pub(crate) use asynchronous::CallSignal;
pub use asynchronous::{
    AsyncAdapter, AsyncEnvironment, AsyncOptions, AsyncOrder, AsyncProcessor, AsyncRuntime,
};
pub use context::{InitContext, ProcessorContext, RecordMetadata, StoreScope};
pub use fixed_key::{FixedKeyAdapter, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord};

pub(crate) use store_handle::ErasedStoreCell;
pub use store_handle::StoreHandle;
pub(crate) use wrapper::Wrapped;
pub use wrapper::{AroundProcessor, ProcessorCall, ProcessorWrapper};

use std::fmt;

use kstreams_state_stores::Record;

use crate::error::StreamsError;

/// What a processor's methods answer; `?` turns any error into a [`ProcessError`].
pub type ProcessResult<T = ()> = Result<T, ProcessError>;

/// Any error of user code, or one that a node further down has already reported.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a record could not be processed. Errors of user code go to the processing exception handler (KIP-1033) with the
/// name of the node that raised them; what comes back from `forward` has been there already and only travels up.
pub struct ProcessError(pub(crate) ProcessErrorKind);

pub(crate) enum ProcessErrorKind {
    /// Raised by the node itself: the handler decides.
    User(BoxError),
    /// Decided already: the task fails.
    Fatal(Box<StreamsError>),
}

impl ProcessError {
    /// An error that is only a text.
    pub fn msg(text: impl fmt::Display) -> Self {
        ProcessError(ProcessErrorKind::User(text.to_string().into()))
    }

    pub(crate) fn fatal(error: StreamsError) -> Self {
        ProcessError(ProcessErrorKind::Fatal(Box::new(error)))
    }

    /// The error as one of the task's: a user error that nobody was there to handle becomes one of `node`.
    pub(crate) fn into_streams_error(self, node: &str) -> StreamsError {
        match self.0 {
            ProcessErrorKind::Fatal(error) => *error,
            ProcessErrorKind::User(source) => StreamsError::User { node: node.to_owned(), source },
        }
    }
}

impl<E: Into<BoxError>> From<E> for ProcessError {
    fn from(error: E) -> Self {
        ProcessError(ProcessErrorKind::User(error.into()))
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ProcessErrorKind::User(error) => write!(f, "ProcessError::User({error:?})"),
            ProcessErrorKind::Fatal(error) => write!(f, "ProcessError::Fatal({error:?})"),
        }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ProcessErrorKind::User(error) => error.fmt(f),
            ProcessErrorKind::Fatal(error) => error.fmt(f),
        }
    }
}

/// A node of the topology (`org.apache.kafka.streams.processor.api.Processor`). Each task has its own, made by the
/// supplier given to [`Topology::add_processor`](crate::Topology::add_processor).
///
/// ```
/// use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
/// use kstreams_state_stores::{KeyValueStore, Record};
///
/// /// Counts records per key in the store `counts`.
/// #[derive(Default)]
/// struct Count {
///     counts: Option<StoreHandle<KeyValueStore<String, i64>>>,
/// }
///
/// impl Processor<String, String, String, i64> for Count {
///     fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
///         self.counts = Some(ctx.state_store("counts")?);
///         Ok(())
///     }
///     fn process(
///         &mut self,
///         record: Record<String, String>,
///         ctx: &mut ProcessorContext<'_, String, i64>,
///     ) -> ProcessResult {
///         let Some(counts) = &self.counts else { return Ok(()) };
///         let mut counts = ctx.store(counts);
///         let count = counts.get(&record.key)?.unwrap_or(0) + 1;
///         counts.put(&record.key, &count)?;
///         ctx.forward(record.with_value(count))
///     }
/// }
/// ```
pub trait Processor<KIn, VIn, KOut = (), VOut = ()>: Send {
    /// Called once per task, after its stores were restored and before the first record.
    ///
    /// # Errors
    /// An error fails the task.
    fn init(&mut self, _ctx: &mut InitContext<'_>) -> ProcessResult {
        Ok(())
    }

    /// Called for every record.
    ///
    /// # Errors
    /// An error (or a panic) goes to the processing exception handler.
    fn process(
        &mut self,
        record: Record<KIn, VIn>,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult;

    /// Called when a schedule of [`InitContext::schedule`] is due. `timestamp` is the current stream time or wall-clock
    /// time in ms, by the schedule's type. The context has no record: no topic, no headers.
    ///
    /// # Errors
    /// An error goes to the processing exception handler.
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _timestamp: i64,
        _ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        Ok(())
    }

    /// Called after the store caches of the task's stores were flushed, before a commit: a node that owns a cached
    /// store forwards here what the flush set free ([`KeyValueStore::pop_flushed`](kstreams_state_stores::KeyValueStore)).
    ///
    /// # Errors
    /// An error goes to the processing exception handler.
    fn forward_flushed(&mut self, _ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult {
        Ok(())
    }

    /// For processors that work outside the task's thread ([`AsyncAdapter`]): forwards what came of one record, under
    /// that record's context. Called until it answers [`Resumed::Nothing`].
    ///
    /// # Errors
    /// An error goes to the processing exception handler.
    fn resume(&mut self, _ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult<Resumed> {
        Ok(Resumed::Nothing)
    }

    /// For the same: forget what was begun. The task goes back to its last commit.
    fn cancel(&mut self) {}

    /// Called once when the task closes. Errors have nowhere to go: log them.
    fn close(&mut self) {}
}

/// What [`Processor::resume`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resumed {
    /// It dealt with a record; there may be more. Also what is taken for its answer when a handler let its error pass.
    #[default]
    One,
    /// There was nothing.
    Nothing,
}

/// A boxed processor is one too, so that a supplier may choose.
impl<KIn, VIn, KOut, VOut> Processor<KIn, VIn, KOut, VOut> for Box<dyn Processor<KIn, VIn, KOut, VOut>> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        (**self).init(ctx)
    }
    fn process(
        &mut self,
        record: Record<KIn, VIn>,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        (**self).process(record, ctx)
    }
    fn punctuate(
        &mut self,
        schedule: ScheduleId,
        timestamp: i64,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        (**self).punctuate(schedule, timestamp, ctx)
    }
    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult {
        (**self).forward_flushed(ctx)
    }
    fn resume(&mut self, ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult<Resumed> {
        (**self).resume(ctx)
    }
    fn cancel(&mut self) {
        (**self).cancel();
    }
    fn close(&mut self) {
        (**self).close();
    }
}

/// Which clock a schedule follows (`PunctuationType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PunctuationType {
    /// The task's stream time: it advances with the records' timestamps only.
    StreamTime,
    /// The system's clock, checked between records.
    WallClockTime,
}

/// Names a schedule, to tell several of a node apart and to cancel one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScheduleId(pub(crate) u32);
