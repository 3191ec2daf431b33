//! Random histories against a plain model: appends with all codecs and producers, reads, lookups, deletion,
//! compaction, storage faults, crashes and damaged files, in any order. proptest shrinks a failing history and writes
//! its seed to `proptest-regressions/`.
//!
//! The model is a list of everything that was appended. Checked after each step:
//! what is in the log is what was appended at that offset; the last value of each key is there; what is missing was
//! superseded, deleted or expired, and never comes back; a consumer that reads batch by batch sees the same as one that
//! walks the log, and gets to its end; one that reads committed records sees those before the last stable offset whose
//! transactions were not aborted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::records::Compression;
use proptest::prelude::*;

use super::super::batch::BatchHeader;
use super::super::record::records_of;
use super::super::{
    AppendError, Disk, DiskOp, Log, LogConfig, LogError, LogRecord, Marker, Origin, ReadError,
};
use super::faults::{Fault, Faults};
use super::model_txn::{Fate, ModelBatch, committed_records, transactions};
use super::producers::{Expected, ModelProducers, What};
use super::support::{Batch, NOW, clock, name, records};
use crate::clock::{Clock, ManualClock};

#[derive(Debug, Clone)]
enum Op {
    /// Key number, size of the value (`None`: tombstone), time before now.
    Append(Compression, Vec<(u8, Option<u8>, u8)>),
    Produce(i64, What, usize),
    /// A transactional producer writes so many records.
    Write(i64, usize),
    /// Its transaction is committed, or aborted; by a new epoch, or the same.
    End(i64, bool, bool),
    Read(u8, u16, bool),
    LookUp(u16),
    Wait(u16),
    Maintain,
    Compact,
    DeleteRecords(u8),
    /// A clean stop; or a crash.
    Reopen(bool),
    /// A crash that loses so many bytes at the end of the active segment.
    Tear(u16),
    /// A crash that leaves other bytes behind the end.
    Garbage(Vec<u8>),
    /// A crash, and these files are gone: checkpoint, snapshots, indexes.
    Lose(bool, bool, bool),
    /// The next step meets a failing disk; a frozen one ends in a crash.
    Faulty(usize, Fault, Option<DiskOp>, Box<Op>),
}

struct World {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    faults: Arc<Faults>,
    disk: Disk,
    config: LogConfig,
    log: Log,
    batches: Vec<ModelBatch>,
    /// A batch whose append failed when the process died: it may be there.
    uncertain: Option<ModelBatch>,
    log_start: i64,
    /// Offsets that compaction removed.
    gone: BTreeSet<i64>,
    producers: ModelProducers,
    /// The tail was cut: the end may lie behind a gap.
    torn: bool,
}

fn open(disk: &Disk, dir: &Path, config: &LogConfig, clock: &Arc<ManualClock>, clean: bool) -> Log {
    Log::open_on(disk.clone(), dir, name(), config.clone(), Arc::clone(clock) as _, clean).unwrap()
}

impl World {
    fn new(config: LogConfig) -> World {
        // In memory where there is such a place: thousands of fsyncs take their time.
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let (clock, (faults, disk)) = (clock(), Faults::disk());
        let log = open(&disk, dir.path(), &config, &clock, false);
        World {
            dir,
            clock,
            faults,
            disk,
            config,
            log,
            batches: Vec::new(),
            uncertain: None,
            log_start: 0,
            gone: BTreeSet::new(),
            producers: ModelProducers::default(),
            torn: false,
        }
    }

    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.base() + batch.records.len() as i64)
    }

    /// The end as the log must have it; a log start behind everything moves it.
    fn expected_end(&self) -> i64 {
        self.end().max(self.log_start)
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(codec, records) => {
                let batch = self.batch(*codec, records);
                self.append(&batch, Expected::Written);
            }
            Op::Produce(id, what, count) => {
                let sequence = self.producers.choose(*id, *what, *count);
                let Some((epoch, sequence, count, expected)) = sequence else { return };
                let records: Vec<_> = (0..count).map(|at| (at as u8 % 5, Some(3), 0)).collect();
                let batch = self.batch(Compression::Lz4, &records).by(*id, epoch, sequence);
                self.append(&batch, expected);
            }
            Op::Write(id, count) => {
                let chosen = self.producers.choose(*id, What::Next, *count);
                let Some((epoch, sequence, count, expected)) = chosen else { return };
                let records: Vec<_> = (0..count).map(|at| (at as u8 % 5, Some(3), 0)).collect();
                let batch = self.batch(Compression::None, &records).by(*id, epoch, sequence);
                self.append(&batch.in_transaction(), expected);
            }
            Op::End(id, commit, bump) => self.end_transaction(*id, *commit, *bump),
            Op::Read(at, max_bytes, min_one) => self.read(*at, usize::from(*max_bytes), *min_one),
            Op::LookUp(time) => self.look_up(NOW - 100 + i64::from(*time)),
            Op::Wait(ms) => self.clock.advance(i64::from(*ms)),
            Op::Maintain => self.maintain(),
            Op::Compact => {
                if let Err(error) = self.log.compact_now() {
                    self.storage_failed(&error);
                }
            }
            Op::DeleteRecords(at) => self.delete_records(*at),
            Op::Reopen(clean) => {
                if *clean && self.log.close().is_err() {
                    assert!(self.faults.hit());
                }
                self.reopen(*clean);
            }
            Op::Tear(bytes) => self.tear(u64::from(*bytes)),
            Op::Garbage(bytes) => {
                let path = self.active_file();
                let mut contents = std::fs::read(&path).unwrap();
                contents.extend_from_slice(bytes);
                std::fs::write(&path, contents).unwrap();
                self.reopen(true);
            }
            Op::Lose(checkpoint, snapshots, indexes) => self.lose(*checkpoint, *snapshots, *indexes),
            Op::Faulty(skip, fault, only, op) => {
                self.faults.after(*skip, *fault, *only);
                self.apply(op);
                let crash = *fault == Fault::Freeze && self.faults.hit();
                self.faults.clear();
                // Offline after a failed write that could not be undone, or a failed fsync.
                if crash
                    || matches!(self.log.flush(), Err(LogError::Offline { .. } | LogError::Closed { .. }))
                {
                    self.reopen(true);
                }
                self.uncertain = None;
            }
        }
    }

    fn batch(&self, codec: Compression, records: &[(u8, Option<u8>, u8)]) -> Batch {
        let now_ms = self.clock.now_ms();
        let record = |&(key, value, age): &(u8, Option<u8>, u8)| {
            let value = value.map(|size| "v".repeat(usize::from(size)) + &self.end().to_string());
            (now_ms - i64::from(age), Some(format!("k{key}")), value)
        };
        Batch::of(records.iter().map(record).collect()).with(codec)
    }

    fn append(&mut self, batch: &Batch, expected: Expected) {
        let base = self.expected_end();
        let origin = if batch.transactional { Origin::Transaction } else { Origin::Client };
        let appended = self.log.append_from(origin, batch.bytes());
        let written = |append_time: i64| ModelBatch {
            records: batch.expected(base, (append_time >= 0).then_some(append_time)),
            producer: batch.producer,
            marker: None,
        };
        match appended {
            Err(AppendError::Storage { .. } | AppendError::Unavailable { .. }) => {
                assert!(self.faults.hit(), "no fault was planned");
                let stamp = if self.config.log_append_time { self.clock.now_ms() } else { -1 };
                self.uncertain = Some(written(stamp));
            }
            Ok(appended) if !appended.duplicate => {
                expected.check_written();
                assert_eq!(appended.base_offset, base);
                assert_eq!(appended.last_offset, base + batch.records.len() as i64 - 1);
                let batch = written(appended.log_append_time);
                self.producers.note(batch.producer, batch.records.len(), base);
                self.batches.push(batch);
            }
            other => expected.check_refused(&other),
        }
    }

    fn end_transaction(&mut self, id: i64, commit: bool, bump: bool) {
        let producer_epoch = self.producers.epoch(id) + i16::from(bump);
        let marker = Marker { producer_id: id, producer_epoch, commit };
        let batch = ModelBatch::of_marker(marker, self.expected_end(), self.clock.now_ms());
        match self.log.append_marker(&marker) {
            Ok(appended) => {
                assert_eq!(appended.base_offset, batch.base());
                self.producers.note(batch.producer, 1, batch.base());
                self.batches.push(batch);
            }
            Err(AppendError::Storage { .. } | AppendError::Unavailable { .. }) => {
                assert!(self.faults.hit(), "no fault was planned");
                self.uncertain = Some(batch);
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn read(&self, at: u8, max_bytes: usize, min_one: bool) {
        let (start, end) = (self.log.log_start_offset(), self.log.end_offset());
        let offset = start - 1 + (end - start + 2) * i64::from(at) / 255;
        match self.log.read(offset, max_bytes, min_one, i64::MAX) {
            Ok(bytes) => {
                assert!((start..=end).contains(&offset));
                let headers = batches_in(&bytes);
                assert!(bytes.len() <= max_bytes || (min_one && headers.len() == 1));
                if let Some((first, _)) = headers.first() {
                    assert!(first.last_offset() >= offset);
                }
            }
            Err(ReadError::OffsetOutOfRange { .. }) => assert!(!(start..=end).contains(&offset)),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn look_up(&self, time: i64) {
        let found = self.log.offset_for_time(time).unwrap();
        let all = self.visible();
        let first = all
            .iter()
            .find(|record| record.timestamp >= time)
            .map(|record| (record.offset, record.timestamp));
        assert_eq!(found, first, "first record at or after {time}");
        let largest = all.iter().map(|record| record.timestamp).max();
        let first_largest = all.iter().find(|record| Some(record.timestamp) == largest);
        assert_eq!(
            self.log.max_timestamp().unwrap(),
            first_largest.map(|record| (record.offset, record.timestamp))
        );
    }

    fn maintain(&mut self) {
        let before = self.log_start;
        let result = self.log.maintain();
        let start = self.log.log_start_offset();
        let now_ms = self.clock.now_ms();
        if start > before {
            assert!(self.config.delete, "only retention moves the log start");
            let by_age = self.config.retention_ms >= 0
                && self.all().filter(|record| (before..start).contains(&record.offset)).all(|record| {
                    self.gone.contains(&record.offset) || record.timestamp < now_ms - self.config.retention_ms
                });
            // The compaction that comes after it makes the log smaller still.
            let compacted = result.as_ref().map_or(u64::MAX / 2, |done| {
                done.compacted.map_or(0, |done| done.bytes_before - done.bytes_after.min(done.bytes_before))
            });
            let size = self.log.size_bytes() + compacted;
            let by_size = u64::try_from(self.config.retention_bytes).is_ok_and(|bytes| size >= bytes);
            assert!(by_age || by_size, "deleted up to {start}");
        }
        match result {
            Ok(_) => self.log_start = start,
            Err(error) => {
                self.log_start = start;
                self.storage_failed(&error);
            }
        }
    }

    fn delete_records(&mut self, at: u8) {
        let (start, end) = (self.log_start, self.log.end_offset());
        let offset = start + (end - start) * i64::from(at) / 255;
        match self.log.delete_records_before(offset) {
            Ok(new_start) => {
                assert_eq!(new_start, offset.max(start));
                self.log_start = new_start;
            }
            // The checkpoint may or may not have been replaced; without a crash the old one counts.
            Err(error) => self.storage_failed(&error),
        }
    }

    fn storage_failed(&self, error: &LogError) {
        assert!(self.faults.hit(), "no fault was planned: {error:?}");
    }

    fn active_file(&self) -> PathBuf {
        let paths = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
    }

    fn tear(&mut self, bytes: u64) {
        let path = self.active_file();
        let contents = std::fs::read(&path).unwrap();
        let left = contents.len().saturating_sub(usize::try_from(bytes).unwrap());
        std::fs::write(&path, &contents[..left]).unwrap();
        let base: i64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let end = batches_in(&contents[..left]).last().map_or(base, |(header, _)| header.next_offset());
        self.batches.retain(|batch| batch.base() < end);
        self.torn |= bytes > 0;
        self.reopen(true);
    }

    fn lose(&mut self, checkpoint: bool, snapshots: bool, indexes: bool) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let lost = match path.extension().and_then(|extension| extension.to_str()) {
                None => checkpoint,
                Some("snapshot") => snapshots,
                Some("index" | "timeindex") => indexes,
                Some(_) => false,
            };
            if lost {
                std::fs::remove_file(path).unwrap();
            }
        }
        if checkpoint {
            // The log start is known by the first segment only.
            self.log_start = 0;
        }
        self.reopen(true);
    }

    fn reopen(&mut self, clean: bool) {
        self.faults.clear();
        let start = self.log_start;
        self.log = open(&self.disk, self.dir.path(), &self.config, &self.clock, clean);
        assert!(self.log.log_start_offset() >= start);
        self.log_start = self.log.log_start_offset();
        let end = self.log.end_offset();
        if let Some(batch) = self.uncertain.take().filter(|batch| end > batch.base()) {
            self.batches.push(batch);
        }
        assert_eq!(end, self.expected_end(), "end after reopen");
        let written = self.batches.iter().map(|batch| (batch.producer, batch.records.len(), batch.base()));
        self.producers.reopened(written, self.log_start, self.config.compact);
    }

    fn all(&self) -> impl Iterator<Item = &LogRecord> {
        self.batches.iter().flat_map(|batch| &batch.records)
    }

    fn visible(&self) -> Vec<LogRecord> {
        let mut all = records(&self.log);
        all.retain(|record| record.offset >= self.log_start);
        all
    }

    /// Everything that must hold at all times.
    fn check(&mut self) {
        assert_eq!(self.log.log_start_offset(), self.log_start);
        assert_eq!(self.log.end_offset(), self.expected_end());
        let found = self.visible();
        let expected: BTreeMap<i64, &LogRecord> = self.all().map(|record| (record.offset, record)).collect();
        for record in &found {
            assert_eq!(Some(&record), expected.get(&record.offset), "record at {}", record.offset);
            assert!(!self.gone.contains(&record.offset), "offset {} came back", record.offset);
        }
        let offsets: BTreeSet<i64> = found.iter().map(|record| record.offset).collect();
        assert_eq!(offsets.len(), found.len(), "an offset occurs twice");
        assert_eq!(found, self.consume(), "a consumer sees something else");
        let missing: Vec<i64> = expected
            .range(self.log_start..)
            .map(|(offset, _)| *offset)
            .filter(|offset| !offsets.contains(offset))
            .collect();
        assert!(missing.is_empty() || self.config.compact, "missing: {missing:?}");
        let txns = transactions(&self.batches);
        let with = |fate| {
            let chosen = txns.iter().filter(move |txn| txn.fate == fate);
            chosen.flat_map(|txn| txn.offsets.iter().copied()).collect::<BTreeSet<i64>>()
        };
        let (open, aborted) = (with(Fate::Open), with(Fate::Aborted));
        // What counts for compaction by key.
        let counts = |record: &LogRecord| {
            !record.control && !open.contains(&record.offset) && !aborted.contains(&record.offset)
        };
        let mut last_of_key = HashMap::new();
        for record in expected.values().filter(|record| counts(record)) {
            last_of_key.insert(&record.key, record.offset);
        }
        let now_ms = self.clock.now_ms();
        let mut gone_keys: HashMap<_, i64> = HashMap::new();
        for offset in &missing {
            let record = expected[offset];
            let age = now_ms - record.timestamp;
            assert!(!open.contains(offset), "{offset} of an open transaction is missing");
            assert!(age >= self.config.min_compaction_lag_ms, "{offset} was compacted too early");
            if record.control {
                assert!(age >= self.config.delete_retention_ms, "the marker at {offset} went too early");
                let txn = txns.iter().find(|txn| txn.marker == Some(*offset));
                let left = txn.is_some_and(|txn| txn.offsets.iter().any(|offset| offsets.contains(offset)));
                assert!(!left, "the marker at {offset} went before its records");
            }
            if !counts(record) {
                continue;
            }
            if last_of_key[&record.key] == *offset {
                assert!(record.value.is_none(), "the last value of a key is missing, at {offset}");
                assert!(age >= self.config.delete_retention_ms, "the tombstone at {offset} went too early");
            }
            gone_keys.insert(&record.key, *offset);
        }
        for record in found.iter().filter(|record| counts(record)) {
            let later_gone = gone_keys.get(&record.key).is_some_and(|gone| *gone > record.offset);
            assert!(!later_gone, "the value at {} is older than one that was removed", record.offset);
        }
        let stable = self.log.last_stable_offset();
        self.check_stable(stable, &open);
        let committed: Vec<LogRecord> = found
            .into_iter()
            .filter(|record| record.offset < stable && !record.control && !aborted.contains(&record.offset))
            .collect();
        assert_eq!(
            self.consume_committed(stable),
            committed,
            "a consumer of committed records sees something else"
        );
        self.gone.extend(missing);
    }

    /// The first offset of the oldest open transaction, as far as it is in the log.
    fn check_stable(&self, stable: i64, open: &BTreeSet<i64>) {
        let end = self.expected_end();
        let at_least = open.first().copied().unwrap_or(end).max(self.log_start);
        // After a restart that found no snapshot only what is left of a transaction is known.
        let at_most = open.range(self.log_start..).next().copied().unwrap_or(end);
        assert!(
            (at_least..=at_most).contains(&stable),
            "stable offset {stable}, not {at_least} to {at_most}"
        );
    }

    /// Everything a consumer gets that fetches committed records from the log start on with different sizes.
    fn consume_committed(&self, stable: i64) -> Vec<LogRecord> {
        let (mut at, mut out, mut round) = (self.log_start, Vec::new(), 0_usize);
        while at < stable {
            round += 1;
            let (bytes, aborted) = self.log.read_committed(at, [1, 300, 1000][round % 3], true).unwrap();
            let batches = batches_in(&bytes);
            out.extend(committed_records(&batches, &aborted, at));
            let Some((last, _)) = batches.last() else {
                assert!(self.torn, "a consumer at {at} never gets to {stable}");
                break;
            };
            at = last.next_offset();
        }
        out
    }

    /// Everything a consumer gets that fetches from the log start on with different sizes.
    fn consume(&self) -> Vec<LogRecord> {
        let (mut at, mut out, mut round) = (self.log_start, Vec::new(), 0_usize);
        while at < self.log.end_offset() {
            round += 1;
            let bytes = self.log.read(at, [1, 200, 1000][round % 3], true, i64::MAX).unwrap();
            if bytes.is_empty() {
                assert!(self.torn, "a consumer at {at} never gets to {}", self.log.end_offset());
                break;
            }
            for (header, batch) in batches_in(&bytes) {
                for record in records_of(&header, &batch.to_vec().into()).unwrap() {
                    let record = record.decode(&header).unwrap();
                    if record.offset >= at {
                        out.push(record);
                    }
                }
                at = header.next_offset();
            }
        }
        out
    }
}

/// The whole batches in `bytes`.
fn batches_in(bytes: &[u8]) -> Vec<(BatchHeader, &[u8])> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Ok(header) = BatchHeader::parse(rest) {
        let Some(batch) = rest.get(..header.size) else { break };
        assert_eq!(super::super::batch::crc_of(batch), header.crc);
        out.push((header, batch));
        rest = &rest[header.size..];
    }
    out
}

fn codec() -> impl Strategy<Value = Compression> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    prop::sample::select(vec![None, None, None, Gzip, Snappy, Lz4, Zstd])
}

fn append() -> impl Strategy<Value = Op> {
    let record = (0..12_u8, prop::option::weighted(0.8, 0..60_u8), 0..50_u8);
    (codec(), prop::collection::vec(record, 1..6)).prop_map(|(codec, records)| Op::Append(codec, records))
}

fn produce() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        6 => Just(What::Next),
        2 => (0..6_usize).prop_map(What::Again),
        1 => Just(What::Gap),
        1 => Just(What::NewEpoch),
        1 => Just(What::OldEpoch),
    ];
    (0..3_i64, what, 1..4_usize).prop_map(|(id, what, count)| Op::Produce(id, what, count))
}

fn end() -> impl Strategy<Value = Op> {
    (10..13_i64, any::<bool>(), any::<bool>()).prop_map(|(id, commit, bump)| Op::End(id, commit, bump))
}

fn faulty() -> impl Strategy<Value = Op> {
    let fault = prop_oneof![Just(Fault::Once), (0..300_usize).prop_map(Fault::Short), Just(Fault::Freeze)];
    let only =
        prop::sample::select(vec![None, Some(DiskOp::Write), Some(DiskOp::Sync), Some(DiskOp::Rename)]);
    let op = prop_oneof![4 => append(), 1 => produce(), 2 => end(), 2 => Just(Op::Maintain), 2 => Just(Op::Compact), 1 => Just(Op::Reopen(true))];
    (0..12_usize, fault, only, op)
        .prop_map(|(skip, fault, only, op)| Op::Faulty(skip, fault, only, Box::new(op)))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => append(),
        8 => produce(),
        8 => (10..13_i64, 1..4_usize).prop_map(|(id, count)| Op::Write(id, count)),
        5 => end(),
        4 => (any::<u8>(), any::<u16>(), any::<bool>()).prop_map(|(at, max, one)| Op::Read(at, max % 700, one)),
        2 => (0..400_u16).prop_map(Op::LookUp),
        4 => (0..300_u16).prop_map(Op::Wait),
        4 => Just(Op::Maintain),
        4 => Just(Op::Compact),
        1 => any::<u8>().prop_map(Op::DeleteRecords),
        2 => any::<bool>().prop_map(Op::Reopen),
        1 => (0..300_u16).prop_map(Op::Tear),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Op::Garbage),
        1 => any::<(bool, bool, bool)>().prop_map(|(a, b, c)| Op::Lose(a, b, c)),
        4 => faulty(),
    ]
}

fn config() -> impl Strategy<Value = LogConfig> {
    let sizes = (600..1500_u64, 0..300_u32, prop::sample::select(vec![i64::MAX, i64::MAX, 1, 7]));
    let policy = prop::sample::select(vec![(true, false), (false, true), (true, true)]);
    let times =
        (50..400_i64, prop::sample::select(vec![0, 0, 100]), prop::sample::select(vec![-1, -1, 1500]));
    let switches = (prop::bool::weighted(0.2), prop::sample::select(vec![0, 100]), 0..300_i64);
    (sizes, policy, times, switches).prop_map(|(sizes, policy, times, switches)| LogConfig {
        segment_bytes: sizes.0,
        index_interval_bytes: sizes.1,
        flush_messages: sizes.2,
        delete: policy.0,
        compact: policy.1,
        retention_ms: times.0,
        min_compaction_lag_ms: times.1,
        retention_bytes: times.2,
        log_append_time: switches.0,
        file_delete_delay_ms: switches.1,
        delete_retention_ms: switches.2,
        min_cleanable_dirty_ratio: 0.3,
        ..LogConfig::default()
    })
}

proptest! {
    /// The log agrees with the model through any history.
    #[test]
    fn agrees_with_the_model(config in config(), history in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new(config);
        for op in &history {
            world.apply(op);
            world.check();
        }
    }
}
