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
    dirty: bool,
    size: usize,
    recency: Links,
    dirtiness: Links,
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

#[derive(Clone, Copy)]
enum List {
    /// From the key used last to the one to evict.
    Recency,
    /// Dirty keys in the order of their last put.
    Dirtiness,
}

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
    recency: Ends,
    dirtiness: Ends,
    size: usize,
    /// Counted for each entry: what the JVM's cache key has beyond ours.
    extra_key_bytes: usize,
}

impl NamedCache {
    pub(crate) fn new(extra_key_bytes: usize) -> Self {
        NamedCache { nodes: ByteMap::default(), recency: EMPTY, dirtiness: EMPTY, size: 0, extra_key_bytes }
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
        let slot = match self.nodes.find(key) {
            Some(slot) => {
                self.move_to_front(slot);
                let was_dirty = self.update(slot, |node| {
                    overwrite(&mut node.value, value);
                    update_context(&mut node.context, context);
                    (std::mem::replace(&mut node.dirty, true), std::mem::replace(&mut node.size, size))
                });
                let (was_dirty, old_size) = was_dirty.unwrap_or_default();
                self.size -= old_size;
                if was_dirty {
                    self.unlink(List::Dirtiness, slot);
                }
                slot
            }
            None => {
                let node = Node {
                    value: value.map(Into::into),
                    context: context.clone(),
                    dirty: true,
                    size,
                    recency: UNLINKED,
                    dirtiness: UNLINKED,
                };
                let slot = self.nodes.insert_new(key.into(), node);
                self.link_first(List::Recency, slot);
                slot
            }
        };
        self.size += size;
        self.link_last(List::Dirtiness, slot);
    }

    /// Adds a clean entry for a key that is not there: what was read from the layers below.
    pub(crate) fn put_clean(&mut self, key: &[u8], value: &[u8]) {
        let size = self.size_of(key, Some(value), None);
        let node = Node {
            value: Some(value.into()),
            context: RecordContext::default(),
            dirty: false,
            size,
            recency: UNLINKED,
            dirtiness: UNLINKED,
        };
        let slot = self.nodes.insert_new(key.into(), node);
        self.link_first(List::Recency, slot);
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
        self.nodes.get(self.recency.last).is_some_and(|(_, node)| node.dirty)
    }

    /// Removes the entry used longest ago.
    pub(crate) fn evict(&mut self) -> Option<Evicted> {
        self.remove(self.recency.last)
    }

    /// Dirty keys in the order of their last put; all are clean afterwards.
    pub(crate) fn take_dirty(&mut self) -> Vec<Slot> {
        let mut dirty = Vec::new();
        let mut next = self.dirtiness.first;
        while next != NONE {
            let slot = next;
            next = NONE;
            if let Some(node) = self.nodes.item_mut(slot) {
                node.dirty = false;
                next = node.dirtiness.after;
                node.dirtiness = UNLINKED;
                dirty.push(slot);
            }
        }
        self.dirtiness = EMPTY;
        dirty
    }

    /// Key, value and context of an entry.
    pub(crate) fn get(&self, slot: Slot) -> Option<(&SharedBytes, Option<&SharedBytes>, &RecordContext)> {
        self.nodes.get(slot).map(|(key, node)| (key, node.value.as_ref(), &node.context))
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Evicted> {
        let (_, node) = self.nodes.get(slot)?;
        if node.dirty {
            self.unlink(List::Dirtiness, slot);
        }
        self.unlink(List::Recency, slot);
        let (key, node) = self.nodes.remove(slot)?;
        self.size -= node.size;
        Some(Evicted { key, value: node.value, context: node.dirty.then_some(node.context) })
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.recency = EMPTY;
        self.dirtiness = EMPTY;
        self.size = 0;
    }

    pub(crate) fn cursor<'a>(&'a mut self, range: &KeyRange, reverse: bool) -> impl Cursor + Send + 'a {
        self.nodes.prepare_ordered_read();
        self.nodes.cursor(range, reverse)
    }

    fn update<R>(&mut self, slot: Slot, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        self.nodes.item_mut(slot).map(change)
    }

    fn move_to_front(&mut self, slot: Slot) {
        if self.recency.first != slot {
            self.unlink(List::Recency, slot);
            self.link_first(List::Recency, slot);
        }
    }

    fn ends(&mut self, list: List) -> &mut Ends {
        match list {
            List::Recency => &mut self.recency,
            List::Dirtiness => &mut self.dirtiness,
        }
    }

    fn links(&mut self, list: List, slot: Slot) -> Option<&mut Links> {
        self.nodes.item_mut(slot).map(|node| match list {
            List::Recency => &mut node.recency,
            List::Dirtiness => &mut node.dirtiness,
        })
    }

    fn unlink(&mut self, list: List, slot: Slot) {
        let Some(links) = self.links(list, slot) else { return };
        let Links { before, after } = std::mem::replace(links, UNLINKED);
        match self.links(list, before) {
            Some(links) => links.after = after,
            None => self.ends(list).first = after,
        }
        match self.links(list, after) {
            Some(links) => links.before = before,
            None => self.ends(list).last = before,
        }
    }

    fn link_first(&mut self, list: List, slot: Slot) {
        let first = std::mem::replace(&mut self.ends(list).first, slot);
        if let Some(links) = self.links(list, slot) {
            *links = Links { before: NONE, after: first };
        }
        match self.links(list, first) {
            Some(links) => links.before = slot,
            None => self.ends(list).last = slot,
        }
    }

    fn link_last(&mut self, list: List, slot: Slot) {
        let last = std::mem::replace(&mut self.ends(list).last, slot);
        if let Some(links) = self.links(list, slot) {
            *links = Links { before: last, after: NONE };
        }
        match self.links(list, last) {
            Some(links) => links.after = slot,
            None => self.ends(list).first = slot,
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
