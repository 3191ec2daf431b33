//! The text that goes with a committed offset: how far the partition's time had come, so that stream time does not start
//! anew after a hand-over (`TopicPartitionMetadata` of Kafka Streams, KIP-447 and its successors).
//!
//! ```text
//! Base64( 02 | partition time i64 | [ count i32 | ( length i32 | name | value i64 )* ] )
//! ```
//!
//! Version 01 ended after the time. What cannot be read counts as "nothing known", as in the JVM: it was written by something
//! else, and the offset beside it is still good.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The time of a partition from which nothing was processed.
pub const UNKNOWN_PARTITION_TIME: i64 = -1;

const TIME_ONLY: u8 = 1;
const LATEST: u8 = 2;

/// What is committed beside an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// The greatest timestamp taken from the partition, in ms; -1 when unknown.
    pub partition_time: i64,
    /// What processors keep here: the last emitted close time (ms) of emit-on-close stores, by store name.
    pub processor_metadata: BTreeMap<String, i64>,
}

impl OffsetMetadata {
    /// The metadata of a partition at `partition_time` (ms) without processors' additions.
    pub fn new(partition_time: i64) -> Self {
        OffsetMetadata { partition_time, processor_metadata: BTreeMap::new() }
    }

    /// The text to commit.
    pub fn encode(&self) -> String {
        let mut bytes = vec![LATEST];
        bytes.extend(self.partition_time.to_be_bytes());
        if !self.processor_metadata.is_empty() {
            bytes.extend(length(self.processor_metadata.len()));
            for (name, value) in &self.processor_metadata {
                bytes.extend(length(name.len()));
                bytes.extend(name.as_bytes());
                bytes.extend(value.to_be_bytes());
            }
        }
        STANDARD.encode(bytes)
    }

    /// Reads the text committed with an offset; unknown time and no additions where it is none of ours.
    pub fn decode(text: &str) -> Self {
        let bytes = STANDARD.decode(text).unwrap_or_default();
        Self::read(&bytes).unwrap_or_else(|| OffsetMetadata::new(UNKNOWN_PARTITION_TIME))
    }

    /// Keeps the greater value of each processor's addition: every input partition of a task carries them.
    pub fn merge_processor_metadata(&mut self, other: &OffsetMetadata) {
        for (name, value) in &other.processor_metadata {
            let ours = self.processor_metadata.entry(name.clone()).or_insert(*value);
            *ours = (*ours).max(*value);
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if !matches!(*version, TIME_ONLY | LATEST) {
            return None;
        }
        let (time, mut rest) = rest.split_first_chunk::<8>()?;
        let mut metadata = OffsetMetadata::new(i64::from_be_bytes(*time));
        if *version == TIME_ONLY || rest.is_empty() {
            return Some(metadata);
        }
        // Each entry takes bytes from what is there: a false count ends the loop, it allocates nothing.
        for _ in 0..take_length(&mut rest)? {
            let name_length = take_length(&mut rest)?;
            let (name, tail) = rest.split_at_checked(name_length)?;
            let (value, tail) = tail.split_first_chunk::<8>()?;
            metadata
                .processor_metadata
                .insert(String::from_utf8(name.to_vec()).ok()?, i64::from_be_bytes(*value));
            rest = tail;
        }
        Some(metadata)
    }
}

fn length(length: usize) -> [u8; 4] {
    // Kafka bounds the whole text (offset.metadata.max.bytes, 4096 by default).
    i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes()
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(i32::from_be_bytes(*length)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../testdata/offset_metadata.json")).unwrap()
    }

    #[test]
    fn text_is_that_of_kafka_streams_and_reads_back() {
        for case in vectors()["encode"].as_array().unwrap() {
            let metadata = OffsetMetadata {
                partition_time: case["partitionTime"].as_i64().unwrap(),
                processor_metadata: serde_json::from_value(case["processorMetadata"].clone()).unwrap(),
            };
            let encoded = case["encoded"].as_str().unwrap();
            assert_eq!(metadata.encode(), encoded, "{case}");
            assert_eq!(OffsetMetadata::decode(encoded), metadata, "{case}");
        }
    }

    #[test]
    fn foreign_and_old_texts_are_read_as_the_jvm_reads_them() {
        for case in vectors()["decode"].as_array().unwrap() {
            let decoded = OffsetMetadata::decode(case["text"].as_str().unwrap());
            assert_eq!(decoded, OffsetMetadata::new(case["partitionTime"].as_i64().unwrap()), "{case}");
        }
    }

    /// A committed text is input from the outside: cut or altered anywhere, it must not panic.
    #[test]
    fn damaged_texts_are_unknown_and_harmless() {
        let whole =
            OffsetMetadata { partition_time: 5, processor_metadata: [("alpha".to_owned(), 1)].into() }
                .encode();
        let bytes = STANDARD.decode(&whole).unwrap();
        for cut in 0..bytes.len() {
            let decoded = OffsetMetadata::decode(&STANDARD.encode(&bytes[..cut]));
            let expected = if cut == 9 { 5 } else { UNKNOWN_PARTITION_TIME };
            assert_eq!(decoded.partition_time, expected, "{cut}");
        }
        let mut huge = bytes[..9].to_vec();
        huge.extend([0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(OffsetMetadata::decode(&STANDARD.encode(&huge)).partition_time, UNKNOWN_PARTITION_TIME);
    }

    #[test]
    fn processors_additions_merge_by_maximum() {
        let mut one = OffsetMetadata { partition_time: 1, processor_metadata: [("a".to_owned(), 5)].into() };
        let other = OffsetMetadata {
            partition_time: 9,
            processor_metadata: [("a".to_owned(), 3), ("b".to_owned(), 7)].into(),
        };
        one.merge_processor_metadata(&other);
        assert_eq!(one.processor_metadata, [("a".to_owned(), 5), ("b".to_owned(), 7)].into());
        assert_eq!(one.partition_time, 1);
    }
}
