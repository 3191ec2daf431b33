//! Opening a log: what a crash left half-done is finished or dropped, what may be damaged is checked.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aborted;
use super::checkpoint::Checkpoint;
use super::clean::finish_swaps;
use super::config::LogConfig;
use super::disk::Disk;
use super::index::SegmentIndex;
use super::producer_state::Producers;
use super::retain::DELETED;
use super::scan::{Scanned, Scanner};
use super::segment::{Segment, log_path};
use super::{LogError, TopicPartitionName};

/// A log ready for work.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) active: Arc<Segment>,
    pub(super) next_offset: i64,
    pub(super) producers: Producers,
    pub(super) snapshots: VecDeque<i64>,
    pub(super) checkpoint: Checkpoint,
}

pub(super) struct Recovery<'a> {
    pub(super) disk: &'a Disk,
    pub(super) dir: &'a Path,
    name: &'a TopicPartitionName,
    pub(super) config: &'a LogConfig,
    pub(super) now_ms: i64,
}

/// Opens or creates the log in `dir`.
pub(super) fn recover(
    disk: &Disk,
    dir: &Path,
    name: &TopicPartitionName,
    config: &LogConfig,
    now_ms: i64,
    clean_shutdown: bool,
) -> Result<Recovered, LogError> {
    fs::create_dir_all(dir).map_err(LogError::io("create directory", dir))?;
    Recovery { disk, dir, name, config, now_ms }.run(clean_shutdown)
}

impl Recovery<'_> {
    fn run(&self, clean_shutdown: bool) -> Result<Recovered, LogError> {
        let mut checkpoint = Checkpoint::load(self.dir)?;
        finish_swaps(self.disk, self.dir)?;
        let files = self.sweep()?;
        let (mut segments, next_offset, clean) = match self.open_clean(&files, &checkpoint, clean_shutdown)? {
            Some((segments, next_offset)) => (segments, next_offset, true),
            None => {
                let (segments, next_offset) = self.open_checked(&files.bases, checkpoint.recovery_point)?;
                (segments, next_offset, false)
            }
        };
        let first_base = segments.first().map_or(0, |segment| segment.base_offset);
        checkpoint.log_start = checkpoint.log_start.max(first_base);
        let mut next_offset = next_offset;
        if segments.is_empty() || next_offset < checkpoint.log_start {
            // Nothing readable is left (or there never was anything): begin at the log start.
            for segment in segments.drain(..) {
                self.remove_segment(segment.base_offset)?;
            }
            next_offset = checkpoint.log_start;
            segments.push(Segment::create(self.disk, self.dir, next_offset, self.now_ms)?);
        }
        let segments: Vec<_> = segments.into_iter().map(Arc::new).collect();
        checkpoint.compacted_to = checkpoint.compacted_to.min(next_offset);
        let is_rebuilt = segments.iter().any(|segment| !segment.aborted_known());
        let (producers, snapshots) =
            self.producers(&files.snapshots, &segments, next_offset, checkpoint.compacted_to)?;
        for segment in segments.iter().rev().skip(1) {
            // Writes nothing for those that were opened with their indexes.
            segment.seal(self.disk)?;
        }
        if is_rebuilt {
            // Also of segments before the recovery point, whose other indexes were damaged: nothing later would tell that the
            // new files of their aborted transactions are missing.
            self.disk.sync_dir(self.dir)?;
        }
        checkpoint.recovery_point = checkpoint.recovery_point.min(next_offset);
        if clean || checkpoint.clean.is_some() {
            // From here on a crash is a crash.
            checkpoint.clean = None;
            checkpoint.store(self.disk, self.dir, false)?;
        }
        let Some(active) = segments.last().cloned() else {
            return Err(LogError::Corrupt {
                path: self.dir.to_path_buf(),
                position: 0,
                reason: "no segment after recovery".to_owned(),
            });
        };
        Ok(Recovered { segments, active, next_offset, producers, snapshots, checkpoint })
    }

    /// Lists the directory and deletes temporary files.
    fn sweep(&self) -> Result<Files, LogError> {
        let mut files = Files::default();
        for entry in fs::read_dir(self.dir).map_err(LogError::io("list", self.dir))? {
            let path = entry.map_err(LogError::io("list", self.dir))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
            let base =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i64>().ok());
            match (extension, base) {
                ("log", Some(base)) if base >= 0 => files.bases.push(base),
                ("snapshot", Some(offset)) => files.snapshots.push_back(offset),
                ("index" | "timeindex" | aborted::EXTENSION, Some(base)) => files.indexes.push((base, path)),
                ("tmp" | DELETED | "cleaned", _) => self.disk.remove(&path)?,
                _ => {}
            }
        }
        files.bases.sort_unstable();
        files.snapshots.make_contiguous().sort_unstable();
        for (base, path) in files.indexes.drain(..) {
            if files.bases.binary_search(&base).is_err() {
                self.disk.remove(&path)?;
            }
        }
        Ok(files)
    }

    /// All segments as they are, if the last stop was clean and the directory looks like it.
    fn open_clean(
        &self,
        files: &Files,
        checkpoint: &Checkpoint,
        clean_shutdown: bool,
    ) -> Result<Option<(Vec<Segment>, i64)>, LogError> {
        let (Some((end, size)), Some(last)) =
            (checkpoint.clean.filter(|_| clean_shutdown), files.bases.last())
        else {
            return Ok(None);
        };
        let size_on_disk = fs::metadata(log_path(self.dir, *last)).map_or(0, |meta| meta.len());
        if size_on_disk != size || end < *last {
            return Ok(None);
        }
        let mut segments = Vec::with_capacity(files.bases.len());
        for &base in &files.bases {
            match Segment::open(&log_path(self.dir, base), base, self.now_ms)? {
                Some(segment) => segments.push(segment),
                None => return Ok(None),
            }
        }
        if let Some(active) = segments.pop() {
            segments.push(active.reactivate()?);
        }
        Ok(Some((segments, end)))
    }

    /// Segments before the recovery point as they are (indexes rebuilt if missing), the others batch by batch.
    fn open_checked(&self, bases: &[i64], recovery_point: i64) -> Result<(Vec<Segment>, i64), LogError> {
        let first_checked = bases.partition_point(|base| *base <= recovery_point).saturating_sub(1);
        let last = bases.len().saturating_sub(1);
        let mut segments: Vec<Segment> = Vec::with_capacity(bases.len());
        let mut next_offset = 0;
        for (at, &base) in bases.iter().enumerate() {
            let trusted = at < first_checked && at < last;
            if trusted && let Some(segment) = Segment::open(&log_path(self.dir, base), base, self.now_ms)? {
                segments.push(segment);
                continue;
            }
            if base < next_offset {
                // A segment that was to be the next one but whose creation did not complete.
                tracing::warn!(partition = %self.name, base_offset = base, "removing an overlapping segment");
                self.remove_segment(base)?;
                continue;
            }
            let (segment, next, whole) = self.scan_segment(base)?;
            next_offset = next;
            segments.push(segment);
            if !whole && at < last {
                // What follows a hole cannot be kept: offsets would not be in order for consumers (as Kafka).
                for &lost in &bases[at + 1..] {
                    tracing::warn!(partition = %self.name, base_offset = lost, "deleting a segment after a damaged one");
                    self.remove_segment(lost)?;
                }
                break;
            }
        }
        Ok((segments, next_offset))
    }

    /// Reads a whole segment, checks CRCs, cuts it at the first bad byte and builds its indexes in memory. Returns
    /// the offset after it and whether nothing had to be cut.
    fn scan_segment(&self, base: i64) -> Result<(Segment, i64, bool), LogError> {
        let path = log_path(self.dir, base);
        let file: File = self.disk.open_or_create(&path)?;
        let len = file.metadata().map_err(LogError::io("read the size of", &path))?.len();
        // All are rebuilt. The one of aborted transactions comes back first and goes last: a segment that has the other two is
        // believed to have that one too if it has aborted transactions.
        for extension in ["index", "timeindex", aborted::EXTENSION] {
            self.disk.remove(&path.with_extension(extension))?;
        }
        let index = SegmentIndex::empty(base, &path);
        let segment = Segment::with_index(base, path, file, len, index, self.now_ms);
        let mut next_offset = base;
        let mut scanner = Scanner::checked(&segment.file, &segment.path, 0, len);
        let bad = loop {
            let position = scanner.position;
            match scanner.next()? {
                Scanned::Batch(header) if header.base_offset >= next_offset => {
                    segment.note_batch(&header, position, self.config.index_interval_bytes)?;
                    if header.is_control() && header.count > 0 {
                        segment.set_aborted_known(false);
                    }
                    next_offset = header.next_offset();
                }
                Scanned::Batch(_) => break Some((position, "offsets go backwards".to_owned())),
                Scanned::End => break None,
                Scanned::Bad(reason) => break Some((position, reason)),
            }
        };
        if let Some((position, reason)) = &bad {
            tracing::warn!(
                partition = %self.name, file = %segment.path.display(), position, len, reason,
                "cutting the segment at its last whole batch"
            );
            self.disk.set_len(&segment.file, &segment.path, *position)?;
            segment.publish(*position);
        }
        Ok((segment, next_offset, bad.is_none()))
    }

    fn remove_segment(&self, base: i64) -> Result<(), LogError> {
        let path = log_path(self.dir, base);
        for extension in ["log", "index", "timeindex", aborted::EXTENSION] {
            self.disk.remove(&path.with_extension(extension))?;
        }
        Ok(())
    }
}

/// What lies in the directory.
#[derive(Default)]
struct Files {
    bases: Vec<i64>,
    snapshots: VecDeque<i64>,
    indexes: Vec<(i64, PathBuf)>,
}
