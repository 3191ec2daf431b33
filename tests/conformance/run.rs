//! Runs a case on the TopologyTestDriver and renders what it did in the form of the case's `expect`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use kstreams::state::{Headers, Serde};
use kstreams::{StreamsConfig, Topology};
use kstreams_test::{RawProducedRecord, TopologyTestDriver};
use serde_json::{Map, Value, json};

use super::stores::StoreReader;
use super::value::{KeyKind, KeySerde, Text, ValSerde};

/// Prefix of the kit's internal topics.
pub(crate) const APP: &str = "app";

/// How a sink's topic is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SinkTypes {
    pub(crate) key: KeyKind,
    pub(crate) long: bool,
}

/// What peek and foreach saw.
pub(crate) type Log = Arc<Mutex<Vec<Value>>>;

/// A program that was built: what the runner has to know of it.
pub(crate) struct Program {
    pub(crate) topology: Topology,
    pub(crate) log: Log,
    pub(crate) sinks: BTreeMap<String, SinkTypes>,
    pub(crate) dynamic_sink: SinkTypes,
    /// Readers of the stores that the program names.
    pub(crate) stores: BTreeMap<String, Box<dyn StoreReader>>,
}

/// The settings of a case that its topology and driver are given.
pub(crate) fn config(case: &Value) -> StreamsConfig {
    let mut config = StreamsConfig::new(APP, "none:1");
    for (key, value) in case["config"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let value = match key.as_str() {
            // Not Kafka's, or given to each store by the interpreter.
            "start-wall-clock-ms" => continue,
            "dsl.store.suppliers.class" => "in_memory",
            handler if handler.ends_with(".exception.handler") => match value {
                "continue" => "org.apache.kafka.streams.errors.LogAndContinueExceptionHandler",
                _ => "org.apache.kafka.streams.errors.LogAndFailExceptionHandler",
            },
            "default.timestamp.extractor" => match value {
                "log-and-skip" => "org.apache.kafka.streams.processor.LogAndSkipOnInvalidTimestamp",
                "wall-clock" => "org.apache.kafka.streams.processor.WallclockTimestampExtractor",
                _ => "org.apache.kafka.streams.processor.FailOnInvalidTimestamp",
            },
            _ => value,
        };
        config = config.set(key, value);
    }
    config
}

/// Runs all steps; the result has the form of `expect`, with an `error` of only `step` where one was raised.
pub(crate) fn run(case: &Value, program: Program, config: &StreamsConfig) -> Value {
    let mut actual = Map::new();
    let start = case["config"]["start-wall-clock-ms"].as_i64();
    let start = start.or_else(|| case["config"]["start-wall-clock-ms"].as_str()?.parse().ok()).unwrap_or(0);
    let Program { topology, log, sinks, dynamic_sink, stores } = program;
    let driver = match TopologyTestDriver::with_config(topology, config, start) {
        Ok(driver) => driver,
        Err(error) => return failed(actual, -1, &error),
    };
    let dead_letters = config.errors_dead_letter_queue_topic_name.clone();
    let collect = |step: &mut Map<String, Value>| {
        collect(&driver, step, &sinks, dynamic_sink, dead_letters.as_deref(), &log);
    };
    let mut at_start = Map::new();
    collect(&mut at_start);
    if !at_start.is_empty() {
        actual.insert("start".to_owned(), at_start.into());
    }
    let mut steps = Vec::new();
    let mut error = None;
    for step in case["steps"].as_array().into_iter().flatten() {
        let mut done = Map::new();
        let result = run_step(&driver, step, &stores, &mut done);
        collect(&mut done);
        steps.push(Value::Object(done));
        if let Err(failure) = result {
            error = Some(failure);
            break;
        }
    }
    let failed_at = steps.len();
    actual.insert("steps".to_owned(), steps.into());
    if let Some(error) = error {
        return failed(actual, i64::try_from(failed_at).unwrap_or(i64::MAX) - 1, &*error);
    }
    let keys = piped_keys(case);
    let contents: Map<String, Value> =
        stores.iter().map(|(name, reader)| (name.clone(), reader.contents(&driver, &keys))).collect();
    if !contents.is_empty() {
        actual.insert("stores".to_owned(), contents.into());
    }
    actual.insert("dropped".to_owned(), driver.dropped_records().into());
    actual.into()
}

/// The keys that the steps of a case pipe, each once, in the order of their bytes.
pub(crate) fn piped_keys(case: &Value) -> Vec<String> {
    let piped = case["steps"].as_array().into_iter().flatten().filter_map(|step| step["key"].as_str());
    let keys: BTreeSet<String> = piped.map(str::to_owned).collect();
    keys.into_iter().collect()
}

fn failed(mut actual: Map<String, Value>, step: i64, error: &(dyn std::error::Error + 'static)) -> Value {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    actual.insert("error".to_owned(), json!({ "step": step, "text": text }));
    actual.into()
}

/// The error of a program that could not be built.
pub(crate) fn not_built(error: &(dyn std::error::Error + 'static)) -> Value {
    failed(Map::new(), -1, error)
}

fn run_step(
    driver: &TopologyTestDriver,
    step: &Value,
    stores: &BTreeMap<String, Box<dyn StoreReader>>,
    done: &mut Map<String, Value>,
) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(topic) = step["pipe"].as_str() {
        let headers = headers(step);
        let record = kstreams::task::OwnedRecord {
            key: bytes(&step["key"]),
            value: bytes(&step["value"]),
            timestamp: step["ts"].as_i64().unwrap_or(-1),
            offset: 0,
            headers,
        };
        driver.pipe_raw(topic, record)?;
    } else if let Some(ms) = step["advance-wall-clock"].as_u64() {
        driver.advance_wall_clock_time(std::time::Duration::from_millis(ms))?;
    } else {
        let query = &step["query"];
        let store = query["store"].as_str().unwrap_or_default();
        let reader = stores.get(store).ok_or_else(|| format!("no store {store}"))?;
        done.insert("result".to_owned(), reader.query(driver, query)?.into());
    }
    Ok(())
}

/// The headers of a record that is piped.
pub(crate) fn headers(step: &Value) -> Headers {
    let mut headers = Headers::new();
    for header in step["headers"].as_array().into_iter().flatten() {
        headers.add(header[0].as_str().unwrap_or_default(), header[1].as_str().map(str::as_bytes));
    }
    headers
}

/// Bytes of a key or value of a step.
pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Number(number) => Some(number.as_i64().unwrap_or_default().to_be_bytes().to_vec()),
        Value::Object(raw) => Some(unhex(raw["hex"].as_str().unwrap_or_default())),
        _ => None,
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

fn hex(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into())
}

fn collect(
    driver: &TopologyTestDriver,
    step: &mut Map<String, Value>,
    sinks: &BTreeMap<String, SinkTypes>,
    dynamic_sink: SinkTypes,
    dead_letters: Option<&str>,
    log: &Log,
) {
    let (mut out, mut internal) = (Map::new(), Map::new());
    for topic in driver.produced_topics() {
        let records = driver.take_raw(&topic);
        if records.is_empty() {
            continue;
        }
        let is_internal = topic.starts_with("app-");
        let is_dead = dead_letters == Some(&*topic);
        let types = sinks.get(&*topic).copied().unwrap_or(dynamic_sink);
        let rows: Vec<Value> =
            records.iter().map(|record| row(Seen::of(record), is_internal, is_dead, types)).collect();
        let into = if is_internal { &mut internal } else { &mut out };
        into.insert(topic.to_string(), rows.into());
    }
    for (name, rows) in [("out", out), ("internal", internal)] {
        if !rows.is_empty() {
            step.insert(name.to_owned(), rows.into());
        }
    }
    let seen = std::mem::take(&mut *log.lock().unwrap());
    if !seen.is_empty() {
        step.insert("log".to_owned(), seen.into());
    }
}

/// A record on a topic, from wherever it was read.
pub(crate) struct Seen<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: &'a Headers,
}

impl<'a> Seen<'a> {
    fn of(record: &'a RawProducedRecord) -> Self {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        Seen { key, value, timestamp: record.timestamp, headers: &record.headers }
    }
}

/// A record as the traces show it.
pub(crate) fn row(record: Seen<'_>, internal: bool, dead: bool, types: SinkTypes) -> Value {
    let Seen { key, value, timestamp, headers } = record;
    let mut row = if internal {
        vec![hex(key), hex(value)]
    } else if dead {
        vec![key.map_or(Value::Null, |key| String::from_utf8_lossy(key).into()), hex(value)]
    } else {
        vec![
            key.map_or(Value::Null, |key| rendered(KeySerde(types.key).deserialize(key).ok())),
            value.map_or(Value::Null, |value| {
                value_json(ValSerde { long: types.long }.deserialize(value).ok())
            }),
        ]
    };
    row.push(timestamp.into());
    let headers = headers_json(headers, dead);
    if !headers.is_empty() {
        row.push(headers.into());
    }
    row.into()
}

/// A key as text.
pub(crate) fn rendered<T: Text>(key: Option<T>) -> Value {
    key.map_or(Value::Null, |key| key.text().into())
}

/// A value: text as a string, long as a number.
pub(crate) fn value_json(value: Option<super::value::Val>) -> Value {
    match value {
        None => Value::Null,
        Some(super::value::Val::Text(text)) => text.into(),
        Some(super::value::Val::Long(number)) => number.into(),
    }
}

fn headers_json(headers: &Headers, dead: bool) -> Vec<Value> {
    let hidden = |name: &str| {
        dead && (name.contains("stacktrace") || name.contains("exception") || name.contains("message"))
    };
    let shown = headers.iter().filter(|header| !hidden(&header.key));
    shown
        .map(|header| {
            let value = match header.value.as_deref() {
                None => Value::Null,
                Some(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) if text.chars().all(|c| u32::from(c) >= 32) => text.into(),
                    _ => json!({ "hex": hex(Some(bytes)) }),
                },
            };
            json!([*header.key, value])
        })
        .collect()
}

/// The kit's five levels of agreement.
pub(crate) const LEVELS: [&str; 5] = ["outputs", "stores", "internal topics", "changelogs", "describe"];

/// The first difference at each level; `None` where the case agrees.
pub(crate) fn differences(expect: &Value, actual: &Value, describe: Option<&str>) -> [Option<String>; 5] {
    let mut found: [Option<String>; 5] = Default::default();
    let mut differ = |level: usize, place: String, want: &Value, got: &Value| {
        if want != got && found[level].is_none() {
            found[level] = Some(format!("{place}\n      want {want}\n      got  {got}"));
        }
    };
    differ(0, "error at step".to_owned(), &expect["error"]["step"], &actual["error"]["step"]);
    let empty = Vec::new();
    let wanted = expect["steps"].as_array().unwrap_or(&empty);
    let got = actual["steps"].as_array().unwrap_or(&empty);
    let pairs = std::iter::once((&expect["start"], &actual["start"], "start".to_owned()));
    let steps = (0..wanted.len().max(got.len())).map(|at| {
        (wanted.get(at).unwrap_or(&Value::Null), got.get(at).unwrap_or(&Value::Null), format!("step {at}"))
    });
    for (want, got, place) in pairs.chain(steps) {
        for part in ["out", "log", "result"] {
            differ(0, format!("{place}, {part}"), &want[part], &got[part]);
        }
        let topics: BTreeSet<&String> = [want, got]
            .iter()
            .filter_map(|side| side["internal"].as_object())
            .flat_map(|t| t.keys())
            .collect();
        for topic in topics {
            let level = if topic.ends_with("-changelog") { 3 } else { 2 };
            differ(level, format!("{place}, {topic}"), &want["internal"][topic], &got["internal"][topic]);
        }
    }
    if expect["error"].is_null() {
        let none = Map::new();
        for (name, want) in expect["stores"].as_object().unwrap_or(&none) {
            differ(1, format!("store {name}"), want, &actual["stores"][name]);
        }
        differ(1, "dropped".to_owned(), &expect["dropped"], &actual["dropped"]);
    }
    if let Some(want) = expect["describe"].as_str()
        && describe != Some(want)
    {
        found[4] = Some(format!("want\n{want}\n      got\n{}", describe.unwrap_or("(nothing)")));
    }
    found
}
