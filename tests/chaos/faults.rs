//! The schedule: which fault comes next, and what has to be undone when. Faults overlap: while a worker is stopped or a broker
//! is gone, others are killed.

use std::time::{Duration, Instant};

use crate::brokers::{Brokers, Spoil};
use crate::disk::SmallDisk;
use crate::pool::Pool;
use crate::random::Random;
use crate::report::Report;
use crate::worker::SESSION;

/// Workers at a time.
const FEWEST: usize = 2;
/// For brokers to have all data again.
const WHOLE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    KillAll,
    Pause,
    Hiccup,
    Rolling,
    ScaleOut,
    ScaleIn,
    Wipe,
    WipeAll,
    Cut,
    CutForLong,
    Slow,
    KillBroker,
    FillDisk,
    Clock,
    LostAnswers,
    Refusals,
    Coordinator,
}

/// Each with its weight, and its name for `FAULTS=`.
const FAULTS: [(Fault, u64, &str); 18] = [
    (Fault::Kill, 40, "kill"),
    (Fault::KillAll, 4, "kill-all"),
    (Fault::Pause, 6, "pause"),
    (Fault::Hiccup, 6, "hiccup"),
    (Fault::Rolling, 3, "rolling"),
    (Fault::ScaleOut, 5, "scale-out"),
    (Fault::ScaleIn, 5, "scale-in"),
    (Fault::Wipe, 5, "wipe"),
    (Fault::WipeAll, 1, "wipe-all"),
    (Fault::Cut, 5, "cut"),
    (Fault::CutForLong, 2, "cut-long"),
    (Fault::Slow, 3, "slow"),
    (Fault::KillBroker, 6, "broker"),
    (Fault::FillDisk, 2, "disk"),
    (Fault::Clock, 3, "clock"),
    (Fault::LostAnswers, 4, "lost-answers"),
    (Fault::Refusals, 5, "refusals"),
    (Fault::Coordinator, 4, "coordinator"),
];

/// What is to be done later.
enum Later {
    Start(usize),
    Resume(usize),
    BrokerUp,
    /// Connections are as they should be again.
    Mend,
    FreeDisk(usize),
    RestoreCoordinators,
}

/// Faults of one episode.
pub struct Chaos<'a> {
    pub random: Random,
    pub pool: &'a mut Pool,
    pub brokers: &'a mut dyn Brokers,
    pub report: &'a mut Report,
    pub disk: Option<&'a SmallDisk>,
    pub allowed: &'a [String],
    pub trace: bool,
    later: Vec<(Instant, Later)>,
    broker_down: bool,
    network: bool,
}

impl<'a> Chaos<'a> {
    pub fn new(
        random: Random,
        pool: &'a mut Pool,
        brokers: &'a mut dyn Brokers,
        report: &'a mut Report,
        disk: Option<&'a SmallDisk>,
        allowed: &'a [String],
    ) -> Chaos<'a> {
        let trace = std::env::var("CHAOS_TRACE").is_ok();
        Chaos {
            random,
            pool,
            brokers,
            report,
            disk,
            allowed,
            trace,
            later: Vec::new(),
            broker_down: false,
            network: false,
        }
    }

    /// Does harm for a while, then makes everything good again: all workers run, all brokers are there.
    pub fn run(&mut self, duration: Duration) -> Result<(), String> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let fault = self.choose();
            if self.trace {
                println!("  {:?}", fault);
            }
            self.hurt(fault)?;
            // Mostly one soon after the other, now and then time enough to get far.
            let gap = if self.random.chance(15) { 3_000 } else { 900 };
            let gap = 100 + self.random.below(gap);
            self.wait(Instant::now() + Duration::from_millis(gap))?;
        }
        self.mend_all()?;
        self.wait_for_brokers()
    }

    fn choose(&mut self) -> Fault {
        let known =
            |name: &str| self.allowed.is_empty() || self.allowed.iter().any(|allowed| allowed == name);
        let faults: Vec<_> = FAULTS.into_iter().filter(|(_, _, name)| known(name)).collect();
        let all = faults.iter().map(|(_, weight, _)| weight).sum();
        let mut point = self.random.below(all);
        for (fault, weight, _) in &faults {
            if point < *weight {
                return *fault;
            }
            point -= weight;
        }
        Fault::Kill
    }

    fn after(&mut self, least_ms: u64, most_ms: u64, what: Later) {
        let ms = least_ms + self.random.below(most_ms - least_ms);
        self.later.push((Instant::now() + Duration::from_millis(ms), what));
    }

    fn hurt(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Kill => self.kill_one(),
            Fault::KillAll => {
                for slot in self.pool.victims() {
                    self.kill(slot);
                }
            }
            Fault::Pause => self.pause(SESSION + Duration::from_millis(500), "pauses beyond the session"),
            Fault::Hiccup => self.pause(Duration::from_millis(300), "short pauses"),
            Fault::Rolling => return self.rolling(),
            Fault::ScaleOut => {
                if let Some(slot) = self.pool.empty().first() {
                    self.pool.start(*slot);
                    self.report.count("workers added", 1);
                }
            }
            Fault::ScaleIn => return self.scale_in(),
            Fault::Wipe => {
                if let Some(slot) = self.pool.victim(&mut self.random) {
                    self.kill(slot);
                    self.wipe(slot);
                }
            }
            Fault::WipeAll => {
                for slot in self.pool.victims() {
                    self.kill(slot);
                    self.wipe(slot);
                }
            }
            Fault::Cut | Fault::CutForLong | Fault::Slow => self.hurt_network(fault),
            Fault::KillBroker => self.kill_broker(),
            Fault::FillDisk => self.fill_disk(),
            Fault::Clock => self.move_clock(),
            Fault::LostAnswers | Fault::Refusals | Fault::Coordinator => self.spoil(fault),
        }
        Ok(())
    }

    fn kill_one(&mut self) {
        if let Some(slot) = self.pool.victim(&mut self.random) {
            self.kill(slot);
        }
    }

    /// SIGKILL; the worker comes back at once, or when its group may have noticed.
    fn kill(&mut self, slot: usize) {
        self.pool.kill(slot, self.report);
        let most = if self.random.chance(80) { 500 } else { 5_000 };
        self.after(0, most, Later::Start(slot));
    }

    fn wipe(&mut self, slot: usize) {
        self.pool.wipe(slot);
        self.report.count("state directories deleted", 1);
    }

    fn pause(&mut self, at_least: Duration, what: &'static str) {
        if let Some(slot) = self.pool.victim(&mut self.random) {
            self.pool.pause(slot);
            self.report.count(what, 1);
            let least = u64::try_from(at_least.as_millis()).unwrap();
            self.after(least, least * 2, Later::Resume(slot));
        }
    }

    /// Every worker in turn by SIGTERM. With the cluster whole: a clean stop needs it.
    fn rolling(&mut self) -> Result<(), String> {
        self.mend_all()?;
        self.wait_for_brokers()?;
        for slot in self.pool.victims() {
            self.pool.terminate(slot, self.report);
            self.pool.start(slot);
        }
        self.report.count("rolling restarts", 1);
        Ok(())
    }

    fn scale_in(&mut self) -> Result<(), String> {
        if self.pool.running().len() <= FEWEST {
            return Ok(());
        }
        self.bring_broker_up()?;
        self.mend();
        self.wait_for_brokers()?;
        if let Some(slot) = self.pool.victim(&mut self.random) {
            self.pool.terminate(slot, self.report);
            self.report.count("workers removed", 1);
        }
        Ok(())
    }

    fn hurt_network(&mut self, fault: Fault) {
        if self.network || !self.brokers.has_network() {
            return;
        }
        self.network = true;
        match fault {
            Fault::Slow => {
                let by = Duration::from_millis(20 + self.random.below(150));
                self.brokers.delay(by);
                self.report.count("connections slowed down", 1);
                self.after(1_000, 4_000, Later::Mend);
            }
            _ => {
                let long = fault == Fault::CutForLong;
                self.brokers.refuse(long);
                self.brokers.cut();
                self.report.count("connections cut", 1);
                self.after(100, if long { 6_000 } else { 200 }, Later::Mend);
            }
        }
    }

    fn kill_broker(&mut self) {
        if self.broker_down || !self.brokers.is_whole() {
            return;
        }
        self.broker_down = true;
        self.brokers.kill(&mut self.random);
        self.report.count("broker kills", 1);
        if self.random.chance(30) {
            self.kill_one();
        }
        self.after(200, 3_000, Later::BrokerUp);
    }

    fn spoil(&mut self, fault: Fault) {
        let (spoil, what) = match fault {
            Fault::LostAnswers => (Spoil::LoseAnswers(1 + self.random.below(4)), "answers lost"),
            Fault::Refusals => {
                let kind = self.random.index(1_000);
                (Spoil::Refuse { kind, times: 1 + self.random.below(3) }, "requests refused")
            }
            _ => {
                let transactions = self.random.chance(50);
                (Spoil::LoseCoordinator { transactions }, "coordinators lost")
            }
        };
        if self.broker_down || !self.brokers.spoil(spoil) {
            return;
        }
        self.report.count(what, 1);
        if matches!(spoil, Spoil::LoseCoordinator { .. }) {
            self.after(50, 2_000, Later::RestoreCoordinators);
        }
    }

    fn fill_disk(&mut self) {
        let Some(disk) = self.disk else { return };
        let slot = disk.slot;
        if self.pool.slots[slot].steady || !disk.fill() {
            return;
        }
        self.pool.excuse_disk(slot);
        self.report.count("disks filled", 1);
        if self.random.chance(60) {
            // It starts on the full disk, instead of noticing it at its next flush.
            self.pool.kill(slot, self.report);
            self.pool.start(slot);
        }
        self.after(2_000, 6_000, Later::FreeDisk(slot));
    }

    /// To the past or the future, up to an hour.
    fn move_clock(&mut self) {
        const HOUR_MS: u64 = 3_600_000;
        if let Some(slot) = self.pool.victim(&mut self.random) {
            let by = i64::try_from(self.random.below(2 * HOUR_MS)).unwrap() - i64::try_from(HOUR_MS).unwrap();
            if let Some(process) = self.pool.process(slot) {
                process.say(&format!("clock {by}"));
                self.report.count("clock jumps", 1);
            }
        }
    }

    /// Waits, doing what is due, and starting again who ended without being asked.
    fn wait(&mut self, until: Instant) -> Result<(), String> {
        while Instant::now() < until {
            while let Some(n) = self.later.iter().position(|(due, _)| *due <= Instant::now()) {
                let (_, what) = self.later.remove(n);
                self.undo(what)?;
            }
            for slot in self.pool.reap(self.report) {
                self.after(500, 1_000, Later::Start(slot));
            }
            if !self.broker_down {
                self.brokers.alive()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn undo(&mut self, what: Later) -> Result<(), String> {
        match what {
            Later::Start(slot) => self.pool.start(slot),
            Later::Resume(slot) => self.pool.resume(slot),
            Later::BrokerUp => self.bring_broker_up()?,
            Later::Mend => self.mend(),
            Later::RestoreCoordinators => {
                self.brokers.spoil(Spoil::RestoreCoordinators);
            }
            Later::FreeDisk(slot) => {
                if let Some(disk) = self.disk {
                    disk.free();
                }
                self.pool.excuse_disk(slot);
            }
        }
        Ok(())
    }

    fn bring_broker_up(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.broker_down) {
            self.brokers.up()?;
        }
        Ok(())
    }

    fn mend(&mut self) {
        self.network = false;
        self.brokers.delay(Duration::ZERO);
        // On the embedded broker this is the end of all that was asked for.
        self.brokers.refuse(false);
    }

    fn mend_all(&mut self) -> Result<(), String> {
        for (_, what) in std::mem::take(&mut self.later) {
            self.undo(what)?;
        }
        self.mend();
        self.bring_broker_up()
    }

    fn wait_for_brokers(&mut self) -> Result<(), String> {
        if crate::wait_until(WHOLE, || self.brokers.is_whole()) {
            Ok(())
        } else {
            Err(format!("the brokers are not whole {} s after the last of them was started", WHOLE.as_secs()))
        }
    }
}
