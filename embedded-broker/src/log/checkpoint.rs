//! What a log must remember beside its segments: a small text file, replaced as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::LogError;
use super::disk::Disk;

/// Name of the file in the partition's directory.
const FILE: &str = "log-checkpoint";

/// Offsets that cannot be read off the segment files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// First offset that can be read; moved by retention and DeleteRecords.
    pub(crate) log_start: i64,
    /// Everything before this offset is durable, so recovery need not check it.
    pub(crate) recovery_point: i64,
    /// Everything before this offset has been compacted.
    pub(crate) compacted_to: i64,
    /// Only after a clean stop: end offset, and size of the active segment in bytes.
    pub(crate) clean: Option<(i64, u64)>,
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

impl Checkpoint {
    /// The checkpoint in `dir`; zeros when there is none or it can't be understood.
    pub(crate) fn load(dir: &Path) -> Result<Checkpoint, LogError> {
        let path = path(dir);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Checkpoint::parse(&text).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "ignoring a damaged checkpoint: the whole log is checked");
                Checkpoint::default()
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Checkpoint::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Checkpoint::default()),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    /// Writes the checkpoint. A durable one survives a power failure.
    pub(crate) fn store(&self, disk: &Disk, dir: &Path, durable: bool) -> Result<(), LogError> {
        disk.replace(&path(dir), self.text().as_bytes(), durable)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "version 1\nlog-start {}\nrecovery-point {}\ncompacted-to {}\n",
            self.log_start, self.recovery_point, self.compacted_to
        );
        if let Some((end, size)) = self.clean {
            text.push_str(&format!("clean {end} {size}\n"));
        }
        text.push_str("end\n");
        text
    }

    fn parse(text: &str) -> Option<Checkpoint> {
        let mut checkpoint = Checkpoint::default();
        let mut lines = text.lines();
        if lines.next()? != "version 1" {
            return None;
        }
        for line in lines {
            let mut words = line.split(' ');
            let name = words.next()?;
            let mut number = || words.next()?.parse::<i64>().ok().filter(|number| *number >= 0);
            match name {
                "log-start" => checkpoint.log_start = number()?,
                "recovery-point" => checkpoint.recovery_point = number()?,
                "compacted-to" => checkpoint.compacted_to = number()?,
                "clean" => checkpoint.clean = Some((number()?, u64::try_from(number()?).ok()?)),
                // Without this line the file was cut short.
                "end" => return Some(checkpoint),
                _ => return None,
            }
        }
        None
    }
}
