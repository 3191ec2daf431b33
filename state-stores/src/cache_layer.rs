//! The record cache as a layer: what leaves it goes to the layers below and, where a node forwards it, into the outbox.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::StoreError;
use crate::below::Below;
use crate::budget::CacheBudget;
use crate::byte_map::hash_of;
use crate::cache::NamedCache;
use crate::contract::{CacheStats, ChangelogSink, RecordContext, StoreContext};
use crate::shared_bytes::SharedBytes;

/// A flushed key in bytes; see [`Flushed`](crate::Flushed).
pub(crate) struct FlushedBytes {
    pub(crate) key: SharedBytes,
    pub(crate) new: Option<SharedBytes>,
    pub(crate) old: Option<SharedBytes>,
    pub(crate) context: RecordContext,
}

/// See the module.
pub(crate) struct CacheLayer {
    pub(crate) cache: NamedCache,
    pub(crate) budget: Arc<CacheBudget>,
    /// Whether values read from below are kept; window stores do not.
    pub(crate) keeps_reads: bool,
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) outbox: VecDeque<FlushedBytes>,
    /// A read would have evicted a dirty entry, but flushes need the context that only puts have: the next put begins
    /// with that eviction.
    pub(crate) eviction_due: bool,
    pub(crate) read_before: ReadBefore,
    pub(crate) stats: CacheStats,
}

/// The keys read last that a full cache did not have, by their hashes; a few collide, which does no harm.
#[derive(Default)]
pub(crate) struct ReadBefore {
    hashes: Vec<u32>,
}

impl ReadBefore {
    /// Power of two; 32 KiB for each cached store that is read.
    const REMEMBERED: usize = 8 * 1024;

    /// Notes the key, and answers whether it was not there.
    fn is_new(&mut self, key: &[u8]) -> bool {
        if self.hashes.is_empty() {
            self.hashes = vec![0; Self::REMEMBERED];
        }
        let hash = hash_of(key);
        let place = &mut self.hashes[hash as usize % Self::REMEMBERED];
        // The upper half: the lower bits are the place.
        std::mem::replace(place, (hash >> 32) as u32) != (hash >> 32) as u32
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Forwarding {
    pub(crate) old_values: bool,
}

impl CacheLayer {
    /// Keeps a value that was read from below (`CachingKeyValueStore.getInternal`): if there is room, or room can be
    /// made of clean entries.
    ///
    /// Unlike the JVM's, a full cache admits only a key that was read a short while ago too: reads spread evenly over
    /// more keys than fit would else replace an entry each and never find one.
    pub(crate) fn keep_read(&mut self, key: &[u8], value: &[u8]) {
        let size = self.cache.size_of(key, Some(value), None);
        if self.budget.is_full_for(size) && self.read_before.is_new(key) {
            return;
        }
        let size = self.cache.size();
        self.cache.put_clean(key, value);
        self.budget.adjust(size, self.cache.size());
        while self.budget.is_exceeded() && !self.cache.is_empty() {
            if self.cache.eldest_is_dirty() {
                self.eviction_due = true;
                if let Some(slot) = self.cache.touch(key) {
                    let size = self.cache.size();
                    self.cache.remove(slot);
                    self.budget.adjust(size, self.cache.size());
                }
                return;
            }
            let size = self.cache.size();
            self.cache.evict();
            self.budget.adjust(size, self.cache.size());
        }
    }

    /// `ThreadCache.put`: evicts only out of this cache, while the caches of the thread are too large together.
    pub(crate) fn put(
        &mut self,
        below: &mut Below,
        cx: &mut StoreContext<'_>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if std::mem::take(&mut self.eviction_due) {
            self.evict(below, cx.changelog)?;
        }
        let size = self.cache.size();
        self.cache.put(key, value, cx.record);
        self.budget.adjust(size, self.cache.size());
        while self.budget.is_exceeded() && !self.cache.is_empty() {
            self.evict(below, cx.changelog)?;
        }
        Ok(())
    }

    /// `NamedCache.evict`: a dirty entry takes all dirty entries of the store with it, itself first.
    fn evict(&mut self, below: &mut Below, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        let size = self.cache.size();
        let evicted = self.cache.evict();
        self.budget.adjust(size, self.cache.size());
        let Some(evicted) = evicted else { return Ok(()) };
        let Some(context) = evicted.context else { return Ok(()) };
        self.write_down(below, sink, &evicted.key, evicted.value.as_ref(), &context)?;
        self.flush(below, sink)
    }

    /// `NamedCache.flush`: dirty entries in the order of their last put; tombstones leave the cache.
    pub(crate) fn flush(
        &mut self,
        below: &mut Below,
        sink: &mut dyn ChangelogSink,
    ) -> Result<(), StoreError> {
        let dirty = self.cache.take_dirty();
        let mut deleted = Vec::new();
        for slot in dirty {
            let Some((key, value, context)) = self.cache.get(slot) else { continue };
            if value.is_none() {
                deleted.push(slot);
            }
            write_down(self.forwarding, &mut self.outbox, below, sink, key, value, context)?;
        }
        let size = self.cache.size();
        for slot in deleted {
            self.cache.remove(slot);
        }
        self.budget.adjust(size, self.cache.size());
        Ok(())
    }

    fn write_down(
        &mut self,
        below: &mut Below,
        sink: &mut dyn ChangelogSink,
        key: &SharedBytes,
        value: Option<&SharedBytes>,
        context: &RecordContext,
    ) -> Result<(), StoreError> {
        write_down(self.forwarding, &mut self.outbox, below, sink, key, value, context)
    }

    pub(crate) fn clear(&mut self) {
        self.budget.adjust(self.cache.size(), 0);
        self.cache.clear();
        self.outbox.clear();
        self.eviction_due = false;
    }
}

impl Drop for CacheLayer {
    fn drop(&mut self) {
        self.budget.adjust(self.cache.size(), 0);
    }
}

/// `putAndMaybeForward` of the JVM's caching stores. Where entries are forwarded, a key that neither the cache nor the
/// layers below know is skipped altogether; else it is written down, tombstone or not.
fn write_down(
    forwarding: Option<Forwarding>,
    outbox: &mut VecDeque<FlushedBytes>,
    below: &mut Below,
    sink: &mut dyn ChangelogSink,
    key: &SharedBytes,
    value: Option<&SharedBytes>,
    context: &RecordContext,
) -> Result<(), StoreError> {
    let Some(Forwarding { old_values }) = forwarding else {
        return below.put_shared(context, sink, key, value);
    };
    let old: Option<SharedBytes> = match old_values || value.is_none() {
        true => below.get(key)?.map(Into::into),
        false => None,
    };
    if value.is_none() && old.is_none() {
        return Ok(());
    }
    below.put_shared(context, sink, key, value)?;
    let old = old.filter(|_| old_values);
    outbox.push_back(FlushedBytes { key: key.clone(), new: value.cloned(), old, context: context.clone() });
    Ok(())
}
