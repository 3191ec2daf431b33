//! Asynchronous steps in the whole system: behind a store, through rebalances, kills and closes, with calls at work at every
//! moment.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kstreams::handlers::LogAndContinue;
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, end, instance_config, key, run, start, wait_until};
use rdkafka::message::Message;

use crate::child::{self, Child};

const PARTITIONS: i32 = 4;
const KEYS: i64 = 20;

/// Numbers the records of each key, and sends each number through a call that takes up to 8 ms. What is done twice above the
/// step shows in the numbers, what is lost in it by their gaps.
fn numbers(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(input)
        .group_by_key()
        .count(Materialized::named("counts"))
        .to_stream()
        .map_values_async_with_key(AsyncOptions::new().with_max_in_flight(30), |key, count| async move {
            let n: i64 = count.unwrap_or(0);
            let mixed = n * 7_919 + key.bytes().map(i64::from).sum::<i64>() * 104_729;
            tokio::time::sleep(Duration::from_micros(mixed.unsigned_abs() % 8_000)).await;
            Ok(count)
        })
        .to(output);
    builder.build().unwrap()
}

/// Every number is passed on, not only the last before a commit.
fn uncached(config: StreamsConfig, guarantee: &str) -> StreamsConfig {
    config.set("processing.guarantee", guarantee).statestore_cache_max_bytes(0)
}

/// Topics keep no record that is older than their retention.
#[allow(clippy::disallowed_methods)] // it is the cluster's clock that counts
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// `times` records of each key; which partition a key is in stays the same.
fn produce(cluster: &Cluster, input: &str, times: i64) {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    for partition in 0..PARTITIONS {
        let own = keys.iter().enumerate().filter(|(n, _)| *n as i32 % PARTITIONS == partition);
        let own: Vec<&String> = own.map(|(_, key)| key).collect();
        let begin = now_ms();
        let records = (0..times).flat_map(|n| own.iter().map(move |key| (key.as_str(), "x", begin + n)));
        cluster.produce_to(input, partition, &records.collect::<Vec<_>>());
    }
}

/// The numbers of each key in the order in which they were written.
fn written(cluster: &Cluster, output: &str) -> BTreeMap<String, Vec<i64>> {
    let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for message in cluster.read_all(output) {
        let number = i64::from_be_bytes(message.payload().unwrap().try_into().unwrap());
        numbers.entry(key(&message)).or_default().push(number);
    }
    numbers
}

async fn all_committed(cluster: &Cluster, input: &str) {
    wait_until("commit of all records", || cluster.lag("app", input) == 0).await;
}

/// A hand-over waits for what is at work, so that the new owner neither repeats nor misses a number, and each key's stay in
/// their order.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_move_with_calls_at_work_and_nothing_is_lost_or_done_twice() {
    tasks_move("at_least_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_move_with_calls_at_work_in_transactions() {
    tasks_move("exactly_once_v2").await;
}

async fn tasks_move(guarantee: &str) {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", PARTITIONS).await, cluster.topic("out", 1).await);
    let config = |state: &str| uncached(cluster.config_in("app", state), guarantee);
    let instance = async |state: &str| run(numbers(&input, &output), config(state)).await;
    let first = instance("first").await;
    produce(&cluster, &input, 60);
    let second = instance("second").await;
    produce(&cluster, &input, 60);
    wait_until("output of the second", || written(&cluster, &output).len() == KEYS as usize).await;
    close(&second).await;
    produce(&cluster, &input, 30);
    let third = instance("second").await;
    produce(&cluster, &input, 50);
    all_committed(&cluster, &input).await;
    close(&first).await;
    close(&third).await;
    let expected: Vec<i64> = (1..=200).collect();
    for (key, numbers) in written(&cluster, &output) {
        assert_eq!(numbers, expected, "of {key}");
    }
    cluster.stop().await;
}

/// A process that dies at its moment, or when it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_dies() {
    let Some([bootstrap, application_id, input, output, state, guarantee]) = child::arguments() else {
        return;
    };
    let config = instance_config(&application_id, &bootstrap, &PathBuf::from(state));
    let config = uncached(config, &guarantee).set("group.instance.id", "one");
    let _streams = start(numbers(&input, &output), config).await;
    child::wait_for_parent();
}

/// At-least-once: after deaths with calls at work every record has led to a number, and the last ones are the state.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_process_dies_with_calls_at_work() {
    dies("at_least_once").await;
}

/// Exactly-once: each record has led to one number.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_done_twice_when_the_process_dies_in_a_transaction() {
    dies("exactly_once_v2").await;
}

async fn dies(guarantee: &str) {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", PARTITIONS).await, cluster.topic("out", 1).await);
    let (application_id, state) = (cluster.name("app"), cluster.dir("state"));
    let arguments =
        [cluster.bootstrap(), &application_id, &input, &output, state.to_str().unwrap(), guarantee];
    let child = |moment: &[(&str, &str)]| Child::start("asynchronous::child_that_dies", arguments, moment);
    let mut times = 0;
    for moment in ["caches-flushed:2", "acknowledged:3", "offsets-committed:2", "task-written:3"] {
        let mut child = child(&[("KSTREAMS_DIE_AT", moment)]);
        wait_until(&format!("death at {moment}"), || {
            produce(&cluster, &input, 3);
            times += 3;
            // SIGABRT: not a failure of another kind.
            child.ended().is_some_and(|status| status.signal() == Some(6))
        })
        .await;
    }
    let before: usize = written(&cluster, &output).values().map(Vec::len).sum();
    let killed = child(&[]);
    produce(&cluster, &input, 100);
    times += 100;
    wait_until("work in the middle", || {
        written(&cluster, &output).values().map(Vec::len).sum::<usize>() > before + 20
    })
    .await;
    killed.kill();

    let config = uncached(cluster.config("app"), guarantee).set("group.instance.id", "one");
    let streams = run(numbers(&input, &output), config).await;
    all_committed(&cluster, &input).await;
    let store = streams.store::<TimestampedKeyValueStore<String, i64>>("counts").unwrap();
    let counts: BTreeMap<String, i64> =
        store.all().unwrap().map(Result::unwrap).map(|(key, count)| (key, count.value)).collect();
    close(&streams).await;
    let numbers = written(&cluster, &output);
    assert_eq!(counts.len(), KEYS as usize);
    for (key, count) in counts {
        assert!(count >= times, "{key}: {count} of {times}");
        assert_eq!(numbers[&key].last(), Some(&count), "the last number of {key} is the state");
        if guarantee == "exactly_once_v2" {
            assert_eq!(numbers[&key], (1..=times).collect::<Vec<_>>(), "of {key}");
        }
    }
    cluster.stop().await;
}

/// Closing takes no longer than it may, and what is not done is not committed: the next start does it.
#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_call_that_never_ends() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let topology = |patient: bool| {
        let builder = StreamsBuilder::new();
        let options = AsyncOptions::new().with_timeout(Duration::from_secs(3_600));
        let call = move |value: String| async move {
            if value == "never" && patient {
                std::future::pending::<()>().await;
            }
            Ok(value)
        };
        builder.stream::<String, String>(input.as_str()).map_values_async(options, call).to(output.as_str());
        builder.build().unwrap()
    };
    let streams = run(topology(true), cluster.config("app")).await;
    cluster.produce(&input, &[("a", "1", now_ms())]);
    all_committed(&cluster, &input).await;
    cluster.produce(&input, &[("a", "never", now_ms()), ("b", "2", now_ms())]);
    wait_until("the record of another key", || cluster.values(&output) == ["1", "2"]).await;
    let began = Instant::now();
    assert!(streams.close(Duration::from_secs(8)).await, "closed in time");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(cluster.lag("app", &input), 2, "nothing behind the call is committed");
    drop(streams);

    let streams = run(topology(false), cluster.config("app")).await;
    all_committed(&cluster, &input).await;
    close(&streams).await;
    let mut values = cluster.values(&output);
    values.sort_unstable();
    assert_eq!(values, ["1", "2", "2", "never"]);
    cluster.stop().await;
}

/// On a runtime with a single thread, which the program may block, calls run on a runtime of the instance's own. Those that
/// fail in the end become dead letters, and commits go on.
#[tokio::test]
async fn failed_calls_become_dead_letters_and_calls_need_no_runtime_of_the_program() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let dead = cluster.topic("dead", 1).await;
    let builder = StreamsBuilder::new();
    let options =
        AsyncOptions::new().with_retries(2).with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    let call = |value: String| async move {
        let name = std::thread::current().name().map(str::to_owned).unwrap_or_default();
        let number: i64 = value.parse()?;
        Ok(format!("{number} on {name}"))
    };
    builder.stream::<String, String>(input.as_str()).map_values_async(options, call).to(output.as_str());
    let config = cluster
        .config("app")
        .processing_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name(&dead);
    let streams = start(builder.build().unwrap(), config).await;
    cluster.produce(&input, &[("a", "1", now_ms()), ("a", "x", now_ms()), ("a", "3", now_ms())]);
    all_committed(&cluster, &input).await;
    end(&streams).await;
    assert_eq!(cluster.values(&output), ["1 on kstreams-async", "3 on kstreams-async"]);
    assert_eq!(cluster.texts(&dead), [("a".to_owned(), "x".to_owned())]);
    cluster.stop().await;
}
