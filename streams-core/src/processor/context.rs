//! What a processor sees of its task: for the length of one call.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use kstreams_state_stores::{Headers, Record, RecordContext, StateStore, StoreAccess};

use super::{ProcessError, ProcessResult, PunctuationType, ScheduleId, StoreHandle};
use crate::config::EmitIntervals;
use crate::error::StreamsError;
use crate::task::{TaskContext, TaskId};
use crate::topology::{Child, give_all};

/// Where the current record came from (`RecordMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic; `None` in a punctuation.
    pub topic: Option<Arc<str>>,
    /// The partition; -1 where there is none.
    pub partition: i32,
    /// The record's offset; -1 where there is none.
    pub offset: i64,
}

/// What both kinds of context offer, whatever they forward.
macro_rules! common_methods {
    () => {
        /// The task, `<sub-topology>_<partition>`.
        pub fn task_id(&self) -> TaskId {
            self.cx.task_id
        }

        /// The application id.
        pub fn application_id(&self) -> &str {
            &self.cx.application_id
        }

        /// The highest timestamp of any record that the task has taken up, in ms; -1 before the first.
        pub fn current_stream_time(&self) -> i64 {
            self.cx.stream_time
        }

        /// The wall clock in ms since the epoch; in a test, the driver's.
        pub fn current_system_time(&self) -> i64 {
            self.cx.clock.now_ms()
        }

        /// Asks for a commit as soon as possible, before the commit interval is over.
        pub fn request_commit(&mut self) {
            self.cx.commit_requested = true;
        }

        /// Calls the processor's `punctuate` every `interval` of the given time. Missed intervals are made up by one
        /// call. Stream time: first at the first record, then at multiples of the interval; wall clock: first after one
        /// interval.
        pub fn schedule(&mut self, interval: Duration, kind: PunctuationType) -> ScheduleId {
            self.cx.punctuations.add(self.node, interval, kind, None, self.cx.clock.now_ms())
        }

        /// As `schedule`, but due at `start` (ms since the epoch) and every `interval` after it (KIP-1146).
        pub fn schedule_anchored(
            &mut self,
            start: i64,
            interval: Duration,
            kind: PunctuationType,
        ) -> ScheduleId {
            self.cx.punctuations.add(self.node, interval, kind, Some(start), self.cx.clock.now_ms())
        }

        /// Ends a schedule; it may be called within `punctuate`.
        pub fn cancel(&mut self, schedule: ScheduleId) {
            self.cx.punctuations.cancel(schedule);
        }
    };
}
pub(super) use common_methods;

/// The context of `init`: no record yet, nothing to forward.
pub struct InitContext<'a> {
    pub(crate) cx: &'a mut TaskContext,
    pub(crate) node: usize,
    /// Stores that the topology connects to this node; the flag says whether the handle is for reading only.
    pub(crate) stores: &'a [(Arc<str>, Box<dyn Any + Send + Sync>)],
}

impl InitContext<'_> {
    common_methods!();

    /// The handle of a store that is connected to this node.
    ///
    /// # Errors
    /// When no store of that name is connected, or when it has another type than asked for.
    pub fn state_store<S: StateStore + 'static>(&self, name: &str) -> ProcessResult<StoreHandle<S>> {
        let Some((_, cell)) = self.stores.iter().find(|(connected, _)| &**connected == name) else {
            let node = self.cx.node_name(self.node).to_owned();
            return Err(ProcessError::fatal(StreamsError::StoreNotConnected {
                node,
                store: name.to_owned(),
            }));
        };
        match cell.downcast_ref::<StoreHandle<S>>() {
            Some(handle) => Ok(handle.clone()),
            None => Err(ProcessError::fatal(StreamsError::StoreType {
                store: name.to_owned(),
                asked: std::any::type_name::<S>(),
            })),
        }
    }

    /// What the nodes of a task share under `name` beside stores: made by `Default` with the first that asks, gone with
    /// the task; neither logged nor restored. Open it as a store ([`ProcessorContext::store`]).
    ///
    /// # Errors
    /// When another type is shared under this name.
    pub fn shared<T: Default + Send + 'static>(&mut self, name: &str) -> ProcessResult<StoreHandle<T>> {
        self.cx.shared(name).ok_or_else(|| {
            ProcessError::fatal(StreamsError::StoreType {
                store: name.to_owned(),
                asked: std::any::type_name::<T>(),
            })
        })
    }

    /// How often joins and windows look for results that only time makes.
    pub fn emit_intervals(&self) -> EmitIntervals {
        self.cx.emit_intervals
    }

    /// What a node of this application committed under `name` beside the inputs' offsets
    /// ([`ProcessorContext::set_processor_metadata`]).
    pub fn processor_metadata(&self, name: &str) -> Option<i64> {
        self.cx.processor_metadata.get(name).copied()
    }

    /// Opens a store, to set it up.
    pub fn store<'b, S>(&'b mut self, handle: &'b StoreHandle<S>) -> StoreAccess<'b, S> {
        self.cx.open_store(handle)
    }

    /// Whether a store of this name is connected.
    pub fn has_state_store(&self, name: &str) -> bool {
        self.stores.iter().any(|(connected, _)| &**connected == name)
    }
}

/// The stores of a task for the length of one call, whatever the calling node forwards: for parts of processors that
/// nodes of different types share.
pub struct StoreScope<'a> {
    pub(super) cx: &'a mut TaskContext,
}

impl StoreScope<'_> {
    /// Opens a store for one or several calls.
    pub fn open<'b, S>(&'b mut self, handle: &'b StoreHandle<S>) -> StoreAccess<'b, S> {
        self.cx.open_store(handle)
    }
}

/// The context of `process` and `punctuate` (`ProcessorContext`).
pub struct ProcessorContext<'a, KOut, VOut> {
    pub(crate) cx: &'a mut TaskContext,
    pub(crate) children: &'a [Child<KOut, VOut>],
    pub(crate) node: usize,
}

impl<KOut, VOut> ProcessorContext<'_, KOut, VOut> {
    common_methods!();

    /// Topic, partition and offset of the record that led to this call.
    pub fn record_metadata(&self) -> RecordMetadata {
        self.cx.record_metadata()
    }

    /// The headers of the record that led to this call; none in a punctuation.
    pub fn headers(&self) -> &Headers {
        &self.cx.record.headers
    }

    /// The same, to be changed. Nodes that get the same record after this one see the change, as in the JVM.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.cx.record.headers
    }

    /// Opens a store for one or several calls. The borrow has to end before the next `forward`.
    pub fn store<'b, S>(&'b mut self, handle: &'b StoreHandle<S>) -> StoreAccess<'b, S> {
        self.cx.open_store(handle)
    }

    /// The task's stores, for code that does not know what this node forwards.
    pub fn stores(&mut self) -> StoreScope<'_> {
        StoreScope { cx: self.cx }
    }

    /// Counts a record that an operator drops on purpose (`dropped-records-total`), and says why in the log.
    pub fn drop_record(&mut self, why: &'static str) {
        self.cx.drop_record(self.node, why);
    }

    /// Commits a time (ms) under `name` beside the offsets of the inputs, so that it is known again when the task moves or
    /// starts anew: for windows, up to which close time results were emitted.
    pub fn set_processor_metadata(&mut self, name: &str, time: i64) {
        match self.cx.processor_metadata.get_mut(name) {
            Some(before) => *before = time,
            None => {
                self.cx.processor_metadata.insert(name.to_owned(), time);
            }
        }
        self.cx.processor_metadata_changed = true;
    }

    /// Runs `f` as if the record of `record` were being processed: what it forwards carries that record's metadata.
    /// For entries that a cache sets free later than they came in.
    pub fn with_record_context<T>(&mut self, record: RecordContext, f: impl FnOnce(&mut Self) -> T) -> T {
        let current = std::mem::replace(&mut self.cx.record, record);
        let result = f(self);
        self.cx.record = current;
        result
    }
}

impl<KOut: Clone, VOut: Clone> ProcessorContext<'_, KOut, VOut> {
    /// Gives a record to every child, in the order in which the children were added.
    ///
    /// # Errors
    /// A negative timestamp; an error of a child that its handler did not let pass: return it as it is.
    #[inline]
    pub fn forward(&mut self, record: Record<KOut, VOut>) -> ProcessResult {
        self.give(self.children, record, false)
    }

    /// Gives on the record that came in, as it came. What a node below does to its headers by
    /// [`headers_mut`](Self::headers_mut) is seen by all that get this very record later, above this node too: in the
    /// JVM they share them.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    #[inline]
    pub fn pass_on(&mut self, record: Record<KOut, VOut>) -> ProcessResult {
        self.give(self.children, record, true)
    }

    /// Gives a record to the child of that name only.
    ///
    /// # Errors
    /// When there is no such child, and as [`forward`](Self::forward).
    pub fn forward_to(&mut self, child: &str, record: Record<KOut, VOut>) -> ProcessResult {
        self.give(self.child(child)?, record, false)
    }

    /// [`pass_on`](Self::pass_on) to the child of that name only.
    ///
    /// # Errors
    /// As [`forward_to`](Self::forward_to).
    pub fn pass_on_to(&mut self, child: &str, record: Record<KOut, VOut>) -> ProcessResult {
        self.give(self.child(child)?, record, true)
    }

    #[inline]
    fn give(
        &mut self,
        children: &[Child<KOut, VOut>],
        record: Record<KOut, VOut>,
        shares_headers: bool,
    ) -> ProcessResult {
        if record.timestamp < 0 {
            let text =
                format!("a forwarded record has timestamp {}: it must not be negative", record.timestamp);
            return Err(ProcessError::msg(text));
        }
        let (timestamp, headers) = (record.timestamp, record.headers.clone());
        self.cx.as_record(timestamp, headers, shares_headers, |cx| give_all(children, record, cx))
    }
}

impl<'a, KOut, VOut> ProcessorContext<'a, KOut, VOut> {
    fn child(&self, name: &str) -> ProcessResult<&'a [Child<KOut, VOut>]> {
        let index = self.children.iter().position(|child| &*child.name == name);
        index.and_then(|index| self.children.get(index..=index)).ok_or_else(|| {
            let node = self.cx.node_name(self.node).to_owned();
            ProcessError::fatal(StreamsError::NoSuchChild { node, child: name.to_owned() })
        })
    }

    /// The number of children.
    pub fn child_count(&self) -> usize {
        self.children.len()
    }
}
