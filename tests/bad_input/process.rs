//! Tests that need a process of their own run this program again, for one test, in a role.

use std::process::{Child, Command, Stdio};

/// Names the role; set in the processes that [`run_as`] starts.
const ROLE: &str = "BAD_INPUT_ROLE";

/// Whether this process plays the role.
pub fn plays(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|given| given == role)
}

/// This program again, with the one test `test`, in a role; `before` goes in front of it (`unshare`, say).
pub fn run_as(role: &str, test: &str, before: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match before.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Commands that run a program where it may mount file systems that nobody else sees, or `None` when this user may not.
pub fn with_own_mounts() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["unshare", "--mount"], &["unshare", "--mount", "--map-root-user"]];
    ways.into_iter().find(|way| {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        command.output().is_ok_and(|output| output.status.success())
    })
}

/// Mounts a file system in memory. Only in a process that [`with_own_mounts`] started.
pub fn mount(options: &str, at: &std::path::Path) {
    let status =
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status().unwrap();
    assert!(status.success());
}

/// Shows the file `instead` at `path`. Only in a process that [`with_own_mounts`] started.
pub fn put_over(path: &str, instead: &std::path::Path) {
    let status = Command::new("mount").arg("--bind").arg(instead).arg(path).status().unwrap();
    assert!(status.success());
}

/// Waits for a process and prints what it printed; fails when it did.
pub fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
