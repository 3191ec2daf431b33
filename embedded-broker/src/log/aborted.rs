//! Which transactions were aborted, per segment: the list a read_committed consumer needs to drop their records.
//!
//! The entry of a transaction lies in the segment of its marker, in Apache Kafka's `.txnindex` format: version i16 = 0,
//! producer id i64, first offset i64, last offset i64, last stable offset i64. Aborts are rare, so the entries of all
//! segments are in memory; the file is written when the segment is closed, like the other indexes, and there is none for
//! a segment without aborts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::LogError;
use super::disk::Disk;

/// Suffix of the index file.
pub(super) const EXTENSION: &str = "txnindex";
const VERSION: i16 = 0;
const ENTRY: usize = 34;

/// An aborted transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTxn {
    pub(crate) producer_id: i64,
    /// Its first record.
    pub(crate) first_offset: i64,
    /// Its marker.
    pub(crate) last_offset: i64,
    /// The last stable offset when the marker was written: every transaction that began before it had ended.
    pub(crate) stable_after: i64,
}

impl AbortedTxn {
    fn encode(&self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        out[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.stable_after];
        for (place, field) in out[2..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<AbortedTxn> {
        let (version, rest) = bytes.split_first_chunk()?;
        if i16::from_be_bytes(*version) != VERSION {
            return None;
        }
        let mut fields = rest.as_chunks::<8>().0.iter().map(|field| i64::from_be_bytes(*field));
        Some(AbortedTxn {
            producer_id: fields.next()?,
            first_offset: fields.next()?,
            last_offset: fields.next()?,
            stable_after: fields.next()?,
        })
    }
}

/// The aborted transactions whose markers lie in one segment, in the markers' order.
#[derive(Debug)]
pub(super) struct AbortedIndex {
    path: PathBuf,
    entries: Vec<AbortedTxn>,
    /// How many of them are in the file.
    written: usize,
    /// False after a crash until the markers have been read again.
    pub(super) known: bool,
}

impl AbortedIndex {
    /// For a new segment whose log file is `log`.
    pub(super) fn empty(log: &Path) -> Self {
        AbortedIndex { path: log.with_extension(EXTENSION), entries: Vec::new(), written: 0, known: true }
    }

    /// The index on disk; `None` if it is damaged and has to be rebuilt.
    pub(super) fn open(log: &Path) -> Result<Option<Self>, LogError> {
        let mut index = AbortedIndex::empty(log);
        let bytes = match fs::read(&index.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(index)),
            Err(error) => return Err(LogError::io("read", &index.path)(error)),
        };
        let entries: Option<Vec<_>> = bytes.chunks(ENTRY).map(AbortedTxn::decode).collect();
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else { return Ok(None) };
        (index.written, index.entries) = (entries.len(), entries);
        Ok(Some(index))
    }

    pub(super) fn push(&mut self, aborted: AbortedTxn) {
        self.entries.push(aborted);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds to `out` what began before `upper` and ended at or after `from`. True when no later segment can have more.
    pub(super) fn between(&self, from: i64, upper: i64, out: &mut Vec<AbortedTxn>) -> bool {
        let first = self.entries.partition_point(|entry| entry.last_offset < from);
        for entry in self.entries.get(first..).unwrap_or(&[]) {
            if entry.first_offset < upper {
                out.push(*entry);
            }
            if entry.stable_after >= upper {
                return true;
            }
        }
        false
    }

    /// Writes what is not in the file yet, durably: no later check would notice that entries are missing.
    pub(super) fn write(&mut self, disk: &Disk) -> Result<(), LogError> {
        if self.written == self.entries.len() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.entries.iter().flat_map(AbortedTxn::encode).collect();
        let file = disk.create_empty(&self.path)?;
        disk.write_at(&file, &self.path, &bytes, 0)?;
        disk.sync(&file, &self.path)?;
        self.written = self.entries.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(first_offset: i64, last_offset: i64, stable_after: i64) -> AbortedTxn {
        AbortedTxn { producer_id: first_offset, first_offset, last_offset, stable_after }
    }

    #[test]
    fn entries_survive_the_file_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("00000000000000000000.log");
        let mut index = AbortedIndex::empty(&log);
        index.write(&Disk::default()).unwrap();
        assert!(!log.with_extension(EXTENSION).exists(), "no file without aborts");
        index.push(aborted(3, 9, 5));
        index.push(aborted(5, 12, 13));
        index.write(&Disk::default()).unwrap();
        let again = AbortedIndex::open(&log).unwrap().unwrap();
        assert_eq!(again.entries, index.entries);
        let bytes = fs::read(log.with_extension(EXTENSION)).unwrap();
        assert_eq!(bytes.len(), 2 * ENTRY);
        for damaged in [&bytes[..ENTRY + 5], &[], &[1; ENTRY]] {
            fs::write(log.with_extension(EXTENSION), damaged).unwrap();
            assert!(AbortedIndex::open(&log).unwrap().is_none());
        }
    }

    #[test]
    fn a_range_finds_what_overlaps_it_and_says_when_nothing_more_can_come() {
        let mut index = AbortedIndex::empty(Path::new("0.log"));
        for entry in [aborted(3, 9, 5), aborted(5, 12, 10), aborted(20, 25, 26)] {
            index.push(entry);
        }
        let find = |from, upper| {
            let mut out = Vec::new();
            let complete = index.between(from, upper, &mut out);
            (out.iter().map(|entry| entry.first_offset).collect::<Vec<_>>(), complete)
        };
        assert_eq!(find(0, 4), (vec![3], true));
        assert_eq!(find(0, 6), (vec![3, 5], true));
        assert_eq!(
            find(10, 11),
            (vec![5], true),
            "an entry whose stable offset is short does not end the search"
        );
        assert_eq!(find(13, 20), (vec![], true));
        assert_eq!(find(0, 40), (vec![3, 5, 20], false));
    }
}
