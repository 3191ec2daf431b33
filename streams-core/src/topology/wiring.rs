//! From the erased specification to the typed nodes of one task: done once per task, children before parents.

use std::any::Any;
use std::sync::Arc;

use kstreams_state_stores::{StateStore, StoreBuilder, StoreEnvironment, StoreError};
use qcell::{QCell, QCellOwner};
use sync_wrapper::SyncWrapper;

use super::node::{BoxedProcessor, Child, ConnectedStores, NodeLifecycle, ProcessorNode, Receiver};
use super::sink::{SinkNode, SinkOptions, SinkTopic};
use super::source::SourceOptions;
use crate::error::{StreamsError, TopologyError};
use crate::processor::{ErasedStoreCell, Processor, ProcessorWrapper, StoreHandle, Wrapped};
use crate::task::{InputQueue, RecordQueue, TopicPartition};

/// Makes one task's node of one specification.
pub(crate) type WireFn = Box<dyn Fn(&Wiring<'_>) -> Result<WiredNode, StreamsError> + Send + Sync>;

/// Makes the queue of one input partition of a source.
pub(crate) type QueueFactory = Box<dyn Fn(TopicPartition) -> Box<dyn InputQueue> + Send + Sync>;

/// A node as its parents and its task see it.
#[derive(Default)]
pub(crate) struct WiredNode {
    /// An `Arc<dyn Receiver<K, V>>` of the node's input types.
    pub(crate) receiver: Option<Box<dyn Any>>,
    pub(crate) lifecycle: Option<Arc<dyn NodeLifecycle>>,
    pub(crate) queues: Option<QueueFactory>,
}

/// What a node is wired from.
pub(crate) struct Wiring<'a> {
    pub(crate) node: usize,
    pub(crate) name: &'a Arc<str>,
    pub(crate) owner: &'a QCellOwner,
    /// What processors are wrapped in.
    pub(crate) wrapper: Option<&'a dyn ProcessorWrapper>,
    /// The children, wired already: their names and receivers.
    pub(crate) children: Vec<(Arc<str>, &'a dyn Any)>,
    /// Handles of the stores connected to the node; taken by the processor.
    pub(crate) stores: &'a dyn Fn() -> ConnectedStores,
    /// Gives internal topics the application's prefix.
    pub(crate) decorate: &'a dyn Fn(&str) -> Arc<str>,
}

impl Wiring<'_> {
    fn typed_children<K: 'static, V: 'static>(&self) -> Result<Vec<Child<K, V>>, StreamsError> {
        let typed = self.children.iter().map(|(name, receiver)| {
            let receiver = receiver.downcast_ref::<Arc<dyn Receiver<K, V>>>().ok_or_else(|| {
                TopologyError::TypeMismatch {
                    parent: self.name.to_string(),
                    gives: std::any::type_name::<(K, V)>(),
                    child: name.to_string(),
                    takes: "other types",
                }
            })?;
            Ok(Child { name: Arc::clone(name), receiver: Arc::clone(receiver) })
        });
        typed.collect()
    }
}

/// A receiver in the form in which parents look it up.
fn receiver<K: 'static, V: 'static>(node: Arc<dyn Receiver<K, V>>) -> Option<Box<dyn Any>> {
    Some(Box::new(node))
}

pub(super) fn source<K, V>(options: SourceOptions<K, V>) -> WireFn
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    Box::new(move |wiring| {
        let children: Arc<[Child<K, V>]> = wiring.typed_children::<K, V>()?.into();
        let (node, options) = (wiring.node, options.clone());
        let queues: QueueFactory = Box::new(move |partition| {
            Box::new(RecordQueue::new(node, partition, options.clone(), Arc::clone(&children)))
        });
        Ok(WiredNode { queues: Some(queues), ..WiredNode::default() })
    })
}

pub(super) fn processor<KIn, VIn, KOut, VOut, P>(supplier: impl Fn() -> P + Send + Sync + 'static) -> WireFn
where
    P: Processor<KIn, VIn, KOut, VOut> + 'static,
    KIn: Send + 'static,
    VIn: Send + 'static,
    KOut: Send + 'static,
    VOut: Send + 'static,
{
    Box::new(move |wiring| node::<KIn, VIn, KOut, VOut>(wiring, Box::new(supplier())))
}

fn node<KIn, VIn, KOut, VOut>(
    wiring: &Wiring<'_>,
    mut processor: BoxedProcessor<KIn, VIn, KOut, VOut>,
) -> Result<WiredNode, StreamsError>
where
    KIn: Send + 'static,
    VIn: Send + 'static,
    KOut: Send + 'static,
    VOut: Send + 'static,
{
    if let Some(around) = wiring.wrapper.and_then(|wrapper| wrapper.wrap(wiring.name)) {
        processor = Box::new(Wrapped::new(processor, around));
    }
    let (children, stores) = (wiring.typed_children::<KOut, VOut>()?, (wiring.stores)());
    let node = Arc::new(ProcessorNode::new(wiring.owner, wiring.node, processor, children, stores));
    let lifecycle: Arc<dyn NodeLifecycle> = Arc::<ProcessorNode<KIn, VIn, KOut, VOut>>::clone(&node);
    Ok(WiredNode { receiver: receiver::<KIn, VIn>(node), lifecycle: Some(lifecycle), queues: None })
}

pub(super) fn sink<K, V>(options: SinkOptions<K, V>) -> WireFn
where
    K: Send + 'static,
    V: Send + 'static,
{
    Box::new(move |wiring| {
        let fixed_topic = match &options.topic {
            SinkTopic::Name(topic) => (wiring.decorate)(topic),
            SinkTopic::Extractor(..) => "".into(),
        };
        let node = SinkNode::new(wiring.owner, wiring.node, fixed_topic, &options);
        Ok(WiredNode { receiver: receiver::<K, V>(Arc::new(node)), ..WiredNode::default() })
    })
}

/// A store of one task: its cell for the task, and what makes typed handles for the nodes.
pub(crate) struct WiredStore {
    pub(crate) cell: Arc<dyn ErasedStoreCell>,
    pub(crate) handle: Box<dyn Fn() -> Box<dyn Any + Send + Sync> + Send + Sync>,
}

/// A store builder whose store's type is forgotten.
pub(crate) trait ErasedStoreBuilder: Send + Sync {
    fn build(&self, owner: &QCellOwner, environment: &StoreEnvironment) -> Result<WiredStore, StoreError>;
}

pub(super) struct TypedStoreBuilder<B>(pub(super) B);

impl<B: StoreBuilder<Store: StateStore + 'static>> ErasedStoreBuilder for TypedStoreBuilder<B> {
    fn build(&self, owner: &QCellOwner, environment: &StoreEnvironment) -> Result<WiredStore, StoreError> {
        let store = self.0.build(environment)?;
        let handle = StoreHandle(Arc::new(QCell::new(owner, SyncWrapper::new(store))));
        let cell = Arc::clone(&handle.0);
        Ok(WiredStore { cell, handle: Box::new(move || Box::new(handle.clone())) })
    }
}
