//! The partition log on disk: where produced batches go and fetched batches come from.
//!
//! A log is a directory `<topic>-<partition>/` of segments. Each is a file of record batches exactly as producers sent
//! them, `00000000000000000000.log`, named by its first offset, with a sparse `.index` and `.timeindex` beside it, all
//! in Apache Kafka's format. Only the newest ("active") segment grows.
//!
//! ```text
//! produce -> append.rs  check, assign offsets, one write      roll.rs     next segment
//!            producer_state.rs  sequence numbers, duplicates, open transactions
//! end     -> transactions.rs  marker.rs: control batches, aborted.rs: index of aborted transactions
//! fetch   -> read.rs    index.rs -> segment.rs -> one pread   lookup.rs   offset by timestamp
//! start   -> recover.rs scan.rs: CRCs, cut the torn tail, rebuild indexes; replay.rs: producer state
//! now and then: retain.rs delete old segments, clean.rs keep the last value of each key
//! ```
//!
//! Locks, in the order they are taken: `maintenance` (one retention or compaction at a time), `writer` (one append at
//! a time), `shared` (the list of segments: held for a pointer copy only). Readers take none of the first two: they
//! copy the list, then read files that appends only extend and deletions leave readable while they are open.
//!
//! Consumers that read committed records stop at the last stable offset, the first offset of the oldest open
//! transaction; compaction stops there too.

mod aborted;
mod append;
mod batch;
mod checkpoint;
mod clean;
mod codec;
mod config;
mod disk;
mod error;
mod index;
mod lookup;
mod marker;
mod producer_snapshot;
mod producer_state;
mod read;
mod record;
mod recover;
mod replay;
mod retain;
mod roll;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod transactions;
mod walk;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

pub(crate) use self::aborted::AbortedTxn;
pub(crate) use self::append::{Appended, Origin};
pub(crate) use self::batch::BatchHeader;
pub(crate) use self::config::LogConfig;
pub(crate) use self::disk::Disk;
pub use self::disk::{DiskFault, DiskFaults, DiskOp};
pub(crate) use self::error::{AppendError, LogError, ReadError};
pub(crate) use self::marker::{Marker, commits};
pub(crate) use self::record::LogRecord;
pub(crate) use self::transactions::ActiveProducer;

use self::checkpoint::Checkpoint;
use self::producer_state::Producers;
use self::segment::Segment;
use crate::clock::SharedClock;

/// The only leader epoch of a single node.
const LEADER_EPOCH: i32 = 0;

/// Which partition a log belongs to; cheap to clone. Shown as `topic-partition`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicPartitionName {
    /// The topic's name.
    pub(crate) topic: Arc<str>,
    /// The partition's number, from 0.
    pub(crate) partition: i32,
}

impl TopicPartitionName {
    /// The name of a topic's partition.
    pub(crate) fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartitionName { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition's log. All methods take `&self`; share it in an `Arc`. Methods block on disk.
#[derive(Debug)]
pub(crate) struct Log {
    name: TopicPartitionName,
    dir: PathBuf,
    clock: SharedClock,
    disk: Disk,
    config: RwLock<Arc<LogConfig>>,
    /// Held during retention and compaction.
    maintenance: Mutex<retain::Chores>,
    writer: Mutex<Writer>,
    shared: RwLock<Shared>,
    checkpoint: Mutex<Checkpoint>,
    /// Set when the log is to come to rest: a compaction gives up what it has not finished.
    stopping: AtomicBool,
    end: AtomicI64,
    /// First offset of the oldest open transaction, or the end.
    stable: AtomicI64,
    end_watch: watch::Sender<i64>,
}

/// What only the appender changes.
#[derive(Debug)]
struct Writer {
    active: Arc<Segment>,
    next_offset: i64,
    producers: Producers,
    /// Offsets of the producer snapshots on disk.
    snapshots: VecDeque<i64>,
    /// A durable snapshot is known to cover everything before this offset.
    secured: i64,
    scratch: Vec<u8>,
    unflushed_records: i64,
    /// Broker's time of the first append since the last fsync.
    unflushed_since: Option<i64>,
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Online,
    /// A storage error could not be undone.
    Offline,
    Closed,
}

/// What readers copy.
#[derive(Debug)]
struct Shared {
    /// By base offset; the last is the active one. Never empty.
    segments: Arc<Vec<Arc<Segment>>>,
    log_start: i64,
}

impl Log {
    /// Opens the log in `dir`, creating it if it is missing, on a disk that may be made to fail.
    ///
    /// Without `clean_shutdown` (or when the directory does not look like a clean stop) everything since the last
    /// fsync is checked: a torn tail is cut at the last whole batch, missing indexes and the producer state rebuilt.
    ///
    /// # Errors
    /// `LogError::Io` when the directory cannot be read or written.
    pub(crate) fn open_on(
        disk: Disk,
        dir: &Path,
        name: TopicPartitionName,
        config: LogConfig,
        clock: SharedClock,
        clean_shutdown: bool,
    ) -> Result<Log, LogError> {
        let recovered = recover::recover(&disk, dir, &name, &config, clock.now_ms(), clean_shutdown)?;
        let recover::Recovered { segments, active, next_offset, producers, snapshots, checkpoint } =
            recovered;
        let stable = producers.first_open().unwrap_or(next_offset);
        let writer = Writer {
            active,
            next_offset,
            producers,
            snapshots,
            secured: 0,
            scratch: Vec::new(),
            unflushed_records: 0,
            unflushed_since: None,
            condition: Condition::Online,
        };
        Ok(Log {
            name,
            dir: dir.to_path_buf(),
            clock,
            disk,
            config: RwLock::new(Arc::new(config)),
            maintenance: Mutex::default(),
            writer: Mutex::new(writer),
            shared: RwLock::new(Shared { segments: Arc::new(segments), log_start: checkpoint.log_start }),
            checkpoint: Mutex::new(checkpoint),
            stopping: AtomicBool::new(false),
            end: AtomicI64::new(next_offset),
            stable: AtomicI64::new(stable),
            end_watch: watch::Sender::new(next_offset),
        })
    }

    /// The partition this log belongs to.
    pub(crate) fn name(&self) -> &TopicPartitionName {
        &self.name
    }

    /// The first offset that can be read.
    pub(crate) fn log_start_offset(&self) -> i64 {
        self.shared.read().log_start
    }

    /// The next offset to be written. On one node this is the high watermark too.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// Bytes of all segments, without indexes and without files that wait for their deletion.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments_and_start().0.iter().map(|segment| segment.len()).sum()
    }

    /// The end offset as it grows: wakes fetches that wait for records.
    pub(crate) fn subscribe(&self) -> watch::Receiver<i64> {
        self.end_watch.subscribe()
    }

    /// Puts other settings into force for everything that follows.
    pub(crate) fn set_config(&self, config: LogConfig) {
        *self.config.write() = Arc::new(config);
    }

    /// The settings in force.
    pub(crate) fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read())
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// `LogError::Io`: the log is offline then, because after a failed fsync nobody knows what is on disk.
    #[cfg(test)]
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        self.check_online(&writer)?;
        self.flush_writer(&mut writer)
    }

    /// Stops the log cleanly: everything is made durable, and the next open need not check it. Reads go on working,
    /// appends are refused. Closing twice is fine.
    ///
    /// # Errors
    /// `LogError::Io`: the next open recovers as after a crash; `LogError::Offline` after an earlier storage error.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut chores = self.maintenance.lock();
        let mut writer = self.writer.lock();
        if writer.condition == Condition::Closed {
            return Ok(());
        }
        self.check_online(&writer)?;
        // A log that nobody wrote to since its last fsync costs none: a broker may have many of them.
        let changed = self.checkpoint.lock().recovery_point < writer.next_offset;
        if changed {
            self.flush_writer(&mut writer)?;
        }
        writer.condition = Condition::Closed;
        writer.active.write_indexes(&self.disk)?;
        self.write_snapshot(&mut writer)?;
        self.finish_chores(&mut chores)?;
        for file in chores.doomed.drain(..) {
            self.disk.remove(&file.path)?;
        }
        let clean = Some((writer.next_offset, writer.active.len()));
        self.change_checkpoint(changed, |checkpoint| checkpoint.clean = clean)?;
        if changed { self.disk.sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Makes everything durable, or takes the log offline: after a failed fsync nobody knows what is on disk.
    fn flush_writer(&self, writer: &mut Writer) -> Result<(), LogError> {
        if let Err(error) = self.sync_files(writer) {
            tracing::error!(partition = %self.name, %error, "log goes offline: fsync failed");
            writer.condition = Condition::Offline;
            return Err(error);
        }
        writer.unflushed_records = 0;
        writer.unflushed_since = None;
        self.checkpoint.lock().recovery_point = writer.next_offset;
        Ok(())
    }

    /// fsyncs every segment that may have bytes which are not on disk yet.
    fn sync_files(&self, writer: &Writer) -> Result<(), LogError> {
        let recovery_point = self.checkpoint.lock().recovery_point;
        let (segments, _) = self.segments_and_start();
        let first =
            segments.partition_point(|segment| segment.base_offset <= recovery_point).saturating_sub(1);
        for segment in segments.get(first..).unwrap_or(&[]) {
            self.disk.sync(&segment.file, &segment.path)?;
        }
        if recovery_point <= writer.active.base_offset {
            // The active segment's file is new since the last time.
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn segments_and_start(&self) -> (Arc<Vec<Arc<Segment>>>, i64) {
        let shared = self.shared.read();
        (Arc::clone(&shared.segments), shared.log_start)
    }

    /// Changes the list of segments. Readers that copied it before go on with the old one.
    fn change_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut shared = self.shared.write();
        change(Arc::make_mut(&mut shared.segments));
    }

    /// Shows what was written. Who reads the stable offset first and then the end finds them in order.
    fn publish_end(&self, end: i64, stable: i64) {
        self.end.store(end, Ordering::Release);
        self.stable.store(stable, Ordering::Release);
        self.end_watch.send_replace(end);
    }

    fn change_checkpoint(&self, durable: bool, change: impl FnOnce(&mut Checkpoint)) -> Result<(), LogError> {
        let mut checkpoint = self.checkpoint.lock();
        change(&mut checkpoint);
        checkpoint.store(&self.disk, &self.dir, durable)
    }
}
