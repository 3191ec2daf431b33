//! The user's own processors in a stream, with a store, and splits.

use kstreams_core::processor::{
    FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, InitContext, ProcessResult, Processor,
    ProcessorContext, StoreHandle,
};
use kstreams_dsl::{Branched, StreamsBuilder};
use kstreams_state_stores::{KeyValueStore, Record, Stores};
use kstreams_test::TopologyTestDriver;

/// Numbers the records of each key.
#[derive(Default)]
struct Numbered {
    numbers: Option<StoreHandle<KeyValueStore<String, i64>>>,
}

impl FixedKeyProcessor<String, String, String> for Numbered {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.numbers = Some(ctx.state_store("numbers")?);
        Ok(())
    }

    fn process(
        &mut self,
        record: FixedKeyRecord<String, String>,
        ctx: &mut FixedKeyProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let Some(numbers) = &self.numbers else { return Ok(()) };
        let mut numbers = ctx.store(numbers);
        let number = numbers.get(record.key())?.unwrap_or(0) + 1;
        numbers.put(record.key(), &number)?;
        let value = format!("{number} {}", record.value);
        ctx.forward(record.with_value(value))
    }
}

/// Swaps key and value.
struct Swap;

impl Processor<String, String, String, String> for Swap {
    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let Record { key, value, timestamp, headers } = record;
        ctx.forward(Record { key: value, value: key, timestamp, headers })
    }
}

#[test]
fn processors_keep_state_in_stores_by_name() {
    let builder = StreamsBuilder::new();
    builder.add_state_store(Stores::key_value::<String, i64>("numbers"));
    let numbered = builder.stream::<String, String>("in").process_values(Numbered::default, &["numbers"]);
    numbered.process(|| Swap, &[]).to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, String>("in");
    for (key, value) in [("a", "x"), ("b", "y"), ("a", "z")] {
        input.pipe_input(key.to_owned(), value.to_owned()).unwrap();
    }
    let output = driver.create_output_topic::<String, String>("out");
    let swapped = output.read_key_values_to_list().unwrap();
    assert_eq!(
        swapped,
        [("1 x", "a"), ("1 y", "b"), ("2 z", "a")].map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
}

#[test]
fn the_first_branch_that_takes_a_record_has_it() {
    let builder = StreamsBuilder::new();
    let split = builder.stream::<String, i64>("in").split_with("size-");
    let branches = split
        .branch(|_, &size| size > 100, "large")
        .branch(|_, &size| size > 10, Branched::default())
        .default_branch("small");
    let names: Vec<_> = branches.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["size-large", "size-2", "size-small"]);
    let [large, medium, small] = branches.into_array().unwrap();
    large.to("large");
    medium.to("medium");
    small.to("small");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, i64>("in");
    for size in [5, 50, 500, 11, 10] {
        input.pipe_input("k".to_owned(), size).unwrap();
    }
    let sizes = |topic: &str| {
        let output = driver.create_output_topic::<String, i64>(topic);
        output.read_key_values_to_list().unwrap().into_iter().map(|(_, size)| size).collect::<Vec<_>>()
    };
    assert_eq!((sizes("large"), sizes("medium"), sizes("small")), (vec![500], vec![50, 11], vec![5, 10]));
}
