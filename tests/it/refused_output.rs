//! Output records that are not taken: by the client, because they are larger than a request may be, or by the brokers. The
//! production exception handler says what becomes of them, under exactly-once as well.

use std::time::{SystemTime, UNIX_EPOCH};

use kstreams::handlers::{LogAndContinue, LogAndFail};
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, failure_of, run, wait_for_state, wait_until};
use rdkafka::message::{Headers as _, Message};

fn copy(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(input).to(output);
    builder.build().unwrap()
}

/// Records whose keys with a `!` are too large.
fn produce(cluster: &Cluster, input: &str, keys: &[&str]) {
    let large = "x".repeat(5_000);
    let value = |key: &str| if key.ends_with('!') { large.as_str() } else { "small" };
    let records: Vec<(&str, &str, i64)> = keys.iter().map(|key| (*key, value(key), now_ms())).collect();
    cluster.produce(input, &records);
}

#[allow(clippy::disallowed_methods)] // topics keep no record that is older than their retention
fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn keys(cluster: &Cluster, topic: &str) -> Vec<String> {
    cluster.texts(topic).into_iter().map(|(key, _)| key).collect()
}

/// Offsets in the input that dead letters name.
fn letters(cluster: &Cluster, topic: &str) -> Vec<String> {
    let offset = |name: &str, message: &rdkafka::message::OwnedMessage| {
        let headers = message.headers().unwrap();
        let found = headers.iter().find(|header| header.key == name).unwrap();
        String::from_utf8(found.value.unwrap().to_vec()).unwrap()
    };
    cluster.read_all(topic).iter().map(|message| offset("__streams.errors.offset", message)).collect()
}

async fn all_committed(cluster: &Cluster, input: &str) {
    wait_until("commit of all records", || cluster.lag("app", input) == 0).await;
}

/// The client says so before the record is anywhere: it is skipped, and a transaction goes on.
async fn too_large_for_the_client(guarantee: &str) {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let dead = cluster.topic("dead", 1).await;
    let config = cluster
        .config("app")
        .set("processing.guarantee", guarantee)
        .set("producer.max.request.size", "2000")
        .production_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name(&dead);
    produce(&cluster, &input, &["a", "b!", "c"]);
    let streams = run(copy(&input, &output), config).await;
    all_committed(&cluster, &input).await;
    close(&streams).await;
    assert_eq!(keys(&cluster, &output), ["a", "c"]);
    assert_eq!(letters(&cluster, &dead), ["1"]);
    if guarantee == "exactly_once_v2" {
        assert_eq!(cluster.watermarks(&output, 0).1, 3, "two records and one commit: nothing was aborted");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_the_client_is_skipped() {
    too_large_for_the_client("at_least_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_the_client_is_skipped_within_its_transaction() {
    too_large_for_the_client("exactly_once_v2").await;
}

/// A broker refuses batches whole, and with one its transaction ends: the work is done again, each record of the batch is sent alone, and
/// only those that are refused even so are skipped. Several of them, before and behind others, in one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_broker_refuses_are_skipped_and_no_other() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("in", 1).await;
    let output = cluster.name("out");
    cluster.create_topic_with(&output, 1, &[("max.message.bytes", "2000")]).await;
    let dead = cluster.topic("dead", 1).await;
    let config = cluster
        .config("app")
        .set("processing.guarantee", "exactly_once_v2")
        .set("producer.compression.type", "none")
        .production_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name(&dead);
    produce(&cluster, &input, &["a", "b!", "c", "d!", "e"]);
    let streams = run(copy(&input, &output), config).await;
    all_committed(&cluster, &input).await;
    assert_eq!(keys(&cluster, &output), ["a", "c", "e"]);
    assert_eq!(letters(&cluster, &dead), ["1", "3"], "once each: those of aborted transactions are not seen");
    produce(&cluster, &input, &["f", "g!", "h"]);
    wait_until("the rest", || keys(&cluster, &output).len() == 5).await;
    all_committed(&cluster, &input).await;
    close(&streams).await;
    assert_eq!(keys(&cluster, &output), ["a", "c", "e", "f", "h"]);
    assert_eq!(letters(&cluster, &dead), ["1", "3", "6"]);
    cluster.stop().await;
}

/// The default handler: the instance stops with the topic's name instead of trying again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_stops_the_instance_when_its_handler_says_fail() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("in", 1).await;
    let output = cluster.name("out");
    cluster.create_topic_with(&output, 1, &[("max.message.bytes", "2000")]).await;
    let config = cluster
        .config("app")
        .set("processing.guarantee", "exactly_once_v2")
        .set("producer.compression.type", "none")
        .production_exception_handler(LogAndFail);
    produce(&cluster, &input, &["a", "b!"]);
    let streams = kstreams_test_cluster::start(copy(&input, &output), config).await;
    wait_for_state(&streams, State::Error).await;
    let failure = failure_of(&streams).await;
    assert!(failure.contains(&output) && failure.contains("max.message.bytes"), "{failure}");
    assert_eq!(keys(&cluster, &output), Vec::<String>::new());
    assert_eq!(cluster.committed("app", &input, 0), None);
    cluster.stop().await;
}
