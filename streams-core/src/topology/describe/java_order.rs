//! Orders that the JVM's collections have, as far as they show in `describe()`: the iteration order of a `HashMap` of
//! strings, and that of a `TreeSet` whose elements' order changes while it is filled.

/// The bucket count of a new `HashMap`.
const FIRST_CAPACITY: usize = 16;

/// The order in which a `java.util.HashMap` (or `HashSet`) iterates over keys that were put in the given order, as
/// positions in `keys`: by bucket, within a bucket in the order of insertion. The table doubles when it is more than
/// three quarters full.
pub(super) fn hash_map_order(keys: &[&str]) -> Vec<usize> {
    let mut capacity = FIRST_CAPACITY;
    while keys.len() * 4 > capacity * 3 {
        capacity *= 2;
    }
    let bucket = |key: &str| {
        let hash = string_hash(key);
        usize::try_from(hash ^ (hash >> 16)).unwrap_or(0) & (capacity - 1)
    };
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&at| bucket(keys[at])); // stable: insertion order within a bucket
    order
}

/// `String.hashCode`, over UTF-16 units.
fn string_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// A red-black tree that inserts as `java.util.TreeMap` does. The caller's order may be another one at each insertion:
/// then the shape of the tree decides where an element comes to stand, so it has to be the same shape.
#[derive(Debug, Default)]
pub(super) struct NodeTree {
    entries: Vec<Entry>,
    root: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    value: usize,
    parent: Option<usize>,
    /// Left, right.
    children: [Option<usize>; 2],
    red: bool,
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

impl NodeTree {
    /// Inserts `value` where `before` says at this moment; not when it is met on the way.
    pub(super) fn insert(&mut self, value: usize, before: impl Fn(usize, usize) -> bool) {
        let mut place = None;
        let mut next = self.root;
        while let Some(at) = next {
            if self.entries[at].value == value {
                return;
            }
            let side = if before(value, self.entries[at].value) { LEFT } else { RIGHT };
            place = Some((at, side));
            next = self.entries[at].children[side];
        }
        let new = self.entries.len();
        let parent = place.map(|(at, _)| at);
        self.entries.push(Entry { value, parent, children: [None, None], red: true });
        match place {
            Some((at, side)) => self.entries[at].children[side] = Some(new),
            None => self.root = Some(new),
        }
        self.rebalance(new);
    }

    /// `TreeMap.fixAfterInsertion`.
    fn rebalance(&mut self, mut at: usize) {
        while let Some((parent, grandparent)) = self.red_parent(at) {
            let side = self.side_of(parent);
            match self.entries[grandparent].children[1 - side] {
                Some(uncle) if self.entries[uncle].red => {
                    self.entries[parent].red = false;
                    self.entries[uncle].red = false;
                    self.entries[grandparent].red = true;
                    at = grandparent;
                }
                _ => {
                    if self.side_of(at) != side {
                        at = parent;
                        self.rotate(at, side);
                    }
                    if let Some(parent) = self.entries[at].parent {
                        self.entries[parent].red = false;
                    }
                    self.entries[grandparent].red = true;
                    self.rotate(grandparent, 1 - side);
                }
            }
        }
        if let Some(root) = self.root {
            self.entries[root].red = false;
        }
    }

    /// The parent, if it is red, and its parent (a red entry has one, as the root is black).
    fn red_parent(&self, at: usize) -> Option<(usize, usize)> {
        let parent = self.entries[at].parent.filter(|&parent| self.entries[parent].red)?;
        Some((parent, self.entries[parent].parent?))
    }

    fn side_of(&self, at: usize) -> usize {
        match self.entries[at].parent {
            Some(parent) if self.entries[parent].children[LEFT] == Some(at) => LEFT,
            _ => RIGHT,
        }
    }

    /// Turns `at` down to `side`; its child of the other side takes its place.
    fn rotate(&mut self, at: usize, side: usize) {
        let Some(up) = self.entries[at].children[1 - side] else { return };
        let inner = self.entries[up].children[side];
        self.entries[at].children[1 - side] = inner;
        if let Some(inner) = inner {
            self.entries[inner].parent = Some(at);
        }
        let above = self.entries[at].parent;
        let at_side = self.side_of(at);
        self.entries[up].parent = above;
        match above {
            Some(above) => self.entries[above].children[at_side] = Some(up),
            None => self.root = Some(up),
        }
        self.entries[up].children[side] = Some(at);
        self.entries[at].parent = Some(up);
    }

    /// The values from left to right.
    pub(super) fn in_order(&self) -> impl Iterator<Item = usize> + '_ {
        let mut path = Vec::new();
        let mut next = self.root;
        std::iter::from_fn(move || {
            while let Some(at) = next {
                path.push(at);
                next = self.entries[at].children[LEFT];
            }
            let at = path.pop()?;
            next = self.entries[at].children[RIGHT];
            Some(self.entries[at].value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hash_as_in_java() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("abc"), 96_354);
        assert_eq!(string_hash("KSTREAM-SOURCE-0000000000").cast_signed(), {
            // 31-polynomial over the characters, computed apart
            "KSTREAM-SOURCE-0000000000".bytes().fold(0_i32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
        });
    }

    #[test]
    fn a_map_iterates_by_bucket_then_by_insertion() {
        // "a" is 97 and falls into bucket 1, "b" into 2, "q" (113) into 1 again.
        assert_eq!(hash_map_order(&["q", "b", "a"]), [0, 2, 1]);
        // With 13 keys the table has 32 buckets: "q" moves to bucket 17.
        let many = ["q", "b", "a", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        assert_eq!(hash_map_order(&many)[..2], [2, 1]);
        assert_eq!(hash_map_order(&many)[12], 0);
    }

    #[test]
    fn a_tree_with_a_steady_order_is_sorted_and_holds_each_once() {
        let mut tree = NodeTree::default();
        for value in [5, 3, 9, 1, 7, 3, 8, 2, 6, 4, 0, 5] {
            tree.insert(value, |a, b| a < b);
        }
        assert!(tree.in_order().eq(0..=9));
    }

    #[test]
    fn an_element_stays_where_the_order_of_its_insertion_put_it() {
        let mut tree = NodeTree::default();
        tree.insert(1, |a, b| a < b);
        tree.insert(2, |a, b| a < b);
        tree.insert(3, |a, b| a > b); // at the root 1 it goes left
        assert!(tree.in_order().eq([3, 1, 2]));
    }
}
