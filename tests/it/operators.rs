//! Joins and windows on a cluster: the time in the records decides, not the time of the test.

use std::time::Duration;

use kstreams::prelude::*;
use kstreams::topology::Extracted;
use kstreams_test_cluster::{Cluster, Counts, close, start, wait_until};
use rdkafka::Message;

/// Some time in 2023, a multiple of ten seconds.
const START: i64 = 1_700_000_000_000;

/// Inner and left join with a table that changes: each record sees the table as it was at the record's time, although all is
/// in the topics already when the application starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_joins_a_table_by_time() {
    let cluster = Cluster::start().await;
    let (orders, cities) = (cluster.topic("orders", 1).await, cluster.topic("cities", 1).await);
    let (inner, left) = (cluster.topic("inner", 1).await, cluster.topic("left", 1).await);
    cluster.produce(&cities, &[("ada", "London", START), ("ada", "Oslo", START + 20)]);
    let all = [("ada", "tea", START + 10), ("bob", "jam", START + 15), ("ada", "rum", START + 30)];
    cluster.produce(&orders, &all);

    let builder = StreamsBuilder::new();
    let table = builder.table::<String, String>(&cities);
    let stream = builder.stream::<String, String>(orders.as_str());
    stream.join(&table, |order, city| format!("{order} to {city}")).to(inner.as_str());
    let or_nowhere =
        |order, city: Option<String>| format!("{order} to {}", city.as_deref().unwrap_or("nowhere"));
    stream.left_join(&table, or_nowhere).to(left.as_str());
    let streams = start(builder.build().unwrap(), cluster.config("app")).await;
    wait_until("commit of all orders", || cluster.lag("app", &orders) == 0).await;
    close(&streams).await;

    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(cluster.texts(&inner), [pair("ada", "tea to London"), pair("ada", "rum to Oslo")]);
    let expected = [pair("ada", "tea to London"), pair("bob", "jam to nowhere"), pair("ada", "rum to Oslo")];
    assert_eq!(cluster.texts(&left), expected);
    cluster.stop().await;
}

/// Tumbling windows of ten seconds with five of grace: what is late counts in its own window, what is later is dropped; a
/// restart in the middle, without the state directory, forgets no window.
#[tokio::test(flavor = "multi_thread")]
async fn windows_count_through_a_restart() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("views", 1).await, cluster.topic("counts", 1).await);
    let topology = || {
        let builder = StreamsBuilder::new();
        let windows = TimeWindows::of_size_and_grace(Duration::from_secs(10), Duration::from_secs(5));
        builder
            .stream::<String, String>(input.as_str())
            .group_by_key()
            .windowed_by(windows)
            .count(Materialized::named("views"))
            .to_stream()
            .select_key(|page, _| format!("{}@{}", page.key, (page.window.start - START) / 1_000))
            .to(output.as_str());
        builder.build().unwrap()
    };
    let view = |page, second: i64| (page, "", START + second * 1_000);
    let parts = [
        // Late, but within the grace: 9 after 11.
        [view("a", 1), view("b", 2), view("a", 11), view("a", 9)],
        // 16 ends the grace of the first window: 8 is too late. 12 is out of order, but in a window that is open.
        [view("b", 16), view("a", 8), view("b", 12), view("a", 19)],
    ];
    for part in parts {
        let streams = start(topology(), cluster.config("app")).await;
        cluster.produce(&input, &part);
        wait_until("commit of all views", || cluster.lag("app", &input) == 0).await;
        close(&streams).await;
        drop(streams);
        std::fs::remove_dir_all(cluster.dir("state")).unwrap();
    }
    let expected = [("a@0", 2), ("b@0", 1), ("a@10", 2), ("b@10", 2)];
    let expected: Counts = expected.map(|(key, count)| (key.to_owned(), count)).into();
    assert_eq!(cluster.counts(&output), expected);
    cluster.stop().await;
}

/// A record of the time 0 stays in 1970: the client would take 0 for the time of day, and stream time of the next
/// application would jump to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_time_is_not_now() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    cluster.produce(&input, &[("a", "x", START)]);
    let builder = StreamsBuilder::new();
    let consumed = Consumed::<String, String>::new().with_timestamp_extractor(|_, _| Extracted::Timestamp(0));
    builder.stream_with(input.as_str(), consumed).to(output.as_str());
    let streams = start(builder.build().unwrap(), cluster.config("app")).await;
    wait_until("commit of the record", || cluster.lag("app", &input) == 0).await;
    close(&streams).await;
    let times: Vec<_> =
        cluster.read_all(&output).iter().map(|message| message.timestamp().to_millis()).collect();
    assert_eq!(times, [Some(1)]);
    cluster.stop().await;
}
