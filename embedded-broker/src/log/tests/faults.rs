//! Storage that fails, and files as a crash leaves them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::super::{AppendError, Disk, DiskFault, DiskFaults, DiskOp, LogConfig};
use super::support::{Batch, clock, contents, open, open_on};

/// What happens from the n-th operation on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// That one fails.
    Once,
    /// That one writes so many bytes, then fails.
    Short(usize),
    /// That one and every later one fail: as if the process had been killed.
    Freeze,
}

/// Makes one operation fail, counted from when it is set. `only` counts one kind of operations.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: Mutex<Option<(usize, Fault, Option<DiskOp>)>>,
    hit: AtomicBool,
}

impl Faults {
    pub(crate) fn disk() -> (Arc<Faults>, Disk) {
        let faults = Arc::new(Faults::default());
        (Arc::clone(&faults), Disk::with_faults(faults))
    }

    /// The operation after the next `skip` ones fails.
    pub(crate) fn after(&self, skip: usize, fault: Fault, only: Option<DiskOp>) {
        *self.plan.lock() = Some((skip, fault, only));
        self.hit.store(false, Ordering::Relaxed);
    }

    /// Whether something has failed since the plan was set.
    pub(crate) fn hit(&self) -> bool {
        self.hit.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        *self.plan.lock() = None;
        self.hit.store(false, Ordering::Relaxed);
    }
}

impl DiskFaults for Faults {
    fn check(&self, op: DiskOp, _path: &Path, len: usize) -> Option<DiskFault> {
        let mut plan = self.plan.lock();
        let (skip, fault, only) = (*plan)?;
        if only.is_some_and(|only| only != op) {
            return None;
        }
        if skip > 0 {
            *plan = Some((skip - 1, fault, only));
            return None;
        }
        self.hit.store(true, Ordering::Relaxed);
        if fault != Fault::Freeze {
            *plan = None;
        }
        let error = io::Error::new(io::ErrorKind::StorageFull, "planned");
        Some(match fault {
            Fault::Short(bytes) => DiskFault::Short(bytes.min(len.saturating_sub(1)), error),
            Fault::Once | Fault::Freeze => DiskFault::Fail(error),
        })
    }
}

/// An append whose write fails half-way is refused and leaves nothing; the next one gets its offset.
#[test]
fn failed_write_leaves_nothing() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let (faults, disk) = Faults::disk();
    let log = open_on(disk, dir.path(), LogConfig::default(), &clock);
    log.append(Batch::pairs(&[("a", "1")]).by(3, 0, 0).bytes()).unwrap();
    let (before, size) = (contents(&log), log.size_bytes());
    for fault in [Fault::Once, Fault::Short(1), Fault::Short(70)] {
        faults.after(0, fault, Some(DiskOp::Write));
        let refused = log.append(Batch::pairs(&[("b", "2")]).by(3, 0, 1).bytes());
        assert!(matches!(refused, Err(AppendError::Storage { .. })));
        assert_eq!((contents(&log), log.size_bytes()), (before.clone(), size));
        let on_disk = std::fs::metadata(dir.path().join("00000000000000000000.log")).unwrap().len();
        assert_eq!(on_disk, size);
    }
    // Not a duplicate: the failed tries were never written.
    let appended = log.append(Batch::pairs(&[("b", "2")]).by(3, 0, 1).bytes()).unwrap();
    assert_eq!((appended.base_offset, appended.duplicate), (1, false));
}

/// A log that cannot undo a failed write goes offline, still serves reads, and is whole after a reopen.
#[test]
fn offline_until_reopened() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let (faults, disk) = Faults::disk();
    let log = open_on(disk, dir.path(), LogConfig::default(), &clock);
    log.append(Batch::pairs(&[("a", "1")]).bytes()).unwrap();
    let before = contents(&log);
    faults.after(0, Fault::Freeze, None);
    assert!(log.append(Batch::pairs(&[("b", "2")]).bytes()).is_err());
    faults.clear();
    assert!(matches!(log.append(Batch::pairs(&[("c", "3")]).bytes()), Err(AppendError::Unavailable { .. })));
    assert_eq!(contents(&log), before);
    assert!(log.maintain().is_err() && log.close().is_err());
    drop(log);
    let log = open(dir.path(), LogConfig::default(), &clock, true);
    assert_eq!(contents(&log), before);
    assert_eq!(log.append(Batch::pairs(&[("c", "3")]).bytes()).unwrap().base_offset, 1);
}

/// A tail that a crash tore, or that has garbage or zeros behind it, is cut at the last whole batch.
#[test]
fn torn_tails_are_cut() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let log = open(dir.path(), LogConfig::default(), &clock, false);
    for value in ["1", "2", "3"] {
        log.append(Batch::pairs(&[("k", value)]).bytes()).unwrap();
    }
    let (all, size) = (contents(&log), usize::try_from(log.size_bytes()).unwrap());
    drop(log);
    let file = dir.path().join("00000000000000000000.log");
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[size - 3] ^= 1;
    let cases = [
        (whole[..size - 1].to_vec(), 2),
        (whole[..size / 3 * 2 + 5].to_vec(), 2),
        (whole[..size / 3 - 1].to_vec(), 0),
        ([&whole[..], &[0; 500]].concat(), 3),
        ([&whole[..], b"garbage"].concat(), 3),
        ([&whole[..], &whole[..]].concat(), 3),
        (flipped, 2),
    ];
    for (at, (bytes, records)) in cases.into_iter().enumerate() {
        std::fs::write(&file, bytes).unwrap();
        let log = open(dir.path(), LogConfig::default(), &clock, true);
        assert_eq!(contents(&log), all[..records], "case {at}");
        let next = log.append(Batch::pairs(&[("k", "next")]).bytes()).unwrap();
        assert_eq!(next.base_offset, records as i64, "case {at}");
        drop(log);
        std::fs::write(&file, &whole).unwrap();
    }
}

/// What follows a damaged batch in an older segment goes with it: offsets stay in order.
#[test]
fn segments_after_a_damaged_one_are_deleted() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { segment_bytes: 200, ..LogConfig::default() };
    let log = open(dir.path(), config.clone(), &clock, false);
    for at in 0..9 {
        log.append(Batch::pairs(&[("k", &at.to_string())]).bytes()).unwrap();
    }
    let all = contents(&log);
    drop(log);
    let second = dir.path().join("00000000000000000002.log");
    let mut bytes = std::fs::read(&second).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    std::fs::write(&second, bytes).unwrap();
    for _ in 0..2 {
        let log = open(dir.path(), config.clone(), &clock, true);
        assert_eq!(contents(&log), all[..3]);
        log.close().unwrap();
    }
    let log = open(dir.path(), config, &clock, true);
    assert_eq!(log.append(Batch::pairs(&[("k", "3")]).bytes()).unwrap().base_offset, 3);
}

/// Lost or damaged indexes, snapshots and checkpoints are rebuilt.
#[test]
fn side_files_are_rebuilt() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let config = LogConfig { segment_bytes: 300, index_interval_bytes: 1, ..LogConfig::default() };
    let log = open(dir.path(), config.clone(), &clock, false);
    for at in 0..20 {
        log.append(Batch::pairs(&[("k", &at.to_string())]).by(1, 0, at).bytes()).unwrap();
    }
    log.close().unwrap();
    let all = contents(&log);
    drop(log);
    let side_files = || {
        let paths = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_none_or(|extension| extension != "log")).collect::<Vec<_>>()
    };
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"xyz").unwrap(),
        |path| std::fs::write(path, b"").unwrap(),
    ];
    for damage in damages {
        let files = side_files();
        assert!(files.len() > 10);
        files.iter().for_each(|path| damage(path));
        let log = open(dir.path(), config.clone(), &clock, true);
        assert_eq!(contents(&log), all);
        assert!(log.append(Batch::pairs(&[("k", "19")]).by(1, 0, 19).bytes()).unwrap().duplicate);
        assert!(log.read(15, 1, true, i64::MAX).unwrap().starts_with(&15_i64.to_be_bytes()));
        log.close().unwrap();
    }
}

/// Whichever disk operation of a compaction is the last before a crash, the reopened log has the last value of each
/// key, and the next compaction gets to the end.
#[test]
fn compaction_survives_a_crash_at_each_step() {
    let config = LogConfig {
        compact: true,
        segment_bytes: 150,
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    };
    for fault in [Fault::Freeze, Fault::Once] {
        for step in 0.. {
            let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
            let (faults, disk) = Faults::disk();
            let log = open_on(disk, dir.path(), config.clone(), &clock);
            for at in 0..12 {
                log.append(Batch::pairs(&[(["a", "b", "c"][at % 3], &at.to_string())]).bytes()).unwrap();
            }
            let last: Vec<_> = contents(&log).split_off(9);
            faults.after(step, fault, None);
            let result = log.compact_now();
            faults.clear();
            if fault == Fault::Once {
                assert!(contents(&log).ends_with(&last), "step {step} before reopen");
                log.compact_now().unwrap();
                assert!(contents(&log).ends_with(&last), "step {step} tried again");
            }
            drop(log);
            let log = open(dir.path(), config.clone(), &clock, false);
            assert!(contents(&log).ends_with(&last), "step {step}");
            log.compact_now().unwrap();
            // Two of the twelve records are in the active segment.
            let offsets: Vec<_> = contents(&log).into_iter().map(|(offset, ..)| offset).collect();
            assert_eq!(offsets, [7, 8, 9, 10, 11], "step {step}");
            log.close().unwrap();
            drop(log);
            assert_eq!(contents(&open(dir.path(), config.clone(), &clock, true)).len(), 5);
            if result.is_ok() {
                assert!(step > 10, "the compaction ended before operation {step}");
                break;
            }
        }
    }
}
