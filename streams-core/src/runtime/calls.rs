//! Asynchronous steps, as a processing thread sees them: what is to be done before its tasks can be committed.

use std::time::Instant;

use super::commit::Committer;
use super::task_bundle::TaskBundle;
use crate::error::StreamsError;

/// Whether these tasks hold nothing in asynchronous steps any more. Asks each one: those that do are brought on.
pub(super) fn drain(bundles: &mut [&mut TaskBundle]) -> Result<bool, StreamsError> {
    let mut drained = true;
    for bundle in bundles {
        drained &= bundle.task.drain()?;
    }
    Ok(drained)
}

/// Waits for these tasks' asynchronous steps, and leaves a quarter of the time that the commit has for the commit itself.
/// `false`: they were not done by then.
pub(super) fn drain_until(
    committer: &Committer<'_>,
    bundles: &mut [&mut TaskBundle],
) -> Result<bool, StreamsError> {
    let left = committer.deadline.saturating_duration_since(Instant::now());
    let until = Instant::now() + left - left / 4;
    while !drain(bundles)? {
        if Instant::now() >= until {
            return Ok(false);
        }
        committer.heartbeat.beat();
        // All tasks of a thread wake the same waker.
        if let Some(bundle) = bundles.first() {
            bundle.task.wait_for_calls();
        }
    }
    Ok(true)
}
