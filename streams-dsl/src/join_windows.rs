//! Windows within which records of two streams are joined.

use std::time::Duration;

use crate::windows::millis;

/// How far apart in time records of two streams may be to be joined (`org.apache.kafka.streams.kstream.JoinWindows`): a
/// record of the left stream at time t meets those of the right stream from t - before to t + after, both included.
///
/// The grace says how much later than its window's end an out-of-order record still finds its partners; unmatched
/// records of left and outer joins are emitted when window and grace have passed in stream time.
///
/// ```
/// use std::time::Duration;
/// use kstreams_dsl::JoinWindows;
///
/// // A payment up to ten minutes after its order, and never before it.
/// let windows = JoinWindows::of_time_difference_and_grace(Duration::from_secs(600), Duration::from_secs(60))
///     .before_ms(0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindows {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinWindows {
    /// At most `difference` apart, in either direction; unmatched records are given up as soon as stream time has passed
    /// their window.
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        Self::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// At most `difference` apart, in either direction, with time for records that come out of order.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        JoinWindows { before_ms: millis(difference), after_ms: millis(difference), grace_ms: millis(grace) }
    }

    /// How much earlier than the left record the right one may be, in ms. Negative: it must be at least that much later.
    #[must_use]
    pub fn before_ms(mut self, before_ms: i64) -> Self {
        self.before_ms = before_ms;
        self
    }

    /// How much later than the left record the right one may be, in ms. Negative: it must be at least that much earlier.
    #[must_use]
    pub fn after_ms(mut self, after_ms: i64) -> Self {
        self.after_ms = after_ms;
        self
    }

    /// Length of the window in ms.
    pub(crate) fn size_ms(&self) -> i64 {
        self.before_ms.saturating_add(self.after_ms)
    }

    /// How long a record must be kept for the other stream, in ms.
    pub(crate) fn retention_ms(&self) -> i64 {
        self.size_ms().saturating_add(self.grace_ms)
    }

    /// What is wrong with them, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let JoinWindows { before_ms, after_ms, .. } = *self;
        (self.size_ms() < 0).then(|| {
            format!(
                "join windows from {before_ms} ms before to {after_ms} ms after end before they begin: raise one of \
                 them"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_may_lie_wholly_on_one_side_but_not_end_before_they_begin() {
        let windows =
            JoinWindows::of_time_difference_and_grace(Duration::from_millis(5), Duration::from_millis(2));
        assert_eq!((windows.size_ms(), windows.retention_ms(), windows.fault()), (10, 12, None));
        assert_eq!(windows.before_ms(-2).fault(), None);
        assert!(windows.before_ms(-6).fault().unwrap().contains("from -6 ms before to 5 ms after"));
    }
}
