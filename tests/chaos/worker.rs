//! The application's process: one instance, closed by SIGTERM, told by lines what else to do.
//!
//! It says `up` when it takes signals, `state NAME` at each change, `failed WHY` before it ends with an error, `closed` after a clean stop. It understands
//! `dump FILE` (its stores, one entry a line; answered by `dump ok` or `dump WHY`) and `clock MS` (moves its wall clock).

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kstreams::prelude::*;
use kstreams_core::clock::{Clock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use crate::process;
use crate::scenario::{self, Names, Scenario, Store, StoreKind};
use crate::settings::Guarantee;

pub const ROLE: &str = "worker";

/// How long a clean stop may take.
const CLOSE: Duration = Duration::from_secs(40);
/// Ends of the process, for the driver.
pub const FAILED: u8 = 2;
const NOT_CLOSED: u8 = 3;

/// How long the group keeps the tasks of a dead worker.
pub const SESSION: Duration = Duration::from_secs(3);
/// After this the cluster gives up the transaction of a dead worker that doesn't come back.
pub const TRANSACTION: Duration = Duration::from_secs(8);

/// What a worker is started with.
#[derive(Clone)]
pub struct Arguments {
    pub scenario: String,
    pub names: Names,
    pub bootstrap: String,
    pub state_dir: String,
    pub guarantee: Guarantee,
    pub cache_bytes: u64,
    pub replication: i32,
    /// Of a static member.
    pub instance_id: Option<String>,
}

impl Arguments {
    pub fn lines(&self) -> Vec<String> {
        vec![
            self.scenario.clone(),
            self.names.0.clone(),
            self.bootstrap.clone(),
            self.state_dir.clone(),
            self.guarantee.name().to_owned(),
            self.cache_bytes.to_string(),
            self.replication.to_string(),
            self.instance_id.clone().unwrap_or_default(),
        ]
    }

    fn parse(lines: &[String]) -> Arguments {
        let line = |n: usize| lines.get(n).cloned().unwrap_or_default();
        Arguments {
            scenario: line(0),
            names: Names(line(1)),
            bootstrap: line(2),
            state_dir: line(3),
            guarantee: Guarantee::named(&line(4)).unwrap(),
            cache_bytes: line(5).parse().unwrap(),
            replication: line(6).parse().unwrap(),
            instance_id: Some(line(7)).filter(|id| !id.is_empty()),
        }
    }

    fn config(&self) -> StreamsConfig {
        let mut config = StreamsConfig::new(self.names.application(), &self.bootstrap)
            .state_dir(&self.state_dir)
            .num_stream_threads(2)
            .statestore_cache_max_bytes(self.cache_bytes)
            .commit_interval(Duration::from_millis(150))
            .set("processing.guarantee", self.guarantee.name())
            .set("replication.factor", self.replication.to_string())
            .set("session.timeout.ms", SESSION.as_millis().to_string())
            .set("heartbeat.interval.ms", "300")
            .set("metadata.max.age.ms", "2000")
            .set("producer.linger.ms", "5");
        if self.guarantee == Guarantee::ExactlyOnce {
            config = config.set("producer.transaction.timeout.ms", TRANSACTION.as_millis().to_string());
        }
        // What the group's client does, for the log (`RUST_LOG=info,librdkafka=debug`).
        if let Ok(what) = std::env::var("CHAOS_CLIENT_DEBUG") {
            config = config.set("main.consumer.debug", what);
        }
        if let Some(id) = &self.instance_id {
            config = config.set("group.instance.id", id);
        }
        config
    }
}

/// The system's clock, moved.
#[derive(Default)]
struct JumpingClock(AtomicI64);

impl Clock for JumpingClock {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }
}

pub fn run(lines: &[String]) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let arguments = Arguments::parse(lines);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let code = runtime.block_on(work(&arguments));
    // What is left behind by a stop that took too long must not keep the process.
    std::process::exit(code.into());
}

async fn work(arguments: &Arguments) -> u8 {
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    println!("up");
    let mut commands = process::commands();
    let scenario = scenario::named(&arguments.scenario).unwrap();
    let clock = Arc::new(JumpingClock::default());
    let topology = scenario.topology(&arguments.names, arguments.guarantee);
    let streams = match KafkaStreams::with_clock(topology, arguments.config(), clock.clone()) {
        Ok(streams) => streams,
        Err(error) => return failed(&message_of(&error)),
    };
    tokio::select! {
        started = streams.start() => if let Err(error) = started {
            return failed(&message_of(&error));
        },
        // A start waits for the cluster for a while.
        _ = terminated.recv() => {
            println!("closed");
            return 0;
        }
    }
    let mut state = streams.state_watch();
    loop {
        tokio::select! {
            _ = terminated.recv() => {
                let in_time = streams.close(CLOSE).await;
                if in_time && streams.state() == State::NotRunning {
                    println!("closed");
                    return 0;
                }
                println!("not closed: {} {:?}", streams.state(), streams.failure());
                return NOT_CLOSED;
            }
            changed = state.changed() => {
                let now = *state.borrow_and_update();
                println!("state {now}");
                if changed.is_err() || now.has_stopped() {
                    return failed(&streams.failure().unwrap_or_else(|| format!("state {now}")));
                }
            }
            Some(command) = commands.recv() => obey(&command, scenario, &streams, &clock),
        }
    }
}

fn failed(why: &str) -> u8 {
    tracing::error!(why, "the worker ends");
    println!("failed {}", why.replace('\n', " "));
    FAILED
}

/// With its causes.
fn message_of(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn obey(command: &str, scenario: &dyn Scenario, streams: &KafkaStreams, clock: &JumpingClock) {
    match command.split_once(' ') {
        Some(("dump", file)) => match dump(scenario, streams, Path::new(file)) {
            Ok(()) => println!("dump ok"),
            Err(why) => println!("dump {}", why.replace('\n', " ")),
        },
        Some(("clock", by_ms)) => clock.0.store(by_ms.parse().unwrap(), Ordering::Relaxed),
        _ => panic!("no command {command}"),
    }
}

/// Writes what the local stores answer to queries: store, key and value of each entry, by tabs.
fn dump(scenario: &dyn Scenario, streams: &KafkaStreams, file: &Path) -> Result<(), String> {
    if streams.state() != State::Running {
        return Err(format!("state {}", streams.state()));
    }
    let mut text = String::new();
    for store in scenario.stores() {
        let entries = entries(*store, streams).map_err(|error| message_of(&*error))?;
        for (key, value) in entries {
            writeln!(text, "{}\t{key}\t{value}", store.name).unwrap();
        }
    }
    std::fs::write(file, text).map_err(|error| error.to_string())
}

fn entries(store: Store, streams: &KafkaStreams) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut entries = Vec::new();
    match store.kind {
        StoreKind::Count => {
            for entry in streams.store::<TimestampedKeyValueStore<String, i64>>(store.name)?.all()? {
                let (key, count) = entry?;
                entries.push((key, count.value.to_string()));
            }
        }
        StoreKind::Table => {
            for entry in streams.store::<TimestampedKeyValueStore<String, String>>(store.name)?.all()? {
                let (key, text) = entry?;
                entries.push((key, text.value));
            }
        }
        StoreKind::Plain => {
            for entry in streams.store::<KeyValueStore<String, i64>>(store.name)?.all()? {
                let (key, number) = entry?;
                entries.push((key, number.to_string()));
            }
        }
        StoreKind::Windows { .. } => {
            let store = streams.store::<TimestampedWindowStore<String, i64>>(store.name)?;
            for entry in store.fetch_range(None, None, 0, i64::MAX)? {
                let (window, count) = entry?;
                entries.push((format!("{}@{}", window.key, window.window.start), count.value.to_string()));
            }
        }
    }
    Ok(entries)
}
