//! Deletion: by age, by size, below the log start; and the periodic work of one log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::aborted;
use super::clean::{Compaction, Swap};
use super::config::LogConfig;
use super::segment::Segment;
use super::{Condition, Log, LogError, Writer};

/// What one round of maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Maintenance {
    /// Segments deleted by retention or because they lie before the log start.
    pub(crate) segments_deleted: usize,
    /// Bytes of log that went with them.
    pub(crate) bytes_deleted: u64,
    /// The active segment was closed because of its age.
    pub(crate) rolled: bool,
    /// The log was compacted.
    pub(crate) compacted: Option<Compaction>,
}

/// A deleted file that keeps its place on disk until `file.delete.delay.ms` is over.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) path: PathBuf,
    pub(super) due_ms: i64,
}

/// What maintenance has still to do; the lock on it lets one maintenance run at a time.
#[derive(Debug, Default)]
pub(super) struct Chores {
    pub(super) doomed: Vec<Doomed>,
    /// Segments that are out of the log, but whose files could not be taken out of the directory yet.
    retired: VecDeque<Arc<Segment>>,
    /// A compacted segment whose files are not in place because of a storage error.
    pub(super) unfinished: Option<Swap>,
}

/// Suffix of files that wait for their deletion; recovery deletes them.
pub(super) const DELETED: &str = "deleted";

impl Log {
    /// The periodic work: closes an active segment that is too old, fsyncs closed segments, deletes what retention
    /// allows, forgets silent producers, removes files whose delay is over and compacts when it is due. Blocks on disk for long.
    ///
    /// # Errors
    /// `LogError::Io`: what was done before stays done, the rest is tried again next time. `Offline` and `Closed`
    /// when the log takes no work.
    pub(crate) fn maintain(&self) -> Result<Maintenance, LogError> {
        let mut chores = self.maintenance.lock();
        let (config, now_ms) = (self.config(), self.clock.now_ms());
        let mut done = Maintenance::default();
        {
            let mut writer = self.writer.lock();
            self.check_online(&writer)?;
            let expiration = config.producer_id_expiration_ms;
            writer.producers.expire(now_ms.saturating_sub(expiration));
            done.rolled = self.roll_if_old(&mut writer, &config, now_ms)?;
            let waited = writer.unflushed_since.map_or(0, |since| now_ms.saturating_sub(since));
            if waited >= config.flush_ms {
                self.flush_writer(&mut writer)?;
            }
        }
        self.finish_chores(&mut chores)?;
        self.flush_closed_segments()?;
        self.retain(&mut chores, &config, now_ms, &mut done)?;
        self.remove_doomed(&mut chores, now_ms)?;
        done.compacted = self.compact_if_due(&mut chores, &config, now_ms)?;
        Ok(done)
    }

    /// Makes records before `offset` unreadable (DeleteRecords) and returns the new log start. Segments wholly before
    /// it are deleted at the next maintenance.
    ///
    /// # Errors
    /// `OffsetOutOfRange` when `offset` is not between log start and log end, `LogError::Io` when it can't be noted.
    pub(crate) fn delete_records_before(&self, offset: i64) -> Result<i64, LogError> {
        let (start, end) = (self.log_start_offset(), self.end_offset());
        if offset > end || offset < 0 {
            return Err(LogError::OffsetOutOfRange {
                partition: self.name.clone(),
                requested: offset,
                start,
                end,
            });
        }
        self.advance_log_start(offset)?;
        Ok(self.log_start_offset())
    }

    /// Refuses appends from now on, without making anything durable: the topic was deleted. Waits for maintenance
    /// that runs, so that it cannot meet the files of a new topic of the same name.
    pub(crate) fn abandon(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.writer.lock().condition = Condition::Closed;
        // Wakes waiting fetches.
        self.end_watch.send_modify(|_| {});
        drop(self.maintenance.lock());
    }

    fn roll_if_old(&self, writer: &mut Writer, config: &LogConfig, now_ms: i64) -> Result<bool, LogError> {
        let age = now_ms.saturating_sub(writer.active.stats().created_ms);
        let due = writer.active.len() > 0 && age > config.effective_segment_ms();
        if due {
            self.roll(writer, now_ms)?;
        }
        Ok(due)
    }

    /// Closed segments are made durable in the background, so that recovery checks little more than the active one.
    fn flush_closed_segments(&self) -> Result<(), LogError> {
        let recovery_point = self.checkpoint.lock().recovery_point;
        let (segments, _) = self.segments_and_start();
        let first =
            segments.partition_point(|segment| segment.base_offset <= recovery_point).saturating_sub(1);
        let (Some(active), closed) = (segments.last(), segments.len().saturating_sub(1)) else {
            return Ok(());
        };
        if first >= closed {
            return Ok(());
        }
        let unsynced = segments.get(first..closed).unwrap_or(&[]);
        for segment in unsynced {
            self.disk.sync(&segment.file, &segment.path)?;
        }
        if unsynced.iter().any(|segment| segment.has_aborted()) {
            // Nothing else would tell that the file of their aborted transactions is missing.
            self.disk.sync_dir(&self.dir)?;
        }
        self.change_checkpoint(false, |checkpoint| {
            checkpoint.recovery_point = checkpoint.recovery_point.max(active.base_offset);
        })
    }

    fn advance_log_start(&self, offset: i64) -> Result<(), LogError> {
        if offset <= self.log_start_offset() {
            return Ok(());
        }
        // On disk first: a start that moved back after a crash would bring deleted records back.
        self.change_checkpoint(true, |checkpoint| checkpoint.log_start = checkpoint.log_start.max(offset))?;
        let mut shared = self.shared.write();
        shared.log_start = shared.log_start.max(offset);
        Ok(())
    }

    fn retain(
        &self,
        chores: &mut Chores,
        config: &LogConfig,
        now_ms: i64,
        done: &mut Maintenance,
    ) -> Result<(), LogError> {
        let (segments, log_start) = self.segments_and_start();
        let expired = count_expired(&segments, log_start, config, now_ms);
        if expired == 0 {
            return Ok(());
        }
        if expired == segments.len() {
            // Even the active segment has expired: an empty one takes its place, as in Apache Kafka. Looked at again
            // under the lock, because a record may just have been appended.
            let mut writer = self.writer.lock();
            let is_last = writer.active.base_offset == segments[expired - 1].base_offset;
            if !is_last || count_expired(&segments, log_start, config, now_ms) < expired {
                return Ok(());
            }
            self.roll(&mut writer, now_ms)?;
            done.rolled = true;
        }
        let first_kept =
            self.segments_and_start().0.get(expired).map_or(log_start, |segment| segment.base_offset);
        self.advance_log_start(first_kept)?;
        self.change_segments(|segments| drop(segments.drain(..expired)));
        for segment in &segments[..expired] {
            done.segments_deleted += 1;
            done.bytes_deleted += segment.len();
            tracing::debug!(partition = %self.name, base_offset = segment.base_offset, "segment deleted");
            chores.retired.push_back(Arc::clone(segment));
        }
        self.finish_chores(chores)
    }

    /// What a storage error left undone. It comes first: a segment that stayed in the directory could bring old values
    /// of a compacted log back at the next start.
    pub(super) fn finish_chores(&self, chores: &mut Chores) -> Result<(), LogError> {
        let (config, now_ms) = (self.config(), self.clock.now_ms());
        self.finish_swap(chores)?;
        while let Some(segment) = chores.retired.front().cloned() {
            self.doom_segment(chores, &segment, &config, now_ms)?;
            chores.retired.pop_front();
        }
        Ok(())
    }

    /// Takes a segment's files out of the log: renamed now, removed after `file.delete.delay.ms`.
    pub(super) fn doom_segment(
        &self,
        chores: &mut Chores,
        segment: &Segment,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<(), LogError> {
        for extension in ["index", "timeindex", aborted::EXTENSION] {
            self.disk.remove(&segment.path.with_extension(extension))?;
        }
        if config.file_delete_delay_ms <= 0 {
            return self.disk.remove(&segment.path);
        }
        let path = segment.path.with_extension(format!("log.{DELETED}"));
        self.disk.rename(&segment.path, &path)?;
        chores.doomed.push(Doomed { path, due_ms: now_ms.saturating_add(config.file_delete_delay_ms) });
        Ok(())
    }

    fn remove_doomed(&self, chores: &mut Chores, now_ms: i64) -> Result<(), LogError> {
        while let Some(at) = chores.doomed.iter().position(|file| file.due_ms <= now_ms) {
            self.disk.remove(&chores.doomed[at].path)?;
            chores.doomed.swap_remove(at);
        }
        Ok(())
    }
}

/// How many segments at the front can be deleted, for whichever reason.
fn count_expired(segments: &[Arc<Segment>], log_start: i64, config: &LogConfig, now_ms: i64) -> usize {
    let before_start = below_log_start(segments, log_start);
    if config.delete {
        before_start.max(too_old(segments, config, now_ms)).max(too_large(segments, config))
    } else {
        before_start
    }
}

/// How many segments at the front lie wholly before the log start. The active one stays.
fn below_log_start(segments: &[Arc<Segment>], log_start: i64) -> usize {
    segments.iter().skip(1).take_while(|next| next.base_offset <= log_start).count()
}

/// How many segments at the front have only records older than `retention.ms`.
fn too_old(segments: &[Arc<Segment>], config: &LogConfig, now_ms: i64) -> usize {
    if config.retention_ms < 0 {
        return 0;
    }
    let last = segments.len().saturating_sub(1);
    let expired = |(at, segment): &(usize, &Arc<Segment>)| {
        if segment.len() == 0 {
            // Compaction may leave an empty segment at the front; an empty active one is as it should be.
            return *at < last;
        }
        now_ms.saturating_sub(segment.newest_ms()) > config.retention_ms
    };
    segments.iter().enumerate().take_while(expired).count()
}

/// How many segments at the front can go while the log stays at least `retention.bytes` large.
fn too_large(segments: &[Arc<Segment>], config: &LogConfig) -> usize {
    let Ok(limit) = u64::try_from(config.retention_bytes) else { return 0 };
    let mut size: u64 = segments.iter().map(|segment| segment.len()).sum();
    let last = segments.len().saturating_sub(1);
    let mut count = 0;
    for (at, segment) in segments.iter().enumerate() {
        if size.saturating_sub(segment.len()) < limit || (at == last && segment.len() == 0) {
            break;
        }
        size -= segment.len();
        count += 1;
    }
    count
}
