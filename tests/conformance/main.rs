//! Replays traces of JVM Kafka Streams' TopologyTestDriver (4.3.0): programs in a small topology language, run through
//! the public DSL on our driver and compared with what the JVM did, at five levels: outputs; stores and dropped
//! counts; repartition topics; changelogs byte for byte; `describe()` letter by letter.
//!
//! The traces are in `cases.jsonl.gz` (designed by hand), `random.jsonl.gz` (generated) and `variations.jsonl.gz` (every
//! statement and option in other combinations), one case a line. `CASE=name` runs one alone. `make conformance CASES=DIR` runs all cases in files below a folder.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catalogue;
mod global;
mod joins;
mod kv_handle;
mod on_broker;
mod papi;
mod processors;
mod program;
mod report;
mod run;
mod stateful;
mod stores;
mod types;
mod value;
mod windowed;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use report::Report;
use serde_json::Value;

/// How many of the cases use only what is there, at least. A case that stops being expressible must not go unnoticed.
const EXPRESSIBLE: usize = 804;

/// The kit's own cases.
fn cases() -> impl Iterator<Item = Value> {
    let files: [&[u8]; 2] = [include_bytes!("cases.jsonl.gz"), include_bytes!("random.jsonl.gz")];
    files.into_iter().flat_map(cases_of)
}

fn variations() -> impl Iterator<Item = Value> {
    cases_of(include_bytes!("variations.jsonl.gz"))
}

fn cases_of(file: &[u8]) -> impl Iterator<Item = Value> {
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Programs fail on purpose by panicking in user code; the driver reports that as an error.
fn quietly<T>(f: impl FnOnce() -> T) -> T {
    std::panic::set_hook(Box::new(|_| {}));
    let result = f();
    let _ = std::panic::take_hook();
    result
}

#[test]
fn every_expressible_case_agrees_with_the_jvm() {
    let only = std::env::var("CASE").ok();
    let mut report = Report::default();
    quietly(|| {
        for case in cases().chain(variations()) {
            if only.as_deref().is_none_or(|only| case["name"] == only) {
                report.add(&case);
            }
        }
    });
    println!("{report}");
    let (passed, waiting) = (report.passed, report.waiting.values().sum::<usize>());
    assert!(report.failed() == waiting, "{passed} passed, {} failed", report.failed() - waiting);
    assert!(only.is_some() || passed >= EXPRESSIBLE, "{passed} cases passed, at least {EXPRESSIBLE} should");
}

/// What `make conformance CASES=DIR` runs: it ends the process, so that the last line is the report's, and the exit
/// status tells whether all agreed. Without the variable there is nothing to do.
#[test]
fn every_case_below_a_given_folder_agrees_with_the_jvm() {
    let Some(folder) = std::env::var_os("CONFORMANCE_CASES") else { return };
    let mut report = Report::default();
    quietly(|| {
        let mut files = Vec::new();
        if let Err(error) = collect(Path::new(&folder), &mut files) {
            report.unreadable(&PathBuf::from(&folder), &error.to_string());
        }
        files.sort();
        for file in files {
            add_file(&file, &mut report);
        }
    });
    println!("\n{report}");
    std::process::exit(i32::from(report.failed() > 0 || report.passed == 0));
}

/// All `.json` and `.jsonl` files below a path, or the path itself.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|ext| ext == "json" || ext == "jsonl") {
        files.push(path.to_owned());
    }
    Ok(())
}

/// The cases of a file: one (`.json`, or a list of them), or one in each line (`.jsonl`).
fn add_file(file: &Path, report: &mut Report) {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return report.unreadable(file, &error.to_string()),
    };
    let is_lines = file.extension().is_some_and(|ext| ext == "jsonl");
    let texts: Vec<&str> = if is_lines { text.lines().collect() } else { vec![&text] };
    for text in texts.into_iter().filter(|text| !text.trim().is_empty()) {
        match serde_json::from_str(text) {
            Ok(Value::Array(cases)) => cases.iter().for_each(|case| report.add(case)),
            Ok(case) => report.add(&case),
            Err(error) => report.unreadable(file, &error.to_string()),
        }
    }
}
