//! Runs each example as a user would, as a program: it must find its own checks fulfilled. On the embedded broker or, with
//! `KAFKA_BOOTSTRAP_SERVERS`, on Apache Kafka.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn word_count_counts_and_continues_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // The program compares every count with a plain count of the text, so a line counted twice in the second run shows.
    let prefix = new_prefix();
    let first = run("word_count", dir.path(), &prefix);
    assert!(first.contains("3376 lines written"), "{first}");
    assert!(first.contains("Checked: all"), "{first}");
    let second = run("word_count", dir.path(), &prefix);
    assert!(second.contains("0 lines written"), "{second}");
    assert!(second.contains("Checked: all"), "{second}");
}

#[test]
fn enrichment_joins_each_order_with_the_customer_of_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("enrichment", dir.path(), &new_prefix());
    assert!(output.contains("order 4: more tea to Ada, Oslo"), "{output}");
}

#[test]
fn async_enrichment_prices_orders_from_a_service_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("async_enrichment", dir.path(), &new_prefix());
    assert!(output.contains("order 33 is in the dead letter topic"), "{output}");
}

#[test]
fn windowed_counts_drops_what_comes_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("windowed_counts", dir.path(), &new_prefix());
    assert!(output.contains("/home in minute 0: 3"), "{output}");
    assert!(!output.contains("/home in minute 0: 4"), "{output}");
}

#[test]
fn processor_api_reports_the_silent_sensors() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("processor_api", dir.path(), &new_prefix());
    assert!(output.contains("roof: silent since minute 5"), "{output}");
}

/// What the example printed; fails the test when it didn't end well.
fn run(example: &str, data_dir: &Path, prefix: &str) -> String {
    let mut command = Command::new(program(example));
    command.env("DATA_DIR", data_dir).env("PREFIX", prefix).env_remove("FILE");
    match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(address) => command.env("BOOTSTRAP_SERVERS", address),
        Err(_) => command.env_remove("BOOTSTRAP_SERVERS"),
    };
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{example}: {status}\n{stdout}\n{}", String::from_utf8_lossy(&stderr));
    stdout
}

/// `cargo test` builds the examples beside the tests: `deps/examples-...` and `examples/word_count`.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    assert!(program.exists(), "{} is not there; run `cargo build --examples` first", program.display());
    program
}

/// Topics on a shared cluster outlive the test, so each has names of its own.
fn new_prefix() -> String {
    format!("example-{}-", uuid::Uuid::new_v4())
}
