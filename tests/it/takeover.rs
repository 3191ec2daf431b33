//! An application that moves from the JVM to this library and back, with its topics, offsets and counts.
//!
//! Needs Apache Kafka and the word count of the JVM's Kafka Streams, a program that `JVM_BENCH` names (beside the checkout by default;
//! `bench/README.md` says what it is); skipped without them, with a line on stderr.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, DEADLINE, close, given, say, start, wait_for_state, wait_until};
use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use crate::child::signal;
use crate::topologies::{lines, plain_count};

const PARTITIONS: i32 = 4;
/// Produced again and again, while programs start and stop.
const CHUNK: usize = 500;

/// The JVM program's topology, operator by operator: the names of its internal topics come from it.
fn word_count(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>(input)
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by_with(|_, word| word.clone(), Grouped::named("words"))
        .count(Materialized::named("counts"))
        .to_stream()
        .to(output);
    builder.build().unwrap()
}

/// The program that runs the JVM's word count, or why there is none.
fn jvm_program() -> Result<PathBuf, String> {
    given().ok_or("it needs Apache Kafka: set KAFKA_BOOTSTRAP_SERVERS")?;
    std::env::var_os("KAFKA_KIT")
        .ok_or("its Kafka is not one of the kit, whose jars the program needs (KAFKA_KIT)")?;
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/bench/jvm/bench");
    let program = std::env::var_os("JVM_BENCH").map_or_else(beside, PathBuf::from);
    let there = program.exists();
    there.then_some(program.clone()).ok_or_else(|| format!("no {}; name it in JVM_BENCH", program.display()))
}

/// One application on one cluster, run by one or the other.
struct Application {
    cluster: Cluster,
    program: PathBuf,
    input: String,
    output: String,
    /// How often the chunk was produced.
    chunks: i64,
}

impl Application {
    async fn new(program: PathBuf) -> Application {
        let cluster = Cluster::start().await;
        let input = cluster.topic("lines", PARTITIONS).await;
        let output = cluster.topic("counted", PARTITIONS).await;
        Application { cluster, program, input, output, chunks: 0 }
    }

    fn produce(&mut self) {
        self.cluster.produce_lines(&self.input, lines(CHUNK));
        self.chunks += 1;
    }

    /// Produces until some of it is counted and committed.
    async fn produce_until_committed(&mut self) {
        let words = self.cluster.name("app-words-repartition");
        let committed = |this: &Self| {
            let by = |partition| this.cluster.committed("app", &words, partition).unwrap_or(0);
            (0..PARTITIONS).map(by).sum::<i64>()
        };
        let (before, deadline) = (committed(self), Instant::now() + DEADLINE);
        while committed(self) <= before {
            assert!(Instant::now() < deadline, "nothing is committed");
            self.produce();
        }
    }

    fn start_jvm(&self) -> Jvm {
        let dir = |name: &str| {
            let dir = self.cluster.dir(name);
            std::fs::create_dir_all(&dir).unwrap();
            dir
        };
        let child = Command::new(&self.program)
            .args(["jvm", "wordcount"])
            .env("BOOTSTRAP", self.cluster.bootstrap())
            .env("APP_ID", self.cluster.name("app"))
            .envs([("INPUT", &self.input), ("OUTPUT", &self.output)])
            .envs([("STATE_DIR", dir("jvm")), ("BENCH_DIR", dir("classes"))])
            .envs([("COMMIT_MS", "100"), ("JVM_OPTS", "-Xmx512m")])
            .stdout(Stdio::null())
            .spawn();
        Jvm(child.unwrap())
    }

    /// All lines are split, all words counted.
    async fn settled(&self) {
        let words = self.cluster.name("app-words-repartition");
        for topic in [&self.input, &words] {
            wait_until(&format!("commits up to the end of {topic}"), || self.cluster.lag("app", topic) == 0)
                .await;
        }
    }

    fn counts_are_exact(&self) {
        let mut expected = plain_count(&lines(CHUNK));
        expected.values_mut().for_each(|count| *count *= self.chunks);
        assert_eq!(self.cluster.counts(&self.output), expected);
        assert_eq!(self.cluster.counts(&self.cluster.name("app-counts-changelog")), expected);
    }

    /// Partition counts and settings of the internal topics of an application.
    async fn internal_topics(&self, application: &str) -> BTreeMap<String, (i32, BTreeMap<String, String>)> {
        let prefix = self.cluster.name(&format!("{application}-"));
        let mut topics = BTreeMap::new();
        for topic in self.cluster.topics() {
            let Some(name) = topic.strip_prefix(&prefix) else { continue };
            let resources = [ResourceSpecifier::Topic(&topic)];
            let answers = self.cluster.admin().describe_configs(&resources, &AdminOptions::new()).await;
            let [Ok(answer)] = &answers.unwrap()[..] else { panic!("no settings of {topic}") };
            let set = answer.entries.iter().filter(|entry| !entry.is_default);
            let settings = set.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect();
            topics.insert(name.to_owned(), (self.cluster.partitions(&topic), settings));
        }
        topics
    }
}

/// The JVM's program, killed when the test ends early.
struct Jvm(Child);

impl Jvm {
    /// It commits and closes when it is terminated.
    fn terminate(&self) {
        signal(&self.0, "TERM");
    }

    async fn ended(mut self) {
        wait_until("end of the JVM", || self.0.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The JVM counts and is stopped while lines keep coming; ours goes on from its offsets and its changelog, with an empty state directory,
/// and is stopped in the same way; the JVM goes on from its old directory. Each word is counted once.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_moves_from_the_jvm_and_back() {
    let program = match jvm_program() {
        Ok(program) => program,
        Err(why) => return say(&format!("SKIPPED: an application moves from the JVM and back ({why})")),
    };
    let mut app = Application::new(program).await;
    let jvm = app.start_jvm();
    app.produce_until_committed().await;
    let made_by_jvm = app.internal_topics("app").await;
    jvm.terminate();
    app.produce();
    jvm.ended().await;
    app.produce();

    // The JVM does not leave its group: until the session is over the broker refuses members with another assignor.
    let streams = start(word_count(&app.input, &app.output), app.cluster.config("app")).await;
    wait_for_state(&streams, State::Running).await;
    app.produce_until_committed().await;
    close(&streams).await;
    assert_eq!(app.internal_topics("app").await, made_by_jvm, "taken over as they are");
    app.produce();

    let jvm = app.start_jvm();
    app.produce_until_committed().await;
    app.settled().await;
    jvm.terminate();
    jvm.ended().await;
    app.counts_are_exact();
    assert_eq!(app.internal_topics("app").await, made_by_jvm);

    // An application that begins here makes its topics as the JVM does.
    let streams = start(word_count(&app.input, &app.output), app.cluster.config("other")).await;
    close(&streams).await;
    assert_eq!(app.internal_topics("other").await, made_by_jvm);
    app.cluster.stop().await;
}
