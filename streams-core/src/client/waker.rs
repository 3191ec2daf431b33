//! Wakes a thread that waits for messages, commands or a deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A latch: `wake` before `wait` is not lost. Waking a thread that isn't waiting costs one atomic swap, so librdkafka's
/// threads may call it from under a queue's lock.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    woken: AtomicBool,
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Waker {
    /// Ends the current or the next `wait`.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // The waiter holds the lock from its check of `woken` until it sleeps: taking it here means that the
            // notification can't fall in between.
            drop(self.lock.lock());
            self.condvar.notify_one();
        }
    }

    /// Waits until woken, at most `timeout`; answers whether it was woken.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        if self.woken.swap(false, Ordering::AcqRel) {
            return true;
        }
        let mut guard = self.lock.lock();
        if !self.woken.load(Ordering::Acquire) {
            self.condvar.wait_for(&mut guard, timeout);
        }
        self.woken.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let waker = Waker::default();
        waker.wake();
        waker.wake();
        assert!(waker.wait(Duration::from_secs(10)));
        assert!(!waker.wait(Duration::from_millis(1)), "two wakes are one");
    }

    #[test]
    fn a_sleeping_thread_is_woken_at_once() {
        let waker = Arc::new(Waker::default());
        let other = waker.clone();
        let start = Instant::now();
        let thread = std::thread::spawn(move || other.wait(Duration::from_secs(30)));
        waker.wake();
        assert!(thread.join().unwrap());
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
