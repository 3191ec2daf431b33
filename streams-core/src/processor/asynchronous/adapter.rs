//! The node of an asynchronous step, on the task's side.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Instant;

use kstreams_state_stores::{Record, RecordContext};
use rustc_hash::FxBuildHasher;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::call::{Call, CallResult, Finished};
use super::schedule::{Rules, Schedule};
use super::{AsyncOptions, AsyncOrder, AsyncProcessor};
use crate::error::StreamsError;
use crate::processor::{
    InitContext, ProcessError, ProcessResult, Processor, ProcessorContext, RecordMetadata, Resumed,
};
use crate::task::{OwnedRecord, RawRecord, TaskCalls, TaskContext};

/// Runs an [`AsyncProcessor`] as a [`Processor`].
///
/// Key, value, timestamp and headers of what goes on are the code's own; the record's context (topic, partition, offset)
/// stays that of its input. It keeps nothing in a store. Stream time goes on while a record is held, so a windowed
/// operator below may need a grace period that it would not need without the step.
///
/// ```
/// use kstreams_core::processor::{AsyncAdapter, AsyncOptions, ProcessResult, RecordMetadata};
/// use kstreams_core::Topology;
/// use kstreams_state_stores::Record;
/// use std::sync::Arc;
///
/// let ask = |record: Record<String, String>, _: RecordMetadata| async move {
///     let answer = record.value.to_uppercase();
///     ProcessResult::Ok(vec![record.with_value(answer)])
/// };
/// let ask = Arc::new(ask);
/// let mut topology = Topology::new();
/// topology.add_source::<String, String>("questions", "questions")?;
/// topology.add_processor(
///     "ask",
///     move || AsyncAdapter::new(ask.clone(), AsyncOptions::new()),
///     &["questions"],
/// )?;
/// topology.add_sink::<String, String>("answers", "answers", &["ask"])?;
/// # Ok::<(), kstreams_core::TopologyError>(())
/// ```
pub struct AsyncAdapter<P, KIn, VIn, KOut, VOut> {
    processor: Arc<P>,
    options: Arc<AsyncOptions>,
    connected: Option<Connected<KOut, VOut>>,
    schedule: Schedule<Record<KIn, VIn>, CallResult<KOut, VOut>, Source, RunningCall>,
    /// What this node added to the task's numbers.
    counted: Counted,
}

/// What the node has from its task.
struct Connected<KOut, VOut> {
    node: Arc<str>,
    runtime: Handle,
    finished: Arc<Finished<CallResult<KOut, VOut>>>,
}

/// The record that came into the task and led to this call.
struct Source {
    record: RecordContext,
    /// Its bytes, for dead letters: copied, since the client's buffer may be large.
    raw: Option<OwnedRecord>,
}

impl Source {
    fn current(cx: &TaskContext) -> Self {
        let raw = cx.raw.as_ref().map(|raw| OwnedRecord {
            key: raw.key().map(<[u8]>::to_vec),
            value: raw.value().map(<[u8]>::to_vec),
            ..OwnedRecord::default()
        });
        Source { record: cx.record.clone(), raw }
    }
}

/// A call that is out; cancelled when nobody is interested any more.
struct RunningCall {
    since: Instant,
    abort: AbortHandle,
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

#[derive(Default, Clone, Copy)]
struct Counted {
    held: usize,
    is_full: bool,
}

impl<P, KIn, VIn, KOut, VOut> AsyncAdapter<P, KIn, VIn, KOut, VOut> {
    /// A step that runs `processor`, one for all tasks.
    pub fn new(processor: Arc<P>, options: AsyncOptions) -> Self {
        AsyncAdapter {
            schedule: Schedule::new(rules(&options, false)),
            processor,
            options: Arc::new(options),
            connected: None,
            counted: Counted::default(),
        }
    }

    /// Tells the task how much this node holds.
    fn count(&mut self, calls: &mut TaskCalls) {
        let now = Counted { held: self.schedule.held(), is_full: self.schedule.is_full() };
        let before = std::mem::replace(&mut self.counted, now);
        calls.held = (calls.held + now.held).saturating_sub(before.held);
        calls.full = (calls.full + usize::from(now.is_full)).saturating_sub(usize::from(before.is_full));
    }

    /// Takes over what calls have ended with.
    fn collect(&mut self) {
        if let Some(connected) = &self.connected {
            for (number, result) in connected.finished.take() {
                self.schedule.finish(number, result);
            }
        }
    }

    /// Ends calls that a commit has waited for too long.
    fn give_up_late(&mut self, drain_began: Option<Instant>) {
        let Some(began) = drain_began else { return };
        let waited = self.options.drain_timeout();
        let is_late = |call: &RunningCall| call.since.max(began).elapsed() >= waited;
        let late: Vec<u64> =
            self.schedule.running().filter(|(_, call)| is_late(call)).map(|(number, _)| number).collect();
        for number in late {
            let error = StreamsError::AsyncUnfinished { waited };
            self.schedule.finish(number, Err(error.into()));
        }
    }
}

impl<P, KIn, VIn, KOut, VOut> AsyncAdapter<P, KIn, VIn, KOut, VOut>
where
    P: AsyncProcessor<KIn, VIn, KOut, VOut> + 'static,
    KIn: Clone + Send + 'static,
    VIn: Clone + Send + 'static,
    KOut: Send + 'static,
    VOut: Send + 'static,
{
    /// Makes the calls that may be made now.
    fn start(&mut self) {
        let Some(connected) = &self.connected else { return };
        while let Some((number, source, record)) = self.schedule.start() {
            let RecordContext { topic, partition, offset, .. } = &source.record;
            let metadata = RecordMetadata { topic: topic.clone(), partition: *partition, offset: *offset };
            let call = Call {
                node: Arc::clone(&connected.node),
                number,
                processor: Arc::clone(&self.processor),
                options: Arc::clone(&self.options),
                finished: Arc::clone(&connected.finished),
            };
            let running = connected.runtime.spawn(call.run(record, metadata));
            let abort = running.abort_handle();
            self.schedule.keep(number, RunningCall { since: Instant::now(), abort });
        }
    }
}

fn rules(options: &AsyncOptions, in_order: bool) -> Rules {
    Rules {
        limit: options.max_in_flight,
        lanes: options.order == AsyncOrder::PerKey,
        in_order: in_order || options.order == AsyncOrder::All,
    }
}

impl<P, KIn, VIn, KOut, VOut> Processor<KIn, VIn, KOut, VOut> for AsyncAdapter<P, KIn, VIn, KOut, VOut>
where
    P: AsyncProcessor<KIn, VIn, KOut, VOut> + 'static,
    KIn: Clone + Hash + Send + 'static,
    VIn: Clone + Send + 'static,
    KOut: Clone + Send + 'static,
    VOut: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        let node = ctx.node;
        let name: Arc<str> = Arc::from(ctx.cx.node_name(node));
        let (environment, signal) = ctx.cx.calls.connect(node).map_err(ProcessError::fatal)?;
        environment.runtime.check_longest_call(&name, self.options.longest_call());
        self.schedule = Schedule::new(rules(&self.options, environment.in_order));
        self.connected = Some(Connected {
            node: name,
            runtime: environment.runtime.handle().map_err(ProcessError::fatal)?,
            finished: Arc::new(Finished::new(signal)),
        });
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<KIn, VIn>,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        let lane =
            if self.options.order == AsyncOrder::PerKey { FxBuildHasher.hash_one(&record.key) } else { 0 };
        self.schedule.admit(lane, Source::current(ctx.cx), record);
        self.start();
        self.count(&mut ctx.cx.calls);
        Ok(())
    }

    fn resume(&mut self, ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult<Resumed> {
        if !self.schedule.has_due() {
            self.collect();
            self.give_up_late(ctx.cx.calls.drain_began());
            self.start();
        }
        let taken = self.schedule.take();
        self.count(&mut ctx.cx.calls);
        let Some((source, result)) = taken else { return Ok(Resumed::Nothing) };
        // What is forwarded, and what a handler is told, is about that record; the next one sets its own.
        ctx.cx.record = source.record;
        ctx.cx.raw = source.raw.map(RawRecord::Owned);
        for record in result? {
            ctx.forward(record)?;
        }
        Ok(Resumed::One)
    }

    fn cancel(&mut self) {
        self.schedule.clear();
        self.counted = Counted::default();
    }

    fn close(&mut self) {
        self.cancel();
        self.connected = None;
    }
}
