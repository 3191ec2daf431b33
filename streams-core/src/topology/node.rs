//! The nodes of a task: typed, wired once, called without boxing or serialization between them.
//!
//! A node sits in a cell that only the task's owner token opens. While it works it is taken out of its cell, so that it
//! may use the token for its stores and for its children; topologies have no cycles, hence it is never needed meanwhile.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kstreams_state_stores::Record;
use qcell::{QCell, QCellOwner};
use sync_wrapper::SyncWrapper;

use crate::error::StreamsError;
use crate::processor::{
    InitContext, ProcessError, ProcessResult, Processor, ProcessorContext, Resumed, ScheduleId,
};
use crate::task::TaskContext;

/// Takes records of one type: the typed edge between a node and its parent.
pub(crate) trait Receiver<K, V>: Send + Sync {
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> ProcessResult;
}

/// An edge to a child.
pub(crate) struct Child<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) receiver: Arc<dyn Receiver<K, V>>,
}

impl<K, V> Clone for Child<K, V> {
    fn clone(&self) -> Self {
        Child { name: Arc::clone(&self.name), receiver: Arc::clone(&self.receiver) }
    }
}

/// Gives a record to children, in their order. Headers that one of them changed are changed for those after it.
#[inline]
pub(crate) fn give_all<K: Clone, V: Clone>(
    children: &[Child<K, V>],
    mut record: Record<K, V>,
    cx: &mut TaskContext,
) -> ProcessResult {
    let Some((last, others)) = children.split_last() else { return Ok(()) };
    for child in others {
        child.receiver.receive(record.clone(), cx)?;
        if !record.headers.ptr_eq(&cx.record.headers) {
            record.headers = cx.record.headers.clone();
        }
    }
    last.receiver.receive(record, cx)
}

/// The stores that are connected to a node, by name, as boxed `StoreHandle<S>`.
pub(crate) type ConnectedStores = Vec<(Arc<str>, Box<dyn Any + Send + Sync>)>;

/// What the task calls on every node, whatever its types.
pub(crate) trait NodeLifecycle: Send + Sync {
    fn init(&self, cx: &mut TaskContext) -> Result<(), StreamsError>;
    fn punctuate(&self, schedule: ScheduleId, timestamp: i64, cx: &mut TaskContext) -> ProcessResult;
    fn forward_flushed(&self, cx: &mut TaskContext) -> ProcessResult;
    /// Sends on what the node has finished outside the task's thread; how many records it were.
    fn resume(&self, cx: &mut TaskContext) -> ProcessResult<usize>;
    fn cancel(&self, owner: &mut QCellOwner);
    fn close(&self, cx: &mut TaskContext);
}

/// A processor with its edges. The processor's own type is forgotten here: every closure of a DSL program is another one, and
/// what a node does around it would be compiled anew for each.
pub(crate) struct ProcessorNode<KIn, VIn, KOut, VOut> {
    node: usize,
    processor: QCell<SyncWrapper<Resting<KIn, VIn, KOut, VOut>>>,
    children: Box<[Child<KOut, VOut>]>,
    stores: ConnectedStores,
}

pub(super) type BoxedProcessor<KIn, VIn, KOut, VOut> = Box<dyn Processor<KIn, VIn, KOut, VOut>>;

/// A processor in its cell; `None` while it works.
type Resting<KIn, VIn, KOut, VOut> = Option<BoxedProcessor<KIn, VIn, KOut, VOut>>;

impl<KIn, VIn, KOut, VOut> ProcessorNode<KIn, VIn, KOut, VOut> {
    pub(crate) fn new(
        owner: &QCellOwner,
        node: usize,
        processor: BoxedProcessor<KIn, VIn, KOut, VOut>,
        children: Vec<Child<KOut, VOut>>,
        stores: ConnectedStores,
    ) -> Self {
        ProcessorNode {
            node,
            processor: QCell::new(owner, SyncWrapper::new(Some(processor))),
            children: children.into(),
            stores,
        }
    }

    /// Takes the processor out of its cell for one call. What the call answers or panics with is dealt with here, at
    /// the node that raised it (`ProcessorNode.process` of the JVM), so that a handler is told this node's name.
    #[inline]
    fn run<T: Default>(
        &self,
        cx: &mut TaskContext,
        call: impl FnOnce(
            &mut dyn Processor<KIn, VIn, KOut, VOut>,
            &mut ProcessorContext<'_, KOut, VOut>,
        ) -> ProcessResult<T>,
    ) -> ProcessResult<T> {
        let Some(mut processor) = self.processor.rw(&mut cx.owner).get_mut().take() else {
            return Err(ProcessError::msg(
                "a node was entered while it was at work: the topology has a cycle",
            ));
        };
        let outer = cx.activity.enter(self.node);
        let mut context = ProcessorContext { cx, children: &self.children, node: self.node };
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut *processor, &mut context)));
        *self.processor.rw(&mut cx.owner).get_mut() = Some(processor);
        cx.activity.leave(outer);
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => cx.processing_failed(self.node, error).map(|()| T::default()),
            Err(panic) => cx.processing_failed(self.node, panic_error(&*panic)).map(|()| T::default()),
        }
    }
}

/// A panic of user code as the error that a handler sees.
pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> ProcessError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    ProcessError::msg(format!("panicked: {text}"))
}

impl<KIn, VIn, KOut, VOut> Receiver<KIn, VIn> for ProcessorNode<KIn, VIn, KOut, VOut> {
    fn receive(&self, record: Record<KIn, VIn>, cx: &mut TaskContext) -> ProcessResult {
        cx.count(self.node, record.timestamp, self.children.is_empty());
        self.run(cx, |processor, context| processor.process(record, context))
    }
}

impl<KIn, VIn, KOut, VOut> NodeLifecycle for ProcessorNode<KIn, VIn, KOut, VOut> {
    fn init(&self, cx: &mut TaskContext) -> Result<(), StreamsError> {
        let Some(mut processor) = self.processor.rw(&mut cx.owner).get_mut().take() else { return Ok(()) };
        let node = self.node;
        let outer = cx.activity.enter(node);
        let mut context = InitContext { cx, node, stores: &self.stores };
        let result = catch_unwind(AssertUnwindSafe(|| processor.init(&mut context)));
        *self.processor.rw(&mut cx.owner).get_mut() = Some(processor);
        cx.activity.leave(outer);
        result
            .unwrap_or_else(|panic| Err(panic_error(&*panic)))
            .map_err(|error| error.into_streams_error(cx.node_name(node)))
    }

    fn punctuate(&self, schedule: ScheduleId, timestamp: i64, cx: &mut TaskContext) -> ProcessResult {
        self.run(cx, |processor, context| processor.punctuate(schedule, timestamp, context))
    }

    fn forward_flushed(&self, cx: &mut TaskContext) -> ProcessResult {
        self.run(cx, |processor, context| processor.forward_flushed(context))
    }

    fn resume(&self, cx: &mut TaskContext) -> ProcessResult<usize> {
        let mut records = 0;
        while self.run(cx, |processor, context| processor.resume(context))? == Resumed::One {
            records += 1;
        }
        Ok(records)
    }

    fn cancel(&self, owner: &mut QCellOwner) {
        if let Some(processor) = self.processor.rw(owner).get_mut() {
            processor.cancel();
        }
    }

    fn close(&self, cx: &mut TaskContext) {
        if let Some(mut processor) = self.processor.rw(&mut cx.owner).get_mut().take() {
            if catch_unwind(AssertUnwindSafe(|| processor.close())).is_err() {
                tracing::warn!(node = cx.node_name(self.node), task = %cx.task_id, "a processor panicked while it closed");
            }
            *self.processor.rw(&mut cx.owner).get_mut() = Some(processor);
        }
    }
}
