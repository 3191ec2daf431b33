//! The sparse indexes of a segment: offset to byte position, and timestamp to offset, in Kafka's file format.
//!
//! While a segment is active its indexes live in memory, so an append stays one write; they are written when the
//! segment is closed. A closed segment's indexes stay on disk and are searched there: a binary search reads some
//! twenty entries out of the page cache.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogError;
use super::disk::Disk;

/// Fixed-size entries, sorted, in memory or in a file.
#[derive(Debug)]
struct Entries<const N: usize> {
    path: PathBuf,
    place: Place<N>,
}

#[derive(Debug)]
enum Place<const N: usize> {
    Memory(Vec<[u8; N]>),
    File(File, usize),
}

impl<const N: usize> Entries<N> {
    fn in_memory(path: PathBuf) -> Self {
        Entries { path, place: Place::Memory(Vec::new()) }
    }

    /// `None` when the file is missing or is not made of whole entries: it has to be rebuilt.
    fn open(path: PathBuf) -> Option<Self> {
        let file = File::open(&path).ok()?;
        let len = usize::try_from(file.metadata().ok()?.len()).ok()?;
        (len % N == 0).then(|| Entries { path, place: Place::File(file, len / N) })
    }

    fn len(&self) -> usize {
        match &self.place {
            Place::Memory(entries) => entries.len(),
            Place::File(_, len) => *len,
        }
    }

    fn get(&self, at: usize) -> Result<[u8; N], LogError> {
        match &self.place {
            Place::Memory(entries) => Ok(entries.get(at).copied().unwrap_or([0; N])),
            Place::File(file, _) => {
                let mut entry = [0; N];
                file.read_exact_at(&mut entry, (at * N) as u64).map_err(LogError::io("read", &self.path))?;
                Ok(entry)
            }
        }
    }

    fn last(&self) -> Result<Option<[u8; N]>, LogError> {
        self.len().checked_sub(1).map(|at| self.get(at)).transpose()
    }

    /// The last entry for which `before` holds; it holds for a prefix of the entries.
    fn last_where(&self, before: impl Fn(&[u8; N]) -> bool) -> Result<Option<[u8; N]>, LogError> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.get(middle)?) { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1).map(|at| self.get(at)).transpose()
    }

    fn push(&mut self, entry: [u8; N]) {
        match &mut self.place {
            Place::Memory(entries) => entries.push(entry),
            // Only the active segment grows, and its index is in memory.
            Place::File(..) => debug_assert!(false, "push to the index of a closed segment"),
        }
    }

    fn into_memory(self) -> Result<Self, LogError> {
        let mut entries = Vec::with_capacity(self.len());
        for at in 0..self.len() {
            entries.push(self.get(at)?);
        }
        Ok(Entries { path: self.path, place: Place::Memory(entries) })
    }

    fn write(&self, disk: &Disk) -> Result<Option<File>, LogError> {
        let Place::Memory(entries) = &self.place else { return Ok(None) };
        let file = disk.create_empty(&self.path)?;
        disk.write_at(&file, &self.path, entries.as_flattened(), 0)?;
        Ok(Some(file))
    }

    fn leave_to_disk(&mut self, file: Option<File>) {
        if let Some(file) = file {
            self.place = Place::File(file, self.len());
        }
    }
}

/// Offset index and time index of one segment. Offsets in them are relative to the segment's base offset.
#[derive(Debug)]
pub(crate) struct SegmentIndex {
    base_offset: i64,
    /// relative offset u32, byte position u32: a batch's last offset and where it begins.
    offsets: Entries<8>,
    /// timestamp i64, relative offset u32: the largest timestamp so far, and the last offset of the batch that has it.
    times: Entries<12>,
}

fn offset_entry(entry: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *entry;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

fn time_entry(entry: &[u8; 12]) -> (i64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

impl SegmentIndex {
    /// Empty indexes for the segment whose log file is `log`, growing in memory.
    pub(crate) fn empty(base_offset: i64, log: &Path) -> Self {
        SegmentIndex {
            base_offset,
            offsets: Entries::in_memory(log.with_extension("index")),
            times: Entries::in_memory(log.with_extension("timeindex")),
        }
    }

    /// The indexes on disk, or `None` when they are missing or cannot belong to a log file of `log_len` bytes.
    pub(crate) fn open(base_offset: i64, log: &Path, log_len: u64) -> Option<Self> {
        let offsets = Entries::open(log.with_extension("index"))?;
        let times = Entries::open(log.with_extension("timeindex"))?;
        let index = SegmentIndex { base_offset, offsets, times };
        let last = index.offsets.last().ok()?;
        let fits = last.is_none_or(|entry| u64::from(offset_entry(&entry).1) < log_len);
        // A closed segment with records has at least the entry of its largest timestamp.
        (fits && (log_len == 0 || index.times.len() > 0)).then_some(index)
    }

    /// Brings the entries into memory, to go on appending.
    pub(crate) fn into_memory(self) -> Result<Self, LogError> {
        Ok(SegmentIndex {
            base_offset: self.base_offset,
            offsets: self.offsets.into_memory()?,
            times: self.times.into_memory()?,
        })
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset.saturating_sub(self.base_offset).max(0)).unwrap_or(u32::MAX)
    }

    /// Notes that the batch whose last offset is `offset` begins at `position`.
    pub(crate) fn push_offset(&mut self, offset: i64, position: u64) {
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&self.relative(offset).to_be_bytes());
        entry[4..].copy_from_slice(&u32::try_from(position).unwrap_or(u32::MAX).to_be_bytes());
        self.offsets.push(entry);
    }

    /// Notes the largest timestamp so far and its batch's last offset; ignored unless it is larger than the last noted one.
    pub(crate) fn push_time(&mut self, timestamp: i64, offset: i64) -> Result<(), LogError> {
        if self.largest_time()?.is_some_and(|(largest, _)| timestamp <= largest) {
            return Ok(());
        }
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&self.relative(offset).to_be_bytes());
        self.times.push(entry);
        Ok(())
    }

    /// A byte position at or before the batch that contains `offset`.
    pub(crate) fn position_before(&self, offset: i64) -> Result<u64, LogError> {
        let wanted = self.relative(offset);
        let found = self.offsets.last_where(|entry| offset_entry(entry).0 <= wanted)?;
        Ok(found.map_or(0, |entry| u64::from(offset_entry(&entry).1)))
    }

    /// An offset such that no batch before the one that has it contains this timestamp or a later one.
    pub(crate) fn offset_before_time(&self, timestamp: i64) -> Result<i64, LogError> {
        let found = self.times.last_where(|entry| time_entry(entry).0 < timestamp)?;
        Ok(self.base_offset + found.map_or(0, |entry| i64::from(time_entry(&entry).1)))
    }

    /// The largest timestamp noted and its batch's last offset.
    pub(crate) fn largest_time(&self) -> Result<Option<(i64, i64)>, LogError> {
        let last = self.times.last()?;
        Ok(last
            .map(|entry| time_entry(&entry))
            .map(|(time, offset)| (time, self.base_offset + i64::from(offset))))
    }

    /// Writes the entries to their files, keeping them in memory.
    pub(crate) fn write(&self, disk: &Disk) -> Result<(), LogError> {
        self.offsets.write(disk)?;
        self.times.write(disk)?;
        Ok(())
    }

    /// Writes the entries and frees their memory: the segment is closed. After an error they are still in memory.
    pub(crate) fn seal(&mut self, disk: &Disk) -> Result<(), LogError> {
        let offsets = self.offsets.write(disk)?;
        let times = self.times.write(disk)?;
        self.offsets.leave_to_disk(offsets);
        self.times.leave_to_disk(times);
        Ok(())
    }
}
