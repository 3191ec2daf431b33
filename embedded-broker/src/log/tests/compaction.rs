//! What stays of a compacted log, and that consumers and producers do not notice anything else.

use bytes::Bytes;
use kafka_protocol::records::Compression;

use super::super::batch::BatchHeader;
use super::super::{AppendError, Log, LogConfig};
use super::support::{Batch, NOW, clock, contents, open, records};
use crate::clock::Clock;

fn compacted() -> LogConfig {
    // Every batch of these tests fills a segment.
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 200,
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

fn put(log: &Log, pairs: &[(&str, &str)]) {
    log.append(Batch::pairs(pairs).bytes()).unwrap();
}

fn delete(log: &Log, key: &str, time: i64) {
    log.append(Batch::of(vec![(time, Some(key.to_owned()), None)]).bytes()).unwrap();
}

fn kept(log: &Log) -> Vec<(i64, String)> {
    contents(log)
        .into_iter()
        .map(|(offset, key, value)| (offset, key + "=" + &value.unwrap_or_default()))
        .collect()
}

/// The last value of each key stays at its offset, the active segment is left alone, a reopened log is the same.
#[test]
fn last_value_of_each_key_stays() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { segment_bytes: 220, ..compacted() };
    let log = open(dir.path(), config, &clock, false);
    let filler =
        "a value that is long enough for its batch to fill most of a segment by itself, almost, or whole";
    for value in ["1", "2", "3"] {
        put(&log, &[("a", value), ("b", value), ("filler", filler)]);
        put(&log, &[("a", value), (value, filler)]);
    }
    let done = log.compact_now().unwrap().unwrap();
    assert!(done.bytes_after < done.bytes_before);
    // Offsets 13 and 14 are in the active segment, so what they supersede in the closed ones stays.
    let after: Vec<_> =
        kept(&log).into_iter().map(|(offset, text)| (offset, text.replace(filler, "f"))).collect();
    let text = |offset: i64, text: &str| (offset, text.to_owned());
    assert_eq!(
        after,
        [
            text(4, "1=f"),
            text(9, "2=f"),
            text(10, "a=3"),
            text(11, "b=3"),
            text(12, "filler=f"),
            text(13, "a=3"),
            text(14, "3=f")
        ]
    );
    drop(log);
    let log = open(dir.path(), compacted(), &clock, false);
    assert_eq!(kept(&log).len(), after.len());
}

/// Offsets, timestamps, headers and codec of what stays are as they were; batches keep their offset range.
#[test]
fn a_rewritten_batch_keeps_everything_else() {
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
        let log = open(dir.path(), compacted(), &clock, false);
        let record = |time, key: &str, value: Option<&str>| {
            (NOW + time, Some(key.to_owned()), value.map(str::to_owned))
        };
        let batch = Batch::of(vec![
            record(5, "a", Some("old")),
            record(90, "b", Some("old")),
            record(-7, "c", Some("stays")),
            record(30, "d", None),
        ]);
        log.append(batch.with(codec).by(4, 2, 9).bytes()).unwrap();
        put(&log, &[("a", "new"), ("b", "new")]);
        let before = records(&log);
        let header_before = BatchHeader::parse(&log.read(0, 1, true, i64::MAX).unwrap()).unwrap();
        put(&log, &[("filler", "that makes the second batch's segment a closed one, with some more text")]);
        put(&log, &[("filler", "that makes the second batch's segment a closed one, with some more text")]);
        log.compact_now().unwrap().unwrap();
        let after = records(&log);
        assert_eq!(after[..4], before[2..6], "{codec:?}");
        let header = BatchHeader::parse(&log.read(0, 1, true, i64::MAX).unwrap()).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.count), (0, 3, 2));
        assert_eq!(header.codec(), header_before.codec());
        assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence, header.max_timestamp),
            (4, 2, 9, NOW + 30)
        );
        assert_eq!(header.delete_horizon(), Some(NOW + LogConfig::default().delete_retention_ms));
    }
}

/// A header name may occur twice, and stays so in a rewritten batch.
#[test]
fn repeated_headers_survive() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), compacted(), &clock, false);
    // Length 28: attributes, timestamp delta, offset delta, key "k", value null, two headers "h" with "1" and null.
    let record: &[u8] = &[0, 0, 0, 2, b'k', 1, 4, 2, b'h', 2, b'1', 2, b'h', 1];
    let other: &[u8] = &[0, 0, 2, 2, b'o', 1, 0];
    let mut body = vec![u8::try_from(record.len() * 2).unwrap()];
    body.extend_from_slice(record);
    body.push(u8::try_from(other.len() * 2).unwrap());
    body.extend_from_slice(other);
    let header = BatchHeader::parse(&Batch::pairs(&[("a", "b"), ("c", "d")]).bytes()).unwrap();
    let header = BatchHeader { size: 61 + body.len(), base_timestamp: NOW, ..header };
    let mut bytes = [header.encode().as_slice(), &body].concat();
    super::super::batch::renew_crc(&mut bytes);
    log.append(Bytes::from(bytes)).unwrap();
    let text = "fills the segment up to its end, so that the next batch goes to another segment, with even more text";
    put(&log, &[("o", text)]);
    put(&log, &[("z", text)]);
    log.compact_now().unwrap().unwrap();
    let first = &records(&log)[0];
    let header = |value: Option<&'static [u8]>| (Bytes::from_static(b"h"), value.map(Bytes::from_static));
    assert_eq!((first.offset, first.timestamp), (0, NOW));
    assert_eq!(first.headers, [header(Some(b"1")), header(None)]);
    assert_eq!(records(&log).len(), 3);
}

/// A tombstone stays for `delete.retention.ms` after its first compaction, then goes.
#[test]
fn tombstones_go_after_their_time() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), LogConfig { delete_retention_ms: 1000, ..compacted() }, &clock, false);
    let filler =
        "a value that is long enough for its batch to fill most of a segment by itself, almost, or whole";
    let more = |log: &Log| {
        put(log, &[("filler", filler)]);
        put(log, &[("filler", filler)]);
    };
    put(&log, &[("k", filler)]);
    delete(&log, "k", NOW);
    more(&log);
    log.compact_now().unwrap().unwrap();
    assert_eq!(kept(&log)[0], (1, "k=".to_owned()));
    clock.advance(999);
    more(&log);
    log.compact_now().unwrap().unwrap();
    assert_eq!(kept(&log)[0], (1, "k=".to_owned()));
    assert_eq!(records(&log)[0].timestamp, NOW);
    clock.advance(1);
    more(&log);
    log.compact_now().unwrap().unwrap();
    assert_eq!(kept(&log).len(), 2);
    // A consumer that stands in the gap goes on behind it.
    assert!(!log.read(0, 1 << 20, true, i64::MAX).unwrap().is_empty());
}

/// Records younger than `min.compaction.lag.ms` stay; a record older than `max.compaction.lag.ms` makes compaction
/// due however clean the log is; `min.cleanable.dirty.ratio` decides otherwise.
#[test]
fn lags_and_ratio_decide_when() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig {
        min_cleanable_dirty_ratio: 1.0,
        min_compaction_lag_ms: 100,
        max_compaction_lag_ms: 5_000,
        ..compacted()
    };
    let log = open(dir.path(), config, &clock, false);
    let filler =
        "a value that is long enough for its batch to fill most of a segment by itself, almost, or whole";
    for _ in 0..3 {
        put(&log, &[("k", filler)]);
    }
    assert!(log.compact_now().unwrap().is_none(), "too young");
    clock.advance(101);
    assert!(log.maintain().unwrap().compacted.is_none(), "not dirty enough");
    clock.advance(5_000);
    let done = log.maintain().unwrap();
    assert!(done.rolled, "the active segment is old enough to be closed");
    assert!(done.compacted.is_some());
    assert_eq!(contents(&log).len(), 1);
    assert_eq!(clock.now_ms(), NOW + 5_101);
}

/// The last batch of a producer stays, if need be without records, so that a retry and a gap are still recognised
/// after a restart that finds no snapshot.
#[test]
fn sequence_numbers_survive_compaction() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), compacted(), &clock, false);
    let filler =
        "a value that is long enough for its batch to fill most of a segment by itself, almost, or whole";
    log.append(Batch::pairs(&[("k", filler)]).by(9, 0, 0).bytes()).unwrap();
    log.append(Batch::pairs(&[("k", filler)]).by(9, 0, 1).bytes()).unwrap();
    put(&log, &[("k", filler)]);
    put(&log, &[("x", filler)]);
    log.compact_now().unwrap().unwrap();
    assert_eq!(contents(&log).len(), 2);
    drop(log);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let log = open(dir.path(), compacted(), &clock, false);
    let again = log.append(Batch::pairs(&[("k", filler)]).by(9, 0, 1).bytes()).unwrap();
    assert!(again.duplicate && again.base_offset == 1);
    let gap = log.append(Batch::pairs(&[("k", filler)]).by(9, 0, 3).bytes());
    assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { last: 1, .. })));
}

/// A compacted topic refuses records without key.
#[test]
fn key_needed() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), compacted(), &clock, false);
    let keyless = Batch::of(vec![(NOW, None, Some("v".to_owned()))]);
    assert!(matches!(log.append(keyless.bytes()), Err(AppendError::InvalidRecord { .. })));
}
