//! The last offset of each key, by a 128-bit hash of the key, as keys may be large.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Key hash to last offset. The hash is seeded at random: two keys that collide (and of which one would be lost)
/// cannot be made up, and do not happen by chance.
#[derive(Debug, Default)]
pub(super) struct KeyMap {
    seeds: [RandomState; 2],
    offsets: HashMap<(u64, u64), i64>,
}

impl KeyMap {
    /// Keys of one round at most: some 200 MB. What is over is left to the next round.
    #[cfg(not(test))]
    pub(super) const LIMIT: usize = 4 * 1024 * 1024;
    /// Small, so that tests get there.
    #[cfg(test)]
    pub(super) const LIMIT: usize = 10;

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let [first, second] = &self.seeds;
        (first.hash_one(key), second.hash_one(key))
    }

    /// Notes that `key` occurs at `offset`; offsets come in order.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) {
        let hash = self.hash(key);
        self.offsets.insert(hash, offset);
    }

    /// True if a later record than the one at `offset` has the key.
    pub(super) fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.offsets.get(&self.hash(key)).is_some_and(|last| *last > offset)
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }
}
