//! The order of use of a store that keeps a bounded number of entries (`MemoryLRUCache`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Keys by their last use. What is used again becomes the youngest; beyond the bound the eldest has to go.
pub(crate) struct UseOrder {
    max_entries: usize,
    now: u64,
    used: HashMap<Arc<[u8]>, u64>,
    by_use: BTreeMap<u64, Arc<[u8]>>,
}

impl UseOrder {
    pub(crate) fn new(max_entries: usize) -> Self {
        UseOrder { max_entries, now: 0, used: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Takes note of a use of a key that is there.
    pub(crate) fn touch(&mut self, key: &[u8]) {
        let key = match self.used.get_key_value(key) {
            Some((known, before)) => {
                self.by_use.remove(before);
                Arc::clone(known)
            }
            None => key.into(),
        };
        self.now += 1;
        self.used.insert(Arc::clone(&key), self.now);
        self.by_use.insert(self.now, key);
    }

    pub(crate) fn forget(&mut self, key: &[u8]) {
        if let Some(before) = self.used.remove(key) {
            self.by_use.remove(&before);
        }
    }

    /// The eldest key, where there are more than may be; it is forgotten.
    pub(crate) fn pop_beyond_bound(&mut self) -> Option<Arc<[u8]>> {
        if self.used.len() <= self.max_entries {
            return None;
        }
        let (_, eldest) = self.by_use.pop_first()?;
        self.used.remove(&eldest);
        Some(eldest)
    }

    /// Starts anew with keys from the eldest on.
    pub(crate) fn restart(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) {
        let mut order: Vec<(u64, Vec<u8>)> = Vec::new();
        for key in keys {
            order.push((self.used.get(&*key).copied().unwrap_or(0), key));
        }
        order.sort();
        *self = UseOrder::new(self.max_entries);
        order.iter().for_each(|(_, key)| self.touch(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes() {
        let mut order = UseOrder::new(2);
        order.touch(b"a");
        order.touch(b"b");
        assert_eq!(order.pop_beyond_bound(), None);
        order.touch(b"a");
        order.touch(b"c");
        assert_eq!(order.pop_beyond_bound().as_deref(), Some(&b"b"[..]));
        order.forget(b"a");
        order.touch(b"d");
        assert_eq!(order.pop_beyond_bound(), None);
        order.restart([b"c".to_vec(), b"d".to_vec(), b"unknown".to_vec()]);
        assert_eq!(order.pop_beyond_bound().as_deref(), Some(&b"unknown"[..]), "never seen is eldest");
    }
}
