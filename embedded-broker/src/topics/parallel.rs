//! The same work on many logs, several at a time: they wait for the disk more than they compute.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Most threads at work.
const THREADS: usize = 8;

/// Calls `work` once for each item; returns when all are done.
pub(super) fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..THREADS.min(items.len()) {
            scope.spawn(take);
        }
        take();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        for_each(&counts, |count| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        for_each::<AtomicUsize>(&[], |_| panic!("there is nothing to do"));
    }
}
