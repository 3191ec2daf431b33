//! Changelog sinks for tests of stores and processors.

use crate::contract::{ChangelogId, ChangelogSink, RestoreRecord};
use crate::{Headers, StoreError};

/// A changelog that goes nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoChangelog;

impl ChangelogSink for NoChangelog {
    fn log(
        &mut self,
        _changelog: ChangelogId,
        _key: &[u8],
        _value: Option<&[u8]>,
        _timestamp: Option<i64>,
        _headers: &Headers,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn record_dropped(&mut self, _store: &str) {}
}

/// One update as it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Which changelog.
    pub changelog: ChangelogId,
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value's bytes; `None`: tombstone.
    pub value: Option<Vec<u8>>,
    /// The record's timestamp, in ms.
    pub timestamp: Option<i64>,
    /// The record's headers.
    pub headers: Headers,
}

impl Logged {
    /// The update as a record to restore from; its partition is 0.
    pub fn restore(&self) -> RestoreRecord<'_> {
        RestoreRecord {
            key: &self.key,
            value: self.value.as_deref(),
            timestamp: self.timestamp.unwrap_or(0),
            headers: self.headers.clone(),
            partition: 0,
            offset: 0,
        }
    }
}

/// A changelog that remembers everything.
#[derive(Debug, Clone, Default)]
pub struct RecordedChangelog {
    /// Updates in their order.
    pub records: Vec<Logged>,
    /// Late puts that were refused.
    pub dropped: usize,
}

impl ChangelogSink for RecordedChangelog {
    fn log(
        &mut self,
        changelog: ChangelogId,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Option<i64>,
        headers: &Headers,
    ) -> Result<(), StoreError> {
        let value = value.map(<[u8]>::to_vec);
        self.records.push(Logged {
            changelog,
            key: key.to_vec(),
            value,
            timestamp,
            headers: headers.clone(),
        });
        Ok(())
    }

    fn record_dropped(&mut self, _store: &str) {
        self.dropped += 1;
    }
}
