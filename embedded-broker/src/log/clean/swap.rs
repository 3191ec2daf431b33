//! Putting a rewritten segment in the place of the old ones so that a crash leaves either the old or the new.
//!
//! ```text
//! <base>.cleaned                being written; a crash drops it
//! <base>-<next base>.swap       complete and durable: from this rename on the new segment counts
//! <base>.log                    old segments in base..next base deleted, then renamed
//! ```
//!
//! The swap file's name says which segments it replaces, so recovery can finish without any other note.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::aborted;
use super::super::disk::Disk;
use super::super::retain::Chores;
use super::super::segment::{Segment, log_path};
use super::super::{Log, LogError};

/// A replacement whose files are not all in place yet.
#[derive(Debug)]
pub(in super::super) struct Swap {
    path: PathBuf,
    new: Arc<Segment>,
    old: Vec<Arc<Segment>>,
}

fn swap_path(dir: &Path, base: i64, next_base: i64) -> PathBuf {
    dir.join(format!("{base:020}-{next_base:020}.swap"))
}

impl Log {
    /// Replaces `old`, which are neighbours and end before `next_base`, by the segment written to `cleaned`.
    pub(super) fn swap_in(
        &self,
        chores: &mut Chores,
        new: Segment,
        cleaned: &Path,
        old: &[Arc<Segment>],
        next_base: i64,
    ) -> Result<(), LogError> {
        let path = swap_path(&self.dir, new.base_offset, next_base);
        self.disk.rename(cleaned, &path)?;
        let new = Arc::new(new);
        // Recovery would go on from here, so the log in memory does too, whatever happens to the files below.
        self.change_segments(|segments| {
            let from = segments.partition_point(|segment| segment.base_offset < new.base_offset);
            let until = segments.partition_point(|segment| segment.base_offset < next_base);
            drop(segments.splice(from..until, [Arc::clone(&new)]));
        });
        chores.unfinished = Some(Swap { path, new, old: old.to_vec() });
        self.finish_swap(chores)
    }

    /// Completes a replacement that an error interrupted; until it succeeds no other one may begin.
    pub(in super::super) fn finish_swap(&self, chores: &mut Chores) -> Result<(), LogError> {
        let Some(Swap { path, new, old }) = chores.unfinished.take() else { return Ok(()) };
        let result = self.place_files(chores, &path, &new, &old);
        if result.is_err() {
            chores.unfinished = Some(Swap { path, new, old });
        }
        result
    }

    fn place_files(
        &self,
        chores: &mut Chores,
        swap: &Path,
        new: &Segment,
        old: &[Arc<Segment>],
    ) -> Result<(), LogError> {
        let (config, now_ms) = (self.config(), self.clock.now_ms());
        if swap.exists() {
            // Durable before the old segments go.
            self.disk.sync_dir(&self.dir)?;
            for segment in old.iter().filter(|segment| segment.path != new.path && segment.path.exists()) {
                self.doom_segment(chores, segment, &config, now_ms)?;
            }
            for extension in ["index", "timeindex", aborted::EXTENSION] {
                self.disk.remove(&new.path.with_extension(extension))?;
            }
            self.disk.rename(swap, &new.path)?;
        }
        new.seal(&self.disk)
    }
}

/// Finishes, in a log that is being opened, the replacements a crash interrupted.
pub(in super::super) fn finish_swaps(disk: &Disk, dir: &Path) -> Result<(), LogError> {
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let path = entry.map_err(LogError::io("list", dir))?.path();
        if path.extension().is_none_or(|extension| extension != "swap") {
            continue;
        }
        let Some((base, next_base)) = range_of(&path) else {
            disk.remove(&path)?;
            continue;
        };
        for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
            let old = entry.map_err(LogError::io("list", dir))?.path();
            let extension = old.extension().and_then(|extension| extension.to_str()).unwrap_or("");
            let offset =
                old.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i64>().ok());
            let replaced = offset.is_some_and(|offset| (base..next_base).contains(&offset));
            // The log file at `base` goes with the rename, in one step.
            let goes = matches!(extension, "index" | "timeindex" | aborted::EXTENSION)
                || (extension == "log" && offset != Some(base));
            if replaced && goes {
                disk.remove(&old)?;
            }
        }
        disk.rename(&path, &log_path(dir, base))?;
    }
    Ok(())
}

fn range_of(swap: &Path) -> Option<(i64, i64)> {
    let (base, next_base) = swap.file_stem()?.to_str()?.split_once('-')?;
    Some((base.parse().ok()?, next_base.parse().ok()?))
}
