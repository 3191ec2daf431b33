//! Null keys and values: `None` where a type is optional, and what each family of operators does with it.

use std::time::Duration;

use kstreams_dsl::{Materialized, StreamsBuilder, TimeWindows};
use kstreams_test::TopologyTestDriver;

type Text = Option<String>;

fn text(text: &str) -> Text {
    Some(text.to_owned())
}

#[test]
fn an_aggregation_drops_and_counts_null_keys_and_null_values() {
    let builder = StreamsBuilder::new();
    let lines = builder.stream::<Text, Text>("in");
    lines.group_by_key().count(Materialized::default()).to_stream().to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<Text, Text>("in");
    for (key, value) in [(text("a"), text("1")), (None, text("2")), (text("a"), None), (text("a"), text("3"))]
    {
        input.pipe_input(key, value).unwrap();
    }
    let output = driver.create_output_topic::<String, i64>("out");
    let counts = output.read_key_values_to_list().unwrap();
    assert_eq!(counts, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    assert_eq!(driver.dropped_records(), 2);
}

#[test]
fn a_windowed_aggregation_drops_null_keys_and_takes_null_values() {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_millis(10));
    let counts =
        builder.stream::<Text, Text>("in").group_by_key().windowed_by(windows).count(Materialized::default());
    counts.to_stream_with_key(|windowed, _| windowed.key.clone()).to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<Text, Text>("in");
    for (key, value) in [(None, text("1")), (text("a"), None)] {
        input.pipe_input_at(key, value, 1).unwrap();
    }
    let output = driver.create_output_topic::<String, i64>("out");
    assert_eq!(output.read_key_values_to_list().unwrap(), [("a".to_owned(), 1)]);
    assert_eq!(driver.dropped_records(), 1);
}

#[test]
fn a_repartition_loses_null_keys_without_counting_them() {
    let builder = StreamsBuilder::new();
    let lines = builder.stream::<(), Text>("in");
    lines.group_by(|(), value| value.clone()).count(Materialized::default()).to_stream().to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<(), Text>("in");
    input.pipe_input((), None).unwrap();
    input.pipe_input((), text("a")).unwrap();
    let output = driver.create_output_topic::<String, i64>("out");
    assert_eq!(output.read_key_values_to_list().unwrap(), [("a".to_owned(), 1)]);
    assert_eq!(driver.dropped_records(), 0);
}

#[test]
fn joins_with_a_table_drop_null_values_and_only_a_left_join_takes_null_keys() {
    let builder = StreamsBuilder::new();
    let stream = builder.stream::<Text, Text>("in");
    let table = builder.table::<Text, String>("table");
    stream.join(&table, |value, other| format!("{value:?} {other}")).to("inner");
    stream.left_join(&table, |value, other| format!("{value:?} {other:?}")).to("left");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    driver.create_input_topic::<Text, Text>("table").pipe_input(text("a"), text("t")).unwrap();
    let input = driver.create_input_topic::<Text, Text>("in");
    for (key, value) in [(text("a"), text("1")), (text("b"), text("2")), (None, text("3")), (text("a"), None)]
    {
        input.pipe_input(key, value).unwrap();
    }
    let inner = driver.create_output_topic::<Text, String>("inner");
    assert_eq!(inner.read_key_values_to_list().unwrap(), [(text("a"), r#"Some("1") t"#.to_owned())]);
    let left = driver.create_output_topic::<Text, String>("left").read_key_values_to_list().unwrap();
    let expected = [
        (text("a"), r#"Some("1") Some("t")"#),
        (text("b"), r#"Some("2") None"#),
        (None, r#"Some("3") None"#),
    ];
    assert_eq!(left, expected.map(|(key, value)| (key, value.to_owned())));
    // Inner: the null key and the null value. Left: the null value.
    assert_eq!(driver.dropped_records(), 3);
}

#[test]
fn null_deletes_from_a_table_whatever_its_types() {
    let builder = StreamsBuilder::new();
    builder
        .table::<String, String>("in")
        .map_values(|value| value.strip_prefix("+").map(str::to_owned))
        .to_flat_stream()
        .to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<Text, Text>("in");
    for (key, value) in
        [(text("a"), text("+1")), (text("a"), text("2")), (text("a"), None), (None, text("+3"))]
    {
        input.pipe_input(key, value).unwrap();
    }
    let output = driver.create_output_topic::<String, Text>("out");
    let key = || "a".to_owned();
    assert_eq!(output.read_key_values_to_list().unwrap(), [(key(), text("1")), (key(), None), (key(), None)]);
    assert_eq!(driver.dropped_records(), 1, "the record without a key");
}

#[test]
fn an_aggregate_that_becomes_none_deletes_its_row_and_starts_anew() {
    let builder = StreamsBuilder::new();
    let sums = builder.stream::<String, i64>("in").group_by_key().aggregate(
        || Some(0),
        |_, value, sum: Option<i64>| if value == 0 { None } else { Some(sum.unwrap_or(0) + value) },
        Materialized::named("sums"),
    );
    sums.to_flat_stream().to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, i64>("in");
    for value in [1, 2, 0, 4] {
        input.pipe_input("a".to_owned(), value).unwrap();
    }
    let output = driver.create_output_topic::<String, Option<i64>>("out");
    let values: Vec<_> =
        output.read_key_values_to_list().unwrap().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [Some(1), Some(3), None, Some(4)]);
}
