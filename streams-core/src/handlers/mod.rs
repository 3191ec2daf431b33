//! What to do with a record that cannot be read, processed or written, and with a thread that failed.
//!
//! Three handlers, as in Kafka Streams (KIP-161, KIP-1033, KIP-210), get an [`ErrorHandlerContext`] that says which record failed
//! where, and answer whether to go on. They may add records for a dead letter topic (KIP-1034); the runtime sends those
//! with the task's output, so that they are part of the same commit. [`LogAndContinue`] and [`LogAndFail`] are there for each
//! of the three and write a dead letter when `errors.dead.letter.queue.topic.name` is set. A closure is a handler too.

use std::error::Error;

use kstreams_state_stores::Headers;

mod built_in;
mod dead_letter;

pub use built_in::{LogAndContinue, LogAndFail};
pub use dead_letter::{
    DeadLetterRecord, ErrorHandlerContext, HEADER_ERRORS_EXCEPTION_MESSAGE_NAME,
    HEADER_ERRORS_EXCEPTION_NAME, HEADER_ERRORS_OFFSET_NAME, HEADER_ERRORS_PARTITION_NAME,
    HEADER_ERRORS_STACKTRACE_NAME, HEADER_ERRORS_TOPIC_NAME,
};

/// Whether to go on after a record that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Drop the record (it counts in `dropped-records-total`) and go on.
    Resume,
    /// Stop: the uncaught exception handler decides what becomes of the thread.
    Fail,
}

/// Whether to go on after a record that could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductionDecision {
    /// Drop the output record and go on.
    Resume,
    /// Stop: nothing is committed, the uncaught exception handler decides what becomes of the thread.
    Fail,
    /// Try again: what led to the record is processed again, from the last commit, until `task.timeout.ms`. (At most once nothing is
    /// processed again: the results since the last commit that were not written are dropped.) Taken as `Fail` where the error is not retriable.
    Retry,
}

/// The answer of a deserialization or processing handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerResponse {
    /// What to do.
    pub decision: Decision,
    /// Records for dead letter topics; sent whatever the decision is.
    pub dead_letter_records: Vec<DeadLetterRecord>,
}

impl HandlerResponse {
    /// Drop the record and go on.
    pub fn resume() -> Self {
        HandlerResponse { decision: Decision::Resume, dead_letter_records: Vec::new() }
    }

    /// Stop.
    pub fn fail() -> Self {
        HandlerResponse { decision: Decision::Fail, dead_letter_records: Vec::new() }
    }

    /// The same answer with these dead letters added.
    pub fn with_dead_letters(mut self, records: impl IntoIterator<Item = DeadLetterRecord>) -> Self {
        self.dead_letter_records.extend(records);
        self
    }
}

/// The answer of a [`ProductionExceptionHandler`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductionResponse {
    /// What to do.
    pub decision: ProductionDecision,
    /// Records for dead letter topics; sent whatever the decision is.
    pub dead_letter_records: Vec<DeadLetterRecord>,
}

impl ProductionResponse {
    /// Drop the output record and go on.
    pub fn resume() -> Self {
        ProductionResponse { decision: ProductionDecision::Resume, dead_letter_records: Vec::new() }
    }

    /// Stop.
    pub fn fail() -> Self {
        ProductionResponse { decision: ProductionDecision::Fail, dead_letter_records: Vec::new() }
    }

    /// Try again.
    pub fn retry() -> Self {
        ProductionResponse { decision: ProductionDecision::Retry, dead_letter_records: Vec::new() }
    }

    /// The same answer with these dead letters added.
    pub fn with_dead_letters(mut self, records: impl IntoIterator<Item = DeadLetterRecord>) -> Self {
        self.dead_letter_records.extend(records);
        self
    }
}

impl From<HandlerResponse> for ProductionResponse {
    fn from(HandlerResponse { decision, dead_letter_records }: HandlerResponse) -> Self {
        let decision = match decision {
            Decision::Resume => ProductionDecision::Resume,
            Decision::Fail => ProductionDecision::Fail,
        };
        ProductionResponse { decision, dead_letter_records }
    }
}

/// Asked when the bytes of an input record are not what its serde expects (`deserialization.exception.handler`, KIP-161).
pub trait DeserializationExceptionHandler: Send + Sync {
    /// Answers for the record in `context`; its bytes are the source's raw key and value.
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        error: &(dyn Error + 'static),
    ) -> HandlerResponse;
}

/// Asked when user code answers an error or panics (`processing.exception.handler`, KIP-1033).
pub trait ProcessingExceptionHandler: Send + Sync {
    /// Answers for the record in `context`. What earlier branches of the topology did with it stays done.
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        error: &(dyn Error + 'static),
    ) -> HandlerResponse;
}

/// Asked when an output record cannot be serialized or the broker refuses it (`production.exception.handler`, KIP-210).
pub trait ProductionExceptionHandler: Send + Sync {
    /// The broker, or the client, refused `record`. `context` is what was kept with the record until now: task, sink, and
    /// topic, partition and offset of the source record, without raw key and value (as in Kafka Streams) or headers. Of
    /// what a punctuation wrote nothing is known.
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &FailedOutput<'_>,
        error: &(dyn Error + 'static),
    ) -> ProductionResponse;

    /// Key or value could not be turned into bytes; stops unless overridden.
    fn handle_serialization_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        origin: SerializationExceptionOrigin,
        error: &(dyn Error + 'static),
    ) -> ProductionResponse {
        let _ = origin;
        ProductionResponse::fail().with_dead_letters(context.dead_letters(error))
    }
}

/// An output record that was refused.
#[derive(Debug, Clone, Copy)]
pub struct FailedOutput<'a> {
    /// The topic it was meant for.
    pub topic: &'a str,
    /// Its partition, where known.
    pub partition: Option<i32>,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: &'a Headers,
    /// Whether the same record may succeed later (the client's own retries are over).
    pub retriable: bool,
}

/// Which part of an output record could not be serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerializationExceptionOrigin {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl<F> DeserializationExceptionHandler for F
where
    F: Fn(&ErrorHandlerContext<'_>, &(dyn Error + 'static)) -> HandlerResponse + Send + Sync,
{
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        error: &(dyn Error + 'static),
    ) -> HandlerResponse {
        self(context, error)
    }
}

impl<F> ProcessingExceptionHandler for F
where
    F: Fn(&ErrorHandlerContext<'_>, &(dyn Error + 'static)) -> HandlerResponse + Send + Sync,
{
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        error: &(dyn Error + 'static),
    ) -> HandlerResponse {
        self(context, error)
    }
}

impl<F> ProductionExceptionHandler for F
where
    F: Fn(&ErrorHandlerContext<'_>, &FailedOutput<'_>, &(dyn Error + 'static)) -> ProductionResponse
        + Send
        + Sync,
{
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &FailedOutput<'_>,
        error: &(dyn Error + 'static),
    ) -> ProductionResponse {
        self(context, record, error)
    }
}

/// What becomes of an instance whose processing thread failed (KIP-671).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamThreadExceptionResponse {
    /// A new thread takes over the tasks, from the last commit.
    ReplaceThread,
    /// This instance stops, in state ERROR. The default.
    #[default]
    ShutdownClient,
    /// Every instance of the application stops: this one first, then one after another as its tasks come to them. An
    /// instance that is started meanwhile does not, and ends the request by taking over the tasks.
    ShutdownApplication,
}

/// Asked when a processing thread failed (`StreamsUncaughtExceptionHandler`). A closure is one.
pub trait StreamsUncaughtExceptionHandler: Send + Sync {
    /// Answers for the thread that stopped with `error`.
    fn handle(&self, error: &(dyn Error + 'static)) -> StreamThreadExceptionResponse;
}

impl<F> StreamsUncaughtExceptionHandler for F
where
    F: Fn(&(dyn Error + 'static)) -> StreamThreadExceptionResponse + Send + Sync,
{
    fn handle(&self, error: &(dyn Error + 'static)) -> StreamThreadExceptionResponse {
        self(error)
    }
}
