//! Global tables and stores on a cluster: whole before anything is processed, followed afterwards, kept through restarts.

use kstreams::prelude::*;
use kstreams::{RuntimeError, processor::ProcessResult};
use kstreams_test_cluster::{Cluster, close, start, wait_for_state, wait_until};

/// Orders of three partitions meet the cities of a global table of one, by the city's number in the order's value.
fn topology(orders: &str, cities: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    let consumed = Consumed::<String, String>::new();
    let table = builder.global_table_with(cities, consumed, Materialized::named("cities"));
    let number = |_: &String, order: &String| order.split(' ').next_back().unwrap_or_default().to_owned();
    let join =
        |order: String, city: Option<String>| format!("{order}={}", city.as_deref().unwrap_or("nowhere"));
    builder.stream::<String, String>(orders).left_join_global(&table, number, join).to(output);
    builder.build().unwrap()
}

fn city(streams: &KafkaStreams, number: &str) -> Option<String> {
    let store = streams.store::<TimestampedKeyValueStore<String, String>>("cities").unwrap();
    store.get(&number.to_owned()).unwrap().map(|city| city.value)
}

/// What a first start reads of the table's topic, what a restart adds to its state and what a start without state reads
/// again, all is there when the first order is processed; updates of a running instance are seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_global_table_is_whole_before_orders_are_processed() {
    const CITIES: usize = 5_000;
    let cluster = Cluster::start().await;
    let (orders, cities) = (cluster.topic("orders", 3).await, cluster.topic("cities", 1).await);
    let output = cluster.topic("output", 1).await;
    let numbers: Vec<String> = (0..CITIES).map(|number| number.to_string()).collect();
    let records: Vec<_> = numbers.iter().map(|number| (number.as_str(), number.as_str(), 1_000)).collect();
    cluster.produce(&cities, &records);
    let last = (CITIES - 1).to_string();
    let mut expected = Vec::new();
    for round in 0..3 {
        let (name, order) = (format!("city of round {round}"), format!("order {round} {last}"));
        cluster.produce(&cities, &[(last.as_str(), name.as_str(), 2_000)]);
        // Older than the city: the table's time does not matter.
        cluster.produce(&orders, &[("ada", order.as_str(), 1)]);
        expected.push(("ada".to_owned(), format!("{order}={name}")));
        if round == 2 {
            std::fs::remove_dir_all(cluster.dir("state")).unwrap();
        }
        let streams = start(topology(&orders, &cities, &output), cluster.config("app")).await;
        wait_for_state(&streams, State::Running).await;
        assert_eq!(city(&streams, &last), Some(name));
        wait_until("commit of all orders", || cluster.lag("app", &orders) == 0).await;

        cluster.produce(&cities, &[("new", format!("updated {round}").as_str(), 3_000)]);
        wait_until("update", || city(&streams, "new") == Some(format!("updated {round}"))).await;
        let order = format!("order {round} new");
        cluster.produce(&orders, &[("bob", order.as_str(), 2)]);
        expected.push(("bob".to_owned(), format!("{order}=updated {round}")));
        wait_until("commit of all orders", || cluster.lag("app", &orders) == 0).await;
        let count =
            streams.store::<TimestampedKeyValueStore<String, String>>("cities").unwrap().all().unwrap();
        assert_eq!(count.count(), CITIES + 1);
        close(&streams).await;
    }
    assert_eq!(cluster.texts(&output), expected);
    cluster.stop().await;
}

/// Keeps the length of each name in the global store `lengths`.
#[derive(Default)]
struct Lengths(Option<StoreHandle<KeyValueStore<String, i64>>>);

impl Processor<String, String> for Lengths {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0 = Some(ctx.state_store("lengths")?);
        Ok(())
    }
    fn process(
        &mut self,
        name: Record<String, String>,
        ctx: &mut ProcessorContext<'_, (), ()>,
    ) -> ProcessResult {
        let lengths = self.0.as_ref().unwrap();
        Ok(ctx.store(lengths).put(&name.key, &i64::try_from(name.value.len())?)?)
    }
}

/// Forwards the length that the global store has for a record's value; it tries to write it too, which must fail.
#[derive(Default)]
struct Look(Option<StoreHandle<KeyValueStore<String, i64>>>);

impl Processor<String, String, String, String> for Look {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0 = Some(ctx.state_store("lengths")?);
        Ok(())
    }
    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let mut lengths = ctx.store(self.0.as_ref().unwrap());
        let length = lengths.get(&record.value)?;
        let refused = lengths.put(&record.value, &1).unwrap_err();
        ctx.forward(record.with_value(format!("{length:?}, {refused}")))
    }
}

/// A store in memory that a user's processor makes is read by every task, and not written.
#[tokio::test(flavor = "multi_thread")]
async fn a_global_store_is_made_by_its_processor_and_read_by_all() {
    let cluster = Cluster::start().await;
    let (input, names) = (cluster.topic("input", 1).await, cluster.topic("names", 2).await);
    let output = cluster.topic("output", 1).await;
    cluster.produce(&names, &[("a", "Ada", 1), ("b", "Babbage", 1)]);
    cluster.produce(&input, &[("k", "b", 0)]);
    let builder = StreamsBuilder::new();
    let store = Stores::key_value::<String, i64>("lengths").in_memory().with_logging_disabled();
    builder.add_global_store(store, &names, Consumed::<String, String>::new(), Lengths::default);
    builder.stream::<String, String>(input.as_str()).process(Look::default, &[]).to(output.as_str());
    let streams = start(builder.build().unwrap(), cluster.config("app")).await;
    wait_until("commit of the input", || cluster.lag("app", &input) == 0).await;
    close(&streams).await;
    let refused = "store lengths is global, hence read-only here: write to its topic instead";
    assert_eq!(cluster.texts(&output), [("k".to_owned(), format!("Some(7), {refused}"))]);
    cluster.stop().await;
}

/// The topic of a global table is the user's to create: the start fails and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_global_topic_is_named() {
    let cluster = Cluster::start().await;
    let orders = cluster.topic("orders", 1).await;
    let missing = cluster.name("missing");
    let streams = KafkaStreams::new(topology(&orders, &missing, "output"), cluster.config("app")).unwrap();
    let error = streams.start().await.unwrap_err();
    let StreamsError::Runtime(RuntimeError::UnknownSourceTopic { topic }) = &error else {
        panic!("{error}");
    };
    assert_eq!(*topic, missing);
    assert_eq!(streams.state(), State::Error);
    cluster.stop().await;
}
