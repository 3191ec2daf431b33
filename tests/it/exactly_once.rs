//! Exactly-once: every result is seen once by who reads committed records, whatever fails under it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kstreams::prelude::*;
use kstreams_test_cluster::{
    Cluster, DEADLINE, close, failure_of, message_of, run, start, wait_for, wait_for_state, wait_until,
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::topologies::{lines, plain_count, word_count, word_count_with};

fn exactly_once(config: StreamsConfig) -> StreamsConfig {
    config.set("processing.guarantee", "exactly_once_v2").statestore_cache_max_bytes(0)
}

/// All of `parts` times `part` is counted, and every count was written once.
async fn is_exact(cluster: &Cluster, input: &str, output: &str, part: &[String], parts: i64) {
    let mut expected = plain_count(part);
    expected.values_mut().for_each(|count| *count *= parts);
    cluster.wait_for_counts(output, &expected).await;
    cluster.settled("app", input).await;
    cluster.each_count_once(output, true);
}

/// Through clean restarts, an empty state directory and a second instance.
#[tokio::test(flavor = "multi_thread")]
async fn each_count_is_seen_once() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 4).await;
    let output = cluster.topic("counts", 2).await;
    let part = lines(300);
    let config = |state: &str| exactly_once(cluster.config_in("app", state)).num_stream_threads(2);
    for (round, state) in (1..).zip(["state", "state", "empty"]) {
        let streams = run(word_count(&input, &output), config(state)).await;
        cluster.produce_lines(&input, &part);
        is_exact(&cluster, &input, &output, &part, round).await;
        close(&streams).await;
    }
    let first = run(word_count(&input, &output), config("state")).await;
    cluster.produce_lines(&input, &part);
    let second = start(word_count(&input, &output), config("second")).await;
    cluster.produce_lines(&input, &part);
    wait_until("sharing", || !second.metadata_for_local_threads()[0].active_tasks.is_empty()).await;
    cluster.produce_lines(&input, &part);
    close(&first).await;
    is_exact(&cluster, &input, &output, &part, 6).await;
    close(&second).await;
    cluster.stop().await;
}

/// The word count with its counts in memory.
fn word_count_in_memory(lines: &str, counts: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>(lines)
        .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(Materialized::named("counts").in_memory())
        .to_stream()
        .to(counts);
    builder.build().unwrap()
}

/// The transactional id of an instance's first thread.
fn transactional_id(cluster: &Cluster, streams: &KafkaStreams) -> String {
    let application = cluster.name("app");
    let file = cluster.dir("state").join(&application).join("kafka-streams-process-metadata");
    let process = if let Ok(text) = std::fs::read(&file) {
        let process: serde_json::Value = serde_json::from_slice(&text).unwrap();
        process["processId"].as_str().unwrap().to_owned()
    } else {
        // Without a state directory the id is in the names of the threads.
        let thread = streams.metadata_for_local_threads()[0].thread_name.clone();
        let id = thread.strip_prefix(&format!("{application}-")).unwrap();
        id.strip_suffix("-StreamThread-1").unwrap().to_owned()
    };
    format!("{application}-{process}-1")
}

/// Takes a transactional id from whoever has it.
fn fence(cluster: &Cluster, id: &str) {
    let other: BaseProducer = cluster.client().set("transactional.id", id).create().unwrap();
    other.init_transactions(DEADLINE).unwrap();
}

/// Another producer takes the transactional id: the transaction that was open is gone with everything that it did to the stores, a new
/// producer takes the id back, and the work is done again.
async fn fenced(topology: impl Fn(&str, &str) -> Topology) {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 2).await;
    let output = cluster.topic("counts", 1).await;
    let part = lines(200);
    let streams = run(topology(&input, &output), exactly_once(cluster.config("app"))).await;
    cluster.produce_lines(&input, &part);
    let id = transactional_id(&cluster, &streams);
    let mut parts = 1;
    for _ in 0..3 {
        cluster.produce_lines(&input, &part);
        parts += 1;
        fence(&cluster, &id);
        cluster.produce_lines(&input, &part);
        parts += 1;
        is_exact(&cluster, &input, &output, &part, parts).await;
    }
    wait_for_state(&streams, State::Running).await;
    close(&streams).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_producer_is_replaced() {
    fenced(word_count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_in_memory_forget_an_aborted_transaction() {
    fenced(word_count_in_memory).await;
}

/// A thread that stands still in the middle of a transaction while its tasks are given to another instance goes on later: what it did
/// must not be committed any more, although its instance is a member of the group all the time.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_thread_did_that_was_left_behind_is_never_committed() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 2).await;
    let output = cluster.topic("counts", 1).await;
    let part = lines(200);
    let (stand_still, standing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let each = {
        let (stand_still, standing) = (stand_still.clone(), standing.clone());
        move |line: &str| {
            if line == "stop" && stand_still.load(Ordering::Acquire) {
                standing.fetch_add(1, Ordering::AcqRel);
                while stand_still.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    };
    // Longer than the whole test: nothing but the group says that the thread is too late.
    let config = |state: &str| {
        exactly_once(cluster.config_in("app", state))
            .num_stream_threads(2)
            .set("max.poll.interval.ms", "30000")
            .set("session.timeout.ms", "10000")
            .set("producer.transaction.timeout.ms", "60000")
    };
    let first = run(word_count_with(&input, &output, each), config("first")).await;
    cluster.produce_lines(&input, &part);
    is_exact(&cluster, &input, &output, &part, 1).await;
    stand_still.store(true, Ordering::Release);
    cluster.produce_lines(&input, &part);
    cluster.produce_lines(&input, ["stop"]);
    wait_until("a thread that stands still", || standing.load(Ordering::Acquire) > 0).await;
    cluster.produce_lines(&input, &part);
    let second = start(word_count(&input, &output), config("second")).await;
    let tasks = |streams: &KafkaStreams| {
        streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum::<usize>()
    };
    wait_until("tasks of the second instance", || tasks(&second) > 0).await;
    stand_still.store(false, Ordering::Release);
    cluster.produce_lines(&input, &part);
    let mut expected = plain_count(&part);
    expected.values_mut().for_each(|count| *count *= 4);
    expected.insert("stop".to_owned(), 1);
    cluster.wait_for_counts(&output, &expected).await;
    cluster.settled("app", &input).await;
    cluster.each_count_once(&output, true);
    close(&first).await;
    close(&second).await;
    cluster.stop().await;
}

/// What is wrong with transactions is said at the start, with what to do about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_is_wrong_with_transactions() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 1).await;
    let output = cluster.topic("counts", 1).await;
    let config = exactly_once(cluster.config("app")).set("producer.transaction.timeout.ms", "2000000000");
    let streams = KafkaStreams::new(word_count(&input, &output), config).unwrap();
    let error = message_of(&streams.start().await.unwrap_err());
    assert!(error.contains("transaction.max.timeout.ms"), "{error}");
    assert_eq!(streams.state(), State::Error);
    cluster.stop().await;
}

/// A reader that doesn't wait for commits sees what a reader of committed records does not: there are aborted records in between, so the
/// tests above look at what they say they look at.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_fails_aborts_what_it_has_begun() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 1).await;
    let output = cluster.topic("counts", 1).await;
    let armed = Arc::new(AtomicBool::new(true));
    let builder = StreamsBuilder::new();
    let fails = armed.clone();
    builder
        .stream::<(), String>(input.as_str())
        .peek(move |_, line: &String| assert!(line != "poison" || !fails.load(Ordering::Acquire), "poisoned"))
        .to(output.as_str());
    let topology = builder.build().unwrap();
    // The commit interval is longer than the test: what comes before the poison is in the same transaction.
    let config = exactly_once(cluster.config("app"))
        .commit_interval(Duration::from_secs(60))
        .set("producer.transaction.timeout.ms", "60000");
    let streams = run(topology, config).await;
    cluster.produce_lines(&input, ["one", "two"]);
    wait_for("what is in the topic", 2, || cluster.watermarks_uncommitted(&output, 0).1).await;
    cluster.produce_lines(&input, ["poison"]);
    wait_for_state(&streams, State::Error).await;
    // Without the abort nothing could be read past it until the transaction times out.
    assert_eq!(cluster.values(&output), Vec::<String>::new());
    assert_eq!(cluster.watermarks(&output, 0).1, 3, "two records and the mark of the abort");
    assert_eq!(cluster.committed("app", &input, 0), None);
    cluster.stop().await;
}

/// No transaction ever succeeds: after `task.timeout.ms` that is said, instead of trying for ever.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_fail_again_and_again_end_with_an_error() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 1).await;
    let output = cluster.topic("counts", 1).await;
    let config = exactly_once(cluster.config("app")).task_timeout(Duration::from_secs(2));
    let streams = run(word_count(&input, &output), config).await;
    let id = transactional_id(&cluster, &streams);
    wait_until("the end of the instance", || {
        fence(&cluster, &id);
        cluster.produce_lines(&input, ["never"]);
        streams.state() == State::Error
    })
    .await;
    let failure = failure_of(&streams).await;
    for part in ["no transaction could be committed", "task.timeout.ms", "transaction.timeout.ms"] {
        assert!(failure.contains(part), "{part} is missing: {failure}");
    }
    cluster.stop().await;
}

/// Somebody's open transaction hides the end of an input: what can be read was read, so the other input is not held up.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_in_one_input_does_not_hold_up_the_other() {
    let cluster = Cluster::start().await;
    let (left, right) = (cluster.topic("left", 1).await, cluster.topic("right", 1).await);
    let output = cluster.topic("out", 1).await;
    let other: BaseProducer = cluster
        .client()
        .set("transactional.id", cluster.name("other"))
        .set("linger.ms", "0")
        .create()
        .unwrap();
    other.init_transactions(DEADLINE).unwrap();
    other.begin_transaction().unwrap();
    other.send(BaseRecord::to(&left).key("k").payload("undecided")).unwrap();
    other.flush(DEADLINE).unwrap();
    cluster.produce(&right, &[("k", "decided", 1_000)]);
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>([left.as_str(), right.as_str()]).to(output.as_str());
    let streams = run(builder.build().unwrap(), exactly_once(cluster.config("app"))).await;
    wait_for("the results", vec!["decided".to_owned()], || cluster.values(&output)).await;
    other.commit_transaction(DEADLINE).unwrap();
    wait_for("the number of results", 2, || cluster.values(&output).len()).await;
    close(&streams).await;
    cluster.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// A power cut takes what was not flushed: the state directory is as it was some commits ago. The changelog has the rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_directory_catches_up() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 2).await;
    let output = cluster.topic("counts", 1).await;
    let part = lines(300);
    for round in 1..=2 {
        let streams = run(word_count(&input, &output), exactly_once(cluster.config("app"))).await;
        cluster.produce_lines(&input, &part);
        is_exact(&cluster, &input, &output, &part, round).await;
        close(&streams).await;
        if round == 1 {
            copy(&cluster.dir("state"), &cluster.dir("older"));
        }
    }
    let streams = run(word_count(&input, &output), exactly_once(cluster.config_in("app", "older"))).await;
    cluster.produce_lines(&input, &part);
    is_exact(&cluster, &input, &output, &part, 3).await;
    close(&streams).await;
    cluster.stop().await;
}

/// More than the memory for uncommitted state holds comes between two commits by interval: a commit comes early.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_uncommitted_layer_commits_early() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 1).await;
    let output = cluster.topic("counts", 1).await;
    let config = exactly_once(cluster.config("app"))
        .memory_budget_bytes(16 << 20)
        .commit_interval(Duration::from_secs(600))
        .set("producer.transaction.timeout.ms", "600000");
    let builder = StreamsBuilder::new();
    builder
        .table_with(input.as_str(), Consumed::<String, String>::new(), Materialized::named("rows"))
        .to_stream()
        .to(output.as_str());
    let streams = run(builder.build().unwrap(), config).await;
    let value = "x".repeat(1_000);
    let rows: Vec<(String, &str)> = (0..20_000).map(|n| (format!("row {n}"), value.as_str())).collect();
    let records: Vec<(&str, &str, i64)> =
        rows.iter().map(|(key, value)| (key.as_str(), *value, 1_000)).collect();
    cluster.produce(&input, &records);
    wait_until("an early commit", || {
        cluster.committed("app", &input, 0).is_some_and(|offset| offset > 1_000)
    })
    .await;
    assert!(!cluster.values(&output).is_empty(), "what is committed can be read");
    close(&streams).await;
    assert_eq!(cluster.values(&output).len(), rows.len());
    cluster.stop().await;
}
