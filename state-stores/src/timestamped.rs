//! The value format of timestamped stores: the timestamp as a big-endian i64, then the value.

use std::fmt;

use crate::{DynSerde, Serde, SerdeError, ValueAndTimestamp};

/// Bytes of the timestamp before a value.
const TIMESTAMP_BYTES: usize = 8;

/// Serde of [`ValueAndTimestamp`] as timestamped stores keep it (`ValueAndTimestampSerde`). In the changelog the value
/// stands alone and the timestamp is the record's. A null value makes the whole null.
pub struct ValueAndTimestampSerde<V> {
    value: DynSerde<V>,
}

impl<V> Clone for ValueAndTimestampSerde<V> {
    fn clone(&self) -> Self {
        ValueAndTimestampSerde { value: self.value.clone() }
    }
}

impl<V> fmt::Debug for ValueAndTimestampSerde<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValueAndTimestampSerde({:?})", self.value)
    }
}

impl<V: 'static> ValueAndTimestampSerde<V> {
    /// Around the serde of the values.
    pub fn new(value: DynSerde<V>) -> Self {
        ValueAndTimestampSerde { value }
    }
}

impl<V: 'static> Serde for ValueAndTimestampSerde<V> {
    type Target = ValueAndTimestamp<V>;

    fn serialize(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.serialize_nullable(value, out).map(|_present| ())
    }
    fn serialize_nullable(&self, value: &Self::Target, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        let start = out.len();
        out.extend_from_slice(&value.timestamp.to_be_bytes());
        let present = self.value.serialize_nullable(&value.value, out)?;
        if !present {
            out.truncate(start);
        }
        Ok(present)
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<Self::Target, SerdeError> {
        let Some((timestamp, value)) = bytes.split_first_chunk::<TIMESTAMP_BYTES>() else {
            return Err(SerdeError::WrongLength {
                expected: "timestamp and value",
                expected_bytes: TIMESTAMP_BYTES,
                actual_bytes: bytes.len(),
            });
        };
        Ok(ValueAndTimestamp {
            value: self.value.deserialize(value)?,
            timestamp: i64::from_be_bytes(*timestamp),
        })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        ValueAndTimestampSerde { value: self.value.for_topic(topic, is_key) }
    }
}
