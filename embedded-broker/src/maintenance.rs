//! The background work: retention, compaction, fsync by time, expiry.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::broker::Broker;
use crate::log::{Log, LogError};
use crate::stop::StopSignal;

/// Looks after the logs until the broker stops. A log finds out by itself what is due; how often it is asked follows
/// from the intervals set. Logs that are to be on disk after some time are asked more often.
pub(crate) async fn run(broker: Arc<Broker>, mut stop: StopSignal) {
    let settings = broker.settings();
    let all_every =
        Duration::from_millis(settings.retention_check_ms.min(settings.cleaner_backoff_ms.max(1)));
    let every = Duration::from_millis(settings.flush_check_ms).min(all_every);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all_due = Instant::now() + all_every;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.stopped() => return,
        }
        let all = Instant::now() >= all_due;
        if all {
            all_due = Instant::now() + all_every;
        }
        let logs = broker
            .catalog()
            .logs()
            .into_iter()
            .filter(|log| all || log.config().flush_ms != i64::MAX)
            .collect();
        let stop = stop.clone();
        let done = tokio::task::spawn_blocking(move || maintain(logs, &stop)).await;
        if let Err(panic) = done {
            tracing::error!(%panic, "maintenance failed");
        }
    }
}

/// One round; one log's fault does not keep the others waiting.
fn maintain(logs: Vec<Arc<Log>>, stop: &StopSignal) {
    for log in logs {
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
