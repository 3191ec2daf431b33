//! Proof by faults: application processes are killed, stopped, restarted, cut off and robbed of their state while input flows;
//! afterwards a plain reader compares what the cluster has with a plain computation of the input.
//!
//! `cargo test --test chaos` is a short run, for `make test`; `make chaos SECONDS=.. SEED=.. BROKERS=embedded|1|3 GUARANTEE=..
//! SCENARIO=..` a long one. `docs/reliability.md` says what is checked, and what long runs have shown.
//!
//! One program in three roles: the driver (this file, `episode`, `faults`), the application (`worker`), of which the driver
//! starts several, and the embedded broker in a process of its own, so that it can be killed as well.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]
#![allow(clippy::disallowed_methods)] // a program, not the library: input has the time of the day

mod brokers;
mod disk;
mod episode;
mod faults;
mod jvm;
mod load;
mod pool;
mod process;
mod random;
mod report;
mod scenario;
mod settings;
mod verify;
mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use settings::Settings;

fn main() -> ExitCode {
    match process::role() {
        Some((role, arguments)) if role == worker::ROLE => return worker::run(&arguments),
        Some((role, arguments)) if role == brokers::embedded::ROLE => {
            return brokers::embedded::run(&arguments);
        }
        Some((role, _)) => panic!("no role {role}"),
        None => {}
    }
    if !asked_for() {
        return ExitCode::SUCCESS;
    }
    match Settings::from_env() {
        Ok(settings) => drive(&settings),
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the arguments of `cargo test` mean this test: `--list` and the name of another one don't.
fn asked_for() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("chaos: test");
        return false;
    }
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| "chaos".contains(name.as_str()))
}

/// Episode after episode until the time is over; each has an application, topics and a seed of its own.
fn drive(settings: &Settings) -> ExitCode {
    let begin = Instant::now();
    scenario::check_the_checks();
    println!("chaos: {settings}");
    let mut total = report::Report::default();
    let mut brokers = match brokers::start(settings) {
        Ok(brokers) => brokers,
        Err(error) => {
            println!("chaos: SKIPPED, {error}");
            return if settings.short { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    let mut seed = settings.seed;
    for plan in settings.episodes() {
        if !settings.short && total.tally("episodes") > 0 && begin.elapsed() >= settings.duration {
            break;
        }
        let report = episode::run(settings, &plan, seed, &mut *brokers);
        total.add(&report);
        if total.has_violations() && !settings.go_on {
            break;
        }
        seed = random::Random::new(seed).next();
    }
    drop(brokers);
    println!("chaos: in {} s, {total}", begin.elapsed().as_secs());
    if total.has_violations() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A pause of the driver's own, between two looks at something.
fn look_again() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Looks at a condition until it holds; `false` when it doesn't within the time.
fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        look_again();
    }
    true
}
