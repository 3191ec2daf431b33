//! Everything below the cache: expiry, changelog, uncommitted layer, engine.

use std::sync::Arc;

use crate::contract::{ChangelogId, ChangelogSink, LoggedHeaders, RecordContext, RestoreRecord, StoreSpec};
use crate::cursor::KeyRange;
use crate::engine::Engine;
use crate::expiry::Expiry;
use crate::keys::KeyLayout;
use crate::overlay::Overlay;
use crate::shared_bytes::SharedBytes;
use crate::time_index;
use crate::value_format::ValueFormat;
use crate::versions;
use crate::{Headers, StoreError};

/// See the module.
pub(crate) struct Below {
    pub(crate) spec: Arc<StoreSpec>,
    pub(crate) layout: KeyLayout,
    pub(crate) changelog: Option<ChangelogId>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) overlay: Overlay,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) buffer: Vec<u8>,
    /// Whether it has a second order, by time.
    pub(crate) is_indexed: bool,
}

impl Below {
    pub(crate) fn visible_from(&self) -> i64 {
        self.expiry.as_ref().map_or(i64::MIN, Expiry::visible_from)
    }

    /// Whether a null put is more than a line in the changelog.
    pub(crate) fn nulls_count(&self) -> bool {
        !self.spec.retain_duplicates || self.layout.is_by_time()
    }

    fn time_of(&self, key: &[u8]) -> Option<i64> {
        self.layout.timed_key(key).map(|key| key.time)
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if let Some(expiry) = &self.expiry
            && self.time_of(key).is_some_and(|time| time < expiry.visible_from())
        {
            return Ok(None);
        }
        self.read(key)
    }

    /// What is kept under a key, expired or not.
    pub(crate) fn read(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        match self.overlay.get(key) {
            Some(update) => Ok(update),
            None => self.engine.get(key, &mut self.buffer),
        }
    }

    /// Keeps a value or a tombstone until the commit.
    fn keep(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.overlay.put(key, value) {
            self.index(key, value.is_some());
        }
    }

    /// Adds an entry to the index by time, where there is one, or removes it.
    fn index(&mut self, key: &[u8], is_there: bool) {
        if !self.is_indexed {
            return;
        }
        self.buffer.clear();
        if time_index::index_key(self.layout, key, &mut self.buffer) {
            self.overlay.put(&self.buffer, is_there.then_some(&[]));
        }
    }

    /// The keys that a commit may remove now.
    pub(crate) fn expired(&self) -> Vec<KeyRange> {
        self.expiry.as_ref().map_or_else(Vec::new, |expiry| expiry.expired(self.is_indexed))
    }

    pub(crate) fn put(
        &mut self,
        record: &RecordContext,
        sink: &mut dyn ChangelogSink,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if self.admits(sink, key) {
            self.keep(key, value);
        }
        self.log(record, sink, key, value)
    }

    pub(crate) fn put_shared(
        &mut self,
        record: &RecordContext,
        sink: &mut dyn ChangelogSink,
        key: &SharedBytes,
        value: Option<&SharedBytes>,
    ) -> Result<(), StoreError> {
        if self.admits(sink, key) && self.overlay.put_shared(key, value) {
            self.index(key, value.is_some());
        }
        self.log(record, sink, key, value.map(|value| &**value))
    }

    /// Removes a session. Unlike a put it is not refused where the session has expired, so nothing is counted; in
    /// memory, unlike in RocksDB, its time does not count either.
    pub(crate) fn remove(
        &mut self,
        record: &RecordContext,
        sink: &mut dyn ChangelogSink,
        key: &[u8],
    ) -> Result<(), StoreError> {
        let is_live = match (self.time_of(key), &mut self.expiry) {
            (Some(time), Some(expiry)) if self.layout.is_segmented() => expiry.admits(time),
            _ => true,
        };
        if is_live {
            self.keep(key, None);
        }
        self.log(record, sink, key, None)
    }

    /// Whether a put is stored; one whose window has expired is counted, and logged all the same
    /// (`ChangeLoggingWindowBytesStore` knows nothing of expiry).
    pub(crate) fn admits(&mut self, sink: &mut dyn ChangelogSink, key: &[u8]) -> bool {
        let Some(time) = self.time_of(key) else { return true };
        let admitted = self.expiry.as_mut().is_none_or(|expiry| expiry.admits(time));
        if !admitted {
            sink.record_dropped(&self.spec.name);
        }
        admitted
    }

    /// A value goes to the changelog alone: its timestamp and headers, where it has some, become the record's. A
    /// tombstone, and every update of a plain store, has the time of the record being processed.
    pub(crate) fn log(
        &mut self,
        record: &RecordContext,
        sink: &mut dyn ChangelogSink,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let Some(changelog) = self.changelog else { return Ok(()) };
        let Some(key) = self.layout.changelog_key(key) else { return Ok(()) };
        let none = Headers::new();
        let headers = match (self.spec.logs_headers, value) {
            (LoggedHeaders::Always, _) | (LoggedHeaders::OfDeletions, None) => &record.headers,
            _ => &none,
        };
        let time = self.spec.logs_time.then_some(record.timestamp);
        let format = ValueFormat::of(self.spec.kind);
        match value.filter(|_| !format.is_plain()).and_then(|value| format.split(value)) {
            Some(parts) => {
                let headers = parts.headers.as_ref().unwrap_or(headers);
                sink.log(changelog, &key, Some(parts.value), parts.timestamp.or(time), headers)
            }
            None => sink.log(changelog, &key, value, time, headers),
        }
    }

    /// Takes note of a version's time and tells whether it is stored.
    pub(crate) fn admits_time(&mut self, time: i64) -> bool {
        self.expiry.as_mut().is_none_or(|expiry| expiry.admits(time))
    }

    /// The observed time of a versioned store is stored with it: it decides which puts are too old.
    pub(crate) fn keep_time(&mut self) {
        if let Some(time) = self.expiry.as_ref().and_then(Expiry::uncommitted_time) {
            self.overlay.put(versions::TIME_KEY, Some(&time.to_be_bytes()));
        }
    }

    /// Logs key and value as they are.
    pub(crate) fn log_raw(
        &self,
        sink: &mut dyn ChangelogSink,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StoreError> {
        self.changelog
            .map_or(Ok(()), |changelog| sink.log(changelog, key, value, Some(timestamp), &Headers::new()))
    }

    pub(crate) fn restore(&mut self, record: RestoreRecord<'_>) -> Result<(), StoreError> {
        let mut key = Vec::with_capacity(record.key.len() + 8);
        if !self.layout.physical_key(record.key, &mut key) {
            return Err(StoreError::BadChangelogRecord {
                store: self.spec.name.clone(),
                reason: format!("a key of {} bytes is too short for a windowed store", record.key.len()),
            });
        }
        if record.value.is_none() && !self.nulls_count() {
            return Ok(());
        }
        if let (Some(expiry), Some(time)) =
            (&mut self.expiry, self.layout.timed_key(&key).map(|key| key.time))
            && !expiry.admits(time)
        {
            return Ok(());
        }
        let format = ValueFormat::of(self.spec.kind);
        match record.value {
            None if self.spec.retain_duplicates => {}
            Some(value) if !format.is_plain() => {
                self.buffer.clear();
                format.begin(record.timestamp, &record.headers, &mut self.buffer);
                self.buffer.extend_from_slice(value);
                if self.overlay.put(&key, Some(&self.buffer)) {
                    self.index(&key, true);
                }
            }
            value => self.keep(&key, value),
        }
        Ok(())
    }

    pub(crate) fn approximate_entries(&self) -> u64 {
        let mut entries = self.engine.approximate_entries();
        let mut buffer = Vec::new();
        if self.spec.persistent {
            // Each has another one in the index, where there is one.
            let entries = entries + self.overlay.len() as u64;
            return if self.is_indexed { entries / 2 } else { entries };
        }
        // In memory the number is exact, as the JVM's.
        for (key, value) in self.overlay.iter() {
            let is_there = matches!(self.engine.get(key, &mut buffer), Ok(Some(_)));
            match (is_there, value.is_some()) {
                (false, true) => entries += 1,
                (true, false) => entries -= 1,
                _ => {}
            }
        }
        entries
    }
}
