//! Work that comes again and again until the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::stop::StopSignal;

/// How often a piece of background work comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// From round to round.
    pub(crate) every: Duration,
    /// From one thorough round to the next.
    pub(crate) thorough_every: Duration,
}

/// Calls `round` in this rhythm until the broker stops, with whether it is to be thorough. A round may block; the next one
/// waits for its end. One that panics is reported as the failure of `what`, and doesn't end the others.
pub(crate) async fn run(
    what: &'static str,
    rhythm: Rhythm,
    mut stop: StopSignal,
    round: impl Fn(bool) + Send + Sync + 'static,
) {
    let round = Arc::new(round);
    let mut ticks = interval_at(Instant::now() + rhythm.every, rhythm.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut thorough_due = Instant::now() + rhythm.thorough_every;
    loop {
        tokio::select! {
            // A round that took longer than the rhythm has its next tick due already: stopping goes first.
            biased;
            () = stop.stopped() => return,
            _ = ticks.tick() => {}
        }
        let thorough = Instant::now() >= thorough_due;
        if thorough {
            thorough_due = Instant::now() + rhythm.thorough_every;
        }
        let round = round.clone();
        if let Err(panic) = tokio::task::spawn_blocking(move || round(thorough)).await {
            tracing::error!(%panic, "{what} failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::stop;

    /// Runs four rounds, of which the second panics; answers which of them were thorough.
    async fn four_rounds(thorough_every: Duration) -> Vec<bool> {
        let (stopping, stop) = stop::channel();
        let rounds = Arc::new(Mutex::new(Vec::new()));
        let seen = rounds.clone();
        let rhythm = Rhythm { every: Duration::from_millis(1), thorough_every };
        run("the test", rhythm, stop, move |thorough| {
            let mut rounds = seen.lock();
            rounds.push(thorough);
            if rounds.len() == 4 {
                stopping.stop();
            }
            assert_ne!(rounds.len(), 2, "on purpose");
        })
        .await;
        let rounds = rounds.lock();
        rounds.clone()
    }

    /// Retention, compaction and the abort of old transactions hang on these loops: a round that panics must not be the last.
    #[tokio::test]
    async fn rounds_go_on_after_a_panic_and_are_thorough_when_that_is_due() {
        assert_eq!(four_rounds(Duration::ZERO).await, [true; 4]);
        assert_eq!(four_rounds(Duration::from_secs(3_600)).await, [false; 4]);
    }
}
