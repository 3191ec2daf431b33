//! Threads whose work can wait give way to those that process records.

/// How much nicer a restore is than the tasks that run: they get four parts of a busy processor, it gets one.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 6;

/// Gives this thread, and those that it starts from now on, a smaller share of busy processors; an idle one it may use in full.
/// Only on Linux has each thread a priority of its own; elsewhere nothing happens.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}
