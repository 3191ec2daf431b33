//! The Processor API through the driver: stores, changelogs, named children, punctuations, failing user code.

use std::time::Duration;

use kstreams_core::processor::{
    InitContext, ProcessResult, Processor, ProcessorContext, PunctuationType, ScheduleId, StoreHandle,
};
use kstreams_core::{StreamsError, Topology, TopologyError};
use kstreams_state_stores::{KeyValueStore, Record, Stores};
use kstreams_test::{DriverError, TopologyTestDriver};

/// Counts per key in the store `counts` and forwards the count; tells every 10 ms of stream time how often it was called.
#[derive(Default)]
struct Count {
    counts: Option<StoreHandle<KeyValueStore<String, i64>>>,
    calls: i64,
}

impl Processor<String, String, String, i64> for Count {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.counts = Some(ctx.state_store("counts")?);
        ctx.schedule(Duration::from_millis(10), PunctuationType::StreamTime);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, i64>,
    ) -> ProcessResult {
        self.calls += 1;
        match record.value.as_str() {
            "fail" => return Err("told to fail".into()),
            "panic" => panic!("told to panic"),
            _ => {}
        }
        let Some(counts) = &self.counts else { return Ok(()) };
        let mut counts = ctx.store(counts);
        let count = counts.get(&record.key)?.unwrap_or(0) + 1;
        counts.put(&record.key, &count)?;
        ctx.forward(record.with_value(count))
    }

    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        timestamp: i64,
        ctx: &mut ProcessorContext<'_, String, i64>,
    ) -> ProcessResult {
        ctx.forward(Record::new("calls".to_owned(), self.calls, timestamp))
    }
}

fn counting_topology() -> Result<Topology, TopologyError> {
    let mut topology = Topology::new();
    topology.add_source::<String, String>("lines", "input")?;
    topology.add_processor("count", Count::default, &["lines"])?;
    topology.add_state_store(Stores::key_value::<String, i64>("counts"), &["count"])?;
    topology.add_sink::<String, i64>("out", "output", &["count"])?;
    Ok(topology)
}

#[test]
fn a_processor_counts_in_a_logged_store_and_punctuates() -> Result<(), Box<dyn std::error::Error>> {
    let driver = TopologyTestDriver::new(counting_topology()?)?;
    let input = driver.create_input_topic::<String, String>("input");
    let output = driver.create_output_topic::<String, i64>("output");
    input.pipe_input_at("a".to_owned(), "x".to_owned(), 1)?;
    input.pipe_input_at("a".to_owned(), "x".to_owned(), 25)?;
    let read = output.read_key_values_to_list()?;
    let owned = |key: &str, count| (key.to_owned(), count);
    assert_eq!(read, [owned("a", 1), owned("calls", 1), owned("a", 2), owned("calls", 2)]);
    let changelog = driver.take_raw("test-app-counts-changelog");
    assert_eq!(changelog.len(), 2);
    assert_eq!(changelog[1].value, Some(2i64.to_be_bytes().to_vec()));
    assert_eq!(changelog[1].timestamp, Some(25));
    let stored = driver
        .with_store("counts", |store: &mut KeyValueStore<String, i64>| store.get(&"a".to_owned()))??;
    assert_eq!(stored, Some(2));
    Ok(())
}

/// A failing or panicking node is reported with its name and the record's place, and the driver survives it.
#[test]
fn errors_and_panics_name_node_topic_partition_and_offset() -> Result<(), Box<dyn std::error::Error>> {
    for (value, says) in [("fail", "told to fail"), ("panic", "panicked: told to panic")] {
        let driver = TopologyTestDriver::new(counting_topology()?)?;
        let input = driver.create_input_topic::<String, String>("input");
        input.pipe_input_at("a".to_owned(), "x".to_owned(), 1)?;
        let failed = input.pipe_input_at("a".to_owned(), value.to_owned(), 2);
        let Err(DriverError::Streams(StreamsError::Processing {
            node,
            topic,
            partition,
            offset,
            source,
            ..
        })) = failed
        else {
            panic!("{value} should have failed: {failed:?}");
        };
        assert_eq!((node.as_str(), topic.as_str(), partition, offset), ("count", "input", 0, 1));
        assert_eq!(source.to_string(), says);
    }
    Ok(())
}

#[test]
fn a_topology_that_makes_no_sense_says_what_is_wrong() {
    let mut topology = Topology::new();
    topology.add_source::<String, String>("lines", "input").unwrap();
    let twice = topology.add_source::<String, String>("again", "input").err().unwrap().to_string();
    assert_eq!(twice, "topic input is already read by source lines: read it once and use its stream twice");
    let orphan = topology.add_processor("count", Count::default, &["nobody"]).err().unwrap().to_string();
    assert_eq!(orphan, "parent nobody, which count refers to, was not added: add it first");
    let mistyped = topology.add_sink::<String, i64>("out", "output", &["lines"]).err().unwrap().to_string();
    assert!(mistyped.contains("out takes records of"), "{mistyped}");
    let looped = topology.add_sink::<String, String>("out", "input", &["lines"]).err().unwrap().to_string();
    assert!(looped.contains("that would be a loop"), "{looped}");
    topology.add_processor("count", Count::default, &["lines"]).unwrap();
    let store = topology.connect_processor_and_state_stores("count", &["counts"]).err().unwrap().to_string();
    assert_eq!(store, "state store counts, which count refers to, was not added: add it first");
}

/// A store that nobody connected is an error at start, not at the first record.
#[test]
fn a_store_that_is_not_connected_fails_the_start() -> Result<(), Box<dyn std::error::Error>> {
    let mut topology = Topology::new();
    topology.add_source::<String, String>("lines", "input")?;
    topology.add_processor("count", Count::default, &["lines"])?;
    let error = TopologyTestDriver::new(topology).err().ok_or("it started")?.to_string();
    assert!(error.starts_with("processor count has no access to store counts"), "{error}");
    Ok(())
}
