//! Processors of the DSL, wrapped (KIP-1112).

use std::sync::{Arc, Mutex};

use kstreams_core::StreamsError;
use kstreams_core::processor::{AroundProcessor, InitContext, ProcessResult, ProcessorCall, StoreHandle};
use kstreams_dsl::StreamsBuilder;
use kstreams_state_stores::{KeyValueStore, Record, Stores};
use kstreams_test::TopologyTestDriver;

type Seen = Arc<Mutex<Vec<String>>>;

/// Writes down what happens at its node, counts the records in a store of its own, and keeps `secret` from the node.
struct Spy {
    node: String,
    seen: Seen,
    count: Option<StoreHandle<KeyValueStore<String, i64>>>,
}

impl Spy {
    fn note(&self, what: &str) {
        self.seen.lock().unwrap().push(format!("{} {what}", self.node));
    }
}

impl AroundProcessor for Spy {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.count = Some(ctx.state_store("spied")?);
        self.note("init");
        Ok(())
    }

    fn process(&mut self, call: &mut ProcessorCall<'_>) -> ProcessResult {
        let record: &mut Record<String, String> = call.record().unwrap();
        if record.value == "secret" {
            return Ok(());
        }
        let value = std::mem::take(&mut record.value);
        record.value = format!("<{value}>");
        let mut store = call.store(self.count.as_ref().unwrap());
        let count = store.get(&self.node)?.unwrap_or(0) + 1;
        store.put(&self.node, &count)?;
        let offset = call.record_metadata().offset;
        self.note(&format!("{value}@{offset}"));
        call.proceed()?;
        self.note("done");
        Ok(())
    }

    fn close(&mut self) {
        self.note("close");
    }
}

#[test]
fn a_wrapper_stands_around_the_nodes_that_it_chooses() -> Result<(), Box<dyn std::error::Error>> {
    let builder = StreamsBuilder::new();
    let upper = builder.stream::<String, String>("in").map_values_with(|value| value.to_uppercase(), "upper");
    upper.filter_with(|_, value| value != "<X>", "filter").to("out");
    let mut topology = builder.build()?;
    topology.add_state_store(Stores::key_value::<String, i64>("spied"), &["upper", "filter"])?;
    let seen = Seen::default();
    topology.set_processor_wrapper({
        let seen = Arc::clone(&seen);
        move |node: &str| {
            let spy = || Spy { node: node.to_owned(), seen: Arc::clone(&seen), count: None };
            (node == "upper").then(|| -> Box<dyn AroundProcessor> { Box::new(spy()) })
        }
    });
    let driver = TopologyTestDriver::new(topology)?;
    let (input, output) = (
        driver.create_input_topic::<String, String>("in"),
        driver.create_output_topic::<String, String>("out"),
    );
    for value in ["a", "secret", "x"] {
        input.pipe_input("k".to_owned(), value.to_owned())?;
    }
    assert_eq!(output.read_value()?.as_deref(), Some("<A>"));
    assert_eq!(output.read_value()?, None);
    let counted =
        driver.with_store("spied", |store: &mut KeyValueStore<String, i64>| store.get(&"upper".to_owned()));
    assert_eq!(counted??, Some(2));
    driver.close()?;
    let expected = ["init", "a@0", "done", "x@2", "done", "close"].map(|what| format!("upper {what}"));
    assert_eq!(*seen.lock().unwrap(), expected);
    Ok(())
}

/// What a wrapper answers is the node's own error.
#[test]
fn an_error_of_a_wrapper_is_one_of_its_node() {
    struct Refuse;
    impl AroundProcessor for Refuse {
        fn process(&mut self, _: &mut ProcessorCall<'_>) -> ProcessResult {
            Err(kstreams_core::processor::ProcessError::msg("refused"))
        }
    }
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").map_values_with(|value| value, "same").to("out");
    let mut topology = builder.build().unwrap();
    topology.set_processor_wrapper(|node: &str| {
        let refuse: Box<dyn AroundProcessor> = Box::new(Refuse);
        (node == "same").then_some(refuse)
    });
    let driver = TopologyTestDriver::new(topology).unwrap();
    let input = driver.create_input_topic::<String, String>("in");
    let error = input.pipe_input("k".to_owned(), "v".to_owned()).unwrap_err();
    let kstreams_test::DriverError::Streams(StreamsError::Processing { node, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(node, "same");
}
