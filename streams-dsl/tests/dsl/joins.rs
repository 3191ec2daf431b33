//! Joins of tables, step by step, with the timestamps of their results.

use kstreams_dsl::{Joined, KTable, Materialized, Named, StreamsBuilder, Unmaterialized};
use kstreams_state_stores::TimestampedKeyValueStore;
use kstreams_test::TopologyTestDriver;

/// An update of the left or right table: its value and time, then what the join wrote: value and time.
type Step = (char, Option<&'static str>, i64, Option<(Option<&'static str>, i64)>);

fn run(
    join: impl Fn(&KTable<String, String>, &KTable<String, String>) -> KTable<String, String>,
    steps: &[Step],
) {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.table::<String, String>("l"), builder.table::<String, String>("r"));
    join(&left, &right).to_stream().to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let output = driver.create_output_topic::<String, Option<String>>("out");
    for (step, &(side, value, time, expected)) in steps.iter().enumerate() {
        let input = driver.create_input_topic::<String, Option<String>>(&side.to_string());
        input.pipe_input_at("k".to_owned(), value.map(str::to_owned), time).unwrap();
        let result = output.read_record().unwrap().map(|record| (record.value, record.timestamp.unwrap()));
        let result = result.as_ref().map(|(value, time)| (value.as_deref(), *time));
        assert_eq!(result, expected, "step {step}");
        assert!(output.is_empty(), "step {step}");
    }
}

fn show(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

#[test]
fn an_inner_join_needs_both_sides() {
    run(
        |left, right| left.join(right, |left, right| left + &right),
        &[
            ('l', Some("a"), 5, None),
            ('r', Some("x"), 3, Some((Some("ax"), 5))),
            ('l', Some("b"), 7, Some((Some("bx"), 7))),
            ('r', None, 4, Some((None, 7))),
            ('r', None, 9, None), // the right table's cache tells nothing of a key that was not there
            ('l', None, 9, None),
        ],
    );
}

#[test]
fn a_left_join_needs_the_left_side() {
    run(
        |left, right| left.left_join(right, |left, right| left + &show(right)),
        &[
            ('r', Some("x"), 3, None),
            ('l', Some("a"), 5, Some((Some("ax"), 5))),
            ('r', None, 6, Some((Some("a-"), 6))),
            ('l', None, 7, Some((None, 7))),
            ('l', None, 8, None),
        ],
    );
}

#[test]
fn an_outer_join_needs_either_side() {
    run(
        |left, right| left.outer_join(right, |left, right| show(left) + &show(right)),
        &[
            ('r', Some("x"), 3, Some((Some("-x"), 3))),
            ('l', Some("a"), 5, Some((Some("ax"), 5))),
            ('r', None, 6, Some((Some("a-"), 6))),
            ('l', None, 7, Some((None, 7))),
            ('r', None, 8, None),
        ],
    );
}

#[test]
fn a_join_that_is_not_stored_is_computed_for_the_next_join() {
    let builder = StreamsBuilder::new();
    let names = builder.table::<String, String>("names");
    let ages = builder.table::<String, i32>("ages");
    let people = names.join(&ages, |name, age| format!("{name} {age}"));
    let adults = people.filter(|_, person| !person.ends_with(" 7"));
    let calls = builder.stream::<String, String>("calls");
    calls.left_join(&adults, |call, person| format!("{call} {person:?}")).to("out");
    let topology = builder.build().unwrap();
    assert_eq!(topology.sub_topologies().len(), 1);
    let driver = TopologyTestDriver::new(topology).unwrap();
    let key = || "k".to_owned();
    let call = |text: &str| {
        driver.create_input_topic::<String, String>("calls").pipe_input(key(), text.to_owned()).unwrap();
        driver.create_output_topic::<String, String>("out").read_value().unwrap().unwrap()
    };
    assert_eq!(call("1"), "1 None");
    driver.create_input_topic::<String, String>("names").pipe_input(key(), "Ann".to_owned()).unwrap();
    driver.create_input_topic::<String, i32>("ages").pipe_input(key(), 7).unwrap();
    assert_eq!(call("2"), "2 None");
    driver.create_input_topic::<String, i32>("ages").pipe_input(key(), 33).unwrap();
    assert_eq!(call("3"), r#"3 Some("Ann 33")"#);
}

#[test]
fn a_stored_join_can_be_read() {
    let builder = StreamsBuilder::new();
    let left = builder.table::<String, String>("l");
    let right = builder.table::<String, String>("r");
    let joined = left.join_with(&right, |l, r| l + &r, "both", Materialized::named("joined"));
    assert_eq!(joined.queryable_store_name(), Some("joined"));
    assert_eq!(
        left.join_with(&right, |l, r| l + &r, Named::default(), Unmaterialized).queryable_store_name(),
        None
    );
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    for (topic, value) in [("l", "a"), ("r", "x")] {
        driver
            .create_input_topic::<String, String>(topic)
            .pipe_input("k".to_owned(), value.to_owned())
            .unwrap();
    }
    let stored = driver
        .with_store("joined", |store: &mut TimestampedKeyValueStore<String, String>| {
            store.get(&"k".to_owned())
        })
        .unwrap();
    assert_eq!(stored.unwrap().map(|stored| stored.value), Some("ax".to_owned()));
}

#[test]
fn a_stream_whose_key_changed_is_repartitioned_before_a_join() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<(), String>("orders").map(|(), order| {
        let (customer, item) = order.split_once(' ').unwrap();
        (customer.to_owned(), item.to_owned())
    });
    let customers = builder.table::<String, String>("customers");
    let joined = Joined::<String, String>::new().with_name("order");
    orders.join_with(&customers, |_, item, customer| format!("{customer}: {item}"), joined).to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    driver
        .create_input_topic::<String, String>("customers")
        .pipe_input("1".to_owned(), "Ann".to_owned())
        .unwrap();
    driver.create_input_topic::<(), String>("orders").pipe_input((), "1 tea".to_owned()).unwrap();
    let output = driver.create_output_topic::<String, String>("out");
    assert_eq!(output.read_key_value().unwrap(), Some(("1".to_owned(), "Ann: tea".to_owned())));
    assert_eq!(driver.take_raw("test-app-order-repartition").len(), 1);
}

/// The subscribers of a row are read in pages: none may be left out between two, none be told twice.
#[test]
fn an_update_reaches_every_row_that_refers_to_it() {
    const ROWS: u64 = 2_500; // more than two pages
    let builder = StreamsBuilder::new();
    let (orders, customers) =
        (builder.table::<u64, String>("orders"), builder.table::<String, String>("customers"));
    let joined = orders.join_on_foreign_key(&customers, |_, customer| customer.clone(), |_, name| name);
    joined.to_stream().to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let (orders, names) = (
        driver.create_input_topic::<u64, String>("orders"),
        driver.create_input_topic::<String, String>("customers"),
    );
    for order in 0..ROWS {
        orders.pipe_input_at(order, "a".to_owned(), 0).unwrap();
    }
    // Neither of these is a beginning of the other's key in the store.
    orders.pipe_input_at(ROWS, "aa".to_owned(), 0).unwrap();
    let output = driver.create_output_topic::<u64, Option<String>>("out");
    for name in ["Ada", "Adele"] {
        names.pipe_input_at("a".to_owned(), name.to_owned(), 1).unwrap();
        let mut told: Vec<u64> = Vec::new();
        while let Some(record) = output.read_record().unwrap() {
            assert_eq!(record.value.as_deref(), Some(name));
            told.push(record.key);
        }
        assert_eq!(told, (0..ROWS).collect::<Vec<_>>());
    }
}
