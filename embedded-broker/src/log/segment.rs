//! One segment: a file of record batches, its indexes, and what readers need to share it with the appender.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use parking_lot::{Mutex, RwLock};

use super::LogError;
use super::aborted::{AbortedIndex, AbortedTxn};
use super::batch::{BatchHeader, HEADER_LEN};
use super::disk::Disk;
use super::index::SegmentIndex;
use super::scan::{Scanned, Scanner};

/// A segment file with its indexes.
///
/// One appender writes (under the log's writer lock); readers see bytes up to `len`, which is published only after
/// they were written. The open file keeps a deleted or replaced segment readable for whoever still holds it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    len: AtomicU64,
    index: RwLock<SegmentIndex>,
    aborted: Mutex<AbortedIndex>,
    stats: Mutex<Stats>,
    hints: Mutex<Hints>,
}

/// What the appender notes about a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stats {
    /// Broker's time when the segment was created or opened.
    pub(crate) created_ms: i64,
    /// Largest timestamp of the first batch: the segment's age is counted from it. -1 while there is none.
    pub(crate) first_timestamp: i64,
    /// Largest timestamp and the last offset of the first batch that has it. -1 while there is none.
    pub(crate) largest_timestamp: i64,
    pub(crate) largest_at: i64,
    since_index_entry: u64,
}

/// Where the last readers stopped: a consumer that goes on reading finds its place without an index lookup.
#[derive(Debug, Default)]
struct Hints {
    places: [(i64, u64); 8],
    next: usize,
}

/// Read at a time when looking for a batch from an index entry on: the default distance of entries, and a header.
const LOCATE_CHUNK: usize = 4096 + HEADER_LEN;

/// The log file of the segment that begins at `base_offset`.
pub(crate) fn log_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

impl Segment {
    /// A new, empty segment. A leftover file of the same name is emptied.
    pub(crate) fn create(
        disk: &Disk,
        dir: &Path,
        base_offset: i64,
        now_ms: i64,
    ) -> Result<Segment, LogError> {
        let path = log_path(dir, base_offset);
        let file = disk.create_empty(&path)?;
        let index = SegmentIndex::empty(base_offset, &path);
        Ok(Segment::with_index(base_offset, path, file, 0, index, now_ms))
    }

    /// A segment of `len` bytes with its indexes.
    pub(crate) fn with_index(
        base_offset: i64,
        path: PathBuf,
        file: File,
        len: u64,
        index: SegmentIndex,
        now_ms: i64,
    ) -> Segment {
        let stats = Stats {
            created_ms: now_ms,
            first_timestamp: -1,
            largest_timestamp: -1,
            largest_at: -1,
            since_index_entry: 0,
        };
        let aborted = Mutex::new(AbortedIndex::empty(&path));
        Segment {
            base_offset,
            path,
            file,
            len: AtomicU64::new(len),
            index: RwLock::new(index),
            aborted,
            stats: Mutex::new(stats),
            hints: Mutex::default(),
        }
    }

    /// Opens a segment whose indexes are on disk and trusted; `None` if they have to be rebuilt.
    pub(crate) fn open(path: &Path, base_offset: i64, now_ms: i64) -> Result<Option<Segment>, LogError> {
        let file = File::options().read(true).write(true).open(path).map_err(LogError::io("open", path))?;
        let len = file.metadata().map_err(LogError::io("read the size of", path))?.len();
        let Some(index) = SegmentIndex::open(base_offset, path, len) else { return Ok(None) };
        let Some(aborted) = AbortedIndex::open(path)? else { return Ok(None) };
        let largest = index.largest_time()?;
        let mut segment = Segment::with_index(base_offset, path.to_path_buf(), file, len, index, now_ms);
        segment.aborted = Mutex::new(aborted);
        let first = segment.first_batch()?;
        {
            let mut stats = segment.stats.lock();
            (stats.largest_timestamp, stats.largest_at) = largest.unwrap_or((-1, -1));
            stats.first_timestamp = first.map_or(-1, |header| header.max_timestamp);
        }
        Ok(Some(segment))
    }

    /// Bytes that readers may see.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn stats(&self) -> Stats {
        *self.stats.lock()
    }

    /// Largest timestamp in the segment, or the file's time of change when no record has one.
    pub(crate) fn newest_ms(&self) -> i64 {
        let largest = self.stats().largest_timestamp;
        if largest >= 0 {
            return largest;
        }
        let modified = self.file.metadata().and_then(|meta| meta.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
    }

    /// Notes a batch that was written at `position`: index entries, timestamps. Not yet visible to readers.
    pub(crate) fn note_batch(
        &self,
        header: &BatchHeader,
        position: u64,
        interval: u32,
    ) -> Result<(), LogError> {
        let mut stats = self.stats.lock();
        if position == 0 {
            stats.first_timestamp = header.max_timestamp;
        }
        // A batch that compaction emptied has a timestamp, but no record with it.
        if header.count > 0 && header.max_timestamp > stats.largest_timestamp {
            stats.largest_timestamp = header.max_timestamp;
            stats.largest_at = header.last_offset();
        }
        if stats.since_index_entry > u64::from(interval) {
            let mut index = self.index.write();
            index.push_offset(header.last_offset(), position);
            index.push_time(stats.largest_timestamp, stats.largest_at)?;
            stats.since_index_entry = 0;
        }
        stats.since_index_entry += header.size as u64;
        Ok(())
    }

    /// Lets readers see the first `len` bytes.
    pub(crate) fn publish(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// Notes a transaction whose marker, written to this segment, aborted it.
    pub(crate) fn push_aborted(&self, aborted: AbortedTxn) {
        self.aborted.lock().push(aborted);
    }

    /// Adds to `out` the aborted transactions with markers in this segment that began before `upper` and ended at or
    /// after `from`. True when later segments can't have more.
    pub(crate) fn aborted_between(&self, from: i64, upper: i64, out: &mut Vec<AbortedTxn>) -> bool {
        self.aborted.lock().between(from, upper, out)
    }

    /// Whether any marker in this segment aborted a transaction.
    pub(crate) fn has_aborted(&self) -> bool {
        !self.aborted.lock().is_empty()
    }

    /// Whether it is known which transactions the markers in this segment aborted; not so after a crash, until they
    /// have been read again.
    pub(crate) fn aborted_known(&self) -> bool {
        self.aborted.lock().known
    }

    pub(crate) fn set_aborted_known(&self, known: bool) {
        self.aborted.lock().known = known;
    }

    /// Adds the last time entry and writes the indexes; they go on in memory.
    pub(crate) fn write_indexes(&self, disk: &Disk) -> Result<(), LogError> {
        self.aborted.lock().write(disk)?;
        let stats = self.stats();
        let mut index = self.index.write();
        self.complete_times(&stats, &mut index)?;
        index.write(disk)
    }

    /// Closes the segment for appends: its indexes move to disk.
    pub(crate) fn seal(&self, disk: &Disk) -> Result<(), LogError> {
        // First: with the other two in place the segment is believed without being read.
        self.aborted.lock().write(disk)?;
        let stats = self.stats();
        let mut index = self.index.write();
        self.complete_times(&stats, &mut index)?;
        index.seal(disk)
    }

    /// Brings the indexes back to memory, to append to a reopened segment.
    pub(crate) fn reactivate(self) -> Result<Segment, LogError> {
        let Segment { base_offset, path, file, len, index, aborted, stats, hints } = self;
        let index = RwLock::new(index.into_inner().into_memory()?);
        Ok(Segment { base_offset, path, file, len, index, aborted, stats, hints })
    }

    /// A closed segment's largest timestamp is its time index's last entry, as in Apache Kafka.
    fn complete_times(&self, stats: &Stats, index: &mut SegmentIndex) -> Result<(), LogError> {
        if self.len() > 0 || stats.largest_at >= 0 {
            let at = if stats.largest_at >= 0 { stats.largest_at } else { self.base_offset };
            index.push_time(stats.largest_timestamp, at)?;
        }
        Ok(())
    }

    /// Header of the first batch, if there is one.
    pub(crate) fn first_batch(&self) -> Result<Option<BatchHeader>, LogError> {
        match Scanner::headers(&self.file, &self.path, 0, self.len(), HEADER_LEN).next()? {
            Scanned::Batch(header) => Ok(Some(header)),
            Scanned::End => Ok(None),
            Scanned::Bad(reason) => Err(self.corrupt(0, reason)),
        }
    }

    /// The first batch that ends at or after `offset`, and its position; `None` if the segment has none.
    pub(crate) fn locate(&self, offset: i64) -> Result<Option<(u64, BatchHeader)>, LogError> {
        let hint =
            self.hints.lock().places.iter().find(|(at, _)| *at == offset).map(|(_, position)| *position);
        let from = match hint.filter(|_| offset > self.base_offset) {
            Some(position) => position,
            None => self.index.read().position_before(offset)?,
        };
        // An index entry is at most this far before the batch, unless batches are larger.
        let mut scanner = Scanner::headers(&self.file, &self.path, from, self.len(), LOCATE_CHUNK);
        loop {
            let position = scanner.position;
            match scanner.next()? {
                Scanned::Batch(header) if header.last_offset() >= offset => {
                    return Ok(Some((position, header)));
                }
                Scanned::Batch(_) => {}
                Scanned::End => return Ok(None),
                Scanned::Bad(reason) => return Err(self.corrupt(position, reason)),
            }
        }
    }

    /// A byte position before which no record has this timestamp or a later one.
    pub(crate) fn position_before_time(&self, timestamp: i64) -> Result<u64, LogError> {
        let index = self.index.read();
        let offset = index.offset_before_time(timestamp)?;
        index.position_before(offset)
    }

    /// Remembers that the batch at `offset` begins at `position`.
    pub(crate) fn hint(&self, offset: i64, position: u64) {
        let mut hints = self.hints.lock();
        let next = hints.next;
        hints.places[next] = (offset, position);
        hints.next = (next + 1) % hints.places.len();
    }

    /// The error for damaged bytes in this file.
    pub(crate) fn corrupt(&self, position: u64, reason: String) -> LogError {
        LogError::Corrupt { path: self.path.clone(), position, reason }
    }
}
