//! Where a test lets the process die: between two steps of a commit.
//!
//! `KSTREAMS_DIE_AT=acknowledged:3` aborts the process when it has done that step of a commit the third time, without a
//! destructor run or a file flushed, as SIGKILL would. Only with debug assertions; other builds hold nothing of it.

/// The moments of a commit, named after what has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The caches' last values went downstream and to the changelog.
    CachesFlushed,
    /// The brokers have every output and changelog record.
    Acknowledged,
    /// At-most-once: the offsets behind what was read are committed, none of it is processed.
    Ahead,
    /// The group's coordinator has the offsets in a transaction that is not committed yet.
    OffsetsSent,
    /// The group has the offsets.
    OffsetsCommitted,
    /// The updates of one of the tasks are in its RocksDB.
    TaskWritten,
    /// Those of all tasks.
    Done,
}

#[cfg(not(debug_assertions))]
pub(crate) fn reached(_: Moment) {}

/// Dies if this is the moment that was asked for.
#[cfg(debug_assertions)]
pub(crate) fn reached(moment: Moment) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static ASKED: OnceLock<Option<(Moment, AtomicI64)>> = OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let asked = std::env::var("KSTREAMS_DIE_AT").ok()?;
        let (name, times) = asked.split_once(':')?;
        Some((Moment::named(name)?, AtomicI64::new(times.parse().ok()?)))
    });
    if let Some((asked, left)) = asked
        && *asked == moment
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
impl Moment {
    fn named(name: &str) -> Option<Moment> {
        match name {
            "caches-flushed" => Some(Moment::CachesFlushed),
            "acknowledged" => Some(Moment::Acknowledged),
            "ahead" => Some(Moment::Ahead),
            "offsets-sent" => Some(Moment::OffsetsSent),
            "offsets-committed" => Some(Moment::OffsetsCommitted),
            "task-written" => Some(Moment::TaskWritten),
            "done" => Some(Moment::Done),
            _ => None,
        }
    }
}
