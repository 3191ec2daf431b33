//! transform_values of tables: with stores, stored and not, looked up by a join.

use kstreams_core::processor::{InitContext, ProcessResult, StoreHandle, StoreScope};
use kstreams_dsl::{KTable, Materialized, Named, StreamsBuilder, ValueTransformerWithKey};
use kstreams_state_stores::{KeyValueStore, Stores};
use kstreams_test::TopologyTestDriver;

/// The price with the currency's sign in front, which a store has; deletions stay deletions.
#[derive(Default)]
struct WithSign(Option<StoreHandle<KeyValueStore<String, String>>>);

impl ValueTransformerWithKey<String, i64, String> for WithSign {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        let signs: StoreHandle<KeyValueStore<String, String>> = ctx.state_store("signs")?;
        ctx.store(&signs).put(&"apple".to_owned(), &"$".to_owned())?;
        self.0 = Some(signs);
        Ok(())
    }

    fn transform(
        &mut self,
        key: &String,
        value: Option<i64>,
        stores: &mut StoreScope<'_>,
    ) -> ProcessResult<Option<String>> {
        let (Some(price), Some(signs)) = (value, &self.0) else { return Ok(None) };
        let sign = stores.open(signs).get(key)?.unwrap_or_default();
        Ok(Some(format!("{sign}{price}")))
    }
}

type Out = Vec<(String, Option<String>)>;

fn prices(builder: &StreamsBuilder) -> KTable<String, i64> {
    builder.add_state_store(Stores::key_value::<String, String>("signs"));
    builder.table::<String, i64>("prices")
}

fn run(builder: &StreamsBuilder, topic: &str, rows: &[(&str, &str, Option<i64>)]) -> Out {
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    for (topic, key, value) in rows {
        let input = driver.create_input_topic::<String, Option<i64>>(topic);
        input.pipe_input((*key).to_owned(), *value).unwrap();
    }
    let output = driver.create_output_topic::<String, Option<String>>(topic);
    let rows = output.read_key_values_to_list().unwrap();
    driver.close().unwrap();
    rows
}

fn row(key: &str, value: Option<&str>) -> (String, Option<String>) {
    (key.to_owned(), value.map(str::to_owned))
}

const ROWS: [(&str, &str, Option<i64>); 3] =
    [("prices", "apple", Some(3)), ("prices", "pear", Some(4)), ("prices", "apple", None)];

#[test]
fn rows_are_transformed_and_deleted() {
    for stored in [false, true] {
        let builder = StreamsBuilder::new();
        let prices = prices(&builder);
        let signed = match stored {
            false => prices.transform_values(WithSign::default, &["signs"]),
            true => {
                let stored = Materialized::<_, _>::named("signed");
                prices.transform_values_with(WithSign::default, Named::default(), stored, &["signs"])
            }
        };
        assert_eq!(signed.queryable_store_name(), stored.then_some("signed"));
        signed.to_stream().to("out");
        let expected = [row("apple", Some("$3")), row("pear", Some("4")), row("apple", None)];
        assert_eq!(run(&builder, "out", &ROWS), expected, "stored: {stored}");
    }
}

/// What a join looks up is computed anew from the source's row, with the stores of the transformer.
#[test]
fn a_join_looks_up_transformed_rows() {
    let builder = StreamsBuilder::new();
    let signed = prices(&builder).transform_values(WithSign::default, &["signs"]);
    let amounts = builder.table::<String, i64>("amounts");
    amounts.join(&signed, |amount, price| format!("{amount} at {price}")).to_stream().to("out");
    let mut rows = ROWS[..2].to_vec();
    rows.push(("amounts", "apple", Some(10)));
    rows.push(("prices", "apple", Some(5)));
    assert_eq!(run(&builder, "out", &rows), [row("apple", Some("10 at $3")), row("apple", Some("10 at $5"))]);
}

/// The JVM's generated name, and the index that an unnamed store consumes there.
#[test]
fn the_node_has_the_name_of_kafka_streams() {
    let builder = StreamsBuilder::new();
    prices(&builder).transform_values(WithSign::default, &["signs"]).to_stream().to("out");
    let text = builder.build().unwrap().describe().to_string();
    assert!(text.contains("Processor: KTABLE-TRANSFORMVALUES-0000000003 (stores: [signs])"), "{text}");
}
