//! Asynchronous steps: nodes whose work waits for something outside, a web service say, without stopping their thread.
//!
//! ```text
//!  task's thread                                tokio runtime
//!  process(record) -> Schedule --- spawn ---->  attempts: time-out, retries, back-off
//!        ^              |  ^                        |
//!        |   limit, order  '---- Finished <---------'  (wakes the thread)
//!        '-- resume: forwards each result with the context of its record
//! ```
//!
//! A record that such a step holds counts as processed only when its result has gone downstream: a commit waits for what
//! is held, so what nodes above did for a record and its offset are committed together, and nothing above is done twice
//! after a clean stop. Where the step holds as many records as it may, its task takes no more until some are done; other
//! tasks of the thread go on.
//!
//! | file | holds |
//! |---|---|
//! | `options` | [`AsyncOptions`]: limit, order, time-out, retries |
//! | `schedule` | which call may begin, whose result goes on: no clock, no tokio |
//! | `call` | one call on the runtime, and how it reports its end |
//! | `adapter` | [`AsyncAdapter`]: the node |
//! | `runtime` | [`AsyncRuntime`]: where calls run |
//!
//! What the task has of this is in `task/calls.rs`: the hooks are [`Processor::resume`](super::Processor::resume) and
//! [`Processor::cancel`](super::Processor::cancel).

mod adapter;
mod call;
mod options;
mod runtime;
mod schedule;
#[cfg(test)]
mod tests;

pub use adapter::AsyncAdapter;
pub(crate) use call::CallSignal;
pub use options::{AsyncOptions, AsyncOrder};
pub use runtime::{AsyncEnvironment, AsyncRuntime};

use kstreams_state_stores::Record;

use super::{ProcessResult, RecordMetadata};

/// User code that waits: a record comes in, zero or more records go on when the future is done. One value serves all
/// tasks and all records at once, so what it needs (an HTTP client, a connection pool) is shared by `&self`.
///
/// A closure from record and metadata to a future is one; `async fn process` is a valid implementation.
///
/// ```
/// use kstreams_core::processor::{AsyncProcessor, ProcessResult, RecordMetadata};
/// use kstreams_state_stores::Record;
///
/// struct Lookup;
///
/// impl AsyncProcessor<String, i64, String, String> for Lookup {
///     async fn process(
///         &self,
///         record: Record<String, i64>,
///         _metadata: RecordMetadata,
///     ) -> ProcessResult<Vec<Record<String, String>>> {
///         let name = format!("item {}", record.value); // ask somebody, with `?` on errors
///         Ok(vec![record.with_value(name)])
///     }
/// }
/// ```
pub trait AsyncProcessor<KIn, VIn, KOut, VOut>: Send + Sync {
    /// One attempt at a record; `metadata` says where it came from. Called again with a clone of the record where
    /// attempts are repeated.
    ///
    /// It must not block its thread: a blocked runtime can neither end an attempt nor begin others.
    ///
    /// # Errors
    /// An error is followed by another attempt where [`AsyncOptions`] say so, and goes to the processing exception handler
    /// in the end. So does a panic, at once.
    fn process(
        &self,
        record: Record<KIn, VIn>,
        metadata: RecordMetadata,
    ) -> impl Future<Output = ProcessResult<Vec<Record<KOut, VOut>>>> + Send;
}

impl<KIn, VIn, KOut, VOut, F, Fut> AsyncProcessor<KIn, VIn, KOut, VOut> for F
where
    F: Fn(Record<KIn, VIn>, RecordMetadata) -> Fut + Send + Sync,
    Fut: Future<Output = ProcessResult<Vec<Record<KOut, VOut>>>> + Send,
{
    fn process(
        &self,
        record: Record<KIn, VIn>,
        metadata: RecordMetadata,
    ) -> impl Future<Output = ProcessResult<Vec<Record<KOut, VOut>>>> + Send {
        self(record, metadata)
    }
}
