//! What programs write because of each input record: outputs, changelogs and repartition topics, byte for byte.

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams_core::config::StreamsConfig;
use kstreams_core::task::OwnedRecord;
use kstreams_state_stores::Headers;
use kstreams_test::{RawProducedRecord, TopologyTestDriver};
use serde_json::Value;

use crate::interpreter;
use crate::program::calls;

/// Wall clock at the start of each scenario.
const START_MS: i64 = 1_000_000;

#[test]
fn programs_write_what_the_jvm_writes() {
    let vectors: Value = serde_json::from_str(include_str!("data/behaviours.json")).unwrap();
    let mut differing = Vec::new();
    let scenarios = vectors["scenarios"].as_array().unwrap();
    for scenario in scenarios {
        if let Err(difference) = replay(scenario) {
            differing.push(format!("== {}\n{difference}", scenario["name"]));
        }
    }
    println!("{} scenarios", scenarios.len());
    assert!(
        differing.is_empty(),
        "{} of {} differ\n{}",
        differing.len(),
        scenarios.len(),
        differing.join("\n")
    );
}

fn replay(scenario: &Value) -> Result<(), String> {
    let mut config = StreamsConfig::new("app", "none:1");
    for (key, value) in scenario["configs"].as_object().unwrap() {
        config = config.set(key, value.as_str().unwrap());
    }
    let builder = interpreter::builder_of(&calls(scenario));
    let topology = builder.build_with(&config).map_err(|error| error.to_string())?;
    let driver =
        TopologyTestDriver::with_config(topology, &config, START_MS).map_err(|error| error.to_string())?;
    for step in scenario["steps"].as_array().unwrap() {
        let input = step["input"].as_str().unwrap();
        let done = match input.strip_prefix("wall ") {
            Some(ms) => driver.advance_wall_clock_time(Duration::from_millis(ms.parse().unwrap())),
            None => {
                let (topic, record) = parse(input);
                driver.pipe_raw(&topic, record)
            }
        };
        if done.is_err() != step["error"].is_string() {
            return Err(format!("{input}: {done:?}, expected {}", step["error"]));
        }
        let produced: BTreeMap<String, Vec<RawProducedRecord>> = driver
            .produced_topics()
            .iter()
            .map(|topic| {
                let records = driver.take_raw(topic).into_iter();
                (topic.to_string(), records.map(|record| as_in_the_vectors(topic, record)).collect())
            })
            .filter(|(_, records): &(_, Vec<_>)| !records.is_empty())
            .collect();
        let expected = expected(step);
        if produced != expected {
            return Err(format!("{input}\n  wrote    {}\n  expected {}", show(&produced), show(&expected)));
        }
    }
    Ok(())
}

/// `topic key value timestamp [header=value ...]`; `~` is null, `_` is empty.
fn parse(input: &str) -> (String, OwnedRecord) {
    let mut words = input.split(' ');
    let mut text = || match words.next().unwrap() {
        "~" => None,
        "_" => Some(Vec::new()),
        text => Some(text.as_bytes().to_vec()),
    };
    let topic = String::from_utf8(text().unwrap()).unwrap();
    let (key, value) = (text(), text());
    let timestamp = words.next().unwrap().parse().unwrap();
    let mut headers = Headers::new();
    for (name, value) in words.filter_map(|header| header.split_once('=')) {
        headers.add(name, Some(value.as_bytes()));
    }
    (topic, OwnedRecord { key, value, timestamp, offset: 0, headers })
}

/// The vectors have headers in the order of their names. They are of 4.1.1, which logs none but a buffer's own; from 4.3
/// on (see the traces) join stores and subscriptions are logged with the headers of the record.
fn as_in_the_vectors(topic: &str, mut record: RawProducedRecord) -> RawProducedRecord {
    let mut headers: Vec<_> = record.headers.iter().cloned().collect();
    headers.retain(|header| !topic.ends_with("-changelog") || &*header.key == "v");
    headers.sort_by(|a, b| a.key.cmp(&b.key));
    record.headers = headers.into_iter().collect();
    record
}

fn expected(step: &Value) -> BTreeMap<String, Vec<RawProducedRecord>> {
    let mut topics: BTreeMap<String, Vec<RawProducedRecord>> = BTreeMap::new();
    for record in step["produced"].as_array().unwrap() {
        let mut headers = Headers::new();
        for (name, value) in record["headers"].as_object().into_iter().flatten() {
            headers.add(name, bytes(value).as_deref());
        }
        topics.entry(record["topic"].as_str().unwrap().to_owned()).or_default().push(RawProducedRecord {
            key: bytes(&record["key"]),
            value: bytes(&record["value"]),
            timestamp: record["timestamp"].as_i64(),
            headers,
        });
    }
    topics
}

fn bytes(hex: &Value) -> Option<Vec<u8>> {
    let hex = hex.as_str()?;
    Some((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
}

fn show(topics: &BTreeMap<String, Vec<RawProducedRecord>>) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => "~".to_owned(),
        Some(bytes) => bytes.escape_ascii().to_string(),
    };
    let records = topics.iter().flat_map(|(topic, records)| {
        records.iter().map(move |r| {
            let headers = if r.headers.is_empty() { String::new() } else { format!(" {:?}", r.headers) };
            format!("{topic} {} {} {:?}{headers}", text(&r.key), text(&r.value), r.timestamp)
        })
    });
    records.collect::<Vec<_>>().join(" | ")
}
