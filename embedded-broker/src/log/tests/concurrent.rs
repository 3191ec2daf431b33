//! Appends, reads and maintenance at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::batch::BatchHeader;
use super::super::{Log, LogConfig};
use super::support::{Batch, clock, contents, open};

const RECORDS: i64 = 4_000;

/// Follows the log to its end as a consumer does; returns how many records it saw.
fn follow(log: &Log, done: &AtomicBool) -> i64 {
    let (mut at, mut seen) = (0, 0);
    loop {
        // In this order, so that nothing is appended between the last read and the end.
        let last = done.load(Ordering::Acquire);
        let bytes = log.read(at, 4096, true, i64::MAX).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            assert!(header.last_offset() >= at, "{} after {at}", header.last_offset());
            assert_eq!(super::super::batch::crc_of(&rest[..header.size]), header.crc);
            at = header.next_offset();
            seen += i64::from(header.count);
            rest = &rest[header.size..];
        }
        if last && bytes.is_empty() {
            assert_eq!(at, log.end_offset());
            return seen;
        }
    }
}

/// Consumers see every record once and in order while segments are closed under them; while they are compacted, too,
/// they get to the end and see at least the last value of each key.
#[test]
fn readers_do_not_notice_maintenance() {
    for compact in [false, true] {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
        let config = LogConfig {
            compact,
            delete: false,
            segment_bytes: 4000,
            index_interval_bytes: 200,
            min_cleanable_dirty_ratio: 0.1,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        };
        let log = open(dir.path(), config, &clock, false);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| follow(&log, &done))).collect();
            let maintenance = scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    log.maintain().unwrap();
                    std::thread::yield_now();
                }
            });
            for at in 0..RECORDS {
                let (key, value) = (format!("k{}", at % 7), at.to_string());
                assert_eq!(log.append(Batch::pairs(&[(&key, &value)]).bytes()).unwrap().base_offset, at);
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                let seen = reader.join().unwrap();
                assert!(if compact { (7..=RECORDS).contains(&seen) } else { seen == RECORDS }, "{seen}");
            }
            maintenance.join().unwrap();
        });
        log.maintain().unwrap();
        let all = contents(&log);
        assert_eq!(all.len() < 1000, compact, "{} records are left", all.len());
        let last: Vec<_> = all[all.len() - 7..].iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(last, (RECORDS - 7..RECORDS).collect::<Vec<_>>());
    }
}
