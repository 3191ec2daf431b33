//! Records that cannot be read, or that user code fails on.

use kstreams::handlers::{LogAndContinue, LogAndFail};
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, DEADLINE, close, key, start, wait_for_state, wait_until};
use rdkafka::message::{Headers as _, Message};

/// Numbers as text, from numbers as Kafka's long serde writes them.
fn numbers(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>(input).map_values(|number| number.to_string()).to(output);
    builder.build().unwrap()
}

/// Three records, the second of which has three bytes instead of eight.
fn produce_with_poison(cluster: &Cluster, input: &str) {
    let (one, three) = (1_i64.to_be_bytes(), 3_i64.to_be_bytes());
    let records: [(&str, &[u8], i64); 3] = [("a", &one, 1), ("b", b"bad", 2), ("c", &three, 3)];
    cluster.produce(input, &records);
}

/// The default: the instance stops and names the record; what came before it is in the output, what comes after is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_record_stops_the_instance() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let config = cluster.config("app").deserialization_exception_handler(LogAndFail);
    let streams = start(numbers(&input, &output), config).await;
    produce_with_poison(&cluster, &input);
    wait_for_state(&streams, State::Error).await;
    let failure = streams.failure().unwrap();
    assert!(failure.contains(&input) && failure.contains("offset 1"), "{failure}");
    assert!(streams.close(DEADLINE).await);
    assert!(cluster.lag("app", &input) >= 2, "the bad record isn't committed");
    assert!(cluster.texts(&output).iter().all(|(key, _)| key == "a"), "{:?}", cluster.texts(&output));
    cluster.stop().await;
}

/// Go on, and keep the record as it is, with what was wrong, in the dead letter topic.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_record_goes_to_the_dead_letter_topic() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let dead = cluster.topic("dead", 1).await;
    let config = cluster
        .config("app")
        .deserialization_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name(&dead);
    let streams = start(numbers(&input, &output), config).await;
    produce_with_poison(&cluster, &input);
    wait_until("commit of all records", || cluster.lag("app", &input) == 0).await;
    close(&streams).await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(cluster.texts(&output), [pair("a", "1"), pair("c", "3")]);
    let letters = cluster.read_all(&dead);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((key(letter).as_str(), letter.payload()), ("b", Some(b"bad".as_slice())));
    let header = |name: &str| {
        let headers = letter.headers().unwrap();
        let found = headers.iter().find(|header| header.key == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("no {name} in {headers:?}")).value.unwrap().to_vec())
            .unwrap()
    };
    assert_eq!(header("__streams.errors.topic"), input);
    assert_eq!(header("__streams.errors.partition"), "0");
    assert_eq!(header("__streams.errors.offset"), "1");
    cluster.stop().await;
}

/// A panic in user code is a failure of that record alone when the handler says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_drops_its_record_when_the_handler_goes_on() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let builder = StreamsBuilder::new();
    let inverse = |number: String| format!("{}", 100 / number.parse::<i32>().unwrap());
    builder.stream::<String, String>(input.as_str()).map_values(inverse).to(output.as_str());
    let config = cluster.config("app").processing_exception_handler(LogAndContinue);
    let streams = start(builder.build().unwrap(), config).await;
    cluster.produce(&input, &[("a", "4", 1), ("b", "0", 2), ("c", "x", 3), ("d", "5", 4)]);
    wait_until("commit of all records", || cluster.lag("app", &input) == 0).await;
    close(&streams).await;
    let texts = cluster.texts(&output);
    assert_eq!(texts, [("a".to_owned(), "25".to_owned()), ("d".to_owned(), "20".to_owned())]);
    cluster.stop().await;
}
