//! Windows: late records, hopping windows, and windowed results in topics.

use std::time::Duration;

use kstreams_dsl::{Materialized, SessionWindows, StreamsBuilder, TimeWindows};
use kstreams_state_stores::{TimestampedWindowStore, Windowed, WindowedSerde};
use kstreams_test::TopologyTestDriver;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Counts by windows of 10 ms every 5 ms with 3 ms of grace; what was written and how many were dropped.
fn counts(times: &[i64]) -> (Vec<(i64, i64)>, u64) {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_and_grace(ms(10), ms(3)).advance_by(ms(5));
    let store = Materialized::named("counts").with_caching_disabled();
    builder
        .stream::<String, String>("in")
        .group_by_key()
        .windowed_by(windows)
        .count(store)
        .to_stream_with_key(|windowed, _| windowed.window.start)
        .to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, String>("in");
    for &time in times {
        input.pipe_input_at("k".to_owned(), "v".to_owned(), time).unwrap();
    }
    let output = driver.create_output_topic::<i64, i64>("out");
    (output.read_key_values_to_list().unwrap(), driver.dropped_records())
}

#[test]
fn a_record_counts_in_all_its_windows_the_earliest_first() {
    assert_eq!(counts(&[0, 7]), (vec![(0, 1), (0, 2), (5, 1)], 0));
}

#[test]
fn a_closed_window_refuses_records_and_each_refusal_counts() {
    // At 13 the window [0,10) is closed, [5,15) is not.
    assert_eq!(counts(&[7, 13, 8]), (vec![(0, 1), (5, 1), (5, 2), (10, 1), (5, 3)], 1));
    assert_eq!(counts(&[12, 9]), (vec![(5, 1), (10, 1), (0, 1), (5, 2)], 0));
    assert_eq!(counts(&[100, 9]), (vec![(95, 1), (100, 1)], 2));
}

#[test]
fn a_windowed_table_is_written_without_naming_a_serde() {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_with_no_grace(ms(10));
    let sums = builder.stream::<String, i64>("in").group_by_key().windowed_by(windows);
    let sums = sums.reduce(|sum, value| sum + value, Materialized::named("sums").in_memory());
    sums.filter(|_, &sum| sum > 1).to_stream().to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, i64>("in");
    for (value, time) in [(1, 12), (2, 17)] {
        input.pipe_input_at("k".to_owned(), value, time).unwrap();
    }
    let raw = driver.take_raw("out");
    let serde = WindowedSerde::new(String::new(), 10);
    let keys = raw.iter().map(|record| {
        use kstreams_state_stores::Serde;
        serde.deserialize(record.key.as_deref().unwrap()).unwrap()
    });
    let keys: Vec<Windowed<String>> = keys.collect();
    assert_eq!((keys[0].key.as_str(), keys[0].window.start, keys[0].window.end), ("k", 10, 20));
    assert_eq!(keys.len(), 1);
    assert_eq!(raw[0].timestamp, Some(17));
    let stored = driver
        .with_store("sums", |store: &mut TimestampedWindowStore<String, i64>| {
            store.fetch_one(&"k".to_owned(), 10)
        })
        .unwrap();
    assert_eq!(stored.unwrap().map(|stored| (stored.value, stored.timestamp)), Some((3, 17)));
}

/// A merger that answers null has it handed on, to itself and to the aggregator, which sees no fresh start instead.
#[test]
fn a_null_of_the_merger_is_handed_on() {
    let builder = StreamsBuilder::new();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = std::sync::Arc::clone(&seen);
    builder
        .stream::<String, String>("in")
        .group_by_key()
        .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_millis(10)))
        .aggregate(
            || Some("start".to_owned()),
            move |_, value, aggregate: Option<String>| {
                note.lock().unwrap().push(aggregate);
                Some(value)
            },
            |_, _, _| None,
            Materialized::<String, Option<String>>::new(),
        )
        .to_stream();
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, String>("in");
    for (value, time) in [("a", 0), ("b", 15), ("c", 8)] {
        input.pipe_input_at("k".to_owned(), value.to_owned(), time).unwrap();
    }
    driver.close().unwrap();
    let start = Some("start".to_owned());
    assert_eq!(*seen.lock().unwrap(), [start.clone(), start, None], "c made one session of three");
}

/// The JVM's map of groupings and aggregators: a grouping that comes again gets the newer aggregator, in its old place.
#[test]
fn a_grouping_that_is_cogrouped_again_gets_the_newer_aggregator() {
    let builder = StreamsBuilder::new();
    let words = builder.stream::<String, String>("words").group_by_key();
    let numbers = builder.stream::<String, i64>("numbers").group_by_key();
    words
        .cogroup(|_, word, sum: i64| sum + word.len() as i64)
        .cogroup(&numbers, |_, number, sum| sum + number)
        .cogroup(&words.clone(), |_, _, sum| sum + 100)
        .aggregate(|| 0, Materialized::<String, i64>::new())
        .to_stream()
        .to("out");
    let topology = builder.build().unwrap();
    let text = topology.describe().to_string();
    assert_eq!(text.matches("Processor: COGROUPKSTREAM-AGGREGATE-").count(), 2, "{text}");
    let driver = TopologyTestDriver::new(topology).unwrap();
    driver
        .create_input_topic::<String, String>("words")
        .pipe_input("k".to_owned(), "word".to_owned())
        .unwrap();
    driver.create_input_topic::<String, i64>("numbers").pipe_input("k".to_owned(), 5).unwrap();
    let out = driver.create_output_topic::<String, i64>("out");
    assert_eq!(out.read_key_values_to_list().unwrap(), [("k".to_owned(), 100), ("k".to_owned(), 105)]);
    driver.close().unwrap();
}
