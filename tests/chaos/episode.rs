//! One episode: an application on new topics, faults for a while, then quiet and the checks.

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::brokers::Brokers;
use crate::disk::SmallDisk;
use crate::faults::Chaos;
use crate::load::Load;
use crate::pool::Pool;
use crate::random::Random;
use crate::report::Report;
use crate::scenario::{Names, PARTITIONS};
use crate::settings::{Guarantee, Plan, Settings};
use crate::verify::{self, Footprint};
use crate::worker::Arguments;

/// Workers at the start, and places for them.
const WORKERS: usize = 3;
const SLOTS: usize = 5;
/// Before the first fault.
const PRELUDE: Duration = Duration::from_secs(2);

/// Runs an episode. Its files are kept when something was found.
pub fn run(settings: &Settings, plan: &Plan, seed: u64, brokers: &mut dyn Brokers) -> Report {
    let begin = Instant::now();
    let mut report = Report::default();
    report.count("episodes", 1);
    let dir = tempfile::Builder::new().prefix("kstreams-chaos-").tempdir().unwrap();
    let (name, guarantee) = (plan.scenario.name(), plan.guarantee.name());
    println!("chaos: SEED={seed} SCENARIO={name} GUARANTEE={guarantee}, files in {}", dir.path().display());
    if let Err(error) = (Episode { settings, plan, seed, dir: dir.path() }).run(brokers, &mut report) {
        report.violation(error);
    }
    println!("  {} s, {report}", begin.elapsed().as_secs());
    if report.has_violations() || std::env::var("CHAOS_KEEP").is_ok() {
        brokers.keep_logs(dir.path());
        let _ = std::fs::write(dir.path().join("faults.log"), report.timeline());
        println!("  files are kept in {}", dir.keep().display());
    }
    report
}

struct Episode<'a> {
    settings: &'a Settings,
    plan: &'a Plan,
    seed: u64,
    dir: &'a Path,
}

impl Episode<'_> {
    fn run(&self, brokers: &mut dyn Brokers, report: &mut Report) -> Result<(), String> {
        let (scenario, guarantee) = (self.plan.scenario, self.plan.guarantee);
        let mut random = Random::new(self.seed);
        let names = Names(format!("chaos-{}-{}", self.seed, std::process::id()));
        self.create_topics(&names, brokers)?;
        let cached = random.chance(30);
        let disk = SmallDisk::mount(&self.dir.join("small-disk"), SLOTS - 1);
        if disk.is_none() && !self.settings.short {
            println!("  SKIPPED: full disks, no tmpfs can be mounted here");
        }
        let mut pool = self.pool(&mut random, &names, brokers, cached);
        if let Some(disk) = &disk {
            pool.slots[disk.slot].state_dir = disk.dir.join("state");
        }
        // The one with the small disk is there from the start.
        let first = (0..WORKERS - 1).chain([SLOTS - 1]);
        first.for_each(|slot| pool.start(slot));
        pool.slots[0].steady = random.chance(50);
        let load = Load::start(scenario, &names, &brokers.bootstrap(), self.settings.rate, random.next());
        std::thread::sleep(PRELUDE);
        let allowed = &self.settings.faults;
        Chaos::new(random.clone(), &mut pool, brokers, report, disk.as_ref(), allowed)
            .run(self.settings.episode)?;

        let acknowledged = load.stop()?;
        let bootstrap = brokers.bootstrap();
        pool.reap(report);
        pool.empty().into_iter().take(SLOTS - WORKERS).for_each(|slot| pool.start(slot));
        verify::settle(scenario, &names, &bootstrap, || {
            pool.reap(report).into_iter().for_each(|slot| pool.start(slot));
        })?;
        // Those of the JVM can't be asked.
        let is_ours = !self.settings.jvm;
        if is_ours {
            self.check_stores(&names, &bootstrap, &mut pool, report);
        }
        if is_ours
            && pool.slots[0].steady
            && let Some(footprint) = Footprint::of(&mut pool, 0)
        {
            report.count("long-running workers", 1);
            report.violations(footprint.check().err());
        }
        let running = pool.running();
        pool.terminate_all(&running, report);
        verify::topics(scenario, &names, &bootstrap, &acknowledged, guarantee, cached, report);
        if guarantee == Guarantee::ExactlyOnce {
            report.violations(verify::nothing_open(scenario, &names, &bootstrap).err());
        }
        if is_ours {
            self.restore_from_changelogs(&names, &bootstrap, &mut pool, report);
        }
        report.violations(verify::nobody_left(&names, &bootstrap).err());
        Ok(())
    }

    fn pool(&self, random: &mut Random, names: &Names, brokers: &dyn Brokers, cached: bool) -> Pool {
        let arguments = Arguments {
            scenario: self.plan.scenario.name().to_owned(),
            names: names.clone(),
            bootstrap: brokers.worker_bootstrap(),
            state_dir: String::new(),
            guarantee: self.plan.guarantee,
            cache_bytes: if cached { 200_000 } else { 0 },
            replication: brokers.replication(),
            instance_id: None,
        };
        Pool::new(arguments, random.chance(40), self.settings.jvm, SLOTS, self.dir)
    }

    /// Local state, as the running workers answer queries.
    fn check_stores(&self, names: &Names, bootstrap: &str, pool: &mut Pool, report: &mut Report) {
        match verify::stores_equal_changelogs(self.plan.scenario, names, bootstrap, pool, self.dir, report) {
            Ok(entries) => report.count("entries of stores compared", entries as u64),
            Err(why) => report.violation(why),
        }
    }

    /// One worker with nothing but the changelogs has the same.
    fn restore_from_changelogs(&self, names: &Names, bootstrap: &str, pool: &mut Pool, report: &mut Report) {
        pool.wipe(0);
        pool.start(0);
        self.check_stores(names, bootstrap, pool, report);
        pool.terminate(0, report);
    }

    fn create_topics(&self, names: &Names, brokers: &dyn Brokers) -> Result<(), String> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", brokers.bootstrap()).create().unwrap();
        let scenario = self.plan.scenario;
        let topics: Vec<String> =
            scenario.inputs().iter().chain(scenario.outputs()).map(|topic| names.topic(topic)).collect();
        let replication = || TopicReplication::Fixed(brokers.replication());
        let new: Vec<NewTopic<'_>> =
            topics.iter().map(|topic| NewTopic::new(topic, PARTITIONS, replication())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let created = runtime.block_on(admin.create_topics(&new, &AdminOptions::new()));
        for result in created.map_err(|error| format!("creating topics: {error}"))? {
            result.map_err(|(topic, code)| format!("creating {topic}: {code}"))?;
        }
        Ok(())
    }
}
