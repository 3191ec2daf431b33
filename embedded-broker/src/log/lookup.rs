//! Finding records by timestamp, and walking all of them: the few places that decode batches.

use std::sync::Arc;

use super::batch::BatchHeader;
use super::segment::Segment;
use super::{Log, LogError, LogRecord};

impl Log {
    /// The first record whose timestamp is `timestamp` (ms) or later: its offset and timestamp. `None` if there is
    /// none.
    ///
    /// # Errors
    /// `LogError::Io` and `LogError::Corrupt` when a segment can't be read.
    pub(crate) fn offset_for_time(&self, timestamp: i64) -> Result<Option<(i64, i64)>, LogError> {
        let (segments, start) = self.segments_and_start();
        let end = self.end_offset();
        for segment in segments.iter() {
            if segment.stats().largest_timestamp < timestamp {
                continue;
            }
            let mut walk = segment.walk_from_byte(segment.position_before_time(timestamp)?);
            let candidate =
                |header: &BatchHeader| header.max_timestamp >= timestamp && header.last_offset() >= start;
            while let Some(batch) = walk.find(candidate)? {
                for record in walk.raw_records(&batch)? {
                    let (offset, found) = (record.offset(&batch.header), record.timestamp(&batch.header));
                    if found >= timestamp && offset >= start && offset < end {
                        return Ok(Some((offset, found)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of the log: its offset and timestamp. `None` if no record has a
    /// timestamp.
    ///
    /// # Errors
    /// `LogError::Io` and `LogError::Corrupt` when a segment can't be read.
    pub(crate) fn max_timestamp(&self) -> Result<Option<(i64, i64)>, LogError> {
        let (segments, start) = self.segments_and_start();
        let mut largest = -1;
        for segment in segments.iter() {
            let of_segment = match segment.base_offset < start {
                true => largest_from(segment, start)?,
                false => segment.stats().largest_timestamp,
            };
            largest = largest.max(of_segment);
        }
        if largest < 0 { Ok(None) } else { self.offset_for_time(largest) }
    }

    /// Hands every record from offset `from` (or the log start) on to `f`, decoded: for logs the broker itself reads.
    ///
    /// # Errors
    /// `LogError::Io` and `LogError::Corrupt` when a segment can't be read; records before it were handed on.
    pub(crate) fn for_each_record(&self, from: i64, f: &mut dyn FnMut(LogRecord)) -> Result<(), LogError> {
        let end = self.end_offset();
        let (segments, start) = self.segments_and_start();
        let from = from.max(start);
        for segment in covering(&segments, from) {
            let mut walk = segment.walk(from)?;
            while let Some(batch) = walk.next()?.filter(|batch| batch.header.base_offset < end) {
                walk.records(&batch)?.into_iter().filter(|record| record.offset >= from).for_each(&mut *f);
            }
        }
        Ok(())
    }
}

/// The segments from the one that contains `offset` on.
fn covering(segments: &[Arc<Segment>], offset: i64) -> &[Arc<Segment>] {
    let first = segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
    segments.get(first..).unwrap_or(&[])
}

/// The largest timestamp from offset `start` on, for a segment whose front part is deleted.
fn largest_from(segment: &Segment, start: i64) -> Result<i64, LogError> {
    let mut largest = -1;
    let mut walk = segment.walk(start)?;
    while let Some(batch) = walk.next()? {
        let header = &batch.header;
        if header.base_offset >= start {
            largest = largest.max(if header.count > 0 { header.max_timestamp } else { -1 });
        } else {
            let left = walk.raw_records(&batch)?;
            let times = left
                .iter()
                .filter(|record| record.offset(header) >= start)
                .map(|record| record.timestamp(header));
            largest = largest.max(times.max().unwrap_or(-1));
        }
    }
    Ok(largest)
}
