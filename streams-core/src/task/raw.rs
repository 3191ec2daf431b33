//! Records as they come from a topic, before they are decoded.

use std::fmt;
use std::sync::Arc;

use kstreams_state_stores::Headers;

use crate::client::Message;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's full name.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record in memory of its own: what a test pipes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The key's bytes; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The offset in its partition.
    pub offset: i64,
    /// The headers.
    pub headers: Headers,
}

/// A record on its way into a task, wherever its bytes lie.
#[derive(Debug)]
pub enum RawRecord {
    /// In memory of its own.
    Owned(OwnedRecord),
    /// In a buffer of the Kafka client.
    Client(Message),
}

impl RawRecord {
    /// The key's bytes; `None` is null.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            RawRecord::Owned(record) => record.key.as_deref(),
            RawRecord::Client(message) => message.key(),
        }
    }

    /// The value's bytes; `None` is null.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            RawRecord::Owned(record) => record.value.as_deref(),
            RawRecord::Client(message) => message.value(),
        }
    }

    /// Milliseconds since the epoch; -1 when there is none.
    pub fn timestamp(&self) -> i64 {
        match self {
            RawRecord::Owned(record) => record.timestamp,
            RawRecord::Client(message) => message.timestamp(),
        }
    }

    /// The offset in its partition.
    pub fn offset(&self) -> i64 {
        match self {
            RawRecord::Owned(record) => record.offset,
            RawRecord::Client(message) => message.offset(),
        }
    }

    /// The headers, decoded.
    pub fn headers(&self) -> Headers {
        match self {
            RawRecord::Owned(record) => record.headers.clone(),
            RawRecord::Client(message) => message.headers(),
        }
    }
}
