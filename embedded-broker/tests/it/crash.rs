//! The binary, killed: what it acknowledged is there when it starts again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use crate::support::{Client, eventually};

pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
}

impl Process {
    pub(crate) fn start(dir: &Path, extra: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embedded-broker"))
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Process { child, address }
    }

    pub(crate) fn signal(&mut self, signal: &str) -> std::process::ExitStatus {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn acknowledged_records_survive_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for round in 0..4 {
        let mut process = Process::start(dir.path(), &["--config", "log.segment.bytes=20000"]);
        let acknowledged = AtomicI64::new(-1);
        let address = process.address.clone();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                client.create_topic("t", 1, &[]);
                // Until the connection breaks; the error it breaks with is the kill.
                let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    for number in written.. {
                        let reply = client.produce("t", 0, &[&number.to_string()]);
                        assert_eq!((reply.error_code, reply.base_offset), (0, number));
                        acknowledged.store(number, Ordering::SeqCst);
                    }
                }));
                assert!(broken.is_err());
            });
            eventually("records are acknowledged", || acknowledged.load(Ordering::SeqCst) >= written + 200);
            process.signal("-KILL");
        });
        let acknowledged = acknowledged.into_inner();
        let process = Process::start(dir.path(), &[]);
        let values = read_all(&mut Client::connect(&process.address));
        assert!(
            values.len() as i64 > acknowledged,
            "round {round}: {} records, {acknowledged} acknowledged",
            values.len()
        );
        assert!(values.iter().enumerate().all(|(at, value)| *value == at.to_string()), "round {round}");
        written = values.len() as i64;
    }
}

fn read_all(client: &mut Client) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let some = client.fetch("t", 0, all.len() as i64);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[test]
fn sigterm_and_sigint_stop_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start(dir.path(), &["--default-partitions", "2"]);
        let mut client = Client::connect(&process.address);
        client.create_topic("t", -1, &[]);
        assert_eq!(client.produce("t", 1, &["x"]).error_code, 0);
        assert!(process.signal(signal).success());
        assert!(dir.path().join("clean-shutdown").exists());
    }
    let process = Process::start(dir.path(), &[]);
    assert_eq!(Client::connect(&process.address).fetch("t", 1, 0), ["x", "x"]);
}

#[test]
fn a_mistake_on_the_command_line_is_explained() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_embedded-broker")).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["--config", "log.retention.m=1"]).contains("did you mean log.retention.ms?"));
    assert!(run(&["--config", "num.partitions"]).contains("expected KEY=VALUE"));
    assert!(run(&["--listen", "256.0.0.1:9"]).contains("cannot listen on 256.0.0.1:9"));
}
