//! Replays traces of JVM Kafka Streams' TopologyTestDriver (4.3.0): programs in a small topology language, run through
//! the public DSL on our driver and compared with what the JVM did, at five levels: outputs; stores and dropped
//! counts; repartition topics; changelogs byte for byte; `describe()` letter by letter.
//!
//! The traces are in `cases.jsonl.gz` (designed by hand) and `random.jsonl.gz` (generated), one case a line. A case whose program uses an operator that is not there yet is
//! counted as such, by name of the operator; every other case has to pass. `CASE=name` runs one alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catalogue;
mod global;
mod joins;
mod kv_handle;
mod papi;
mod processors;
mod program;
mod run;
mod stateful;
mod stores;
mod types;
mod value;
mod windowed;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use serde_json::Value;

/// How many of the cases use only what is there, at least. A case that stops being expressible must not go unnoticed.
const EXPRESSIBLE: usize = 160;

fn cases() -> Vec<Value> {
    let files: [&[u8]; 2] = [include_bytes!("cases.jsonl.gz"), include_bytes!("random.jsonl.gz")];
    let lines = files.into_iter().flat_map(|file| BufReader::new(GzDecoder::new(file)).lines());
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// What became of a case.
enum Outcome {
    Passed,
    /// Needs what is named.
    NotThereYet(String),
    /// The first difference.
    Failed(String),
}

fn run_case(case: &Value) -> Outcome {
    let config = run::config(case);
    let (actual, describe) = match program::build(case, &config) {
        Err(program::ProgramError::NotThereYet(what)) => return Outcome::NotThereYet(what),
        Err(error) => (run::not_built(&error), None),
        Ok(program) => {
            let describe = program.topology.describe().to_string();
            (run::run(case, program, &config), Some(describe))
        }
    };
    let differences = run::differences(&case["expect"], &actual, describe.as_deref());
    let first = run::LEVELS.iter().zip(differences).find_map(|(level, found)| Some((level, found?)));
    match first {
        None => Outcome::Passed,
        Some((level, difference)) => {
            let error = actual["error"]["text"].as_str().unwrap_or_default();
            Outcome::Failed(format!("{level}: {difference} {error}"))
        }
    }
}

#[test]
fn every_expressible_case_agrees_with_the_jvm() {
    // Programs fail on purpose by panicking in user code; the driver reports that as an error.
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::var("CASE").ok();
    let mut failed = Vec::new();
    let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
    let mut families: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in cases() {
        let name = case["name"].as_str().unwrap_or_default();
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let family = families.entry(name.split('-').next().unwrap_or_default().to_owned()).or_default();
        match run_case(&case) {
            Outcome::Passed => family.0 += 1,
            Outcome::NotThereYet(what) => *waiting.entry(what).or_default() += 1,
            Outcome::Failed(why) => {
                family.1 += 1;
                failed.push(format!("{name}: {why}"));
            }
        }
    }
    let _ = std::panic::take_hook();
    println!("{:12} {:>6} {:>6}", "family", "passed", "failed");
    for (family, (passed, failed)) in &families {
        println!("{family:12} {passed:>6} {failed:>6}");
    }
    println!("not expressible yet, by what is missing: {waiting:?}");
    let passed: usize = families.values().map(|(passed, _)| passed).sum();
    assert!(failed.is_empty(), "{passed} passed, {} failed\n{}", failed.len(), failed.join("\n"));
    assert!(only.is_some() || passed >= EXPRESSIBLE, "{passed} cases passed, at least {EXPRESSIBLE} should");
}
