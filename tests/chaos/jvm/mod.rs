//! The word count on the JVM's Kafka Streams in the workers' places, to see what the same schedule does to it.
//!
//! Needs Apache Kafka's jars with Kafka Streams, a JDK, and `BROKERS=1` or `3`. Its stores are not looked at; its output is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::scenario::Scenario;
use crate::worker::{Arguments, SESSION, TRANSACTION};

/// The program, compiled once.
static CLASSES: OnceLock<tempfile::TempDir> = OnceLock::new();

/// Where `brokers::apache` has the jars.
fn jars() -> PathBuf {
    let home = std::env::var("HOME").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    home.join(".cache/kstreams-chaos-kafka/libs")
}

fn classes() -> &'static Path {
    let compile = || {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/jvm/Words.java");
        let compiler = Command::new("javac")
            .args(["-nowarn", "-d"])
            .arg(dir.path())
            .arg("-cp")
            .arg(jars().join("*"))
            .arg(&source)
            .status();
        assert!(compiler.is_ok_and(|status| status.success()), "cannot compile {}", source.display());
        dir
    };
    CLASSES.get_or_init(compile).path()
}

/// What starts one worker.
pub fn command(scenario: &dyn Scenario, arguments: &Arguments) -> Command {
    let class_path = format!("{}:{}/*", classes().display(), jars().display());
    let log = jars().with_file_name("log4j2.properties");
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:+UseSerialGC"])
        .arg(format!("-Dlog4j2.configurationFile={}", log.display()))
        .args(["-cp", &class_path, "Words"])
        .args([
            arguments.names.application(),
            arguments.bootstrap.clone(),
            arguments.names.topic(scenario.inputs()[0]),
            arguments.names.topic(scenario.outputs()[0]),
            arguments.state_dir.clone(),
            arguments.guarantee.name().to_owned(),
            arguments.cache_bytes.to_string(),
            arguments.replication.to_string(),
            arguments.instance_id.clone().unwrap_or_default(),
            SESSION.as_millis().to_string(),
            TRANSACTION.as_millis().to_string(),
        ]);
    command
}
