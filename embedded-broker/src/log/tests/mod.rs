//! The log's behaviour as the broker sees it.

mod compaction;
mod concurrent;
mod faults;
mod model;
mod model_txn;
mod producers;
mod retention;
mod support;
mod transactions;

use kafka_protocol::records::Compression;

use self::support::{Batch, NOW, clock, contents, open};
use super::{AppendError, LogConfig, ReadError};

/// Offsets are given in order, and a read gives back the very batches, whole, from the one that has the offset.
#[test]
fn append_then_read() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), LogConfig::default(), &clock, false);
    let mut ends = log.subscribe();
    for (at, codec) in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
            .into_iter()
            .enumerate()
    {
        let appended = log.append(Batch::pairs(&[("a", "1"), ("b", "2")]).with(codec).bytes()).unwrap();
        assert_eq!((appended.base_offset, appended.last_offset), (at as i64 * 2, at as i64 * 2 + 1));
    }
    assert!(ends.has_changed().unwrap());
    assert_eq!(*ends.borrow_and_update(), 10);
    assert_eq!(contents(&log).len(), 10);
    let all = log.read(0, usize::MAX >> 1, true, i64::MAX).unwrap();
    assert_eq!(all.len() as u64, log.size_bytes());
    // The batch that contains offset 3 begins at 2; bytes beyond the limit are cut at a whole batch.
    let one = log.read(3, 1, true, i64::MAX).unwrap();
    assert_eq!(one[..8], 2_i64.to_be_bytes());
    assert!(log.read(3, 1, false, i64::MAX).unwrap().is_empty());
    assert!(log.read(4, 1 << 20, true, 4).unwrap().is_empty());
    assert!(log.read(10, 1 << 20, true, i64::MAX).unwrap().is_empty());
    assert!(matches!(
        log.read(11, 1, true, i64::MAX),
        Err(ReadError::OffsetOutOfRange { start: 0, end: 10, .. })
    ));
}

/// A log that is dropped without `close`, or closed, has everything when it is opened again, in several segments too.
#[test]
fn reopen_after_crash_and_after_close() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { segment_bytes: 500, index_interval_bytes: 100, ..LogConfig::default() };
    let mut expected = Vec::new();
    for round in 0..4 {
        let log = open(dir.path(), config.clone(), &clock, round % 2 == 0);
        assert_eq!(contents(&log), expected, "round {round}");
        for at in 0..10 {
            let value = format!("{round}-{at}");
            let base = log.append(Batch::pairs(&[("k", &value)]).bytes()).unwrap().base_offset;
            expected.push((base, "k".to_owned(), Some(value)));
        }
        if round % 2 == 1 {
            log.close().unwrap();
            assert!(matches!(
                log.append(Batch::pairs(&[("k", "v")]).bytes()),
                Err(AppendError::Unavailable { .. })
            ));
        }
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().count() > 6);
}

/// A retry of an idempotent producer is answered with its first offset, also after a crash; gaps and old epochs are
/// refused.
#[test]
fn idempotent_producer() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let pair = [("a", "1"), ("b", "2")];
    let log = open(dir.path(), LogConfig::default(), &clock, false);
    for sequence in [0, 2, 4] {
        log.append(Batch::pairs(&pair).by(7, 1, sequence).bytes()).unwrap();
    }
    drop(log);
    let log = open(dir.path(), LogConfig::default(), &clock, false);
    let again = log.append(Batch::pairs(&pair).by(7, 1, 2).bytes()).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.base_offset, again.last_offset, log.end_offset()), (2, 3, 6));
    let gap = log.append(Batch::pairs(&pair).by(7, 1, 8).bytes());
    assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { got: 8, last: 5, .. })), "{gap:?}");
    let old = log.append(Batch::pairs(&pair).by(7, 0, 6).bytes());
    assert!(matches!(old, Err(AppendError::InvalidProducerEpoch { got: 0, current: 1, .. })), "{old:?}");
    assert!(matches!(
        log.append(Batch::pairs(&pair).by(7, 2, 5).bytes()),
        Err(AppendError::OutOfOrderSequence { last: -1, .. })
    ));
    assert!(!log.append(Batch::pairs(&pair).by(7, 2, 0).bytes()).unwrap().duplicate);
    assert!(!log.append(Batch::pairs(&pair).by(8, 0, 55).bytes()).unwrap().duplicate);
}

/// The first record at or after a time is found exactly, inside a compressed batch and across segments.
#[test]
fn lookup_by_time() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { segment_bytes: 400, index_interval_bytes: 1, ..LogConfig::default() };
    let log = open(dir.path(), config, &clock, false);
    let record = |time: i64| (NOW + time, Some("k".to_owned()), Some("v".to_owned()));
    for base in [0, 40, 20, 60, 100, 80] {
        let batch = Batch::of(vec![record(base), record(base + 15), record(base + 5)]).with(Compression::Lz4);
        log.append(batch.bytes()).unwrap();
    }
    // offsets: 0,15,5 | 40,55,45 | 20,35,25 | 60,75,65 | 100,115,105 | 80,95,85
    for (time, expected) in
        [(0, Some(0)), (1, Some(1)), (16, Some(3)), (46, Some(4)), (56, Some(9)), (116, None)]
    {
        let found = log.offset_for_time(NOW + time).unwrap().map(|(offset, _)| offset);
        assert_eq!(found, expected, "time {time}");
    }
    assert_eq!(log.max_timestamp().unwrap(), Some((13, NOW + 115)));
}
