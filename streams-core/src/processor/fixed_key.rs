//! Processors that keep the key: after them nothing has to be repartitioned (KIP-820).

use std::time::Duration;

use kstreams_state_stores::{Headers, Record, StoreAccess};

use super::context::common_methods;
use super::{
    InitContext, ProcessResult, Processor, ProcessorContext, PunctuationType, RecordMetadata, ScheduleId,
    StoreHandle, StoreScope,
};
use crate::task::{TaskContext, TaskId};
use crate::topology::Child;

/// A record whose key can be read but not changed (`FixedKeyRecord`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedKeyRecord<K, V> {
    key: K,
    /// The value.
    pub value: V,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> FixedKeyRecord<K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    fn into_record(self) -> Record<K, V> {
        Record { key: self.key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another value.
    pub fn with_value<V2>(self, value: V2) -> FixedKeyRecord<K, V2> {
        FixedKeyRecord { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another timestamp (ms since the epoch).
    pub fn with_timestamp(self, timestamp: i64) -> Self {
        FixedKeyRecord { timestamp, ..self }
    }

    /// The same record with other headers.
    pub fn with_headers(self, headers: Headers) -> Self {
        FixedKeyRecord { headers, ..self }
    }
}

/// A node that forwards records under the key that it got (`FixedKeyProcessor`).
pub trait FixedKeyProcessor<K, VIn, VOut>: Send {
    /// As [`Processor::init`].
    ///
    /// # Errors
    /// An error fails the task.
    fn init(&mut self, _ctx: &mut InitContext<'_>) -> ProcessResult {
        Ok(())
    }

    /// As [`Processor::process`].
    ///
    /// # Errors
    /// An error (or a panic) goes to the processing exception handler.
    fn process(
        &mut self,
        record: FixedKeyRecord<K, VIn>,
        ctx: &mut FixedKeyProcessorContext<'_, K, VOut>,
    ) -> ProcessResult;

    /// As [`Processor::punctuate`]; a fixed-key processor has no record to forward then, as in the JVM.
    ///
    /// # Errors
    /// An error goes to the processing exception handler.
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _timestamp: i64,
        _ctx: &mut FixedKeyProcessorContext<'_, K, VOut>,
    ) -> ProcessResult {
        Ok(())
    }

    /// As [`Processor::close`].
    fn close(&mut self) {}
}

/// The context of a [`FixedKeyProcessor`]: it forwards only records made from the one it got.
pub struct FixedKeyProcessorContext<'a, K, VOut> {
    cx: &'a mut TaskContext,
    children: &'a [Child<K, VOut>],
    node: usize,
}

impl<'a, K, VOut> FixedKeyProcessorContext<'a, K, VOut> {
    common_methods!();

    fn full(&mut self) -> ProcessorContext<'_, K, VOut> {
        ProcessorContext { cx: self.cx, children: self.children, node: self.node }
    }

    /// As [`ProcessorContext::store`].
    pub fn store<'b, S>(&'b mut self, handle: &'b StoreHandle<S>) -> StoreAccess<'b, S> {
        self.cx.open_store(handle)
    }

    /// As [`ProcessorContext::stores`].
    pub fn stores(&mut self) -> StoreScope<'_> {
        StoreScope { cx: self.cx }
    }

    /// As [`ProcessorContext::record_metadata`].
    pub fn record_metadata(&self) -> RecordMetadata {
        self.cx.record_metadata()
    }

    /// As [`ProcessorContext::drop_record`].
    pub fn drop_record(&mut self, why: &'static str) {
        self.cx.drop_record(self.node, why);
    }
}

impl<K: Clone, VOut: Clone> FixedKeyProcessorContext<'_, K, VOut> {
    /// As [`ProcessorContext::forward`].
    ///
    /// # Errors
    /// An error of a child that its handler did not let pass; return it as it is.
    pub fn forward(&mut self, record: FixedKeyRecord<K, VOut>) -> ProcessResult {
        self.full().forward(record.into_record())
    }

    /// As [`ProcessorContext::forward_to`].
    ///
    /// # Errors
    /// When there is no such child, or an error of the child.
    pub fn forward_to(&mut self, child: &str, record: FixedKeyRecord<K, VOut>) -> ProcessResult {
        self.full().forward_to(child, record.into_record())
    }
}

/// Runs a [`FixedKeyProcessor`] as a [`Processor`].
pub struct FixedKeyAdapter<P>(pub P);

impl<K, VIn, VOut, P: FixedKeyProcessor<K, VIn, VOut>> Processor<K, VIn, K, VOut> for FixedKeyAdapter<P> {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0.init(ctx)
    }

    fn process(&mut self, record: Record<K, VIn>, ctx: &mut ProcessorContext<'_, K, VOut>) -> ProcessResult {
        let Record { key, value, timestamp, headers } = record;
        let mut ctx = FixedKeyProcessorContext { cx: ctx.cx, children: ctx.children, node: ctx.node };
        self.0.process(FixedKeyRecord { key, value, timestamp, headers }, &mut ctx)
    }

    fn punctuate(
        &mut self,
        schedule: ScheduleId,
        timestamp: i64,
        ctx: &mut ProcessorContext<'_, K, VOut>,
    ) -> ProcessResult {
        let mut ctx = FixedKeyProcessorContext { cx: ctx.cx, children: ctx.children, node: ctx.node };
        self.0.punctuate(schedule, timestamp, &mut ctx)
    }

    fn close(&mut self) {
        self.0.close();
    }
}
