//! The benchmark program: one workload's topology, set up by environment variables as the harness gives them, running
//! until SIGTERM. `bench/README.md` says how to run it beside the JVM's.

#![allow(clippy::disallowed_methods)] // a program: the harness compares its times with its own

mod topologies;

/// Records are allocated on one thread and freed on another, the client's: glibc's allocator takes a lock for that which
/// both threads wait for. It replaces C's `malloc` too, for librdkafka and RocksDB.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kstreams::prelude::*;
use tokio::signal::unix::{SignalKind, signal};

fn env(name: &str) -> Result<String, Box<dyn Error>> {
    std::env::var(name)
        .map_err(|_| format!("the harness sets {name}; run this by bench/run or bench/compare").into())
}

/// The settings that the JVM program gets too; everything else has its default.
fn config() -> Result<StreamsConfig, Box<dyn Error>> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let mut config = StreamsConfig::new(env("APP_ID")?, env("BOOTSTRAP")?)
        .state_dir(env("STATE_DIR")?)
        .num_stream_threads(usize::try_from(number("THREADS", 1)?)?)
        .commit_interval(Duration::from_millis(number("COMMIT_MS", 1000)?))
        .statestore_cache_max_bytes(number("CACHE_BYTES", 10 << 20)?);
    if let Ok(linger) = std::env::var("LINGER_MS") {
        config = config.set("producer.linger.ms", linger);
    }
    // For trials: `NAME=VALUE`, with commas between them.
    let trials = std::env::var("SETTINGS").unwrap_or_default();
    for (name, value) in trials.split(',').filter_map(|setting| setting.split_once('=')) {
        config = config.set(name, value);
    }
    if number("EOS", 0)? == 1 {
        config = config.set("processing.guarantee", "exactly_once_v2");
    }
    Ok(config)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let second_input = std::env::var("INPUT2").unwrap_or_default();
    let topology = topologies::build(&env("TOPOLOGY")?, &env("INPUT")?, &second_input, &env("OUTPUT")?)?;
    let streams = KafkaStreams::new(topology, config()?)?;
    tokio::select! {
        started = streams.start() => started?,
        // A start waits for a broker for a while.
        _ = terminated.recv() => return Ok(()),
    }

    let mut state = streams.state_watch();
    loop {
        tokio::select! {
            _ = terminated.recv() => break,
            changed = state.changed() => {
                changed?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
                // The harness reads this line: `running_s`.
                println!("STATE {} {now}", *state.borrow_and_update());
            }
        }
    }
    streams.close(Duration::from_secs(20)).await;
    Ok(())
}
