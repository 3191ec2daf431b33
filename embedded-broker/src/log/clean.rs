//! Compaction: closed segments are rewritten with only the last value of each key, offsets unchanged.
//!
//! One round reads the keys of the dirty part (what came since the last round), then rewrites the log from its start
//! to the end of that part, group by group, in offset order: superseded records go before the record that superseded
//! them can, so a crash in between never brings an old value back. The active segment is never touched.
//!
//! Nothing at or behind the last stable offset is touched: whether its transactions commit is not known yet. That is the
//! offset when the active segment began, so that no marker counts which a power cut could take away.
//!
//! Tombstones stay for `delete.retention.ms` after the first round that saw them, so that consumers have time to read
//! them; the time is written into the batch (KIP-534).

mod key_map;
mod rewrite;
mod swap;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::key_map::KeyMap;
use self::rewrite::{Rewriter, Rewritten};
pub(super) use self::swap::{Swap, finish_swaps};
use self::transactions::CleanedTransactions;
use super::config::LogConfig;
use super::marker;
use super::retain::Chores;
use super::segment::Segment;
use super::transactions::aborted_between;
use super::{Log, LogError};

/// What one compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Compaction {
    /// Everything before this offset is compacted now.
    pub(crate) compacted_to: i64,
    /// Records that were dropped.
    pub(crate) records_dropped: u64,
    /// Bytes of the rewritten segments before.
    pub(crate) bytes_before: u64,
    /// Bytes of the segments that took their place.
    pub(crate) bytes_after: u64,
}

/// Which part of the log can be compacted.
struct Cleanable {
    segments: Arc<Vec<Arc<Segment>>>,
    first_dirty: i64,
    /// The first segment that is too young, or the active one.
    first_uncleanable: usize,
}

impl Cleanable {
    fn dirty_from(&self) -> usize {
        let after = self.segments.partition_point(|segment| segment.base_offset <= self.first_dirty);
        after.saturating_sub(1).min(self.first_uncleanable)
    }

    fn clean(&self) -> &[Arc<Segment>] {
        &self.segments[..self.dirty_from()]
    }

    fn dirty(&self) -> &[Arc<Segment>] {
        &self.segments[self.dirty_from()..self.first_uncleanable]
    }

    fn is_due(&self, config: &LogConfig, now_ms: i64) -> bool {
        let size =
            |segments: &[Arc<Segment>]| segments.iter().map(|segment| segment.len()).sum::<u64>() as f64;
        let (clean, dirty) = (size(self.clean()), size(self.dirty()));
        if dirty == 0.0 {
            return false;
        }
        let waits_since =
            self.dirty().iter().map(|segment| segment.stats().first_timestamp).find(|time| *time >= 0);
        dirty / (clean + dirty) > config.min_cleanable_dirty_ratio
            || waits_since.is_some_and(|time| now_ms.saturating_sub(time) > config.max_compaction_lag_ms)
    }
}

impl Log {
    /// Compacts what can be compacted whether or not it is worth it yet. `None` when nothing is dirty.
    #[cfg(test)]
    pub(crate) fn compact_now(&self) -> Result<Option<Compaction>, LogError> {
        let (mut chores, config) = (self.maintenance.lock(), self.config());
        if !config.compact {
            return Ok(None);
        }
        self.finish_chores(&mut chores)?;
        self.compact(&mut chores, &config, self.clock.now_ms(), |cleanable| !cleanable.dirty().is_empty())
    }

    /// Compacts the log if enough of it is dirty, or for too long.
    pub(super) fn compact_if_due(
        &self,
        chores: &mut Chores,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Option<Compaction>, LogError> {
        if !config.compact {
            return Ok(None);
        }
        self.compact(chores, config, now_ms, |cleanable| cleanable.is_due(config, now_ms))
    }

    fn compact(
        &self,
        chores: &mut Chores,
        config: &LogConfig,
        now_ms: i64,
        is_due: impl Fn(&Cleanable) -> bool,
    ) -> Result<Option<Compaction>, LogError> {
        let cleanable = self.cleanable(config, now_ms);
        if !is_due(&cleanable) {
            return Ok(None);
        }
        let mut keys = KeyMap::default();
        let compacted_to = self.read_keys(&cleanable, &mut keys)?;
        let (last_of_producers, log_end) = {
            let mut writer = self.writer.lock();
            self.check_online(&writer)?;
            self.secure_snapshot(&mut writer, compacted_to)?;
            (writer.producers.last_written(), writer.next_offset)
        };
        let transactions = CleanedTransactions::new(aborted_between(&cleanable.segments, 0, i64::MAX));
        let round_end = cleanable.segments[cleanable.first_uncleanable].base_offset;
        let mut rewriter = Rewriter {
            keys,
            compacted_to,
            last_of_producers,
            transactions,
            log_end,
            round_end,
            now_ms,
            config,
        };
        let mut done = Compaction { compacted_to, ..Compaction::default() };
        let end = cleanable.segments.partition_point(|segment| segment.base_offset < compacted_to);
        let mut from = 0;
        while from < end {
            let group = group_len(&cleanable.segments[from..end], config);
            let next_base = cleanable.segments[from + group].base_offset;
            self.compact_group(
                chores,
                &mut rewriter,
                &cleanable.segments[from..from + group],
                next_base,
                &mut done,
            )?;
            from += group;
        }
        self.change_checkpoint(false, |checkpoint| checkpoint.compacted_to = compacted_to)?;
        tracing::info!(
            partition = %self.name, compacted_to, records_dropped = done.records_dropped,
            bytes_before = done.bytes_before, bytes_after = done.bytes_after, "log compacted"
        );
        Ok(Some(done))
    }

    fn cleanable(&self, config: &LogConfig, now_ms: i64) -> Cleanable {
        let (segments, log_start) = self.segments_and_start();
        let active = segments.len().saturating_sub(1);
        let compacted_to = self.checkpoint.lock().compacted_to;
        // The log may have been cut behind the checkpoint, or emptied and begun anew.
        let known = compacted_to <= segments[active].base_offset;
        let first_dirty = if known { compacted_to.max(log_start) } else { log_start };
        let youngest_allowed = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let first_dirty_segment =
            segments.partition_point(|segment| segment.base_offset <= first_dirty).saturating_sub(1);
        let too_young = |segment: &Arc<Segment>| {
            config.min_compaction_lag_ms > 0 && segment.stats().largest_timestamp > youngest_allowed
        };
        let stable = self.writer.lock().producers.stable_at_roll();
        let ends_stable = |at: usize| segments.get(at + 1).is_some_and(|next| next.base_offset <= stable);
        let old_enough = (first_dirty_segment..active)
            .take_while(|at| !too_young(&segments[*at]) && ends_stable(*at))
            .count();
        let first_uncleanable = first_dirty_segment + old_enough;
        Cleanable { segments, first_dirty, first_uncleanable }
    }

    /// Notes the last offset of each key of the dirty part; returns the offset up to which there was room for all
    /// keys.
    fn read_keys(&self, cleanable: &Cleanable, keys: &mut KeyMap) -> Result<i64, LogError> {
        let from = cleanable.first_dirty;
        let mut transactions = CleanedTransactions::new(aborted_between(&cleanable.segments, from, i64::MAX));
        for segment in cleanable.dirty() {
            let mut walk = segment.walk(from)?;
            while let Some(batch) = walk.next()? {
                self.check_running()?;
                if batch.header.is_control() {
                    let commits = marker::commits_of(&walk.raw_records(&batch)?);
                    transactions.is_marker_of_nothing(&batch.header, commits);
                    continue;
                }
                if transactions.is_aborted(&batch.header) {
                    continue;
                }
                let records = walk.raw_records(&batch)?;
                if keys.len() > 0 && keys.len() + records.len() > KeyMap::LIMIT {
                    return Ok(batch.header.base_offset);
                }
                for record in &records {
                    if let Some(key) = &record.key {
                        keys.put(key, record.offset(&batch.header));
                    }
                }
            }
        }
        Ok(cleanable.segments[cleanable.first_uncleanable].base_offset)
    }

    /// A compaction may take long; who stops the broker or deletes the topic need not wait for it.
    pub(super) fn check_running(&self) -> Result<(), LogError> {
        match self.stopping.load(Ordering::Relaxed) {
            true => Err(LogError::Closed { partition: self.name.clone() }),
            false => Ok(()),
        }
    }

    /// Rewrites some neighbouring segments into one.
    fn compact_group(
        &self,
        chores: &mut Chores,
        rewriter: &mut Rewriter<'_>,
        group: &[Arc<Segment>],
        next_base: i64,
        done: &mut Compaction,
    ) -> Result<(), LogError> {
        let before: u64 = group.iter().map(|segment| segment.len()).sum();
        let Some(base) = group.first().map(|segment| segment.base_offset) else { return Ok(()) };
        let cleaned = self.dir.join(format!("{base:020}.cleaned"));
        let rewritten = self.check_running().and_then(|()| rewriter.rewrite(self, group, &cleaned));
        let Rewritten { segment, records_dropped, changed } = match rewritten {
            Ok(rewritten) => rewritten,
            Err(error) => {
                // Frees the space when the disk is full; a leftover is deleted at the next start.
                let _ = self.disk.remove(&cleaned);
                return Err(error);
            }
        };
        done.bytes_before += before;
        done.records_dropped += records_dropped;
        if !changed && group.len() == 1 {
            done.bytes_after += before;
            return self.disk.remove(&cleaned);
        }
        done.bytes_after += segment.len();
        self.swap_in(chores, segment, &cleaned, group, next_base)
    }
}

/// How many segments at the front become one: small ones are merged as long as the result surely fits.
fn group_len(segments: &[Arc<Segment>], config: &LogConfig) -> usize {
    let Some(first) = segments.first() else { return 0 };
    let (mut size, mut count) = (first.len(), 1);
    for segment in &segments[1..] {
        size += segment.len();
        let end_of_range = segment.base_offset.saturating_add(i64::from(i32::MAX) / 2);
        let fits_offsets = end_of_range - first.base_offset <= i64::from(i32::MAX);
        // A batch grows by some bytes when its tombstones get their time.
        if size > config.effective_segment_bytes() * 9 / 10 || !fits_offsets {
            break;
        }
        count += 1;
    }
    count
}
