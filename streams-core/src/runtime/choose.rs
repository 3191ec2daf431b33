//! Choose: whether a task may take its next record, or has to wait for one of its inputs first.

use super::task_bundle::TaskBundle;
use crate::error::StreamsError;

/// Processes up to `max` records of one task; how many it were.
///
/// # Errors
/// As [`Task::process`](crate::task::Task::process).
pub(crate) fn process(
    bundle: &mut TaskBundle,
    max: usize,
    idle_ms: i64,
    now_ms: i64,
) -> Result<usize, StreamsError> {
    if bundle.inputs.len() == 1 {
        return bundle.task.process(max);
    }
    let mut count = 0;
    // With several inputs each record can empty one, and then the next may have to wait.
    while count < max && bundle.task.may_take_another() && is_processable(bundle, idle_ms, now_ms) {
        if !bundle.task.process_one()? {
            break;
        }
        bundle.task.punctuate_stream_time()?;
        count += 1;
    }
    Ok(count)
}

/// Whether the task may process now, by `max.task.idle.ms` (KIP-353, KIP-695; `PartitionGroup.readyToProcess`):
///
/// - every input has a record: yes;
/// - negative: whatever is there;
/// - else an empty input that isn't caught up is waited for: its next record may be older than those at hand;
/// - positive: a caught-up empty input is waited for that long, too.
fn is_processable(bundle: &mut TaskBundle, max_task_idle_ms: i64, now_ms: i64) -> bool {
    let task = &bundle.task;
    if bundle.inputs.len() == 1 || max_task_idle_ms < 0 {
        return task.any_buffered();
    }
    if task.all_buffered() {
        for input in &mut bundle.inputs {
            input.idle_since_ms = None;
        }
        return true;
    }
    if !task.any_buffered() {
        return false;
    }
    let mut ready = true;
    for (index, input) in bundle.inputs.iter_mut().enumerate() {
        if bundle.task.buffered(index) > 0 {
            input.idle_since_ms = None;
        } else if !input.is_caught_up() {
            ready = false;
        } else if max_task_idle_ms > 0 {
            let since = *input.idle_since_ms.get_or_insert(now_ms);
            ready &= now_ms.saturating_sub(since) >= max_task_idle_ms;
        }
    }
    if ready {
        bundle.metrics.enforced_processing();
    }
    ready
}
