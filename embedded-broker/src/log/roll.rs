//! Closing the active segment and starting the next one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::BatchHeader;
use super::config::LogConfig;
use super::segment::Segment;
use super::{Condition, Log, LogError, Writer};

/// The producer state just before `offset`.
pub(super) fn snapshot_path(dir: &Path, offset: i64) -> PathBuf {
    dir.join(format!("{offset:020}.snapshot"))
}

impl Log {
    /// Starts a new segment if the batches do not fit the active one: too large, too long a time, too many offsets.
    pub(super) fn roll_if_due(
        &self,
        writer: &mut Writer,
        config: &LogConfig,
        headers: &[BatchHeader],
        next_offset: i64,
        bytes: usize,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let active = &writer.active;
        if active.len() == 0 {
            return Ok(());
        }
        let stats = active.stats();
        let newest = headers.iter().map(|header| header.max_timestamp).max().unwrap_or(-1);
        // As in Apache Kafka: by the records' own timestamps when they have them, else by the broker's clock.
        let age = if stats.first_timestamp >= 0 && newest >= 0 {
            newest.saturating_sub(stats.first_timestamp)
        } else {
            now_ms.saturating_sub(stats.created_ms)
        };
        let too_large = active.len() + bytes as u64 > config.effective_segment_bytes();
        let too_old = age > config.effective_segment_ms();
        let too_many = next_offset - active.base_offset > i64::from(i32::MAX);
        if too_large || too_old || too_many { self.roll(writer, now_ms) } else { Ok(()) }
    }

    /// Closes the active segment, which must not be empty, and starts a new one at the end offset. After an error
    /// the active segment goes on as before.
    pub(super) fn roll(&self, writer: &mut Writer, now_ms: i64) -> Result<(), LogError> {
        let next = Segment::create(&self.disk, &self.dir, writer.next_offset, now_ms)?;
        if let Err(error) = writer.active.seal(&self.disk) {
            // The active segment will grow beyond the new one's base offset, so that file must not stay.
            if let Err(error) = self.disk.remove(&next.path) {
                tracing::error!(partition = %self.name, %error, "log goes offline: a failed roll could not be undone");
                writer.condition = Condition::Offline;
            }
            return Err(error);
        }
        let next = Arc::new(next);
        writer.active = Arc::clone(&next);
        writer.producers.rolled(writer.next_offset);
        self.change_segments(|segments| segments.push(next));
        // Only speeds up recovery, which otherwise starts from an older snapshot.
        if let Err(error) = self.write_snapshot(writer) {
            tracing::warn!(partition = %self.name, %error, "no producer snapshot written");
        }
        Ok(())
    }

    /// Writes the producer state as of the end offset. Of the older ones the one before is kept, and the newest before
    /// the first segment that recovery would read: aborted transactions are found again from there.
    pub(super) fn write_snapshot(&self, writer: &mut Writer) -> Result<(), LogError> {
        self.snapshot(writer, false)
    }

    /// Makes sure that a durable snapshot covers everything before `offset`, which compaction is about to change: the
    /// state could not be had from what it leaves and an older snapshot.
    pub(super) fn secure_snapshot(&self, writer: &mut Writer, offset: i64) -> Result<(), LogError> {
        if writer.secured >= offset {
            return Ok(());
        }
        self.snapshot(writer, true)?;
        writer.secured = writer.next_offset;
        Ok(())
    }

    fn snapshot(&self, writer: &mut Writer, durable: bool) -> Result<(), LogError> {
        let path = snapshot_path(&self.dir, writer.next_offset);
        self.disk.replace(&path, &writer.producers.encode(), durable)?;
        if writer.snapshots.back() != Some(&writer.next_offset) {
            writer.snapshots.push_back(writer.next_offset);
        }
        let recovery_point = self.checkpoint.lock().recovery_point;
        let (segments, _) = self.segments_and_start();
        let reread = segments.iter().rev().find(|segment| segment.base_offset <= recovery_point);
        let needed_from = reread.map_or(0, |segment| segment.base_offset);
        let needed = writer.snapshots.iter().rev().find(|offset| **offset <= needed_from).copied();
        let newest = writer.snapshots.len().saturating_sub(2);
        for at in (0..newest).rev() {
            if writer.snapshots.get(at).copied() != needed
                && let Some(old) = writer.snapshots.remove(at)
            {
                self.disk.remove(&snapshot_path(&self.dir, old))?;
            }
        }
        Ok(())
    }
}
