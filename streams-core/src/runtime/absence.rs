//! Absence: a thread notices that it was away for so long that its tasks may be somebody else's by now, because user code took the
//! time or the whole process was stopped (SIGSTOP, a machine that was suspended).
//!
//! The client finds that out at once, by its own clock or from the coordinator; the group thread then takes the tasks away. Until that
//! had time to happen nothing is processed: results would be sent that nobody but a transaction's coordinator could refuse.

use std::time::{Duration, Instant};

/// How long news of the group are waited for.
const NEWS: Duration = Duration::from_millis(500);

/// When a thread was last seen, and until when it waits.
#[derive(Debug)]
pub(super) struct Absence {
    /// Longer than this is away.
    limit: Duration,
    seen: Instant,
    until: Instant,
}

impl Absence {
    /// The session counts from the last heartbeat, some time before the thread was last seen.
    pub(super) fn new(session_timeout: Duration, now: Instant) -> Self {
        Absence { limit: session_timeout * 2 / 3, seen: now, until: now }
    }

    /// Once per round: how long to wait before anything is processed; zero almost always.
    pub(super) fn look(&mut self, now: Instant) -> Duration {
        if now.saturating_duration_since(self.seen) > self.limit {
            self.until = now + NEWS;
        }
        self.seen = now;
        self.until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_waits_for_news_once() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut absence = Absence::new(Duration::from_secs(45), start);
        let waits =
            [1_000, 31_000, 61_001, 61_301, 61_501, 62_000].map(|ms| absence.look(at(ms)).as_millis());
        assert_eq!(waits, [0, 0, 500, 200, 0, 0]);
    }
}
