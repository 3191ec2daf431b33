//! Bytes of `__transaction_state`: one record a transactional id (Apache Kafka's `TransactionLogKey`, `TransactionLogValue`).
//!
//! Written: key v0, value v1. Read: value v0 and v1.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use super::metadata::{Metadata, NONE};
use super::state::TransactionState;
use crate::internal_log::Entry;
use crate::internal_log::schema::{Reader, RecordError, put_string};
use crate::log::TopicPartitionName;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;
const VALUE: &str = "transaction value";

/// Tags of the value's later fields.
const PREVIOUS_PRODUCER_ID: usize = 0;
const NEXT_PRODUCER_ID: usize = 1;
const CLIENT_VERSION: usize = 2;

/// The record of a transactional id; without metadata the one that deletes it.
pub(crate) fn entry(transactional_id: &StrBytes, metadata: Option<&Metadata>) -> Entry {
    let mut key = BytesMut::with_capacity(4 + transactional_id.len());
    key.put_i16(KEY_VERSION);
    put_string(&mut key, transactional_id);
    Entry { key: key.freeze(), value: metadata.map(Metadata::encode) }
}

/// The transactional id of a key; `None` for keys of features this broker doesn't have.
pub(crate) fn decode_key(bytes: &[u8]) -> Result<Option<StrBytes>, RecordError> {
    let mut read = Reader::new(bytes, "transaction key");
    match read.i16()? {
        KEY_VERSION => read.string().map(Some),
        _ => Ok(None),
    }
}

impl Metadata {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_i16(VALUE_VERSION);
        out.put_i64(self.producer_id);
        out.put_i16(self.epoch);
        out.put_i32(self.timeout_ms);
        out.put_i8(self.state.id());
        self.encode_partitions(&mut out);
        out.put_i64(self.updated_ms);
        out.put_i64(self.started_ms);
        let mut tagged: Vec<(usize, Vec<u8>)> = Vec::new();
        if self.previous_producer_id != NONE {
            tagged.push((PREVIOUS_PRODUCER_ID, self.previous_producer_id.to_be_bytes().to_vec()));
        }
        if self.next_producer_id != NONE {
            tagged.push((NEXT_PRODUCER_ID, self.next_producer_id.to_be_bytes().to_vec()));
        }
        if self.client_version != 0 {
            tagged.push((CLIENT_VERSION, self.client_version.to_be_bytes().to_vec()));
        }
        put_varint(&mut out, tagged.len());
        for (tag, bytes) in tagged {
            put_varint(&mut out, tag);
            put_varint(&mut out, bytes.len());
            out.put_slice(&bytes);
        }
        out.freeze()
    }

    /// An empty id has no list; compact lengths are one more than what they count.
    fn encode_partitions(&self, out: &mut BytesMut) {
        if self.state == TransactionState::Empty {
            return put_varint(out, 0);
        }
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for name in &self.partitions {
            topics.entry(&name.topic).or_default().push(name.partition);
        }
        put_varint(out, topics.len() + 1);
        for (topic, partitions) in topics {
            put_varint(out, topic.len() + 1);
            out.put_slice(topic.as_bytes());
            put_varint(out, partitions.len() + 1);
            partitions.iter().for_each(|partition| out.put_i32(*partition));
            put_varint(out, 0);
        }
    }

    /// Reads a value of any version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut read = Reader::new(bytes, VALUE);
        read.version(VALUE_VERSION, 1)?;
        let (producer_id, epoch, timeout_ms) = (read.i64()?, read.i16()?, read.i32()?);
        let mut metadata = Metadata::new(producer_id, timeout_ms, -1);
        metadata.epoch = epoch;
        metadata.state = TransactionState::from_id(read.i8()?).ok_or(RecordError::Malformed(VALUE))?;
        for _ in 0..read.length32()? {
            let topic: Arc<str> = Arc::from(&*read.string()?);
            for _ in 0..read.length32()? {
                metadata.partitions.insert(TopicPartitionName::new(topic.clone(), read.i32()?));
            }
            read.skip_tagged_fields()?;
        }
        metadata.updated_ms = read.i64()?;
        metadata.started_ms = read.i64()?;
        read.tagged_fields(|tag, field| {
            match tag {
                PREVIOUS_PRODUCER_ID => metadata.previous_producer_id = field.i64()?,
                NEXT_PRODUCER_ID => metadata.next_producer_id = field.i64()?,
                CLIENT_VERSION => metadata.client_version = field.i16()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(metadata)
    }
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let mut metadata = Metadata::new(7, 60_000, 11);
        metadata.epoch = 3;
        metadata.state = TransactionState::Ongoing;
        metadata.started_ms = 9;
        for (topic, partition) in [("a", 0), ("a", 300), ("b", 1)] {
            metadata.partitions.insert(TopicPartitionName::new(topic, partition));
        }
        metadata
    }

    #[test]
    fn records_have_kafkas_bytes() {
        let mut small = metadata();
        small.partitions = [TopicPartitionName::new("to", 2)].into();
        let entry = entry(&StrBytes::from_static_str("id"), Some(&small));
        assert_eq!(&entry.key[..], b"\x00\x00\x00\x02id");
        let mut expected = BytesMut::new();
        expected.put_slice(b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x03\x00\x00\xea\x60\x01");
        expected.put_slice(b"\x02\x03to\x02\x00\x00\x00\x02\x00");
        expected.put_i64(11);
        expected.put_i64(9);
        expected.put_u8(0);
        assert_eq!(entry.value.unwrap(), expected);
    }

    #[test]
    fn metadata_round_trips_and_no_prefix_of_it_panics() {
        let mut all = metadata();
        (all.previous_producer_id, all.next_producer_id, all.client_version) = (5, 6, 2);
        let empty = Metadata::new(1, 2, 3);
        for metadata in [metadata(), all, empty] {
            let bytes = metadata.encode();
            assert_eq!(Metadata::decode(&bytes), Ok(metadata));
            for end in 0..bytes.len() {
                assert!(Metadata::decode(&bytes[..end]).is_err(), "prefix of {end} bytes");
            }
        }
    }

    #[test]
    fn a_value_of_version_0_loads() {
        let mut bytes =
            BytesMut::from(&b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x03\x00\x00\xea\x60\x01"[..]);
        bytes.put_slice(b"\x00\x00\x00\x01\x00\x02to\x00\x00\x00\x01\x00\x00\x00\x02");
        bytes.put_i64(11);
        bytes.put_i64(9);
        let mut expected = metadata();
        expected.partitions = [TopicPartitionName::new("to", 2)].into();
        assert_eq!(Metadata::decode(&bytes), Ok(expected));
        assert_eq!(decode_key(b"\x00\x00\x00\x02id"), Ok(Some(StrBytes::from_static_str("id"))));
        assert_eq!(decode_key(b"\x00\x09id"), Ok(None));
    }
}
