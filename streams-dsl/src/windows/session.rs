//! Session windows.

use std::time::Duration;

use super::millis;

/// Sessions: records of a key that are not more than an inactivity gap apart
/// (`org.apache.kafka.streams.kstream.SessionWindows`). A session begins with its first record and ends with its last,
/// both included; a record between two sessions that is near enough to both makes one of them.
///
/// ```
/// use std::time::Duration;
/// use kstreams_dsl::{Materialized, SessionWindows, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("clicks")
///     .group_by_key()
///     .windowed_by(SessionWindows::of_inactivity_gap_and_grace(Duration::from_secs(300), Duration::from_secs(30)))
///     .count(Materialized::named("clicks-per-visit"));
/// # builder.build().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionWindows {
    pub(crate) gap_ms: i64,
    pub(crate) grace_ms: i64,
}

impl SessionWindows {
    /// Sessions that close as soon as stream time is more than the gap past their end.
    pub fn of_inactivity_gap_with_no_grace(gap: Duration) -> Self {
        Self::of_inactivity_gap_and_grace(gap, Duration::ZERO)
    }

    /// Sessions that still take records until stream time is more than the gap and `grace` past their end.
    pub fn of_inactivity_gap_and_grace(gap: Duration, grace: Duration) -> Self {
        SessionWindows { gap_ms: millis(gap), grace_ms: millis(grace) }
    }

    /// How long after its end a session can change, in ms of stream time.
    pub(crate) fn close_delay_ms(&self) -> i64 {
        self.gap_ms.saturating_add(self.grace_ms)
    }
}
