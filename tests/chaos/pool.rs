//! The workers, as the driver sees them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::jvm;
use crate::process::Process;
use crate::random::Random;
use crate::report::Report;
use crate::scenario;
use crate::worker::{self, Arguments};

/// For a process to begin, on a busy machine.
const START: Duration = Duration::from_secs(120);
/// How long a clean stop may take, with the cluster there.
const STOP: Duration = Duration::from_secs(60);
/// After a disk was full, whatever fails within this time fails for that.
const DISK_EXCUSE: Duration = Duration::from_secs(20);

/// A place for a worker: a state directory and, for static members, a name.
pub struct Slot {
    pub state_dir: PathBuf,
    process: Option<Process>,
    pub paused: bool,
    /// Not to be killed, terminated or robbed of its state, so that what it leaks over the time shows.
    pub steady: bool,
    /// Its disk was full until then.
    disk_excuse: Option<Instant>,
    /// The last line that the worker has said.
    last_words: String,
}

impl Slot {
    /// Why this worker may end with an error: what to count it as.
    fn excuse(&self) -> Option<&'static str> {
        if self.disk_excuse.is_some_and(|until| Instant::now() < until) {
            Some("stopped by a full disk")
        } else if self.last_words.contains("FencedInstanceId") {
            // A coordinator that died forgets the newest member behind a static name, as Apache Kafka's does until a rebalance is
            // complete, and takes it for the older one's rival. For the JVM's clients, as for ours, that is the end.
            Some("static members fenced")
        } else {
            None
        }
    }
}

pub struct Pool {
    pub slots: Vec<Slot>,
    arguments: Arguments,
    static_members: bool,
    /// The workers are those of the JVM.
    jvm: bool,
    dir: PathBuf,
}

impl Pool {
    /// Places for `slots` workers; nothing is started. A slot's state lies in `dir`, or where `state_dir` says.
    pub fn new(arguments: Arguments, static_members: bool, jvm: bool, slots: usize, dir: &Path) -> Pool {
        let slot = |n: usize| Slot {
            state_dir: dir.join(format!("state-{n}")),
            process: None,
            paused: false,
            steady: false,
            disk_excuse: None,
            last_words: String::new(),
        };
        let slots = (0..slots).map(slot).collect();
        Pool { slots, arguments, static_members, jvm, dir: dir.to_owned() }
    }

    pub fn start(&mut self, slot: usize) {
        if self.slots[slot].process.is_some() {
            return;
        }
        let mut arguments = self.arguments.clone();
        arguments.state_dir = self.slots[slot].state_dir.to_str().unwrap().to_owned();
        arguments.instance_id = self.static_members.then(|| format!("worker-{slot}"));
        let log = self.dir.join(format!("worker-{slot}.log"));
        let _ = std::fs::create_dir_all(&self.slots[slot].state_dir);
        let process = if self.jvm {
            let scenario = scenario::named(&arguments.scenario).unwrap();
            Process::spawn(jvm::command(scenario, &arguments), &log)
        } else {
            Process::start(worker::ROLE, &arguments.lines(), &log)
        };
        // From here on it takes SIGTERM for a request to stop cleanly.
        let up = process.wait_for("up", START, |_| {});
        assert!(up.is_ok(), "worker {slot} does not start: {up:?}, see {}", log.display());
        self.slots[slot].last_words.clear();
        self.slots[slot].process = Some(process);
    }

    /// Slots whose worker runs and may be disturbed.
    pub fn victims(&self) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        let victims = slots.filter(|(_, slot)| slot.process.is_some() && !slot.paused && !slot.steady);
        victims.map(|(n, _)| n).collect()
    }

    pub fn victim(&self, random: &mut Random) -> Option<usize> {
        let victims = self.victims();
        (!victims.is_empty()).then(|| victims[random.index(victims.len())])
    }

    pub fn running(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.slots[*slot].process.is_some()).collect()
    }

    pub fn empty(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.slots[*slot].process.is_none()).collect()
    }

    pub fn process(&mut self, slot: usize) -> Option<&mut Process> {
        self.slots[slot].process.as_mut()
    }

    /// SIGKILL.
    pub fn kill(&mut self, slot: usize, report: &mut Report) {
        if let Some(process) = self.slots[slot].process.take() {
            process.kill();
            self.slots[slot].paused = false;
            report.count("process kills", 1);
        }
    }

    /// SIGSTOP.
    pub fn pause(&mut self, slot: usize) {
        if let Some(process) = &self.slots[slot].process {
            process.signal("STOP");
            self.slots[slot].paused = true;
        }
    }

    /// SIGCONT.
    pub fn resume(&mut self, slot: usize) {
        if let (Some(process), true) = (&self.slots[slot].process, self.slots[slot].paused) {
            process.signal("CONT");
            self.slots[slot].paused = false;
        }
    }

    /// SIGTERM, and a clean end.
    pub fn terminate(&mut self, slot: usize, report: &mut Report) {
        self.terminate_all(&[slot], report);
    }

    /// SIGTERM to several at the same time, and a clean end of each.
    pub fn terminate_all(&mut self, slots: &[usize], report: &mut Report) {
        let mut ending = Vec::new();
        for slot in slots {
            self.resume(*slot);
            if let Some(process) = self.slots[*slot].process.take() {
                process.signal("TERM");
                ending.push((*slot, process));
            }
        }
        for (n, mut process) in ending {
            let slot = &mut self.slots[n];
            let ended = crate::wait_until(STOP, || {
                let ended = process.ended().is_some();
                while let Some(line) = process.heard() {
                    slot.last_words = line;
                }
                ended
            });
            let status = process.ended();
            let clean = ended && status.is_some_and(|status| status.success());
            if clean {
                report.count("clean stops", 1);
            } else if let Some(excuse) = slot.excuse() {
                report.count(excuse, 1);
            } else {
                let last = &slot.last_words;
                report.violation(format!(
                    "worker {n} does not end cleanly by SIGTERM: {status:?}, last words: {last}"
                ));
            }
        }
    }

    /// Asks a worker that runs, and waits for the line that begins with `word`: the rest of it.
    pub fn ask(
        &mut self,
        slot: usize,
        question: &str,
        word: &str,
        limit: Duration,
    ) -> Result<String, String> {
        let Slot { process: Some(process), last_words, .. } = &mut self.slots[slot] else {
            return Err("it doesn't run".to_owned());
        };
        process.say(question);
        process.wait_for(word, limit, |line| line.clone_into(last_words))
    }

    /// Deletes the local state of a worker that doesn't run.
    pub fn wipe(&mut self, slot: usize) {
        assert!(self.slots[slot].process.is_none(), "it doesn't run");
        if let Ok(entries) = std::fs::read_dir(&self.slots[slot].state_dir) {
            for entry in entries.flatten() {
                let _ = std::fs::remove_dir_all(entry.path());
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// What happens to this worker from now on may be because of its full disk.
    pub fn excuse_disk(&mut self, slot: usize) {
        self.slots[slot].disk_excuse = Some(Instant::now() + DISK_EXCUSE);
    }

    /// Notes workers that have ended by themselves; answers their slots.
    pub fn reap(&mut self, report: &mut Report) -> Vec<usize> {
        let mut gone = Vec::new();
        for (n, slot) in self.slots.iter_mut().enumerate() {
            let Some(process) = &mut slot.process else { continue };
            let status = process.ended();
            while let Some(line) = process.heard() {
                slot.last_words = line;
            }
            let Some(status) = status else { continue };
            match slot.excuse() {
                Some(excuse) => report.count(excuse, 1),
                None => {
                    report.violation(format!("worker {n} ended by itself ({status}): {}", slot.last_words))
                }
            }
            slot.process = None;
            slot.paused = false;
            gone.push(n);
        }
        gone
    }
}
