//! What the nodes of a join of two streams do: keep a record, join it from its side, join a stream with itself.

use std::marker::PhantomData;
use std::sync::Arc;

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
use kstreams_state_stores::{Record, WindowStore};

use super::Combine;
use super::unmatched::{EitherValue, JoinTime, UnmatchedKey, UnmatchedStore};
use crate::join_windows::JoinWindows;
use crate::null::Nulls;

/// Keeps the records of one side, after they have been joined (`KStreamJoinWindow`).
pub(super) struct KeepRecords<K, V> {
    store_name: String,
    store: Option<StoreHandle<WindowStore<K, V>>>,
    null_keys: Nulls<K>,
}

impl<K: 'static, V> KeepRecords<K, V> {
    pub(super) fn new(store: &str) -> Self {
        KeepRecords { store_name: store.to_owned(), store: None, null_keys: Nulls::of() }
    }
}

impl<K, V> Processor<K, V, K, V> for KeepRecords<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.store_name)?);
        Ok(())
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, V>) -> ProcessResult {
        let Some(store) = self.store.as_ref().filter(|_| !self.null_keys.is_null(&record.key)) else {
            return ctx.pass_on(record);
        };
        ctx.pass_on(record.clone())?;
        let Record { key, value, timestamp, .. } = record;
        Ok(ctx.store(store).put(&key, &value, timestamp)?)
    }
}

/// One side of a join, as far as the types of the two sides differ.
pub(super) trait Side<L, R>: Send + 'static {
    type This: Clone + Send + 'static;
    type Other: Clone + Send + 'static;
    const IS_LEFT: bool;
    /// Left and right of this side's value and the other's.
    fn pair(this: Self::This, other: Option<Self::Other>) -> (Option<L>, Option<R>);
    fn waiting(this: Self::This) -> EitherValue<L, R>;
}

pub(super) struct LeftSide;
pub(super) struct RightSide;

impl<L: Clone + Send + 'static, R: Clone + Send + 'static> Side<L, R> for LeftSide {
    type This = L;
    type Other = R;
    const IS_LEFT: bool = true;
    fn pair(this: L, other: Option<R>) -> (Option<L>, Option<R>) {
        (Some(this), other)
    }
    fn waiting(this: L) -> EitherValue<L, R> {
        EitherValue::Left(this)
    }
}

impl<L: Clone + Send + 'static, R: Clone + Send + 'static> Side<L, R> for RightSide {
    type This = R;
    type Other = L;
    const IS_LEFT: bool = false;
    fn pair(this: R, other: Option<L>) -> (Option<L>, Option<R>) {
        (other, Some(this))
    }
    fn waiting(this: R) -> EitherValue<L, R> {
        EitherValue::Right(this)
    }
}

/// What a side is told by the join.
pub(super) struct SideSpec<K, L, R, VO> {
    pub(super) combine: Combine<K, L, R, VO>,
    pub(super) windows: JoinWindows,
    /// Records of this side need no partner.
    pub(super) stands_alone: bool,
    pub(super) other_store: String,
    pub(super) unmatched_store: Option<String>,
    /// Under which both sides share their time.
    pub(super) join: String,
}

/// Joins the records of one side with those of the other that are kept (`KStreamKStreamJoin`).
pub(super) struct JoinSide<S: Side<L, R>, K, L, R, VO> {
    spec: Arc<SideSpec<K, L, R, VO>>,
    /// How far before and after a record of this side its partners may be, in ms.
    before_ms: i64,
    after_ms: i64,
    null_keys: Nulls<K>,
    null_values: Nulls<S::This>,
    other: Option<StoreHandle<WindowStore<K, S::Other>>>,
    waiting: Option<Waiting<K, L, R>>,
    /// Partners of the record in process; empty in between.
    found: Vec<(i64, S::Other)>,
    side: PhantomData<S>,
}

/// What only left and outer joins have.
struct Waiting<K, L, R> {
    store: StoreHandle<UnmatchedStore<K, L, R>>,
    time: StoreHandle<JoinTime>,
    /// Wall clock between two looks for records whose window is over, in ms.
    interval_ms: i64,
}

impl<S: Side<L, R>, K: 'static, L, R, VO> JoinSide<S, K, L, R, VO> {
    pub(super) fn new(spec: Arc<SideSpec<K, L, R, VO>>) -> Self {
        let JoinWindows { before_ms, after_ms, .. } = spec.windows;
        let (before_ms, after_ms) = if S::IS_LEFT { (before_ms, after_ms) } else { (after_ms, before_ms) };
        JoinSide {
            spec,
            before_ms,
            after_ms,
            null_keys: Nulls::of(),
            null_values: Nulls::of(),
            other: None,
            waiting: None,
            found: Vec::new(),
            side: PhantomData,
        }
    }
}

impl<S, K, L, R, VO> JoinSide<S, K, L, R, VO>
where
    S: Side<L, R>,
    K: Clone + Send + 'static,
    L: Clone + Send + 'static,
    R: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    /// Forwards the result of a record and its partner or none, at `timestamp`.
    fn forward(
        &self,
        record: Record<K, S::This>,
        other: Option<S::Other>,
        timestamp: i64,
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult {
        let Record { key, value, headers, .. } = record;
        let (left, right) = S::pair(value, other);
        match (self.spec.combine)(&key, left, right) {
            Some(value) => ctx.forward(Record { key, value, timestamp, headers }),
            None => Ok(()),
        }
    }

    /// Joins a record with one partner, which from now on is no longer unmatched.
    fn join(
        &self,
        record: Record<K, S::This>,
        (time, other): (i64, S::Other),
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult {
        if let Some(waiting) = &self.waiting {
            let key = UnmatchedKey { timestamp: time, is_left: !S::IS_LEFT, key: record.key.clone() };
            let mut store = ctx.store(&waiting.store);
            if store.get(&key)?.is_some() {
                store.put_nullable(&key, None)?;
            }
        }
        let timestamp = record.timestamp.max(time);
        self.forward(record, Some(other), timestamp, ctx)
    }

    /// A record that has no partner yet waits for one, unless its window is over.
    fn wait(
        &self,
        record: Record<K, S::This>,
        window_end: i64,
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult {
        let Some(waiting) = self.waiting.as_ref().filter(|_| self.spec.stands_alone) else { return Ok(()) };
        let timestamp = record.timestamp;
        let time = ctx.store(&waiting.time).store;
        if window_end < time.stream_time {
            return self.forward(record, None, timestamp, ctx);
        }
        time.earliest = time.earliest.min(timestamp);
        let key = UnmatchedKey { timestamp, is_left: S::IS_LEFT, key: record.key };
        let mut store = ctx.store(&waiting.store);
        let mut values = store.get(&key)?.unwrap_or_default();
        values.push(S::waiting(record.value));
        Ok(store.put(&key, &values)?)
    }

    /// Forwards what waited in vain: the records of both sides whose window and grace have passed.
    fn emit_unmatched(
        &self,
        waiting: &Waiting<K, L, R>,
        record: &Record<K, S::This>,
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult {
        let windows = self.spec.windows;
        let now = ctx.current_system_time();
        let time = ctx.store(&waiting.time).store;
        if !time.is_look_due(self.after_ms.wrapping_add(windows.grace_ms), now, waiting.interval_ms) {
            return Ok(());
        }
        let (stream_time, mut earliest) = (time.stream_time, i64::MAX);
        let (mut left_waits, mut right_waits) = (false, false);
        let mut expired = Vec::new();
        for entry in ctx.store(&waiting.store).all()? {
            let (key, values) = entry?;
            earliest = key.timestamp;
            if left_waits && right_waits {
                break; // they come in the order of time: all that follow wait too
            }
            let lasts = if key.is_left { windows.after_ms } else { windows.before_ms };
            let end = key.timestamp.saturating_add(lasts).saturating_add(windows.grace_ms);
            match (end >= stream_time, key.is_left) {
                (true, true) => left_waits = true,
                (true, false) => right_waits = true,
                (false, _) => {
                    expired.push((key, values));
                    continue;
                }
            }
            if left_waits && right_waits && values.len() > 1 {
                break; // the JVM sees each of the values as an entry: it ends at the second, of the same time
            }
        }
        ctx.store(&waiting.time).store.earliest = earliest;
        for (key, values) in expired {
            for value in values {
                let (left, right) = match value {
                    EitherValue::Left(left) => (Some(left), None),
                    EitherValue::Right(right) => (None, Some(right)),
                };
                let Some(value) = (self.spec.combine)(&key.key, left, right) else { continue };
                let (key, timestamp, headers) = (key.key.clone(), key.timestamp, record.headers.clone());
                ctx.forward(Record { key, value, timestamp, headers })?;
            }
            ctx.store(&waiting.store).put_nullable(&key, None)?;
        }
        Ok(())
    }
}

impl<S, K, L, R, VO> Processor<K, S::This, K, VO> for JoinSide<S, K, L, R, VO>
where
    S: Side<L, R>,
    K: Clone + Send + 'static,
    L: Clone + Send + 'static,
    R: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.other = Some(ctx.state_store(&self.spec.other_store)?);
        if let Some(store) = &self.spec.unmatched_store {
            self.waiting = Some(Waiting {
                store: ctx.state_store(store)?,
                time: ctx.shared(&self.spec.join)?,
                interval_ms: ctx.emit_intervals().outer_join_ms(),
            });
        }
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, S::This>,
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult {
        let timestamp = record.timestamp;
        let mut moves_time = false;
        if let Some(waiting) = &self.waiting {
            let time = ctx.store(&waiting.time).store;
            moves_time = timestamp >= time.stream_time;
            time.stream_time = time.stream_time.max(timestamp);
        }
        let null_key = self.null_keys.is_null(&record.key);
        if self.null_values.is_null(&record.value) || (null_key && !self.spec.stands_alone) {
            ctx.drop_record("null key or value in a stream-stream join");
            return Ok(());
        }
        if null_key {
            return self.forward(record, None, timestamp, ctx);
        }
        if let Some(waiting) = self.waiting.as_ref().filter(|_| moves_time) {
            self.emit_unmatched(waiting, &record, ctx)?;
        }
        let from = timestamp.saturating_sub(self.before_ms).max(0);
        let to = timestamp.saturating_add(self.after_ms).max(0);
        let mut found = std::mem::take(&mut self.found);
        fetch(self.other.as_ref(), &record.key, (from, to), &mut found, ctx)?;
        match found.pop() {
            None => self.wait(record, to, ctx)?,
            Some(last) => {
                for partner in found.drain(..) {
                    self.join(record.clone(), partner, ctx)?;
                }
                self.join(record, last, ctx)?;
            }
        }
        self.found = found;
        Ok(())
    }
}

/// The kept records of a key within a time, earliest first. They are taken out because the results are forwarded, which
/// needs the context.
fn fetch<K: 'static, V: 'static, VO>(
    store: Option<&StoreHandle<WindowStore<K, V>>>,
    key: &K,
    (from, to): (i64, i64),
    found: &mut Vec<(i64, V)>,
    ctx: &mut ProcessorContext<'_, K, VO>,
) -> ProcessResult {
    found.clear();
    let Some(store) = store else { return Ok(()) };
    for entry in ctx.store(store).fetch(key, from, to)? {
        found.push(entry?);
    }
    Ok(())
}

/// Joins a stream with itself from one store, in the order in which two would give it (`KStreamKStreamSelfJoin`).
pub(super) struct SelfJoin<K, V, VO> {
    combine: Combine<K, V, V, VO>,
    windows: JoinWindows,
    store_name: String,
    store: Option<StoreHandle<WindowStore<K, V>>>,
    null_keys: Nulls<K>,
    null_values: Nulls<V>,
    stream_time: i64,
}

impl<K: 'static, V: 'static, VO> SelfJoin<K, V, VO> {
    pub(super) fn new(store: &str, windows: JoinWindows, combine: Combine<K, V, V, VO>) -> Self {
        SelfJoin {
            combine,
            windows,
            store_name: store.to_owned(),
            store: None,
            null_keys: Nulls::of(),
            null_values: Nulls::of(),
            stream_time: -1,
        }
    }
}

impl<K, V, VO> SelfJoin<K, V, VO>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    /// Forwards a result under the record's key and headers.
    fn forward(
        &self,
        record: &Record<K, V>,
        (left, right, timestamp): (V, V, i64),
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult {
        match (self.combine)(&record.key, Some(left), Some(right)) {
            Some(value) => {
                let (key, headers) = (record.key.clone(), record.headers.clone());
                ctx.forward(Record { key, value, timestamp, headers })
            }
            None => Ok(()),
        }
    }

    fn kept(
        &self,
        record: &Record<K, V>,
        (before, after): (i64, i64),
        ctx: &mut ProcessorContext<'_, K, VO>,
    ) -> ProcessResult<Vec<(i64, V)>> {
        let from = record.timestamp.saturating_sub(before).max(0);
        let to = record.timestamp.saturating_add(after).max(0);
        let mut found = Vec::new();
        fetch(self.store.as_ref(), &record.key, (from, to), &mut found, ctx)?;
        Ok(found)
    }
}

impl<K, V, VO> Processor<K, V, K, VO> for SelfJoin<K, V, VO>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.store_name)?);
        Ok(())
    }

    fn process(&mut self, record: Record<K, V>, ctx: &mut ProcessorContext<'_, K, VO>) -> ProcessResult {
        if self.null_keys.is_null(&record.key) || self.null_values.is_null(&record.value) {
            ctx.drop_record("null key or value in a stream-stream join");
            return Ok(());
        }
        let JoinWindows { before_ms, after_ms, .. } = self.windows;
        let now = record.timestamp;
        self.stream_time = self.stream_time.max(now);
        // The record itself is kept only after this; its store would refuse it if it were older than the retention.
        let mut with_itself =
            now > self.stream_time.saturating_sub(self.windows.retention_ms()).saturating_add(1);
        for (time, other) in self.kept(&record, (before_ms, after_ms), ctx)? {
            self.forward(&record, (record.value.clone(), other, now.max(time)), ctx)?;
        }
        for (time, other) in self.kept(&record, (after_ms, before_ms), ctx)? {
            if time > now && std::mem::take(&mut with_itself) {
                self.forward(&record, (record.value.clone(), record.value.clone(), now), ctx)?;
            }
            self.forward(&record, (other, record.value.clone(), now.max(time)), ctx)?;
        }
        if with_itself {
            self.forward(&record, (record.value.clone(), record.value.clone(), now), ctx)?;
        }
        Ok(())
    }
}
