//! The buffer of a stream-table join with grace: records in the order of their time, each with the context that it came
//! with (`RocksDBTimeOrderedKeyValueBuffer`).
//!
//! ```text
//! key     00 | timestamp i64 | key | number i32
//! value   context | -1 | -1 | length i32, value | 0 i64         as suppress writes them, see `buffer_entry`
//! ```
//!
//! The changelog has the same bytes, and the producer's time. Numbers count the puts from 1 at each start, so that records
//! of one key and time are kept apart.

use crate::buffer_entry::{read_context, take_i64, take_nullable, write_context, write_nullable};
use crate::contract::RecordContext;
use crate::{DynSerde, KeyValueStore, KeyValueStoreBuilder, Serde, SerdeError};

/// A store of records by time; iteration is in the order of time, then of the keys' bytes.
pub type TimeOrderedBuffer<K, V> = KeyValueStore<TimeOrderedKey<K>, BufferedRecord<V>>;

/// Where a record stands in a [`TimeOrderedBuffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOrderedKey<K> {
    /// The record's timestamp, in ms.
    pub timestamp: i64,
    /// The record's key.
    pub key: K,
    /// Tells records of the same key and time apart.
    pub number: u32,
}

/// A value in a [`TimeOrderedBuffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferedRecord<V> {
    /// The record's value.
    pub value: V,
    /// Where the record came from.
    pub context: RecordContext,
}

impl<K: 'static, V: 'static> KeyValueStoreBuilder<TimeOrderedKey<K>, BufferedRecord<V>> {
    /// A buffer of records by time; `key` and `value` are the serdes of the records.
    pub fn time_ordered(name: impl Into<String>, key: DynSerde<K>, value: DynSerde<V>) -> Self {
        let (key, value) = (DynSerde::new(KeySerde(key)), DynSerde::new(RecordSerde(value)));
        KeyValueStoreBuilder::new(name, key, value).without_logged_time()
    }
}

struct KeySerde<K>(DynSerde<K>);

impl<K> Clone for KeySerde<K> {
    fn clone(&self) -> Self {
        KeySerde(self.0.clone())
    }
}

const TIME_FIRST: u8 = 0;

fn malformed() -> SerdeError {
    SerdeError::other("these are not the bytes of a buffered record")
}

impl<K: 'static> Serde for KeySerde<K> {
    type Target = TimeOrderedKey<K>;

    fn serialize(&self, key: &TimeOrderedKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.serialize_nullable(key, out).map(|_present| ())
    }
    /// A record with a null key cannot be buffered.
    fn serialize_nullable(&self, key: &TimeOrderedKey<K>, out: &mut Vec<u8>) -> Result<bool, SerdeError> {
        let start = out.len();
        out.push(TIME_FIRST);
        out.extend_from_slice(&key.timestamp.to_be_bytes());
        if !self.0.serialize_nullable(&key.key, out)? {
            out.truncate(start);
            return Ok(false);
        }
        out.extend_from_slice(&key.number.to_be_bytes());
        Ok(true)
    }
    fn deserialize(&self, bytes: &[u8]) -> Result<TimeOrderedKey<K>, SerdeError> {
        let Some((&TIME_FIRST, mut rest)) = bytes.split_first() else { return Err(malformed()) };
        let timestamp = take_i64(&mut rest).ok_or_else(malformed)?;
        let (key, number) = rest.split_last_chunk().ok_or_else(malformed)?;
        Ok(TimeOrderedKey { timestamp, key: self.0.deserialize(key)?, number: u32::from_be_bytes(*number) })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        KeySerde(self.0.for_topic(topic, is_key))
    }
}

struct RecordSerde<V>(DynSerde<V>);

impl<V> Clone for RecordSerde<V> {
    fn clone(&self) -> Self {
        RecordSerde(self.0.clone())
    }
}

impl<V: 'static> Serde for RecordSerde<V> {
    type Target = BufferedRecord<V>;

    fn serialize(&self, record: &BufferedRecord<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let mut value = Vec::new();
        let present = self.0.serialize_nullable(&record.value, &mut value)?;
        write_context(&record.context, out);
        // A prior and an old value, which only suppress has; and the time, which it sorts by.
        write_nullable(None, out);
        write_nullable(None, out);
        write_nullable(present.then_some(&*value), out);
        out.extend_from_slice(&0_i64.to_be_bytes());
        Ok(())
    }
    fn deserialize(&self, mut bytes: &[u8]) -> Result<BufferedRecord<V>, SerdeError> {
        let rest = &mut bytes;
        let context = read_context(rest).ok_or_else(malformed)?;
        let _prior = take_nullable(rest).ok_or_else(malformed)?;
        let _old = take_nullable(rest).ok_or_else(malformed)?;
        let value = take_nullable(rest).ok_or_else(malformed)?;
        Ok(BufferedRecord { value: self.0.deserialize_nullable(value)?, context })
    }
    fn for_topic(&self, topic: &str, is_key: bool) -> Self {
        RecordSerde(self.0.for_topic(topic, is_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<S: Serde>(serde: &S, value: &S::Target) -> String {
        let mut bytes = Vec::new();
        serde.serialize(value, &mut bytes).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From a trace of the JVM's stream-table join with grace.
    #[test]
    fn buffered_records_have_the_jvms_bytes() {
        let key = TimeOrderedKey { timestamp: 5, key: "a".to_owned(), number: 1 };
        let keys = KeySerde(DynSerde::new(String::new()));
        assert_eq!(hex(&keys, &key), "0000000000000000056100000001");
        let context = RecordContext {
            timestamp: 5,
            offset: 0,
            topic: Some("in".into()),
            partition: 0,
            ..RecordContext::default()
        };
        let record = BufferedRecord { value: "s5".to_owned(), context };
        let records = RecordSerde(DynSerde::new(String::new()));
        let expected = "0000000000000005000000000000000000000002696e0000000000000000ffffffffffffffff\
                        0000000273350000000000000000";
        assert_eq!(hex(&records, &record), expected);
        let mut bytes = Vec::new();
        records.serialize(&record, &mut bytes).unwrap();
        assert_eq!(records.deserialize(&bytes).unwrap(), record);
        assert!(records.deserialize(&bytes[..20]).is_err());
    }
}
