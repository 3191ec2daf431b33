//! map_values_async and process_async in programs of the DSL.

use std::time::Duration;

use kstreams_core::config::StreamsConfig;
use kstreams_core::handlers::LogAndContinue;
use kstreams_core::processor::{
    AroundProcessor, AsyncOptions, AsyncOrder, ProcessResult, ProcessorCall, RecordMetadata,
};
use kstreams_dsl::{Materialized, Named, StreamsBuilder};
use kstreams_state_stores::{Headers, Record};
use kstreams_test::TopologyTestDriver;

/// What a program is called does not depend on whether its functions wait, so one can be exchanged for the other.
#[test]
fn nodes_are_named_as_those_of_the_synchronous_operators() {
    let asynchronous = StreamsBuilder::new();
    let texts = asynchronous.stream::<String, String>("in");
    texts.map_values_async(AsyncOptions::new(), |value| async move { Ok(value) }).to("a");
    texts
        .map_values_async_with_key_with(AsyncOptions::new(), |_, value| async move { Ok(value) }, "named")
        .to("b");
    let same = |record: Record<String, String>, _: RecordMetadata| async move { Ok(vec![record]) };
    texts.process_async(AsyncOptions::new(), same).group_by_key().count(Materialized::named("n"));
    texts.process_async_with(AsyncOptions::new(), same, Named::new("mine")).to("c");

    let synchronous = StreamsBuilder::new();
    let texts = synchronous.stream::<String, String>("in");
    texts.map_values(|value| value).to("a");
    texts.map_values_with(|value| value, "named").to("b");
    let same = || Same;
    texts.process(same, &[]).group_by_key().count(Materialized::named("n"));
    texts.process_with(same, "mine", &[]).to("c");
    let described = |builder: StreamsBuilder| builder.build().unwrap().describe().to_string();
    assert_eq!(described(asynchronous), described(synchronous));
}

struct Same;

impl kstreams_core::processor::Processor<String, String, String, String> for Same {
    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut kstreams_core::processor::ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        ctx.forward(record)
    }
}

/// In a driver every run gives the same, however long calls take: results go on in the order of their records.
#[test]
fn a_driver_waits_for_calls_and_keeps_their_order() {
    let builder = StreamsBuilder::new();
    let options = AsyncOptions::new().with_order(AsyncOrder::None);
    builder
        .stream::<String, String>("lines")
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .map_values_async(options, |word| async move {
            // The shortest word waits longest.
            tokio::time::sleep(Duration::from_millis(40 / word.len() as u64)).await;
            Ok(word.to_uppercase())
        })
        .group_by(|_, word| word.clone())
        .count(Materialized::named("n"))
        .to_stream()
        .to("counts");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let lines = driver.create_input_topic::<String, String>("lines");
    lines.pipe_input("k".to_owned(), "a bb cccc a".to_owned()).unwrap();
    let counts = driver.create_output_topic::<String, i64>("counts");
    let expected = [("A", 1), ("BB", 1), ("CCCC", 1), ("A", 2)].map(|(word, n)| (word.to_owned(), n));
    assert_eq!(counts.read_key_values_to_list().unwrap(), expected);
}

#[test]
fn key_time_and_headers_stay_and_null_comes_to_the_function() {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, Option<String>>("in")
        .map_values_async_with_key(AsyncOptions::new(), |key, value| async move {
            Ok(format!("{key}={}", value.unwrap_or("null".to_owned())))
        })
        .to("out");
    let driver = TopologyTestDriver::new(builder.build().unwrap()).unwrap();
    let input = driver.create_input_topic::<String, Option<String>>("in");
    let mut headers = Headers::new();
    headers.add("h", Some(b"1"));
    let record = Record { key: "k".to_owned(), value: None, timestamp: 7, headers: headers.clone() };
    input.pipe_record(record).unwrap();
    let sent = driver.create_output_topic::<String, String>("out").read_record().unwrap().unwrap();
    assert_eq!((sent.key.as_str(), sent.value.as_str(), sent.timestamp), ("k", "k=null", Some(7)));
    assert_eq!(sent.headers, headers);
}

#[test]
fn a_failure_goes_to_the_processing_exception_handler() {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .map_values_async(AsyncOptions::new(), |value| async move { Ok(value.parse::<i64>()?) })
        .to("out");
    let config = StreamsConfig::new("app", "none:1")
        .processing_exception_handler(LogAndContinue)
        .errors_dead_letter_queue_topic_name("dead");
    let driver = TopologyTestDriver::with_config(builder.build().unwrap(), &config, 0).unwrap();
    let input = driver.create_input_topic::<String, String>("in");
    for value in ["1", "x", "3"] {
        input.pipe_input("k".to_owned(), value.to_owned()).unwrap();
    }
    let numbers = driver.create_output_topic::<String, i64>("out");
    assert_eq!(numbers.read_key_values_to_list().unwrap(), [("k".to_owned(), 1), ("k".to_owned(), 3)]);
    let letters = driver.create_output_topic::<String, String>("dead");
    assert_eq!(letters.read_key_values_to_list().unwrap(), [("k".to_owned(), "x".to_owned())]);
    assert_eq!(driver.dropped_records(), 1);
}

/// What stands around a processor sees its records come; results go on past it.
#[test]
fn a_wrapped_step_still_sends_its_results_on() {
    struct Around;
    impl AroundProcessor for Around {
        fn process(&mut self, call: &mut ProcessorCall<'_>) -> ProcessResult {
            let record: &mut Record<String, String> = call.record().unwrap();
            record.value.push('!');
            call.proceed()
        }
    }
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .map_values_async_with(AsyncOptions::new(), |value| async move { Ok(value) }, "step")
        .to("out");
    let mut topology = builder.build().unwrap();
    topology.set_processor_wrapper(|node: &str| {
        (node == "step").then(|| Box::new(Around) as Box<dyn AroundProcessor>)
    });
    let driver = TopologyTestDriver::new(topology).unwrap();
    driver.create_input_topic::<String, String>("in").pipe_input("k".to_owned(), "v".to_owned()).unwrap();
    let out = driver.create_output_topic::<String, String>("out");
    assert_eq!(out.read_value().unwrap().as_deref(), Some("v!"));
}
