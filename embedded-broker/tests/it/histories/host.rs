//! How the broker of a history dies: killed, or without power.

use std::path::{Path, PathBuf};

use kstreams_embedded_broker::BrokerConfig;
use kstreams_embedded_broker::fault::{Loss, VolatileDisk};

use super::Rng;
use crate::crash::Process;
use crate::support::Broker;

const SETTINGS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("log.cleaner.backoff.ms", "20"),
    ("log.retention.check.interval.ms", "20"),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "20"),
    ("offsets.topic.segment.bytes", "4000"),
    ("transaction.state.log.segment.bytes", "4000"),
];

/// After this many more changes to its files the power is cut: within one request, or within what cleans up beside it.
const CHANGES: usize = 12;

/// A broker that can die at any moment and come back.
pub(super) enum Host {
    /// A process of its own. What it has written is the operating system's and stays.
    Process(PathBuf, Process),
    /// In this process, with every append made durable. What was not is lost with the power, or some of it.
    Power(PathBuf, VolatileDisk, Option<Broker>),
}

impl Host {
    pub(super) fn process(dir: &Path) -> Self {
        Host::Process(dir.to_owned(), process(dir))
    }

    pub(super) fn on_volatile_disk(dir: &Path) -> Self {
        let disk = VolatileDisk::new();
        let broker = broker(dir, &disk);
        Host::Power(dir.to_owned(), disk, Some(broker))
    }

    pub(super) fn address(&self) -> &str {
        match self {
            Host::Process(_, process) => &process.address,
            Host::Power(.., broker) => &broker.as_ref().unwrap().address,
        }
    }

    /// The next request is the last: the power goes while it is worked on, or soon after.
    pub(super) fn before_the_end(&mut self, rng: &mut Rng) {
        if let Host::Power(_, disk, _) = self {
            disk.cut_power_after(rng.below(CHANGES) as u64);
        }
    }

    /// Ends it, and starts it again on what is left.
    pub(super) fn die_and_come_back(&mut self, rng: &mut Rng) {
        match self {
            Host::Process(dir, running) => {
                running.signal("-KILL");
                *running = process(dir);
            }
            Host::Power(dir, disk, running) => {
                disk.cut_power();
                running.take().unwrap().kill();
                let loss = match rng.below(3) {
                    0 => Loss::Everything,
                    _ => Loss::Some(rng.below(usize::MAX) as u64),
                };
                disk.lose_unsynced(loss).unwrap();
                *running = Some(broker(dir, disk));
            }
        }
    }
}

fn process(dir: &Path) -> Process {
    let settings: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--config", setting]).collect();
    Process::start(dir, &arguments)
}

fn broker(dir: &Path, disk: &VolatileDisk) -> Broker {
    let config = BrokerConfig::new().data_dir(dir).volatile_disk(disk);
    let settings = SETTINGS.iter().chain(&[("log.flush.interval.messages", "1")]);
    Broker::start_with(settings.fold(config, |config, (name, value)| config.set(name, value).unwrap()))
}
