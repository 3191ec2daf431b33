//! A small disk for one worker's state, to be filled: a tmpfs, where this process may mount one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BYTES: u64 = 96 << 20;

pub struct SmallDisk {
    pub dir: PathBuf,
    /// The worker that has it.
    pub slot: usize,
}

impl SmallDisk {
    /// `None` where it can't be mounted.
    pub fn mount(dir: &Path, slot: usize) -> Option<SmallDisk> {
        std::fs::create_dir_all(dir).ok()?;
        let size = format!("size={BYTES}");
        let mounted = quiet("mount").args(["-t", "tmpfs", "-o", &size, "kstreams-chaos"]).arg(dir).status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk { dir: dir.to_owned(), slot })
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }

    /// Takes all that is left; `false` when it was full already.
    pub fn fill(&self) -> bool {
        use std::io::Write;
        let Ok(mut file) = std::fs::File::create_new(self.filler()) else { return false };
        let block = vec![1; 1 << 16];
        while file.write_all(&block).is_ok() {}
        true
    }

    pub fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = quiet("umount").arg("-l").arg(&self.dir).status();
    }
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
