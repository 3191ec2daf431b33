//! Wrapping the processors of a topology, those of the DSL too: to trace, measure or check what each does (KIP-1112).

use std::any::Any;

use kstreams_state_stores::{Headers, Record, StoreAccess};

use super::{
    InitContext, ProcessResult, Processor, ProcessorContext, RecordMetadata, Resumed, ScheduleId, StoreHandle,
};
use crate::task::TaskContext;

/// Decides which nodes of a topology are wrapped, and in what (`ProcessorWrapper`, the job of
/// `processor.wrapper.class`); given to [`Topology::set_processor_wrapper`](crate::Topology::set_processor_wrapper). A
/// closure is one.
pub trait ProcessorWrapper: Send + Sync {
    /// What is put around the processor of this node: made for each task. `None` leaves the node as it is.
    fn wrap(&self, node: &str) -> Option<Box<dyn AroundProcessor>>;
}

impl<F: Fn(&str) -> Option<Box<dyn AroundProcessor>> + Send + Sync> ProcessorWrapper for F {
    fn wrap(&self, node: &str) -> Option<Box<dyn AroundProcessor>> {
        self(node)
    }
}

/// What stands around one processor of one task. Each method is called in place of the processor's; calls that don't
/// [`proceed`](ProcessorCall::proceed) are not made.
pub trait AroundProcessor: Send {
    /// Called before the processor's `init`. Stores that the topology connects to the node can be taken here.
    ///
    /// # Errors
    /// An error fails the task.
    fn init(&mut self, _ctx: &mut InitContext<'_>) -> ProcessResult {
        Ok(())
    }

    /// A record comes to the processor.
    ///
    /// # Errors
    /// An error goes to the processing exception handler as one of the processor.
    fn process(&mut self, call: &mut ProcessorCall<'_>) -> ProcessResult {
        call.proceed()
    }

    /// A schedule of the processor is due.
    ///
    /// # Errors
    /// As for `process`.
    fn punctuate(&mut self, call: &mut ProcessorCall<'_>) -> ProcessResult {
        call.proceed()
    }

    /// Called after the processor's `close`.
    fn close(&mut self) {}
}

/// A call to a processor that is about to be made.
pub struct ProcessorCall<'a> {
    call: &'a mut dyn Call,
}

impl ProcessorCall<'_> {
    /// Makes the call. What the processor forwards is processed before this returns. A second time does nothing.
    ///
    /// # Errors
    /// Those of the processor, and of the nodes below that no handler let pass: return them as they are.
    pub fn proceed(&mut self) -> ProcessResult {
        self.call.make()
    }

    /// The record that the processor is given, where it has these types and the call was not made yet.
    pub fn record<K: 'static, V: 'static>(&mut self) -> Option<&mut Record<K, V>> {
        self.call.record()?.downcast_mut()
    }

    /// Topic, partition and offset of the input record that led to this call.
    pub fn record_metadata(&mut self) -> RecordMetadata {
        self.call.task().record_metadata()
    }

    /// The headers of the record that led to this call.
    pub fn headers(&mut self) -> &Headers {
        &self.call.task().record.headers
    }

    /// The task's stream time in ms.
    pub fn current_stream_time(&mut self) -> i64 {
        self.call.task().stream_time
    }

    /// The wall clock in ms since the epoch.
    pub fn current_system_time(&mut self) -> i64 {
        self.call.task().clock.now_ms()
    }

    /// Opens a store for one or several calls, before the next `proceed`.
    pub fn store<'b, S>(&'b mut self, handle: &'b StoreHandle<S>) -> StoreAccess<'b, S> {
        self.call.task().open_store(handle)
    }
}

trait Call {
    fn make(&mut self) -> ProcessResult;
    fn record(&mut self) -> Option<&mut dyn Any>;
    fn task(&mut self) -> &mut TaskContext;
}

/// A processor with what stands around it.
pub(crate) struct Wrapped<KIn, VIn, KOut, VOut> {
    processor: Box<dyn Processor<KIn, VIn, KOut, VOut>>,
    around: Box<dyn AroundProcessor>,
}

impl<KIn, VIn, KOut, VOut> Wrapped<KIn, VIn, KOut, VOut> {
    pub(crate) fn new(
        processor: Box<dyn Processor<KIn, VIn, KOut, VOut>>,
        around: Box<dyn AroundProcessor>,
    ) -> Self {
        Wrapped { processor, around }
    }
}

struct WithRecord<'a, 'c, KIn, VIn, KOut, VOut> {
    processor: &'a mut dyn Processor<KIn, VIn, KOut, VOut>,
    record: Option<Record<KIn, VIn>>,
    ctx: &'a mut ProcessorContext<'c, KOut, VOut>,
}

impl<KIn: 'static, VIn: 'static, KOut, VOut> Call for WithRecord<'_, '_, KIn, VIn, KOut, VOut> {
    fn make(&mut self) -> ProcessResult {
        self.record.take().map_or(Ok(()), |record| self.processor.process(record, self.ctx))
    }
    fn record(&mut self) -> Option<&mut dyn Any> {
        self.record.as_mut().map(|record| record as &mut dyn Any)
    }
    fn task(&mut self) -> &mut TaskContext {
        self.ctx.cx
    }
}

struct Punctuation<'a, 'c, KIn, VIn, KOut, VOut> {
    processor: &'a mut dyn Processor<KIn, VIn, KOut, VOut>,
    due: Option<(ScheduleId, i64)>,
    ctx: &'a mut ProcessorContext<'c, KOut, VOut>,
}

impl<KIn, VIn, KOut, VOut> Call for Punctuation<'_, '_, KIn, VIn, KOut, VOut> {
    fn make(&mut self) -> ProcessResult {
        let due = self.due.take();
        due.map_or(Ok(()), |(schedule, time)| self.processor.punctuate(schedule, time, self.ctx))
    }
    fn record(&mut self) -> Option<&mut dyn Any> {
        None
    }
    fn task(&mut self) -> &mut TaskContext {
        self.ctx.cx
    }
}

impl<KIn: 'static, VIn: 'static, KOut, VOut> Processor<KIn, VIn, KOut, VOut>
    for Wrapped<KIn, VIn, KOut, VOut>
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.around.init(ctx)?;
        self.processor.init(ctx)
    }

    fn process(
        &mut self,
        record: Record<KIn, VIn>,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        let mut call = WithRecord { processor: &mut *self.processor, record: Some(record), ctx };
        self.around.process(&mut ProcessorCall { call: &mut call })
    }

    fn punctuate(
        &mut self,
        schedule: ScheduleId,
        timestamp: i64,
        ctx: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> ProcessResult {
        let due = Some((schedule, timestamp));
        let mut call = Punctuation { processor: &mut *self.processor, due, ctx };
        self.around.punctuate(&mut ProcessorCall { call: &mut call })
    }

    fn forward_flushed(&mut self, ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult {
        self.processor.forward_flushed(ctx)
    }

    fn resume(&mut self, ctx: &mut ProcessorContext<'_, KOut, VOut>) -> ProcessResult<Resumed> {
        self.processor.resume(ctx)
    }

    fn cancel(&mut self) {
        self.processor.cancel();
    }

    fn close(&mut self) {
        self.processor.close();
        self.around.close();
    }
}
