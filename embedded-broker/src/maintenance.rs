//! The background work: retention, compaction, fsync by time, expiry.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::broker::Broker;
use crate::log::LogError;
use crate::stop::StopSignal;

/// Looks after the logs until the broker stops. The shortest of the intervals set decides how often: a log finds out
/// by itself what is due, and a look at a log with nothing due costs little.
pub(crate) async fn run(broker: Arc<Broker>, mut stop: StopSignal) {
    let settings = broker.settings();
    let mut every = settings.retention_check_ms.min(settings.cleaner_backoff_ms.max(1));
    if settings.given.contains_key("log.flush.interval.ms") {
        every = every.min(settings.flush_check_ms);
    }
    let every = Duration::from_millis(every);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.stopped() => return,
        }
        let (round, stop) = (broker.clone(), stop.clone());
        let done = tokio::task::spawn_blocking(move || maintain_all(&round, &stop)).await;
        if let Err(panic) = done {
            tracing::error!(%panic, "maintenance failed");
        }
    }
}

/// One round; one log's fault does not keep the others waiting.
fn maintain_all(broker: &Broker, stop: &StopSignal) {
    for log in broker.catalog().logs() {
        if stop.is_stopped() {
            return;
        }
        match log.maintain() {
            // The topic was deleted, or the fault was reported when it took the log offline.
            Ok(_) | Err(LogError::Closed { .. } | LogError::Offline { .. }) => {}
            Err(error) => {
                tracing::error!(partition = %log.name(), error = &error as &dyn std::error::Error, "maintenance failed");
            }
        }
    }
}
