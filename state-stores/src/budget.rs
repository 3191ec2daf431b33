//! The two memory budgets that stores share: record caches (per thread) and uncommitted updates (per instance).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the record caches of one thread's stores may hold together: `statestore.cache.max.bytes` divided by the
/// threads (`ThreadCache` of the JVM). Counted are encoded lengths plus the JVM's constants, so that the same setting
/// evicts at the same point.
#[derive(Debug)]
pub struct CacheBudget {
    maximum: AtomicUsize,
    used: AtomicUsize,
}

impl CacheBudget {
    /// A budget of `maximum_bytes`. Stores built with a budget of 0 have no cache.
    pub fn new(maximum_bytes: usize) -> Arc<Self> {
        Arc::new(CacheBudget { maximum: AtomicUsize::new(maximum_bytes), used: AtomicUsize::new(0) })
    }

    /// Changes the maximum (threads were added or removed). A cache above it shrinks at its next put.
    pub fn resize(&self, maximum_bytes: usize) {
        self.maximum.store(maximum_bytes, Ordering::Relaxed);
    }

    /// The maximum in bytes.
    pub fn maximum_bytes(&self) -> usize {
        self.maximum.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.used_bytes() > self.maximum_bytes()
    }

    /// Whether `bytes` more would exceed it.
    pub(crate) fn is_full_for(&self, bytes: usize) -> bool {
        self.used_bytes() + bytes > self.maximum_bytes()
    }

    pub(crate) fn adjust(&self, before: usize, after: usize) {
        adjust(&self.used, before, after);
    }
}

/// Bytes that all stores of an instance may hold uncommitted together. Exceeded, it asks for an early commit; it never
/// refuses a write.
#[derive(Debug)]
pub struct UncommittedBudget {
    maximum: usize,
    used: AtomicUsize,
}

impl UncommittedBudget {
    /// A budget of `maximum_bytes`.
    pub fn new(maximum_bytes: usize) -> Arc<Self> {
        Arc::new(UncommittedBudget { maximum: maximum_bytes, used: AtomicUsize::new(0) })
    }

    /// The maximum in bytes.
    pub fn maximum_bytes(&self) -> usize {
        self.maximum
    }

    /// Bytes in use; each store reports in steps of some KiB.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether tasks should commit now.
    pub fn is_exceeded(&self) -> bool {
        self.used_bytes() > self.maximum
    }

    pub(crate) fn adjust(&self, before: usize, after: usize) {
        adjust(&self.used, before, after);
    }
}

/// Replaces one holder's share `before` by `after`. Relaxed: the sums steer eviction and commits, nothing is
/// published through them.
fn adjust(used: &AtomicUsize, before: usize, after: usize) {
    if after >= before {
        used.fetch_add(after - before, Ordering::Relaxed);
    } else {
        used.fetch_sub(before - after, Ordering::Relaxed);
    }
}
