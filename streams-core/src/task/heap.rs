//! The order in which a task takes from its input partitions: lowest timestamp first, ties as the JVM breaks them.

/// A binary heap that orders equal entries exactly as `java.util.PriorityQueue` does (sift up on insert, sift down on
/// poll, no further tie-break), because with equal timestamps that order decides what the JVM's task processes next.
#[derive(Debug, Default)]
pub(crate) struct JavaHeap {
    /// (timestamp, input), the smallest timestamp at 0; the children of `i` are `2i + 1` and `2i + 2`.
    entries: Vec<(i64, usize)>,
}

impl JavaHeap {
    pub(crate) fn peek(&self) -> Option<(i64, usize)> {
        self.entries.first().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn push(&mut self, timestamp: i64, input: usize) {
        let mut at = self.entries.len();
        self.entries.push((timestamp, input));
        while at > 0 {
            let parent = (at - 1) / 2;
            if timestamp >= self.entries[parent].0 {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(i64, usize)> {
        let last = self.entries.pop()?;
        let Some(&first) = self.entries.first() else { return Some(last) };
        self.entries[0] = last;
        let (mut at, len) = (0, self.entries.len());
        loop {
            let mut child = 2 * at + 1;
            if child >= len {
                break;
            }
            if child + 1 < len && self.entries[child].0 > self.entries[child + 1].0 {
                child += 1;
            }
            if last.0 <= self.entries[child].0 {
                break;
            }
            self.entries.swap(at, child);
            at = child;
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of ties is observable: it is that of Java 17's `PriorityQueue` for the same calls.
    #[test]
    fn ties_come_out_in_javas_order() {
        let mut heap = JavaHeap::default();
        for input in 0..4 {
            heap.push(5, input);
        }
        let mut order = Vec::new();
        while let Some((_, input)) = heap.pop() {
            order.push(input);
        }
        assert_eq!(order, [0, 3, 2, 1]);
    }

    #[test]
    fn smaller_timestamps_come_first() {
        let mut heap = JavaHeap::default();
        for (input, timestamp) in [9, 3, 7, 1, 8, 2].into_iter().enumerate() {
            heap.push(timestamp, input);
        }
        let order: Vec<i64> = std::iter::from_fn(|| heap.pop()).map(|(timestamp, _)| timestamp).collect();
        assert_eq!(order, [1, 2, 3, 7, 8, 9]);
    }
}
