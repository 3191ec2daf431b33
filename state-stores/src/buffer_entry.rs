//! What a buffer of suppress keeps of a key, in bytes: as its changelog has it today, and had it in older versions of
//! Kafka Streams.
//!
//! ```text
//! version 3    context | prior | old | new | time i64       since 2.4.2; old: -2 where it is the same as prior
//! version 2    context | change | prior | time i64          2.4.0, 2.4.1 and 2.5.0 mark version 3 as this one
//! version 1    time i64 | context | change                  2.3
//! version 0    time i64 | change, with the length taken off 2.1, 2.2; without a header that tells the version
//!
//! context      timestamp i64 | offset i64 | topic | partition i32 | header count i32 | (name | value)*
//! change       length i32, then old | new
//! each value, topic, name: length i32 (-1: null), bytes
//! ```

use std::sync::Arc;

use crate::contract::{RecordContext, RestoreRecord};
use crate::{Header, Headers};

/// What is kept of a key, with values in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// `None` where it is the record being processed.
    pub(crate) context: Option<RecordContext>,
    pub(crate) prior: Option<&'a [u8]>,
    pub(crate) old: Option<&'a [u8]>,
    pub(crate) new: Option<&'a [u8]>,
    pub(crate) time: i64,
}

const NULL: i32 = -1;
const SAME_AS_PRIOR: i32 = -2;

impl<'a> Entry<'a> {
    /// Reads what `write` wrote; `None` for anything else.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let context = read_context(&mut rest)?;
        let prior = take_nullable(&mut rest)?;
        let old = match take_i32(&mut rest)? {
            SAME_AS_PRIOR => prior,
            NULL => None,
            length => Some(take(&mut rest, length)?),
        };
        let new = take_nullable(&mut rest)?;
        let time = take_i64(&mut rest)?;
        rest.is_empty().then_some(Entry { context: Some(context), prior, old, new, time })
    }

    /// Reads a changelog's record of any version; `None` where it is none. `topic` is the changelog's, `buffered` the prior
    /// value of the key where it is buffered already: the first versions do not tell it, and without one it is the old value.
    pub(crate) fn of_changelog(
        record: &RestoreRecord<'a>,
        topic: &str,
        buffered: Option<&'a [u8]>,
    ) -> Option<Self> {
        let bytes = record.value?;
        match version_of(&record.headers)? {
            3 => Entry::read(bytes),
            2 => Entry::read_version_2(bytes).or_else(|| Entry::read(bytes)),
            version => {
                let mut rest = bytes;
                let time = take_i64(&mut rest)?;
                let (context, (old, new)) = match version {
                    1 => (read_context(&mut rest)?, take_change(&mut rest)?),
                    _ => (context_of(record, topic), read_change(rest)?),
                };
                Some(Entry { context: Some(context), prior: buffered.or(old), old, new, time })
            }
        }
    }

    fn read_version_2(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let context = read_context(&mut rest)?;
        let (old, new) = take_change(&mut rest)?;
        let prior = take_nullable(&mut rest)?;
        let time = take_i64(&mut rest)?;
        rest.is_empty().then_some(Entry { context: Some(context), prior, old, new, time })
    }

    pub(crate) fn write(&self, context: &RecordContext, out: &mut Vec<u8>) {
        write_context(context, out);
        write_nullable(self.prior, out);
        match self.old {
            Some(_) if self.old == self.prior => out.extend_from_slice(&SAME_AS_PRIOR.to_be_bytes()),
            old => write_nullable(old, out),
        }
        write_nullable(self.new, out);
        out.extend_from_slice(&self.time.to_be_bytes());
    }

    pub(crate) fn size(&self, key: &[u8]) -> u64 {
        self.size_with(key, self.context.as_ref().unwrap_or(&RecordContext::default()))
    }

    /// Bytes by the JVM's count: buffer time, key, values, context.
    pub(crate) fn size_with(&self, key: &[u8], context: &RecordContext) -> u64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let old = if self.old == self.prior { None } else { self.old };
        let mut size = 8 + key.len() + length(self.prior) + length(old) + length(self.new);
        size += 8 + 8 + 4 + context.topic.as_ref().map_or(0, |topic| topic.encode_utf16().count());
        for header in &context.headers {
            size += header.key.encode_utf16().count() + length(header.value.as_deref());
        }
        size as u64
    }
}

/// The name of the header that tells the version of a record.
pub(crate) const VERSION_HEADER: &str = "v";

/// The version of a record of the changelog; `None`: one that is not known.
fn version_of(headers: &Headers) -> Option<u8> {
    match headers.last(VERSION_HEADER) {
        None => Some(0),
        Some(header) => match header.value.as_deref() {
            Some(&[version @ 1..=3]) => Some(version),
            _ => None,
        },
    }
}

/// Where a record of version 0 came from is not told: the changelog's record stands for it.
fn context_of(record: &RestoreRecord<'_>, topic: &str) -> RecordContext {
    RecordContext {
        timestamp: record.timestamp,
        headers: record.headers.clone(),
        topic: Some(topic.into()),
        partition: record.partition,
        offset: record.offset,
    }
}

type OldAndNew<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Old and new value (`FullChangeSerde.decomposeLegacyFormattedArrayIntoChangeArrays`).
fn read_change(mut bytes: &[u8]) -> Option<OldAndNew<'_>> {
    let change = (take_nullable(&mut bytes)?, take_nullable(&mut bytes)?);
    bytes.is_empty().then_some(change)
}

fn take_change<'a>(rest: &mut &'a [u8]) -> Option<OldAndNew<'a>> {
    read_change(take_nullable(rest)??)
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    // Kafka's records are far below this length.
    out.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
}

pub(crate) fn write_nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => out.extend_from_slice(&NULL.to_be_bytes()),
        Some(bytes) => {
            write_length(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
    }
}

/// `ProcessorRecordContext.serialize`.
pub(crate) fn write_context(context: &RecordContext, out: &mut Vec<u8>) {
    out.extend_from_slice(&context.timestamp.to_be_bytes());
    out.extend_from_slice(&context.offset.to_be_bytes());
    write_nullable(Some(context.topic.as_deref().unwrap_or_default().as_bytes()), out);
    out.extend_from_slice(&context.partition.to_be_bytes());
    write_length(context.headers.len(), out);
    for header in &context.headers {
        write_nullable(Some(header.key.as_bytes()), out);
        write_nullable(header.value.as_deref(), out);
    }
}

pub(crate) fn read_context(rest: &mut &[u8]) -> Option<RecordContext> {
    let (timestamp, offset) = (take_i64(rest)?, take_i64(rest)?);
    let topic = std::str::from_utf8(take_nullable(rest)??).ok()?;
    let topic = (!topic.is_empty()).then(|| Arc::from(topic));
    let partition = take_i32(rest)?;
    let count = take_i32(rest)?;
    // Each header takes bytes from what is there: a false count ends the loop, it allocates nothing.
    let headers = (0..count).map(|_| {
        let key = std::str::from_utf8(take_nullable(rest)??).ok()?;
        Some(Header { key: key.into(), value: take_nullable(rest)?.map(Into::into) })
    });
    let headers = headers.collect::<Option<Headers>>()?;
    Some(RecordContext { timestamp, headers, topic, partition, offset })
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(i32::from_be_bytes(*number))
}

pub(crate) fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    let (number, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(i64::from_be_bytes(*number))
}

fn take<'a>(rest: &mut &'a [u8], length: i32) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(taken)
}

pub(crate) fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_i32(rest)? {
        NULL => Some(None),
        length => take(rest, length).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn text(value: &Value) -> Option<&[u8]> {
        value.as_str().map(str::as_bytes)
    }

    fn context(case: &Value) -> RecordContext {
        let mut headers = Headers::new();
        for header in case["headers"].as_array().unwrap() {
            let value = header["value"].as_str().map(|hex| u8::from_str_radix(hex, 16).unwrap());
            headers.add(header["key"].as_str().unwrap(), value.as_ref().map(std::slice::from_ref));
        }
        RecordContext {
            timestamp: case["timestamp"].as_i64().unwrap(),
            offset: case["offset"].as_i64().unwrap(),
            partition: i32::try_from(case["partition"].as_i64().unwrap()).unwrap(),
            topic: Some(case["topic"].as_str().unwrap().into()),
            headers,
        }
    }

    #[test]
    fn entries_are_those_of_the_jvm() {
        let file: Value =
            serde_json::from_str(include_str!("../tests/vectors/suppress_buffer.json")).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let context = context(&case["context"]);
            let (prior, old) = (text(&case["priorValue"]), text(&case["oldValue"]));
            let time = case["bufferTime"].as_i64().unwrap();
            let entry = Entry { context: None, prior, old, new: text(&case["newValue"]), time };
            let mut bytes = Vec::new();
            entry.write(&context, &mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, case["changelogValue_v3"].as_str().unwrap());
            assert_eq!(Entry::read(&bytes), Some(Entry { context: Some(context), ..entry }));
            assert_eq!(Entry::read(&bytes[1..]), None);
        }
    }

    /// Bytes as the older versions lay them out; Kafka 4 reads them, but does not write them any more.
    #[test]
    fn records_of_older_versions_are_read() {
        let context = RecordContext {
            timestamp: 7,
            offset: 3,
            topic: Some("in".into()),
            partition: 1,
            ..RecordContext::default()
        };
        let (old, new, prior) = (Some(&b"old"[..]), Some(&b"new"[..]), Some(&b"prior"[..]));
        let (mut change, mut sized, mut from) = (Vec::new(), Vec::new(), Vec::new());
        write_nullable(old, &mut change);
        write_nullable(new, &mut change);
        write_nullable(Some(&change), &mut sized);
        write_context(&context, &mut from);
        let time = 20_i64.to_be_bytes();
        let mut last = Vec::new();
        write_nullable(prior, &mut last);
        let mut newest = Vec::new();
        Entry { context: None, prior, old, new, time: 20 }.write(&context, &mut newest);
        let versions: [(Option<u8>, Vec<u8>); 5] = [
            (None, [&time[..], &change].concat()),
            (Some(1), [&time[..], &from, &sized].concat()),
            (Some(2), [&from[..], &sized, &last, &time].concat()),
            (Some(2), newest.clone()),
            (Some(3), newest),
        ];
        for (version, bytes) in versions {
            let mut headers = Headers::new();
            if let Some(version) = version {
                headers.add(VERSION_HEADER, Some(&[version]));
            }
            let record = RestoreRecord {
                key: b"k",
                value: Some(&bytes),
                timestamp: 9,
                headers,
                partition: 4,
                offset: 5,
            };
            let told = matches!(version, Some(2 | 3));
            for buffered in [None, Some(&b"before"[..])] {
                let entry = Entry::of_changelog(&record, "changelog", buffered).unwrap();
                let expected = if told { prior } else { buffered.or(old) };
                assert_eq!((entry.prior, entry.old, entry.new, entry.time), (expected, old, new, 20));
                let context = match version {
                    Some(_) => context.clone(),
                    None => RecordContext {
                        timestamp: 9,
                        offset: 5,
                        partition: 4,
                        topic: Some("changelog".into()),
                        ..RecordContext::default()
                    },
                };
                assert_eq!(entry.context, Some(context), "{version:?}");
            }
            let cut = RestoreRecord { value: Some(&bytes[..bytes.len() - 1]), ..record.clone() };
            assert_eq!(Entry::of_changelog(&cut, "changelog", None), None, "{version:?}");
        }
    }

    #[test]
    fn a_version_to_come_is_not_guessed_at() {
        let mut headers = Headers::new();
        headers.add(VERSION_HEADER, Some(&[4]));
        let record =
            RestoreRecord { key: b"k", value: Some(b""), timestamp: 9, headers, partition: 0, offset: 0 };
        assert_eq!(Entry::of_changelog(&record, "changelog", None), None);
    }
}
