//! What `build` refuses, and what it says then.

use std::time::Duration;

use kstreams_dsl::{Consumed, Joined, Materialized, StreamsBuilder, TimeWindows};
use kstreams_state_stores::{Json, Stores};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Order {
    customer: String,
}

fn error(builder: &StreamsBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn a_join_that_must_repartition_without_serdes_says_how_to_name_them() {
    let builder = StreamsBuilder::new();
    let customers = builder.table::<String, String>("customers");
    let orders = builder.stream::<String, Json<Order>>("orders");
    // The key is another one, its serde is the table's; the value's came with the stream.
    let by_customer = orders.select_key(|_, order| order.customer.clone());
    by_customer.join(&customers, |_, customer| customer).to("a");
    assert!(builder.build().is_ok());
    // Here the values are other ones too.
    let notes = orders.map(|_, order| (order.customer.clone(), order));
    notes.join_with(&customers, |_, _, customer| customer, Joined::<String, Json<Order>>::new()).to("b");
    assert!(builder.build().is_ok());
    notes.join(&customers, |_, customer| customer).to("c");
    let error = error(&builder);
    assert!(error.contains("KSTREAM-MAP-") && error.contains("Joined::<KeySerde, ValueSerde>"), "{error}");
}

#[test]
fn handles_of_two_builders_do_not_mix() {
    let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
    one.stream::<String, String>("a").merge(&other.stream::<String, String>("b"));
    assert!(error(&one).contains("same StreamsBuilder"));

    let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
    one.stream::<String, String>("a").join(&other.table::<String, String>("b"), |a, _| a).to("out");
    assert!(error(&one).contains("same StreamsBuilder"));
}

#[test]
fn windows_that_make_no_sense_are_refused() {
    let ms = Duration::from_millis;
    let tumbling = TimeWindows::of_size_with_no_grace(ms(10));
    for windows in
        [tumbling.advance_by(ms(11)), tumbling.advance_by(ms(0)), TimeWindows::of_size_with_no_grace(ms(0))]
    {
        let builder = StreamsBuilder::new();
        let grouped = builder.stream::<String, String>("in").group_by_key();
        grouped.windowed_by(windows).count(Materialized::default());
        assert!(error(&builder).contains("time windows"), "{windows:?}");
    }
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("in").group_by_key();
    grouped.windowed_by(tumbling).count(Materialized::named("counts").with_retention_ms(9));
    assert!(error(&builder).contains("retention of store counts is 9 ms"));
}

#[test]
fn names_and_topics_are_used_once() {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .filter_with(|_, _| true, "twice")
        .filter_with(|_, _| true, "twice");
    assert!(error(&builder).contains("twice"));

    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    builder.table_with("in", Consumed::<String, String>::new(), Materialized::named("table"));
    assert!(error(&builder).contains("topic in "));

    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(["a", "b"]).to("out");
    builder.stream::<String, String>("a").to("out2");
    assert!(error(&builder).contains("two streams read topic a"));

    let builder = StreamsBuilder::new();
    builder.add_state_store(Stores::key_value::<String, String>("store"));
    builder.add_state_store(Stores::key_value::<String, String>("store"));
    assert!(error(&builder).contains("store"));
}

#[test]
fn the_same_topic_read_with_other_types_is_refused() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    builder.stream::<String, i64>("in").to("out2");
    assert!(error(&builder).contains("KSTREAM-SOURCE-0000000000"));
}
