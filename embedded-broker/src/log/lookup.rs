//! Finding records by timestamp, and walking all of them: the few places that decode batches.

use std::sync::Arc;

use super::batch::BatchHeader;
use super::record::records_of;
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
            let mut from = segment.position_before_time(timestamp)?;
            let candidate =
                |header: &BatchHeader| header.max_timestamp >= timestamp && header.last_offset() >= start;
            while let Some((position, header)) = segment.find(from, candidate)? {
                for record in decode(segment, position, &header)? {
                    let (offset, found) = (record.offset, record.timestamp);
                    if found >= timestamp && offset >= start && offset < end {
                        return Ok(Some((offset, found)));
                    }
                }
                from = position + header.size as u64;
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
        let (segments, _) = self.segments_and_start();
        let largest = segments.iter().map(|segment| segment.stats().largest_timestamp).max().unwrap_or(-1);
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
            let mut next = segment.locate(from)?;
            while let Some((position, header)) = next.filter(|(_, header)| header.base_offset < end) {
                for record in decode(segment, position, &header)? {
                    if record.offset >= from {
                        f(record);
                    }
                }
                next = segment.find(position + header.size as u64, |_| true)?;
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

fn decode(segment: &Segment, position: u64, header: &BatchHeader) -> Result<Vec<LogRecord>, LogError> {
    let bytes = segment.batch_bytes(position, header)?;
    records_of(header, &bytes)
        .and_then(|records| records.iter().map(|record| record.decode(header)).collect())
        .map_err(|reason| segment.corrupt(position, reason))
}
