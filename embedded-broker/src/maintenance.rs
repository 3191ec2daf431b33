//! The background work: retention, compaction, fsync by time, expiry.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::log::{Log, LogError};
use crate::periodic::{self, Rhythm};
use crate::stop::StopSignal;

/// Looks after the logs until the broker stops. A log finds out by itself what is due; how often it is asked follows
/// from the intervals set. Logs that are to be on disk after some time are asked more often.
pub(crate) async fn run(broker: Arc<Broker>, stop: StopSignal) {
    let settings = broker.settings();
    let thorough_every =
        Duration::from_millis(settings.retention_check_ms.min(settings.cleaner_backoff_ms.max(1)));
    let every = Duration::from_millis(settings.flush_check_ms).min(thorough_every);
    let is_stopped = stop.clone();
    periodic::run("maintenance", Rhythm { every, thorough_every }, stop, move |all| {
        let logs = broker.catalog().logs().into_iter();
        maintain(logs.filter(|log| all || log.config().flush_ms != i64::MAX), &is_stopped);
    })
    .await;
}

/// One round; one log's fault does not keep the others waiting.
fn maintain(logs: impl Iterator<Item = Arc<Log>>, stop: &StopSignal) {
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
