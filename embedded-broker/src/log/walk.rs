//! Going through the batches of a segment that is known to be good, in order.

use bytes::Bytes;

use super::LogError;
use super::batch::BatchHeader;
use super::record::{LogRecord, RawRecord, records_of};
use super::scan::{Scanned, Scanner};
use super::segment::Segment;

/// Enough for many small batches, so that a walk is few reads.
const CHUNK: usize = 64 * 1024;

/// The batches of a segment from some point on.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    segment: &'a Segment,
    scanner: Scanner<'a>,
}

/// A batch and where it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Segment {
    /// The batches from byte `position` on, which must be a batch's first.
    pub(crate) fn walk_from_byte(&self, position: u64) -> Walk<'_> {
        let scanner = Scanner::headers(&self.file, &self.path, position, self.len(), CHUNK);
        Walk { segment: self, scanner }
    }

    /// The batches that end at or after `offset`.
    pub(crate) fn walk(&self, offset: i64) -> Result<Walk<'_>, LogError> {
        let position = self.locate(offset)?.map_or_else(|| self.len(), |(position, _)| position);
        Ok(self.walk_from_byte(position))
    }
}

impl Walk<'_> {
    /// The next batch.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, LogError> {
        let position = self.scanner.position;
        match self.scanner.next()? {
            Scanned::Batch(header) => Ok(Some(Found { position, header })),
            Scanned::End => Ok(None),
            Scanned::Bad(reason) => Err(self.segment.corrupt(position, reason)),
        }
    }

    /// The next batch that `wanted` accepts.
    pub(crate) fn find(&mut self, wanted: impl Fn(&BatchHeader) -> bool) -> Result<Option<Found>, LogError> {
        while let Some(found) = self.next()? {
            if wanted(&found.header) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All bytes of the batch.
    pub(crate) fn bytes(&mut self, batch: &Found) -> Result<Bytes, LogError> {
        self.scanner.whole(batch.position, batch.header.size)
    }

    /// The batch's records as they lie in it.
    pub(crate) fn raw_records(&mut self, batch: &Found) -> Result<Vec<RawRecord>, LogError> {
        let bytes = self.bytes(batch)?;
        records_of(&batch.header, &bytes).map_err(|reason| self.segment.corrupt(batch.position, reason))
    }

    /// The batch's records with offsets and timestamps.
    pub(crate) fn records(&mut self, batch: &Found) -> Result<Vec<LogRecord>, LogError> {
        let records = self.raw_records(batch)?;
        let decoded = records.iter().map(|record| record.decode(&batch.header)).collect::<Result<_, _>>();
        decoded.map_err(|reason| self.segment.corrupt(batch.position, reason))
    }
}
