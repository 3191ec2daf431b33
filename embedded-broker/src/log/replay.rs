//! Opening a log, last step: producers and transactions, out of the newest snapshot and what was written after it.

use std::collections::VecDeque;
use std::fs;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::LogError;
use super::marker;
use super::producer_state::Producers;
use super::recover::Recovery;
use super::roll::snapshot_path;
use super::segment::Segment;

impl Recovery<'_> {
    /// The producers at `next_offset`, and the usable snapshots. Fills in which transactions were aborted in segments
    /// whose index was lost.
    pub(super) fn producers(
        &self,
        on_disk: &VecDeque<i64>,
        segments: &[Arc<Segment>],
        next_offset: i64,
        compacted_to: i64,
    ) -> Result<(Producers, VecDeque<i64>), LogError> {
        // A marker between an older snapshot and what is left of the log may have been deleted or compacted away, and a
        // transaction would seem open for ever. Without a snapshot, what is left is enough: a marker never goes before
        // its records.
        let first = segments.first().map_or(0, |segment| segment.base_offset);
        let snapshots = self.usable_snapshots(on_disk, first.max(compacted_to)..=next_offset)?;
        // A marker tells who aborted, the state before it since when: the state is needed from before the first segment
        // whose aborted transactions are to be found again.
        let unknown = segments.iter().find(|segment| !segment.aborted_known());
        let latest = unknown.map_or(next_offset, |segment| segment.base_offset);
        let (mut producers, mut from) = (Producers::default(), 0);
        for &offset in snapshots.iter().rev().filter(|offset| **offset <= latest) {
            let bytes = fs::read(snapshot_path(self.dir, offset)).ok();
            if let Some(found) = bytes.and_then(|bytes| Producers::decode(&bytes)) {
                (producers, from) = (found, offset);
                break;
            }
        }
        let first = segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        for segment in segments.get(first..).unwrap_or(&[]) {
            if from >= next_offset {
                break;
            }
            if segment.base_offset >= from {
                producers.rolled(segment.base_offset);
            }
            self.replay(segment, from, &mut producers)?;
        }
        producers.expire(self.now_ms.saturating_sub(self.config.producer_id_expiration_ms));
        Ok((producers, snapshots))
    }

    /// Removes snapshots that are too old, later than the end (the tail was cut), or damaged.
    fn usable_snapshots(
        &self,
        on_disk: &VecDeque<i64>,
        range: RangeInclusive<i64>,
    ) -> Result<VecDeque<i64>, LogError> {
        let mut usable = VecDeque::new();
        for &offset in on_disk {
            let path = snapshot_path(self.dir, offset);
            let bytes = if range.contains(&offset) { fs::read(&path).ok() } else { None };
            if bytes.and_then(|bytes| Producers::decode(&bytes)).is_some() {
                usable.push_back(offset);
            } else {
                self.disk.remove(&path)?;
            }
        }
        Ok(usable)
    }

    fn replay(&self, segment: &Segment, from: i64, producers: &mut Producers) -> Result<(), LogError> {
        let known = segment.aborted_known();
        let mut walk = segment.walk(from)?;
        while let Some(batch) = walk.next()? {
            let commits = match batch.header.is_control() {
                true => marker::commits_of(&walk.raw_records(&batch)?),
                false => None,
            };
            // When it came is not known; counting from now on forgets no producer too early.
            if let Some(aborted) = producers.note(&batch.header, commits, self.now_ms)
                && !known
            {
                segment.push_aborted(aborted);
            }
        }
        segment.set_aborted_known(true);
        Ok(())
    }
}
