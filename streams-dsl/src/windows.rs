//! Windows by which a grouped stream is aggregated: of time here, sliding ones and sessions below.
//!
//! Until when a window takes late records, by the *grace* that the windows are given; T is the highest timestamp that the
//! node has seen since it was started, in ms of the records' time, not of the wall clock:
//!
//! | windows | a record changes a window as long as |
//! |---|---|
//! | of time | its end (exclusive) is after T less the grace |
//! | sliding | its end (inclusive) is not before T less the grace |
//! | sessions | the end that it would have with the record is not before T less the inactivity gap and the grace |
//! | unlimited | always |
//!
//! A record that comes too late for a window (for all its windows, where they slide) counts as dropped.

mod emit;
mod session;
mod sliding;

use std::time::Duration;

use kstreams_state_stores::Window;

pub use emit::EmitStrategy;
pub use session::SessionWindows;
pub use sliding::SlidingWindows;

/// Windows of equal size, tumbling (each begins where the one before ends) or hopping (they overlap)
/// (`org.apache.kafka.streams.kstream.TimeWindows`). They are aligned to the epoch; the start is inclusive, the end
/// exclusive.
///
/// ```
/// use std::time::Duration;
/// use kstreams_dsl::TimeWindows;
///
/// let minutes = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
/// let hopping = TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(10))
///     .advance_by(Duration::from_secs(20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindows {
    size_ms: i64,
    advance_ms: i64,
    grace_ms: i64,
}

impl TimeWindows {
    /// Windows of this size that close as soon as stream time reaches their end: later records are dropped.
    pub fn of_size_with_no_grace(size: Duration) -> Self {
        Self::of_size_and_grace(size, Duration::ZERO)
    }

    /// Windows of this size that still take records until stream time is `grace` past their end.
    pub fn of_size_and_grace(size: Duration, grace: Duration) -> Self {
        TimeWindows { size_ms: millis(size), advance_ms: millis(size), grace_ms: millis(grace) }
    }

    /// A window begins every `advance`, which is at most the size: hopping windows.
    #[must_use]
    pub fn advance_by(mut self, advance: Duration) -> Self {
        self.advance_ms = millis(advance);
        self
    }
}

/// One window from a start to the end of time (`UnlimitedWindows`); records before the start are in no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnlimitedWindows {
    start_ms: i64,
}

impl UnlimitedWindows {
    /// From the epoch.
    pub fn of() -> Self {
        UnlimitedWindows::default()
    }

    /// From this time, in ms since the epoch.
    #[must_use]
    pub fn start_on_ms(mut self, start_ms: i64) -> Self {
        self.start_ms = start_ms;
        self
    }
}

/// Any windows by which [`KGroupedStream::windowed_by`](crate::KGroupedStream::windowed_by) groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Time(TimeWindows),
    Unlimited(UnlimitedWindows),
    Sliding(SlidingWindows),
}

impl From<TimeWindows> for Windows {
    fn from(windows: TimeWindows) -> Self {
        Windows(Kind::Time(windows))
    }
}

impl From<UnlimitedWindows> for Windows {
    fn from(windows: UnlimitedWindows) -> Self {
        Windows(Kind::Unlimited(windows))
    }
}

impl From<SlidingWindows> for Windows {
    fn from(windows: SlidingWindows) -> Self {
        Windows(Kind::Sliding(windows))
    }
}

impl Windows {
    /// Sliding windows, if that is what they are: they depend on the records.
    pub(crate) fn sliding(&self) -> Option<SlidingWindows> {
        match self.0 {
            Kind::Sliding(windows) => Some(windows),
            _ => None,
        }
    }

    /// Whether windows ever close.
    pub(crate) fn close(&self) -> bool {
        !matches!(self.0, Kind::Unlimited(_))
    }

    /// The windows that a time is in, earliest first; of sliding windows the one that ends there.
    pub(crate) fn windows_for(&self, timestamp: i64) -> impl Iterator<Item = Window> + use<> {
        let (first, advance, size) = match self.0 {
            Kind::Time(TimeWindows { size_ms, advance_ms, .. }) => {
                let earliest = (timestamp - size_ms + advance_ms).max(0);
                (earliest / advance_ms * advance_ms, advance_ms, size_ms)
            }
            Kind::Unlimited(UnlimitedWindows { start_ms }) => (start_ms, i64::MAX, i64::MAX),
            Kind::Sliding(SlidingWindows { difference_ms, .. }) => {
                ((timestamp - difference_ms).max(0), i64::MAX, difference_ms)
            }
        };
        let starts = std::iter::successors(Some(first), move |start| start.checked_add(advance));
        starts.take_while(move |&start| start <= timestamp).map(move |start| Window::of_size(start, size))
    }

    /// Size in ms; of sliding windows the time difference.
    pub(crate) fn size_ms(&self) -> i64 {
        match self.0 {
            Kind::Time(windows) => windows.size_ms,
            Kind::Unlimited(_) => i64::MAX,
            Kind::Sliding(windows) => windows.difference_ms,
        }
    }

    /// How long after its end a window is open, in ms of stream time.
    pub(crate) fn grace_ms(&self) -> i64 {
        match self.0 {
            Kind::Time(windows) => windows.grace_ms,
            Kind::Unlimited(_) => 0,
            Kind::Sliding(windows) => windows.grace_ms,
        }
    }

    /// How long a store must keep windows, in ms.
    pub(crate) fn min_retention_ms(&self) -> i64 {
        // The window before a sliding one has to be there still when the latter is made.
        let before = self.sliding().map_or(0, |windows| windows.difference_ms);
        self.size_ms().saturating_add(self.grace_ms()).saturating_add(before)
    }

    /// What is wrong with them, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        match self.0 {
            Kind::Time(TimeWindows { size_ms, .. }) if size_ms <= 0 => {
                Some("time windows need a size of at least 1 ms".to_owned())
            }
            Kind::Time(TimeWindows { size_ms, advance_ms, .. })
                if advance_ms <= 0 || advance_ms > size_ms =>
            {
                Some(format!(
                    "time windows of {size_ms} ms cannot advance by {advance_ms} ms: use 1 ms up to the size"
                ))
            }
            Kind::Unlimited(UnlimitedWindows { start_ms }) if start_ms < 0 => {
                Some(format!("unlimited windows cannot start at {start_ms} ms: use 0 or later"))
            }
            _ => None,
        }
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(windows: impl Into<Windows>, timestamp: i64) -> Vec<(i64, i64)> {
        windows.into().windows_for(timestamp).map(|window| (window.start, window.end)).collect()
    }

    #[test]
    fn a_time_is_in_size_by_advance_windows_and_none_starts_below_zero() {
        let ms = Duration::from_millis;
        let tumbling = TimeWindows::of_size_with_no_grace(ms(10));
        assert_eq!(starts(tumbling, 0), [(0, 10)]);
        assert_eq!(starts(tumbling, 9), [(0, 10)]);
        assert_eq!(starts(tumbling, 10), [(10, 20)]);
        let hopping = tumbling.advance_by(ms(4));
        assert_eq!(starts(hopping, 3), [(0, 10)]);
        assert_eq!(starts(hopping, 13), [(4, 14), (8, 18), (12, 22)]);
    }

    #[test]
    fn an_unlimited_window_begins_at_its_start() {
        let windows = UnlimitedWindows::of().start_on_ms(5);
        assert_eq!(starts(windows, 4), []);
        assert_eq!(starts(windows, 5), [(5, i64::MAX)]);
        assert_eq!(starts(windows, i64::MAX), [(5, i64::MAX)]);
    }
}
