//! Child processes: this program in another role, told what to do by lines on stdin, answering by lines on stdout.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Set for children alone: role and arguments, a line each.
const CHILD: &str = "KSTREAMS_CHAOS_CHILD";

/// What this process is, if it isn't the driver.
pub fn role() -> Option<(String, Vec<String>)> {
    let text = std::env::var(CHILD).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    Some((lines.next()?, lines.collect()))
}

/// Lines from the parent; the end of them means that the parent is gone, and then so is the child.
pub fn commands() -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        std::process::exit(9);
    });
    receiver
}

/// A child, killed when it is dropped.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    /// Starts this program in a role. What it logs goes to the end of a file.
    pub fn start(role: &str, arguments: &[String], log: &Path) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(CHILD, format!("{role}\n{}", arguments.join("\n")));
        Process::spawn(command, log)
    }

    /// Starts another program that says and hears the same.
    pub fn spawn(mut command: Command, log: &Path) -> Process {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Process { stdin: child.stdin.take().unwrap(), child, lines }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says a line to it. A process that has died doesn't hear it.
    pub fn say(&mut self, line: &str) {
        let _ = writeln!(self.stdin, "{line}").and_then(|()| self.stdin.flush());
    }

    /// The next line it has said, without waiting.
    pub fn heard(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Waits for a line that begins with `word`: the rest of it. Other lines go to `other`.
    pub fn wait_for(
        &self,
        word: &str,
        limit: Duration,
        mut other: impl FnMut(&str),
    ) -> Result<String, String> {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix(word) {
                    Some(rest) => return Ok(rest.trim().to_owned()),
                    None => other(&line),
                },
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("no `{word}` within {} s", limit.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err("it has ended".to_owned()),
            }
        }
    }

    /// A signal by its name: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        signal(name, self.id());
    }

    /// SIGKILL, and the end of it.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its threads and open files (`/proc`), where the system tells of them.
    pub fn threads_and_files(&self) -> Option<(usize, usize)> {
        let count =
            |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.id())).ok().map(Iterator::count);
        Some((count("task")?, count("fd")?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// By the program `kill`: sending signals is not in the standard library.
fn signal(name: &str, process: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(status.is_ok_and(|status| status.success()), "can't send SIG{name} to {process}");
}
