//! Bulk restore of an empty store: changelog records are gathered in chunks of bounded memory, each is sorted and
//! written as a file of the database, and moved into it. Several times faster than writing through memtables, and the
//! disk sees each record once.
//!
//! A later chunk hides an earlier one, as later records do in a changelog. The changelog offset is written last: a
//! restore that dies in between starts again.

use std::cmp::Ordering;
use std::sync::Arc;

use ::rocksdb::{IngestExternalFileOptions, Options, SstFileWriter, WriteBatch};

use super::db::TaskDb;
use super::engine::{RocksCursor, delete_ranges};
use super::meta::{CHANGELOG_OFFSET, partition_key};
use crate::StoreError;
use crate::backend::TaskBackend;
use crate::building::layout_of;
use crate::contract::{RestoreRecord, StoreSpec};
use crate::cursor::{Cursor, KeyRange};
use crate::expiry::Expiry;
use crate::keys::KeyLayout;
use crate::time_index;
use crate::value_format::ValueFormat;
use crate::versions::{self, History};

/// See the module. It can be on another thread than the task, which must leave the store alone meanwhile.
pub struct BulkRestore {
    db: Arc<TaskDb>,
    spec: StoreSpec,
    layout: KeyLayout,
    expiry: Option<Expiry>,
    budget_bytes: usize,
    chunk: Chunk,
    /// The chunks of one restore are told apart by their number.
    files: u32,
    records: u64,
    key_buffer: Vec<u8>,
    /// What stands before a value in the store: timestamp, headers.
    before_value: Vec<u8>,
}

/// Records between two times of stepping aside.
const STEP: usize = 64;

/// A restore is in nobody's way: whoever waits for this processor goes first, not only when the time slice ends.
fn step_aside() {
    std::thread::yield_now();
}

/// What a bulk restore did; the store is told by [`StateStore::bulk_restored`](crate::StateStore::bulk_restored).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkRestored {
    /// Records pushed.
    pub records: u64,
    /// Greatest window start among them, in ms; -1 where there is none.
    pub stream_time: i64,
}

impl BulkRestore {
    /// Whether a store can be restored in bulk: those in RocksDB can, others take
    /// [`StateStore::restore`](crate::StateStore::restore).
    pub fn supports(backend: &TaskBackend, spec: &StoreSpec) -> bool {
        matches!(backend, TaskBackend::Rocks(_)) && spec.persistent
    }

    /// Starts to restore `spec`'s store with chunks of `budget_bytes`. What an earlier restore left in it is removed.
    ///
    /// # Errors
    /// [`StoreError::InvalidStore`] for a store that is not in RocksDB; those of the database.
    pub fn new(backend: &TaskBackend, spec: &StoreSpec, budget_bytes: usize) -> Result<Self, StoreError> {
        let TaskBackend::Rocks(db) = backend else {
            return Err(not_in_rocksdb(spec));
        };
        if !spec.persistent {
            return Err(not_in_rocksdb(spec));
        }
        let layout = layout_of(spec);
        let expiry = match layout {
            KeyLayout::Plain => None,
            layout => Some(Expiry::new(layout, spec.retention_ms.unwrap_or(i64::MAX))),
        };
        let restore = BulkRestore {
            db: Arc::clone(db),
            spec: spec.clone(),
            layout,
            expiry,
            budget_bytes,
            chunk: Chunk::default(),
            files: 0,
            records: 0,
            key_buffer: Vec::new(),
            before_value: Vec::new(),
        };
        restore.clear_store()?;
        Ok(restore)
    }

    /// Adds a record of the changelog.
    ///
    /// # Errors
    /// [`StoreError::BadChangelogRecord`] for a key that is none of the store's; those of the database when the chunk
    /// is full.
    pub fn push(&mut self, record: &RestoreRecord<'_>) -> Result<(), StoreError> {
        let RestoreRecord { key, value, timestamp, .. } = *record;
        if self.records.is_multiple_of(STEP as u64) {
            step_aside();
        }
        self.records += 1;
        if value.is_none() && self.spec.retain_duplicates {
            return Ok(());
        }
        if self.layout == KeyLayout::Versions {
            if self.expiry.as_mut().is_none_or(|expiry| expiry.admits(timestamp)) {
                self.key_buffer.clear();
                versions::rows_of(key, &mut self.key_buffer);
                // Tombstones are versions, too.
                let mut put = timestamp.to_be_bytes().to_vec();
                put.push(u8::from(value.is_some()));
                self.chunk.push(&self.key_buffer, &put, Some(value.unwrap_or_default()));
            }
            return if self.chunk.bytes() >= self.budget_bytes { self.ingest() } else { Ok(()) };
        }
        self.before_value.clear();
        ValueFormat::of(self.spec.kind).begin(timestamp, &record.headers, &mut self.before_value);
        if let Some(expiry) = &mut self.expiry {
            self.key_buffer.clear();
            if !self.layout.physical_key(key, &mut self.key_buffer) {
                return Err(StoreError::BadChangelogRecord {
                    store: self.spec.name.clone(),
                    reason: format!("a key of {} bytes is too short for a windowed store", key.len()),
                });
            }
            let time = self.layout.timed_key(&self.key_buffer).map_or(0, |key| key.time);
            if !expiry.admits(time) {
                return Ok(());
            }
            self.chunk.push(&self.key_buffer, &self.before_value, value);
            if self.is_indexed() {
                let mut index_key = Vec::with_capacity(self.key_buffer.len() + 1);
                if time_index::index_key(self.layout, &self.key_buffer, &mut index_key) {
                    self.chunk.push(&index_key, &[], value.map(|_| &[][..]));
                }
            }
        } else {
            self.chunk.push(key, &self.before_value, value);
        }
        if self.chunk.bytes() >= self.budget_bytes { self.ingest() } else { Ok(()) }
    }

    /// Ends the restore: everything is in the database, and so is the next `offset` to restore of the changelog's
    /// partition; both survive a crash.
    ///
    /// # Errors
    /// Those of the database.
    pub fn finish(mut self, topic: &str, partition: i32, offset: i64) -> Result<BulkRestored, StoreError> {
        self.ingest()?;
        let mut batch = WriteBatch::default();
        let expired = self.expiry.as_ref().map_or_else(Vec::new, |expiry| expiry.expired(self.is_indexed()));
        delete_ranges(&mut batch, self.db.family(&self.spec.name)?, &expired);
        if let (KeyLayout::Versions, Some(expiry)) = (self.layout, &self.expiry) {
            let family = self.db.family(&self.spec.name)?;
            batch.put_cf(family, versions::TIME_KEY, expiry.observed().to_be_bytes());
        }
        let key = partition_key(CHANGELOG_OFFSET, topic, partition);
        batch.put_cf(self.db.meta_family()?, key, offset.to_be_bytes());
        self.db.write(batch, 1)?;
        self.db.flush()?;
        // Gone with the last of the restores that share it.
        let _ = std::fs::remove_dir(self.db.ingest_directory());
        let stream_time = self.expiry.as_ref().map_or(-1, Expiry::observed);
        Ok(BulkRestored { records: self.records, stream_time })
    }

    fn is_indexed(&self) -> bool {
        time_index::is_indexed(&self.spec, self.layout)
    }

    /// A restore that was broken off leaves keys whose tombstones the changelog may have lost since.
    fn clear_store(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.db.empty_store(&self.spec.name, &mut batch)?;
        self.db.write(batch, 1)
    }

    /// Writes the chunk as a file and moves it into the database.
    fn ingest(&mut self) -> Result<(), StoreError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let directory = self.db.ingest_directory();
        std::fs::create_dir_all(&directory)
            .map_err(|error| self.db.file_error("creation of the restore directory", error))?;
        let path = directory.join(format!("{}-{}.sst", self.spec.name, self.files));
        self.files += 1;
        let options = self.db.store_options(&self.spec.name);
        let written = match self.layout {
            KeyLayout::Versions => self.write_versions(&options, &path),
            _ => self
                .write_chunk(&options, &path)
                .map_err(|error| self.db.error("writing a restored chunk", error)),
        };
        self.chunk.clear();
        written?;
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        self.db
            .db
            .ingest_external_file_cf_opts(self.db.family(&self.spec.name)?, &ingest, vec![path])
            .map_err(|error| self.db.error("taking in a restored chunk", error))?;
        self.db.note_size()
    }

    fn write_chunk(&mut self, options: &Options, path: &std::path::Path) -> Result<(), ::rocksdb::Error> {
        let mut writer = SstFileWriter::create(options);
        writer.open(path)?;
        self.chunk.for_each_newest(|key, value| match value {
            Some(value) => writer.put(key, value),
            None => writer.delete(key),
        })?;
        writer.finish()
    }
}

/// Versions: what a put does depends on those before it, so they are done over again, key by key.
impl BulkRestore {
    fn write_versions(&mut self, options: &Options, path: &std::path::Path) -> Result<(), StoreError> {
        let (db, store, is_first) = (Arc::clone(&self.db), self.spec.name.clone(), self.files == 1);
        let failed = |error| db.error("writing a restored chunk", error);
        let mut writer = SstFileWriter::create(options);
        writer.open(path).map_err(failed)?;
        self.chunk.for_each_key(|key, puts| {
            let mut history = History::default();
            if !is_first {
                let mut rows = RocksCursor::new(&db, &store, &KeyRange::of_prefix(key), false)?;
                while let Some((row, value)) = rows.entry() {
                    history.add_row(row, value.unwrap_or_default());
                    rows.advance()?;
                }
            }
            for put in puts.iter().rev() {
                if let Some((time, &[is_there, ref value @ ..])) = put.split_first_chunk() {
                    history.put(i64::from_be_bytes(*time), (is_there != 0).then_some(value));
                }
            }
            for (row, value) in history.changes(key) {
                match value {
                    Some(value) => writer.put(row, value).map_err(failed)?,
                    None => writer.delete(row).map_err(failed)?,
                }
            }
            Ok(())
        })?;
        writer.finish().map_err(failed)
    }
}

fn not_in_rocksdb(spec: &StoreSpec) -> StoreError {
    StoreError::InvalidStore {
        store: spec.name.clone(),
        reason: "only a store in RocksDB can be restored in bulk".to_owned(),
    }
}

/// Records one after the other in one allocation, and what is needed to sort them.
#[derive(Default)]
struct Chunk {
    /// `key length u32 | value length u32, or MAX for a tombstone | key | value`, over and over.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// First eight bytes of the key, zeros where it has fewer: most comparisons end here.
    prefix: u64,
    /// Where the record stands; grows with its age.
    position: usize,
}

const TOMBSTONE: u32 = u32::MAX;
const HEADER_BYTES: usize = 8;

impl Chunk {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    fn push(&mut self, key: &[u8], before_value: &[u8], value: Option<&[u8]>) {
        let position = self.bytes.len();
        let before_value = if value.is_some() { before_value } else { &[] };
        // Kafka's records are below 2 GiB.
        let value_length = value.map_or(TOMBSTONE, |value| (before_value.len() + value.len()) as u32);
        self.bytes.extend_from_slice(&(key.len() as u32).to_ne_bytes());
        self.bytes.extend_from_slice(&value_length.to_ne_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(before_value);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.entries.push(Entry { prefix: prefix_of(key), position });
    }

    fn record(&self, position: usize) -> (&[u8], Option<&[u8]>) {
        let length = |at: usize| {
            let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let (key_length, value_length) = (length(position) as usize, length(position + 4));
        let key_start = position + HEADER_BYTES;
        let value_start = key_start + key_length;
        let key = &self.bytes[key_start..value_start];
        let value = (value_length != TOMBSTONE)
            .then(|| &self.bytes[value_start..value_start + value_length as usize]);
        (key, value)
    }

    /// Visits the newest record of each key, in the order of keys.
    fn for_each_newest<E>(
        &mut self,
        mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| self.compare(a, b));
        let mut last: Option<&[u8]> = None;
        for group in entries.chunks(STEP) {
            step_aside();
            // The records lie anywhere in memory. Touched together, their loads overlap; one by one, each is waited for.
            std::hint::black_box(group.iter().fold(0, |sum, entry| sum ^ self.bytes[entry.position]));
            for entry in group {
                let (key, value) = self.record(entry.position);
                if last != Some(key) {
                    visit(key, value)?;
                    last = Some(key);
                }
            }
        }
        entries.clear();
        self.entries = entries;
        Ok(())
    }

    /// Visits each key in order, with all values of it, newest first.
    fn for_each_key<E>(&mut self, mut visit: impl FnMut(&[u8], &[&[u8]]) -> Result<(), E>) -> Result<(), E> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| self.compare(a, b));
        for group in entries.chunk_by(|a, b| self.record(a.position).0 == self.record(b.position).0) {
            let values: Vec<&[u8]> =
                group.iter().map(|entry| self.record(entry.position).1.unwrap_or_default()).collect();
            visit(self.record(group[0].position).0, &values)?;
        }
        Ok(())
    }

    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        a.prefix.cmp(&b.prefix).then_with(|| {
            let (a_key, b_key) = (self.record(a.position).0, self.record(b.position).0);
            a_key.cmp(b_key).then(b.position.cmp(&a.position))
        })
    }
}

fn prefix_of(key: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let length = key.len().min(8);
    prefix[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_gives_the_newest_record_of_each_key_in_order() {
        let mut chunk = Chunk::default();
        let records: [(&[u8], Option<&[u8]>); 6] = [
            (b"longer than eight", Some(b"1")),
            (b"b", Some(b"2")),
            (b"longer than seven", Some(b"3")),
            (b"b\0", Some(b"4")),
            (b"b", None),
            (b"longer than eight", Some(b"5")),
        ];
        for (key, value) in records {
            chunk.push(key, &[0; 8], value);
        }
        let mut seen = Vec::new();
        let visited: Result<(), ()> = chunk.for_each_newest(|key, value| {
            seen.push((key.to_vec(), value.map(|value| value[8..].to_vec())));
            Ok(())
        });
        assert_eq!(visited, Ok(()));
        let expected: [(&[u8], Option<&[u8]>); 4] = [
            (b"b", None),
            (b"b\0", Some(b"4")),
            (b"longer than eight", Some(b"5")),
            (b"longer than seven", Some(b"3")),
        ];
        assert_eq!(seen, expected.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))));
    }
}
