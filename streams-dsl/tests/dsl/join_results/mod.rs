//! The results tables of Kafka Streams' own join tests, piped row by row.

mod tables;

use kstreams_core::config::StreamsConfig;
use kstreams_dsl::{
    Consumed, JoinWindows, KStream, KTable, Materialized, Named, StreamsBuilder, Unmaterialized,
};
use kstreams_test::{TestOutputTopic, TopologyTestDriver};

use tables::*;

type Key = Option<i64>;
type Text = Option<String>;

const KEY: i64 = 0;

/// The results of one record, as a cell shows them.
fn results(topic: &TestOutputTopic<Key, Text>) -> Vec<String> {
    std::iter::from_fn(|| topic.read_record().unwrap())
        .map(|record| {
            let key = if record.key.is_none() { "null:" } else { "" };
            format!("{key}{}@{}", record.value.as_deref().unwrap_or("null"), record.timestamp.unwrap())
        })
        .collect()
}

/// Builds each column's topology by `build` and pipes the rows through it.
fn check(table: &str, config: &StreamsConfig, build: impl Fn(&StreamsBuilder, &str) -> KStream<Key, Text>) {
    let mut lines = table.trim_matches('\n').lines();
    let header: Vec<&str> = lines.next().unwrap().split('|').map(str::trim).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match rows.last_mut().filter(|_| cells[0].is_empty()) {
            Some(row) => {
                row.iter_mut().zip(&cells).skip(1).for_each(|(cell, more)| *cell += &format!(" {more}"))
            }
            None => rows.push(cells.into_iter().map(str::to_owned).collect()),
        }
    }
    assert!(rows.len() >= 7 && rows.iter().all(|row| row.len() == header.len()));
    for (column, kind) in header.iter().enumerate().skip(1) {
        let builder = StreamsBuilder::new();
        build(&builder, kind).to("out");
        let driver = TopologyTestDriver::with_config(builder.build_with(config).unwrap(), config, 0).unwrap();
        let out = driver.create_output_topic::<Key, Text>("out");
        for row in &rows {
            let input: Vec<&str> = row[0].split_whitespace().collect();
            let (key, value) = match input[2].split_once(':') {
                Some((_, value)) => (None, value),
                None => (Some(KEY), input[2]),
            };
            let value = (value != "null").then(|| value.to_owned());
            let topic = driver.create_input_topic::<Key, Text>(input[1]);
            topic.pipe_input_at(key, value, input[0].parse().unwrap()).unwrap();
            let expected: Vec<&str> = row[column].split_whitespace().filter(|cell| *cell != ".").collect();
            assert_eq!(results(&out), expected, "{kind} join, {}", row[0]);
        }
    }
}

/// Without record caches: each update is told.
fn uncached() -> StreamsConfig {
    StreamsConfig::new("joins", "none:1").set("statestore.cache.max.bytes", "0")
}

fn show(text: Text) -> String {
    text.unwrap_or_else(|| "null".to_owned())
}

fn both(left: Text, right: Text) -> Text {
    Some(format!("{}-{}", show(left), show(right)))
}

fn streams(builder: &StreamsBuilder) -> (KStream<Key, Text>, KStream<Key, Text>) {
    (builder.stream::<Key, Text>("left"), builder.stream::<Key, Text>("right"))
}

fn windows() -> JoinWindows {
    let (difference, grace) = (std::time::Duration::from_secs(10), std::time::Duration::from_secs(86_400));
    JoinWindows::of_time_difference_and_grace(difference, grace)
}

fn join_streams(kind: &str, left: &KStream<Key, Text>, right: &KStream<Key, Text>) -> KStream<Key, Text> {
    match kind {
        "inner" => left.join_stream(right, both, windows()),
        "left" => left.left_join_stream(right, |left, right| both(left, right.flatten()), windows()),
        _ => left.outer_join_stream(right, |l, r| both(l.flatten(), r.flatten()), windows()),
    }
}

#[test]
fn two_streams() {
    check(STREAM_STREAM, &uncached(), |builder, kind| {
        let (left, right) = streams(builder);
        join_streams(kind, &left, &right)
    });
}

#[test]
fn two_streams_that_are_repartitioned_first() {
    check(STREAM_STREAM, &uncached(), |builder, kind| {
        let (left, right) = streams(builder);
        join_streams(kind, &left.map(|key, value| (key, value)), &right.map(|key, value| (key, value)))
    });
}

#[test]
fn a_stream_with_itself_kept_once_or_twice() {
    for optimization in ["none", "all"] {
        let config = uncached().set("topology.optimization", optimization);
        check(SELF_JOIN, &config, |builder, kind| {
            let (left, _) = streams(builder);
            join_streams(kind, &left, &left)
        });
    }
}

#[test]
fn a_join_of_streams_joined_again() {
    check(STREAM_MULTI, &uncached(), |builder, _| {
        let (left, right) = streams(builder);
        join_streams("inner", &join_streams("inner", &left, &right), &right)
    });
}

/// Table of a topic: versioned with a history that the test does not leave, or not.
fn table(builder: &StreamsBuilder, topic: &str, versioned: bool) -> KTable<Key, String> {
    let materialized = Materialized::named(format!("{topic}-table"));
    let materialized = if versioned { materialized.versioned(300_000) } else { materialized };
    builder.table_with(topic, Consumed::<Key, String>::new(), materialized)
}

#[test]
fn a_stream_with_a_table() {
    check(STREAM_TABLE, &uncached(), |builder, kind| {
        let stream = builder.stream::<Key, Text>("left");
        let table = table(builder, "right", kind.contains("versioned"));
        match kind.starts_with("inner") {
            true => stream.join(&table, |left, right| both(left, Some(right))),
            false => stream.left_join(&table, both),
        }
    });
}

fn join_tables(kind: &str, left: &KTable<Key, String>, right: &KTable<Key, String>) -> KTable<Key, String> {
    let name = Named::default();
    match kind {
        "inner" => left.join_with(right, |l, r| show(both(Some(l), Some(r))), name, Unmaterialized),
        "left" => left.left_join_with(right, |l, r| show(both(Some(l), r)), name, Unmaterialized),
        _ => left.outer_join_with(right, |l, r| show(both(l, r)), name, Unmaterialized),
    }
}

fn two_tables(table_of_results: &str, left_versioned: bool, right_versioned: bool) {
    check(table_of_results, &uncached(), |builder, kind| {
        let left = table(builder, "left", left_versioned);
        join_tables(kind, &left, &table(builder, "right", right_versioned)).to_stream()
    });
}

#[test]
fn two_tables_versioned_or_not() {
    two_tables(TABLE_TABLE, false, false);
    two_tables(BOTH_VERSIONED, true, true);
    two_tables(LEFT_VERSIONED, true, false);
    two_tables(RIGHT_VERSIONED, false, true);
}

#[test]
fn a_join_of_tables_joined_again() {
    for table_of_results in [TABLE_INNER_THEN, TABLE_LEFT_THEN, TABLE_OUTER_THEN] {
        check(table_of_results, &uncached(), |builder, kinds| {
            let (first, second) = kinds.split_once('-').unwrap();
            let (left, right) = (table(builder, "left", false), table(builder, "right", false));
            join_tables(second, &join_tables(first, &left, &right), &right).to_stream()
        });
    }
}
