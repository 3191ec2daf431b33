//! How often operators look for results that no record makes, but the time that has passed.

use std::time::Duration;

/// Wall-clock time between two looks for results that only the advance of stream time makes: it bounds how often a store
/// is scanned, and decouples that from how the records' times are distributed. `None`: 1 second in an application (as in
/// Kafka Streams), no bound in a test driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmitIntervals {
    /// Unmatched records of left and outer joins of streams.
    pub outer_join: Option<Duration>,
    /// Windows that have closed, where results are emitted then.
    pub window_close: Option<Duration>,
}

const DEFAULT: Duration = Duration::from_secs(1);

impl EmitIntervals {
    /// Without a bound where nothing was set: for test drivers.
    #[must_use]
    pub fn or_zero(self) -> Self {
        EmitIntervals {
            outer_join: self.outer_join.or(Some(Duration::ZERO)),
            window_close: self.window_close.or(Some(Duration::ZERO)),
        }
    }

    /// The interval of joins in ms.
    pub fn outer_join_ms(self) -> i64 {
        ms(self.outer_join)
    }

    /// The interval of windows in ms.
    pub fn window_close_ms(self) -> i64 {
        ms(self.window_close)
    }
}

fn ms(interval: Option<Duration>) -> i64 {
    i64::try_from(interval.unwrap_or(DEFAULT).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_looks_every_second_and_a_test_driver_always_unless_told_otherwise() {
        let none = EmitIntervals::default();
        assert_eq!((none.outer_join_ms(), none.or_zero().outer_join_ms()), (1000, 0));
        let set = EmitIntervals { window_close: Some(Duration::from_millis(7)), ..none };
        assert_eq!((set.window_close_ms(), set.or_zero().window_close_ms()), (7, 7));
    }
}
