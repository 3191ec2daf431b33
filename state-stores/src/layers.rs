//! A store in encoded bytes: cache over changelog over uncommitted layer over engine. The typed stores above add
//! serdes and key encodings, nothing else.
//!
//! ```text
//! put  -> [cache] -> flush, eviction -> expiry -> changelog -> overlay -> commit -> engine
//! read <- [cache]                               <-             overlay <-           engine
//! ```
//!
//! What the cache flushes goes into an outbox too, if a node forwards it. The node pops it after its own borrow of the
//! store has ended: forwarding may come back to this very store.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::StoreError;
use crate::backend::CommitBatch;
use crate::below::Below;
use crate::budget::CacheBudget;
use crate::cache::NamedCache;
use crate::cache_layer::{CacheLayer, FlushedBytes, Forwarding, ReadBefore};
use crate::contract::{CacheStats, RestoreRecord, StoreContext, StoreEnvironment, StoreSpec};
use crate::cursor::{CopiedCursor, Cursor, KeyRange, Merged, Selected, Selection};
use crate::engine::Engine;
use crate::expiry::Expiry;
use crate::keys::KeyLayout;
use crate::lru::UseOrder;
use crate::overlay::Overlay;
use crate::time_index;
use crate::timings::{StoreOperation, StoreTimes, Timer};
use crate::versions::{Sweep, TIME_KEY};

/// See the module.
pub(crate) struct Layers {
    cache: Option<CacheLayer>,
    below: Below,
    /// Of a versioned store.
    sweep: Sweep,
    /// Of a store with a bounded number of entries.
    lru: Option<UseOrder>,
    closed: bool,
    read_only: bool,
    /// Where calls are counted, if they are.
    times: Option<Arc<StoreTimes>>,
}

impl Layers {
    pub(crate) fn new(
        spec: Arc<StoreSpec>,
        layout: KeyLayout,
        engine: Box<dyn Engine>,
        env: &StoreEnvironment,
    ) -> Result<Self, StoreError> {
        let windowed = layout != KeyLayout::Plain;
        let mut expiry = windowed.then(|| {
            let expiry = Expiry::new(layout, spec.retention_ms.unwrap_or(i64::MAX));
            let is_window = spec.final_results && !spec.kind.is_session();
            if is_window { expiry.for_final_results() } else { expiry }
        });
        if layout == KeyLayout::Versions {
            let time = engine.get(TIME_KEY, &mut Vec::new())?.and_then(|time| time.try_into().ok());
            if let (Some(expiry), Some(time)) = (&mut expiry, time) {
                expiry.advance_committed(i64::from_be_bytes(time));
            }
        } else if let Some(expiry) = &mut expiry
            && let Some((newest, _)) = engine.cursor(&time_index::entries(), true)?.entry()
            && let Some(prefix) = newest.first_chunk()
        {
            expiry.start_at(i64::from_be_bytes(*prefix));
        }
        // The JVM's cache keys of all windowed stores begin with the segment, those of ours in memory do not.
        let extra_key_bytes = if layout.is_by_time() { 8 } else { 0 };
        // A cache of size zero is none: the JVM strips the layer out then (`InternalTopologyBuilder.rewriteTopology`).
        let caching = spec.caching && !spec.retain_duplicates && env.cache.maximum_bytes() > 0;
        let cache = caching.then(|| CacheLayer {
            cache: NamedCache::new(extra_key_bytes),
            budget: Arc::clone(&env.cache),
            keeps_reads: !windowed,
            forwarding: None,
            outbox: VecDeque::new(),
            eviction_due: false,
            read_before: ReadBefore::default(),
            stats: CacheStats::default(),
        });
        let changelog = env.changelog.filter(|_| spec.logging.is_some());
        let overlay = Overlay::new(Arc::clone(&env.uncommitted));
        let is_indexed = time_index::is_indexed(&spec, layout);
        let below =
            Below { spec, layout, changelog, expiry, overlay, engine, buffer: Vec::new(), is_indexed };
        let read_only = env.backend.is_read_only();
        let (sweep, lru) = (Sweep::default(), below.spec.max_entries.map(UseOrder::new));
        Ok(Layers { cache, below, sweep, lru, closed: false, read_only, times: None })
    }

    pub(crate) fn spec(&self) -> &StoreSpec {
        &self.below.spec
    }

    pub(crate) fn record_times(&mut self, times: Arc<StoreTimes>) {
        self.times = Some(times);
    }

    /// Times a call until what is answered is dropped.
    #[inline]
    pub(crate) fn time(&self, operation: StoreOperation) -> Option<Timer> {
        self.times.as_ref().map(|times| Timer::start(times, operation))
    }

    pub(crate) fn layout(&self) -> KeyLayout {
        self.below.layout
    }

    pub(crate) fn observed_stream_time(&self) -> i64 {
        self.below.expiry.as_ref().map_or(-1, Expiry::observed)
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.cache.is_some()
    }

    pub(crate) fn forward_flushed(&mut self, old_values: bool) {
        if let Some(layer) = &mut self.cache {
            layer.forwarding = Some(Forwarding { old_values });
        }
    }

    pub(crate) fn pop_flushed(&mut self) -> Option<FlushedBytes> {
        self.cache.as_mut().and_then(|layer| layer.outbox.pop_front())
    }

    pub(crate) fn sweep_state(&mut self) -> &mut Sweep {
        &mut self.sweep
    }

    pub(crate) fn below_open(&mut self) -> Result<&mut Below, StoreError> {
        self.check_open()?;
        Ok(&mut self.below)
    }

    fn check_open(&self) -> Result<(), StoreError> {
        match self.closed {
            true => Err(StoreError::Closed { store: self.below.spec.name.clone() }),
            false => Ok(()),
        }
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        match self.read_only {
            true => Err(StoreError::ReadOnly { store: self.below.spec.name.clone() }),
            false => self.check_open(),
        }
    }

    /// Reads one key; windows older than the retention are seen only as long as the cache has them, as in the JVM.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.check_open()?;
        let Some(layer) = &mut self.cache else {
            let found = self.below.get(key)?;
            if let (Some(lru), Some(_)) = (&mut self.lru, found) {
                lru.touch(key);
            }
            return Ok(found);
        };
        layer.stats.gets += 1;
        if let Some(slot) = layer.cache.touch(key) {
            layer.stats.hits += 1;
            return Ok(self.cache.as_ref().and_then(|layer| layer.cache.value(slot)));
        }
        let found = self.below.get(key)?;
        if let Some(value) = found
            && layer.keeps_reads
        {
            layer.keep_read(key, value);
        }
        Ok(found)
    }

    pub(crate) fn put(
        &mut self,
        cx: &mut StoreContext<'_>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        if let Some(lru) = &mut self.lru {
            if value.is_some() {
                lru.touch(key)
            } else {
                lru.forget(key)
            }
            while let Some(eldest) = lru.pop_beyond_bound() {
                self.below.put(cx.record, cx.changelog, &eldest, None)?;
            }
        }
        match &mut self.cache {
            Some(layer) => layer.put(&mut self.below, cx, key, value),
            None => self.below.put(cx.record, cx.changelog, key, value),
        }
    }

    /// Removes a session: as a null put, but never refused below the cache.
    pub(crate) fn remove(&mut self, cx: &mut StoreContext<'_>, key: &[u8]) -> Result<(), StoreError> {
        self.check_open()?;
        match &mut self.cache {
            Some(layer) => layer.put(&mut self.below, cx, key, None),
            None => self.below.remove(cx.record, cx.changelog, key),
        }
    }

    /// A null put of a store that retains duplicates: it changes nothing, but is logged. In memory, unlike in RocksDB,
    /// its time counts, too.
    pub(crate) fn put_nothing(&mut self, cx: &mut StoreContext<'_>, key: &[u8]) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.below.nulls_count() {
            self.below.admits(cx.changelog, key);
        }
        self.below.log(cx.record, cx.changelog, key, None)
    }

    /// Reads a range in order through all layers. Of a windowed store `select` makes the choice for windows that start
    /// at its argument or later; it is asked twice, because the cache also shows windows that have expired below it.
    pub(crate) fn scan<S: Selection + Send + 'static>(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        select: Option<&dyn Fn(i64) -> S>,
    ) -> Result<Box<dyn Cursor + Send + '_>, StoreError> {
        let visible_from = self.below.visible_from();
        self.scan_from(visible_from, range, reverse, select)
    }

    /// Windows that start before this are hidden from reads; with `expired` only what is not kept any more.
    pub(crate) fn seen_from(&self, expired: bool) -> i64 {
        match &self.below.expiry {
            Some(expiry) if expired => expiry.live_from(),
            _ => self.below.visible_from(),
        }
    }

    /// The cached entries of a range in order; `None`: there is no cache.
    pub(crate) fn cached(&mut self, range: &KeyRange) -> Option<impl Cursor + Send + '_> {
        self.cache.as_mut().map(|layer| layer.cache.cursor(range, false))
    }

    /// As [`scan`](Self::scan), of windows that start at `visible_from` or later.
    pub(crate) fn scan_from<S: Selection + Send + 'static>(
        &mut self,
        visible_from: i64,
        range: &KeyRange,
        reverse: bool,
        select: Option<&dyn Fn(i64) -> S>,
    ) -> Result<Box<dyn Cursor + Send + '_>, StoreError> {
        self.check_open()?;
        let Layers { cache, below, .. } = self;
        let overlay: Box<dyn Cursor + Send + '_> = Box::new(below.overlay.cursor(range, reverse));
        let engine = below.engine.cursor(range, reverse)?;
        let mut merged: Box<dyn Cursor + Send + '_> = Box::new(Merged::new(vec![overlay, engine], reverse));
        if let Some(select) = select {
            merged = Box::new(Selected::new(merged, select(visible_from), reverse)?);
        }
        let Some(layer) = cache else { return Ok(merged) };
        let mut cached: Box<dyn Cursor + Send + '_> = Box::new(layer.cache.cursor(range, reverse));
        if let Some(select) = select {
            cached = Box::new(Selected::new(cached, select(i64::MIN), reverse)?);
        }
        Ok(Box::new(Merged::new(vec![cached, merged], reverse)))
    }

    /// What is below the cache, in order.
    pub(crate) fn scan_all(&mut self, range: &KeyRange) -> Result<Merged<'_>, StoreError> {
        let below = self.below_open()?;
        let overlay: Box<dyn Cursor + Send + '_> = Box::new(below.overlay.cursor(range, false));
        Ok(Merged::new(vec![overlay, below.engine.cursor(range, false)?], false))
    }

    /// As [`scan`](Self::scan), of the entries as they are now, for another thread: what is cached or uncommitted in the
    /// range is copied, the engine gives a snapshot.
    pub(crate) fn view<S: Selection + Send + 'static>(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        select: Option<&dyn Fn(i64) -> S>,
    ) -> Result<Box<dyn Cursor + Send + 'static>, StoreError> {
        self.check_open()?;
        let below = &mut self.below;
        let visible_from = below.visible_from();
        let overlay = CopiedCursor::of(&mut below.overlay.cursor(range, reverse), reverse)?;
        let engine = below.engine.owned_cursor(range, reverse)?;
        let mut merged: Box<dyn Cursor + Send> =
            Box::new(Merged::new(vec![Box::new(overlay), engine], reverse));
        if let Some(select) = select {
            merged = Box::new(Selected::new(merged, select(visible_from), reverse)?);
        }
        let Some(layer) = &mut self.cache else { return Ok(merged) };
        let copied = CopiedCursor::of(&mut layer.cache.cursor(range, reverse), reverse)?;
        let mut cached: Box<dyn Cursor + Send> = Box::new(copied);
        if let Some(select) = select {
            cached = Box::new(Selected::new(cached, select(i64::MIN), reverse)?);
        }
        Ok(Box::new(Merged::new(vec![cached, merged], reverse)))
    }

    pub(crate) fn flush_cache(&mut self, cx: &mut StoreContext<'_>) -> Result<(), StoreError> {
        self.check_open()?;
        let _timer = self.time(StoreOperation::Flush);
        match &mut self.cache {
            Some(layer) => layer.flush(&mut self.below, cx.changelog),
            None => Ok(()),
        }
    }

    pub(crate) fn write_commit(&mut self, batch: &mut CommitBatch) -> Result<(), StoreError> {
        self.check_open()?;
        if self.below.layout == KeyLayout::Versions {
            self.sweep_versions(self.below.visible_from())?;
            self.below.keep_time();
        }
        let below = &mut self.below;
        below.engine.write_commit(&below.overlay, &below.expired(), batch)
    }

    pub(crate) fn committed(&mut self) {
        let below = &mut self.below;
        let expired = below.expired();
        below.engine.committed(&mut below.overlay, &expired);
        if let Some(expiry) = &mut below.expiry {
            expiry.committed();
        }
    }

    pub(crate) fn discard_uncommitted(&mut self) {
        if let Some(layer) = &mut self.cache {
            layer.clear();
        }
        self.below.overlay.clear();
        if self.lru.is_some() {
            self.use_committed_keys();
        }
        if let Some(expiry) = &mut self.below.expiry {
            expiry.discard_uncommitted();
        }
    }

    /// What was put or used since the commit is forgotten; what was deleted since then is there again.
    fn use_committed_keys(&mut self) {
        let mut keys = Vec::new();
        if let Ok(mut rows) = self.scan_all(&KeyRange::default()) {
            while let Some((key, value)) = rows.entry() {
                if value.is_some() {
                    keys.push(key.to_vec());
                }
                if rows.advance().is_err() {
                    break;
                }
            }
        }
        if let Some(lru) = &mut self.lru {
            lru.restart(keys);
        }
    }

    pub(crate) fn restore(
        &mut self,
        records: &mut dyn Iterator<Item = RestoreRecord<'_>>,
    ) -> Result<(), StoreError> {
        self.check_open()?;
        let _timer = self.time(StoreOperation::Restore);
        for record in records {
            let (key, is_there) = (record.key, record.value.is_some());
            if self.below.layout == KeyLayout::Versions {
                if self.below.admits_time(record.timestamp) {
                    self.store_version(key, record.value, record.timestamp)?;
                }
                continue;
            }
            self.below.restore(record)?;
            if let Some(lru) = &mut self.lru {
                if is_there {
                    lru.touch(key)
                } else {
                    lru.forget(key)
                }
                while let Some(eldest) = lru.pop_beyond_bound() {
                    self.below.overlay.put(&eldest, None);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn bulk_restored(&mut self, stream_time: i64) {
        if let Some(expiry) = &mut self.below.expiry {
            expiry.advance_committed(stream_time);
        }
    }

    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.below.overlay.bytes()
    }

    pub(crate) fn approximate_entries(&self) -> u64 {
        self.below.approximate_entries()
    }

    pub(crate) fn move_cache(&mut self, budget: &Arc<CacheBudget>) {
        if let Some(layer) = &mut self.cache {
            layer.budget.adjust(layer.cache.size(), 0);
            layer.budget = Arc::clone(budget);
            layer.budget.adjust(0, layer.cache.size());
        }
    }

    pub(crate) fn cache_stats(&self) -> CacheStats {
        self.cache.as_ref().map_or_else(CacheStats::default, |layer| layer.stats)
    }

    pub(crate) fn close(&mut self) {
        self.discard_uncommitted();
        self.closed = true;
    }
}

/// The methods of [`StateStore`](crate::StateStore) for a typed store whose layers are in this field.
macro_rules! state_store_by_layers {
    ($($layers:ident).+) => {
        fn spec(&self) -> &StoreSpec {
            self.$($layers).+.spec()
        }
        fn flush_cache(&mut self, cx: &mut StoreContext<'_>) -> Result<(), StoreError> {
            self.$($layers).+.flush_cache(cx)
        }
        fn write_commit(&mut self, batch: &mut CommitBatch) -> Result<(), StoreError> {
            self.$($layers).+.write_commit(batch)
        }
        fn committed(&mut self) {
            self.$($layers).+.committed();
        }
        fn discard_uncommitted(&mut self) {
            self.$($layers).+.discard_uncommitted();
        }
        fn restore(
            &mut self,
            records: &mut dyn Iterator<Item = RestoreRecord<'_>>,
        ) -> Result<(), StoreError> {
            self.$($layers).+.restore(records)
        }
        fn bulk_restored(&mut self, restored: &BulkRestored) {
            self.$($layers).+.bulk_restored(restored.stream_time);
        }
        fn uncommitted_bytes(&self) -> usize {
            self.$($layers).+.uncommitted_bytes()
        }
        fn approximate_entries(&self) -> u64 {
            self.$($layers).+.approximate_entries()
        }
        fn move_cache(&mut self, budget: &Arc<CacheBudget>) {
            self.$($layers).+.move_cache(budget);
        }
        fn cache_stats(&self) -> CacheStats {
            self.$($layers).+.cache_stats()
        }
        fn record_times(&mut self, times: Arc<crate::StoreTimes>) {
            self.$($layers).+.record_times(times);
        }
        fn close(&mut self) -> Result<(), StoreError> {
            self.$($layers).+.close();
            Ok(())
        }
    };
}
pub(crate) use state_store_by_layers;
