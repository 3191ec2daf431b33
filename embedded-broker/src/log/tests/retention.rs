//! What is deleted by age, by size and on request, and what the settings of a single append do.

use super::super::batch::BatchHeader;
use super::super::{AppendError, Log, LogConfig, ReadError};
use super::support::{Batch, NOW, clock, contents, open};

fn small() -> LogConfig {
    LogConfig { segment_bytes: 200, file_delete_delay_ms: 0, ..LogConfig::default() }
}

fn fill(log: &Log, batches: i64, time: i64) {
    for at in 0..batches {
        let value =
            "a value that is long enough for its batch to fill a segment by itself: some hundred bytes of it";
        log.append(Batch::of(vec![(time + at, Some("k".to_owned()), Some(value.to_owned()))]).bytes())
            .unwrap();
    }
}

fn files(dir: &std::path::Path, end: &str) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().to_str().unwrap().ends_with(end))
        .count()
}

/// Segments go when their newest record is too old, the active one too; the log start follows and offsets go on.
#[test]
fn deletes_by_age() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), LogConfig { retention_ms: 10, ..small() }, &clock, false);
    fill(&log, 4, NOW);
    clock.advance(11);
    let done = log.maintain().unwrap();
    assert_eq!((done.segments_deleted, done.rolled), (1, false));
    assert_eq!((log.log_start_offset(), log.end_offset()), (1, 4));
    assert!(matches!(log.read(0, 1, true, i64::MAX), Err(ReadError::OffsetOutOfRange { start: 1, .. })));
    clock.advance(100);
    assert!(log.maintain().unwrap().rolled);
    assert_eq!((log.log_start_offset(), log.end_offset(), log.size_bytes()), (4, 4, 0));
    assert_eq!(log.maintain().unwrap().segments_deleted, 0);
    assert_eq!(files(dir.path(), ".log"), 1);
    drop(log);
    let log = open(dir.path(), small(), &clock, false);
    assert_eq!((log.log_start_offset(), log.end_offset()), (4, 4));
    fill(&log, 1, NOW);
    assert_eq!(contents(&log)[0].0, 4);
}

/// The oldest segments go while the log stays at least `retention.bytes` large; files stay for their delay.
#[test]
fn deletes_by_size_after_the_delay() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { retention_bytes: 400, file_delete_delay_ms: 50, ..small() };
    let log = open(dir.path(), config, &clock, false);
    fill(&log, 6, NOW);
    let segment = log.size_bytes() / 6;
    let done = log.maintain().unwrap();
    assert_eq!(done.bytes_deleted, done.segments_deleted as u64 * segment);
    assert!(log.size_bytes() >= 400 && log.size_bytes() < 400 + segment);
    assert_eq!(files(dir.path(), ".deleted"), done.segments_deleted);
    clock.advance(50);
    log.maintain().unwrap();
    assert_eq!(files(dir.path(), ".deleted"), 0);
}

/// DeleteRecords moves the log start into the middle of a batch, survives a restart and frees whole segments.
#[test]
fn delete_records() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), LogConfig { delete: false, ..small() }, &clock, false);
    fill(&log, 4, NOW);
    log.append(Batch::pairs(&[("a", "1"), ("b", "2"), ("c", "3")]).bytes()).unwrap();
    assert_eq!(log.delete_records_before(5).unwrap(), 5);
    assert_eq!(log.delete_records_before(2).unwrap(), 5);
    assert!(log.delete_records_before(8).is_err());
    drop(log);
    let log = open(dir.path(), LogConfig { delete: false, ..small() }, &clock, false);
    assert_eq!(contents(&log).len(), 2);
    assert!(log.maintain().unwrap().segments_deleted > 0);
    assert_eq!(log.delete_records_before(7).unwrap(), 7);
    assert_eq!(log.offset_for_time(0).unwrap(), None);
    assert!(log.read(7, 10, true, i64::MAX).unwrap().is_empty());
}

/// The log of a deleted topic takes nothing any more.
#[test]
fn abandoned_log_refuses_work() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), small(), &clock, false);
    fill(&log, 4, NOW);
    log.abandon();
    assert!(matches!(log.append(Batch::pairs(&[("a", "1")]).bytes()), Err(AppendError::Unavailable { .. })));
    assert!(log.maintain().is_err());
    assert_eq!(contents(&log).len(), 4);
}

/// Under LogAppendTime the batch has the broker's time, with a CRC that fits, and lookups by time use it.
#[test]
fn log_append_time() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), LogConfig { log_append_time: true, ..small() }, &clock, false);
    clock.advance(77);
    let appended = log.append(Batch::of(vec![(5, None, None), (3, None, None)]).bytes()).unwrap();
    assert_eq!(appended.log_append_time, NOW + 77);
    let bytes = log.read(0, 1, true, i64::MAX).unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!((header.crc, header.max_timestamp), (super::super::batch::crc_of(&bytes), NOW + 77));
    assert!(header.is_log_append_time());
    assert_eq!(log.offset_for_time(NOW).unwrap(), Some((0, NOW + 77)));
    assert_eq!(log.offset_for_time(NOW + 78).unwrap(), None);
}

/// What a client must not send is refused with the protocol's error, and nothing of it is written.
#[test]
fn refusals() {
    use kafka_protocol::error::ResponseError as Code;
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { max_message_bytes: 150, segment_bytes: 200, ..LogConfig::default() };
    let log = open(dir.path(), config, &clock, false);
    let good = Batch::pairs(&[("k", "v")]).bytes();
    let changed = |at: usize, value: u8, crc: bool| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        if crc {
            super::super::batch::renew_crc(&mut bytes);
        }
        bytes
    };
    let long = "x".repeat(200);
    let cases = [
        ("flipped bit", changed(70, 0x55, false), Code::CorruptMessage),
        ("cut", good[..good.len() - 1].to_vec(), Code::CorruptMessage),
        ("cut in the header", good[..40].to_vec(), Code::CorruptMessage),
        ("nothing", Vec::new(), Code::InvalidRecord),
        ("old format", changed(16, 1, false), Code::UnsupportedForMessageFormat),
        ("negative length", changed(8, 0xff, false), Code::CorruptMessage),
        ("record count", changed(60, 2, true), Code::InvalidRecord),
        ("record length", changed(61, 0x7f, true), Code::CorruptMessage),
        ("offset delta", changed(64, 4, true), Code::CorruptMessage),
        ("control", changed(22, 0x20, true), Code::InvalidRecord),
        ("codec", changed(22, 7, true), Code::InvalidRecord),
        ("log append time", changed(22, 8, true), Code::InvalidTimestamp),
        (
            "too far in the future",
            Batch::of(vec![(NOW + 3_600_001, None, None)]).bytes().to_vec(),
            Code::InvalidTimestamp,
        ),
        ("too large", Batch::pairs(&[("k", &long)]).bytes().to_vec(), Code::MessageTooLarge),
        ("set too large", [&good[..], &good, &good].concat(), Code::RecordListTooLarge),
    ];
    for (what, bytes, code) in cases {
        let refused = log.append(bytes.into()).expect_err(what);
        assert_eq!(refused.kafka_error(), code, "{what}: {refused}");
        assert_eq!((log.end_offset(), log.size_bytes()), (0, 0), "{what}");
    }
    let two = [&good[..], &good].concat();
    assert_eq!(log.append(two.into()).unwrap().last_offset, 1);
}
