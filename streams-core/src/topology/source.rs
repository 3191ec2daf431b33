//! Sources: what is read, and how.

use std::sync::Arc;

use kstreams_state_stores::DynSerde;
use regex::Regex;

use crate::config::AutoOffsetReset;

/// What a timestamp extractor sees of a record (`TimestampExtractor`).
pub struct ExtractorRecord<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// The value.
    pub value: &'a V,
    /// The record's own timestamp in ms; negative when the producer set none.
    pub timestamp: i64,
    /// The record's topic.
    pub topic: &'a str,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
}

/// What an extractor makes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extracted {
    /// The record's time in ms since the epoch; a negative one means: skip the record, count it as dropped, log it.
    Timestamp(i64),
    /// Fail the task: a negative timestamp is an error (`FailOnInvalidTimestamp`, the default).
    Invalid(i64),
}

/// Gives each record its time. The second argument is the partition time: the highest timestamp read from the partition
/// so far, -1 before the first record.
pub type TimestampExtractor<K, V> = Arc<dyn Fn(&ExtractorRecord<'_, K, V>, i64) -> Extracted + Send + Sync>;

/// The topics of a source.
#[derive(Debug, Clone)]
pub enum SourceTopics {
    /// These.
    Names(Vec<String>),
    /// Every topic whose whole name matches, also those created later.
    Pattern(Regex),
}

impl From<&str> for SourceTopics {
    fn from(topic: &str) -> Self {
        SourceTopics::Names(vec![topic.to_owned()])
    }
}

impl From<String> for SourceTopics {
    fn from(topic: String) -> Self {
        SourceTopics::Names(vec![topic])
    }
}

impl From<Vec<String>> for SourceTopics {
    fn from(topics: Vec<String>) -> Self {
        SourceTopics::Names(topics)
    }
}

impl From<&[&str]> for SourceTopics {
    fn from(topics: &[&str]) -> Self {
        SourceTopics::Names(topics.iter().map(|&topic| topic.to_owned()).collect())
    }
}

impl<const N: usize> From<[&str; N]> for SourceTopics {
    fn from(topics: [&str; N]) -> Self {
        topics.as_slice().into()
    }
}

impl From<Regex> for SourceTopics {
    fn from(pattern: Regex) -> Self {
        SourceTopics::Pattern(pattern)
    }
}

/// How a source reads.
pub struct SourceOptions<K, V> {
    /// The keys' serde.
    pub key_serde: DynSerde<K>,
    /// The values' serde.
    pub value_serde: DynSerde<V>,
    /// `None`: the application's default (fail on a negative timestamp).
    pub timestamp_extractor: Option<TimestampExtractor<K, V>>,
    /// `None`: the application's `auto.offset.reset`.
    pub offset_reset: Option<AutoOffsetReset>,
}

impl<K, V> SourceOptions<K, V> {
    /// With these serdes; the rest as the application says.
    pub fn new(key_serde: DynSerde<K>, value_serde: DynSerde<V>) -> Self {
        SourceOptions { key_serde, value_serde, timestamp_extractor: None, offset_reset: None }
    }
}

impl<K, V> Clone for SourceOptions<K, V> {
    fn clone(&self) -> Self {
        SourceOptions {
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            timestamp_extractor: self.timestamp_extractor.clone(),
            offset_reset: self.offset_reset,
        }
    }
}
