//! The iteration order of a `java.util.HashSet` of byte strings, which shows in the order of a changelog: by bucket, and
//! within a bucket in the order of insertion.

use std::collections::BTreeSet;

use crate::shared_bytes::SharedBytes;

/// The bucket count of a new `HashSet`.
const FIRST_CAPACITY: usize = 16;

/// Byte strings in the order of a Java set that is only added to and cleared. Its table never shrinks, not even when it
/// is cleared.
pub(crate) struct JavaSet {
    members: BTreeSet<SharedBytes>,
    in_order: Vec<SharedBytes>,
    capacity: usize,
}

impl Default for JavaSet {
    fn default() -> Self {
        JavaSet { members: BTreeSet::new(), in_order: Vec::new(), capacity: FIRST_CAPACITY }
    }
}

impl JavaSet {
    pub(crate) fn insert(&mut self, member: &[u8]) {
        if self.members.contains(member) {
            return;
        }
        let member: SharedBytes = member.into();
        self.members.insert(member.clone());
        self.in_order.push(member);
        // The table doubles when it is more than three quarters full.
        while self.in_order.len() * 4 > self.capacity * 3 {
            self.capacity *= 2;
        }
    }

    /// Takes all members out, in the set's order.
    pub(crate) fn drain(&mut self) -> Vec<SharedBytes> {
        self.members.clear();
        let mut members = std::mem::take(&mut self.in_order);
        let buckets = self.capacity;
        members.sort_by_key(|member| bucket(member, buckets)); // stable: insertion order within a bucket
        members
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.in_order.clear();
    }
}

fn bucket(member: &[u8], buckets: usize) -> usize {
    // `Arrays.hashCode(byte[])`: bytes are signed.
    let hash = member
        .iter()
        .fold(1_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte.cast_signed())));
    let hash = hash.cast_unsigned();
    usize::try_from(hash ^ (hash >> 16)).unwrap_or(0) & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(set: &mut JavaSet) -> Vec<String> {
        set.drain().iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect()
    }

    #[test]
    fn members_come_by_bucket_and_the_table_stays_large() {
        let mut set = JavaSet::default();
        for member in ["q", "a", "b", "a"] {
            set.insert(member.as_bytes());
        }
        // Hashes of single letters are 31 more than the letters: q is in bucket 0, a in 0, b in 1 of 16.
        assert_eq!(drained(&mut set), ["q", "a", "b"]);
        assert_eq!(drained(&mut set), [""; 0]);
        for number in 0..13_u8 {
            set.insert(&[number]);
        }
        set.clear();
        // Of 32 buckets q has 16.
        for member in ["q", "a", "b"] {
            set.insert(member.as_bytes());
        }
        assert_eq!(drained(&mut set), ["a", "b", "q"]);
    }
}
