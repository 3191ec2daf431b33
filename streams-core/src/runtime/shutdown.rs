//! The end of an instance: threads commit and stop, the member leaves the group, clients close. Each wait is bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::instance::{TaskEntry, ThreadCommand};
use super::rebalance::GroupThread;
use super::shutdown_request;
use crate::client::GroupConsumer;

/// How long to wait for the last requests after the threads have stopped.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the global thread, which is in the middle of a batch, gets at least.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes an instance down within about `timeout`. What doesn't stop in time is left behind; its results are dropped,
/// because the group gives its tasks to other members.
pub(crate) fn shut_down(mut group: GroupThread, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    for thread in group.instance.threads.read().iter() {
        thread.mailbox.send(ThreadCommand::Stop { deadline });
    }
    group.restorers.stop();
    while !group.threads.all_ended() && Instant::now() < deadline {
        // Goes on serving the group, so that the last commits are those of a member.
        group.answer_group();
        group.drain_events();
        group.wait(Duration::from_millis(20));
    }
    if !group.threads.all_ended() {
        let held: Vec<_> = group.instance.tasks.read().values().cloned().collect();
        let alive = |entry: &&Arc<TaskEntry>| entry.running.load(Ordering::Acquire);
        group.fence(&held.iter().filter(alive).cloned().collect::<Vec<_>>());
    }
    // Whoever starts again at once needs the folders of tasks that were being restored.
    while !group.restorers.all_ended() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    group.drain_events();
    group.finish_revocation();
    if group.ask_all_to_stop {
        shutdown_request::post(&mut group);
    }
    group.instance.tasks.write().clear();
    group.instance.threads.write().clear();
    if let Some(global) = group.global.take() {
        global.stop(deadline.max(Instant::now() + STOP_TIMEOUT));
    }
    let GroupThread { consumer, instance, .. } = group;
    *instance.global.write() = None;
    // Tasks that are still open keep the folder locked themselves.
    *instance.state_dir.lock() = None;
    leave(consumer, Instant::now() + LEAVE_TIMEOUT);
}

/// Leaves the group and closes the consumer, once nobody else holds it.
fn leave(mut consumer: Arc<GroupConsumer>, deadline: Instant) {
    loop {
        match Arc::try_unwrap(consumer) {
            Ok(consumer) => {
                consumer.close(deadline.saturating_duration_since(Instant::now()));
                return;
            }
            Err(shared) if Instant::now() < deadline => {
                // The restore thread or the watch may be about to let it go.
                consumer = shared;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(shared) => {
                tracing::warn!(
                    "the consumer is still in use; the member leaves the group when its session times out or the process ends"
                );
                shared.unsubscribe();
                return;
            }
        }
    }
}
