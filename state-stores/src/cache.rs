//! The record cache of one store (`NamedCache` of the JVM): which key goes when, and in which order dirty keys are
//! flushed. What flushing does is in [`cache_layer`](crate::cache_layer).

use std::sync::Arc;

use crate::byte_map::{ByteMap, Slot, Stored};
use crate::contract::RecordContext;
use crate::cursor::{Cursor, KeyRange};
use crate::overlay::overwrite;
use crate::shared_bytes::SharedBytes;

const NONE: Slot = Slot::MAX;

/// `LRUNode.size()` without key and entry: three references.
const NODE_BYTES: usize = 24;

/// `LRUCacheEntry.size()` without its value and context: the dirty flag.
const FLAG_BYTES: usize = 1;

/// `ProcessorRecordContext.residentMemorySizeEstimate()` without topic and headers: timestamp, offset, partition.
const CONTEXT_BYTES: usize = 20;

struct Node {
    value: Option<SharedBytes>,
    /// Context of the last put; of no meaning while clean.
    context: RecordContext,
    /// Number of the last put; 0 while clean.
    put: u64,
    size: usize,
    recency: Links,
}

impl Stored for Node {
    fn bytes(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

#[derive(Clone, Copy)]
struct Links {
    before: Slot,
    after: Slot,
}

const UNLINKED: Links = Links { before: NONE, after: NONE };

/// Ends of a linked list through the nodes.
#[derive(Clone, Copy)]
struct Ends {
    first: Slot,
    last: Slot,
}

const EMPTY: Ends = Ends { first: NONE, last: NONE };

/// An entry that had to go, to be written down if it was dirty.
pub(crate) struct Evicted {
    pub(crate) key: SharedBytes,
    pub(crate) value: Option<SharedBytes>,
    /// `None`: it was clean.
    pub(crate) context: Option<RecordContext>,
}

/// See the module.
pub(crate) struct NamedCache {
    nodes: ByteMap<Node>,
    /// From the key used last to the one to evict.
    recency: Ends,
    /// Number of the last put of any key.
    puts: u64,
    /// Slots that were put into since the last flush, each when it became dirty; some are clean again, or twice in it. They
    /// are sorted by their last put when they are flushed: a list that is kept in that order would have two other nodes
    /// fetched into the processor's cache at every put.
    dirty: Vec<Slot>,
    size: usize,
    /// Counted for each entry: what the JVM's cache key has beyond ours.
    extra_key_bytes: usize,
}

impl NamedCache {
    pub(crate) fn new(extra_key_bytes: usize) -> Self {
        NamedCache {
            nodes: ByteMap::default(),
            recency: EMPTY,
            puts: 0,
            dirty: Vec::new(),
            size: 0,
            extra_key_bytes,
        }
    }

    /// Bytes by the JVM's count.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Looks a key up and makes it the one used last.
    pub(crate) fn touch(&mut self, key: &[u8]) -> Option<Slot> {
        let slot = self.nodes.find(key)?;
        self.move_to_front(slot);
        Some(slot)
    }

    pub(crate) fn value(&self, slot: Slot) -> Option<&[u8]> {
        self.nodes.get(slot).and_then(|(_, node)| node.value.as_deref())
    }

    /// Puts a dirty entry: a value or a tombstone.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>, context: &RecordContext) {
        let size = self.size_of(key, value, Some(context));
        self.puts += 1;
        let put = self.puts;
        match self.nodes.find(key) {
            Some(slot) => {
                self.move_to_front(slot);
                let Some(node) = self.nodes.item_mut(slot) else { return };
                overwrite(&mut node.value, value);
                update_context(&mut node.context, context);
                self.size -= std::mem::replace(&mut node.size, size);
                if std::mem::replace(&mut node.put, put) == 0 {
                    self.dirty.push(slot);
                }
            }
            None => {
                let node = Node {
                    value: value.map(Into::into),
                    context: context.clone(),
                    put,
                    size,
                    recency: UNLINKED,
                };
                let slot = self.nodes.insert_new(key.into(), node);
                self.link_first(slot);
                self.dirty.push(slot);
            }
        }
        self.size += size;
    }

    /// Adds a clean entry for a key that is not there: what was read from the layers below.
    pub(crate) fn put_clean(&mut self, key: &[u8], value: &[u8]) {
        let size = self.size_of(key, Some(value), None);
        let node = Node {
            value: Some(value.into()),
            context: RecordContext::default(),
            put: 0,
            size,
            recency: UNLINKED,
        };
        let slot = self.nodes.insert_new(key.into(), node);
        self.link_first(slot);
        self.size += size;
    }

    /// Bytes that an entry counts, by the JVM's formula. Text of a topic counts a byte a character, as there.
    pub(crate) fn size_of(&self, key: &[u8], value: Option<&[u8]>, context: Option<&RecordContext>) -> usize {
        let mut size = key.len() + self.extra_key_bytes + NODE_BYTES + FLAG_BYTES + CONTEXT_BYTES;
        size += value.map_or(0, <[u8]>::len);
        if let Some(context) = context {
            size += context.topic.as_ref().map_or(0, |topic| topic.len());
            for header in &context.headers {
                size += header.key.len() + header.value.as_ref().map_or(0, |value| value.len());
            }
        }
        size
    }

    /// Whether the entry to evict next is dirty.
    pub(crate) fn eldest_is_dirty(&self) -> bool {
        self.nodes.get(self.recency.last).is_some_and(|(_, node)| node.put > 0)
    }

    /// Removes the entry used longest ago.
    pub(crate) fn evict(&mut self) -> Option<Evicted> {
        self.remove(self.recency.last)
    }

    /// Dirty keys in the order of their last put; all are clean afterwards.
    pub(crate) fn take_dirty(&mut self) -> Vec<Slot> {
        let mut dirty: Vec<(u64, Slot)> = Vec::with_capacity(self.dirty.len());
        for slot in self.dirty.drain(..) {
            if let Some(node) = self.nodes.item_mut(slot).filter(|node| node.put > 0) {
                dirty.push((std::mem::take(&mut node.put), slot));
            }
        }
        dirty.sort_unstable();
        dirty.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Key, value and context of an entry.
    pub(crate) fn get(&self, slot: Slot) -> Option<(&SharedBytes, Option<&SharedBytes>, &RecordContext)> {
        self.nodes.get(slot).map(|(key, node)| (key, node.value.as_ref(), &node.context))
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Evicted> {
        self.nodes.get(slot)?;
        self.unlink(slot);
        let (key, node) = self.nodes.remove(slot)?;
        self.size -= node.size;
        Some(Evicted { key, value: node.value, context: (node.put > 0).then_some(node.context) })
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.recency = EMPTY;
        self.dirty.clear();
        self.size = 0;
    }

    pub(crate) fn cursor<'a>(&'a mut self, range: &KeyRange, reverse: bool) -> impl Cursor + Send + 'a {
        self.nodes.prepare_ordered_read();
        self.nodes.cursor(range, reverse)
    }

    fn move_to_front(&mut self, slot: Slot) {
        if self.recency.first != slot {
            self.unlink(slot);
            self.link_first(slot);
        }
    }

    fn links(&mut self, slot: Slot) -> Option<&mut Links> {
        self.nodes.item_mut(slot).map(|node| &mut node.recency)
    }

    fn unlink(&mut self, slot: Slot) {
        let Some(links) = self.links(slot) else { return };
        let Links { before, after } = std::mem::replace(links, UNLINKED);
        match self.links(before) {
            Some(links) => links.after = after,
            None => self.recency.first = after,
        }
        match self.links(after) {
            Some(links) => links.before = before,
            None => self.recency.last = before,
        }
    }

    fn link_first(&mut self, slot: Slot) {
        let first = std::mem::replace(&mut self.recency.first, slot);
        if let Some(links) = self.links(slot) {
            *links = Links { before: NONE, after: first };
        }
        match self.links(first) {
            Some(links) => links.before = slot,
            None => self.recency.last = slot,
        }
    }
}

/// As an assignment, but without touching reference counts where topic and headers are still the same: the hot case.
fn update_context(context: &mut RecordContext, new: &RecordContext) {
    context.timestamp = new.timestamp;
    context.partition = new.partition;
    context.offset = new.offset;
    let same_topic = match (&context.topic, &new.topic) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    };
    if !same_topic {
        context.topic.clone_from(&new.topic);
    }
    if !(context.headers.is_empty() && new.headers.is_empty()) {
        context.headers.clone_from(&new.headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(timestamp: i64) -> RecordContext {
        RecordContext { timestamp, ..RecordContext::default() }
    }

    fn dirty_keys(cache: &mut NamedCache) -> Vec<String> {
        let slots = cache.take_dirty();
        let key = |slot: &Slot| String::from_utf8_lossy(cache.get(*slot).unwrap().0).into_owned();
        slots.iter().map(key).collect()
    }

    #[test]
    fn dirty_keys_are_flushed_in_the_order_of_their_last_put() {
        let mut cache = NamedCache::new(0);
        for key in ["a", "b", "c", "a"] {
            cache.put(key.as_bytes(), Some(b"v"), &context(0));
        }
        cache.touch(b"b");
        assert_eq!(dirty_keys(&mut cache), ["b", "c", "a"], "a read does not count as a put");
        assert_eq!(dirty_keys(&mut cache), [""; 0], "flushed keys are clean");
    }

    #[test]
    fn the_key_used_longest_ago_is_evicted_and_leaves_the_dirty_keys() {
        let mut cache = NamedCache::new(0);
        for key in ["a", "b", "c"] {
            cache.put(key.as_bytes(), Some(b"v"), &context(0));
        }
        cache.touch(b"a");
        assert_eq!(&*cache.evict().unwrap().key, b"b");
        assert_eq!(dirty_keys(&mut cache), ["a", "c"]);
        assert!(cache.evict().unwrap().context.is_none(), "c is clean now");
        assert_eq!(&*cache.evict().unwrap().key, b"a");
        assert!(cache.evict().is_none());
        assert_eq!(cache.size(), 0);
    }

    /// NamedCacheTest and ThreadCacheTest of the JVM: key + value + 1 flag + 8 timestamp + 8 offset + 4 partition + 24.
    #[test]
    fn an_entry_counts_what_the_jvm_counts() {
        let mut cache = NamedCache::new(0);
        let mut record = context(5);
        record.topic = Some("topic".into());
        record.headers.add("h", Some(b"xy"));
        cache.put(b"key", Some(b"value"), &record);
        assert_eq!(cache.size(), 3 + 24 + 1 + 5 + 20 + 5 + 3);
        cache.put(b"key", None, &context(6));
        assert_eq!(cache.size(), 3 + 24 + 1 + 20);
    }
}
