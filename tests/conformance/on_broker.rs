//! The same cases through the whole runtime on the embedded broker, step by step: a record is produced, and the next one
//! only when the application has committed every input up to its end, internal topics included. What each key got on each
//! output topic, the stores at the end as interactive queries show them, and the last value of each key in each changelog have to
//! be the trace's.
//!
//! Left out is only what depends on the driver itself, by the rules in [`left_out`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};
use kstreams::state::Headers as RecordHeaders;
use kstreams::{KafkaStreams, State};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use regex::Regex;
use serde_json::Value;

use super::program;
use super::run::{self, APP, Program, Seen};

/// Applications at a time; most of their time they wait.
const AT_A_TIME: usize = 6;
/// A step that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(60);

type AnyError = Box<dyn std::error::Error>;

/// Why a case's outcome depends on the driver, so that a cluster need not agree.
fn left_out(case: &Value) -> Option<&'static str> {
    let text = case["topology"].to_string();
    let uses = |what: &str| text.contains(what);
    let tagged = |tag: &str| case["tags"].as_array().is_some_and(|tags| tags.iter().any(|t| t == tag));
    let describe = case["expect"]["describe"].as_str().unwrap_or_default();
    let parts = describe.matches("Sub-topology:").count();
    if tagged("error") || tagged("expects-error") || !case["expect"]["error"].is_null() {
        return Some("it ends in an error, which stops an instance");
    }
    if times(case).any(|time| time == 0) {
        return Some("librdkafka takes the timestamp 0 for `now`");
    }
    if uses(":wall") || uses("punctuate-anchored") || uses("\"stream-time\"") || uses("|wall") {
        return Some("it shows the wall clock");
    }
    let throttled = case["config"].as_object().into_iter().flatten();
    if throttled.into_iter().any(|(name, ms)| name.starts_with("__emit.interval.ms") && ms != "0") {
        return Some("the wall clock decides when it emits");
    }
    if uses("globalTable") || uses("globalStore") {
        return Some("the driver updates global stores at once");
    }
    if tagged("tie-order") {
        return Some("records of equal time reach two internal topics in one step");
    }
    let shows_task = ["metadata", "fixed-key-enricher", "punctuate-"].iter().any(|what| uses(what));
    if parts > 1 && shows_task {
        return Some("stream time and metadata are those of one task for all sub-topologies");
    }
    None
}

/// The times of all records, piped and written.
fn times(case: &Value) -> impl Iterator<Item = i64> {
    let piped = case["steps"].as_array().into_iter().flatten().filter_map(|step| step["ts"].as_i64());
    piped.chain(written(case, "out").chain(written(case, "internal")).filter_map(|(_, row)| row[2].as_i64()))
}

/// The records of the trace on all topics of one kind, in order, with their topics.
fn written<'a>(case: &'a Value, part: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let steps = std::iter::once(&case["expect"]["start"]);
    let steps = steps.chain(case["expect"]["steps"].as_array().into_iter().flatten());
    let topics = steps.filter_map(move |step| step[part].as_object()).flatten();
    topics.flat_map(|(topic, rows)| rows.as_array().into_iter().flatten().map(move |row| (topic, row)))
}

/// Key by topic, and what it got.
type ByKey = BTreeMap<(String, String), Vec<Value>>;

fn note(into: &mut ByKey, topic: &str, row: &Value) {
    let key = (topic.to_owned(), row[0].to_string());
    into.entry(key).or_default().push(row.clone());
}

/// What the trace says of output topics and of changelogs.
fn expected(case: &Value) -> (ByKey, ByKey) {
    let dead = case["config"]["errors.dead.letter.queue.topic.name"].as_str();
    let (mut out, mut changelogs) = (ByKey::new(), ByKey::new());
    written(case, "out")
        .filter(|(topic, _)| dead != Some(topic))
        .for_each(|(topic, row)| note(&mut out, topic, row));
    let logged = written(case, "internal").filter(|(topic, _)| topic.ends_with("-changelog"));
    logged.for_each(|(topic, row)| note(&mut changelogs, topic, row));
    (out, last_of_each(changelogs))
}

/// The last value of each key, without times (a suppress buffer has none) and headers.
fn last_of_each(rows: ByKey) -> ByKey {
    rows.into_iter()
        .map(|(key, rows)| (key, rows.last().map(|row| vec![row[1].clone()]).unwrap_or_default()))
        .collect()
}

/// One case on a broker of its own.
struct Run {
    bootstrap: String,
    inputs: Vec<String>,
}

impl Run {
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", APP);
        config
    }

    /// Topics that exist before the application, each of one partition.
    async fn create_topics(&self, case: &Value) -> Result<(), AnyError> {
        let mut names: BTreeSet<&str> = self.inputs.iter().map(String::as_str).collect();
        names.extend(written(case, "out").map(|(topic, _)| topic.as_str()));
        names.extend(case["steps"].as_array().into_iter().flatten().filter_map(|step| step["pipe"].as_str()));
        names.extend(sinks(case));
        let topics: Vec<_> =
            names.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        for result in admin.create_topics(&topics, &AdminOptions::new()).await? {
            result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        Ok(())
    }

    /// Waits until all that was written to any input is processed and committed.
    fn drain(&self, streams: &KafkaStreams, consumer: &BaseConsumer) -> Result<(), AnyError> {
        let deadline = Instant::now() + DEADLINE;
        let mut inputs = self.inputs.clone();
        inputs.extend(topics(consumer)?.into_iter().filter(|t| is_internal(t) && !t.ends_with("-changelog")));
        loop {
            let mut list = TopicPartitionList::new();
            for topic in &inputs {
                list.add_partition(topic, 0);
            }
            // Commits first: what they say is processed has written its output before.
            let committed = consumer.committed_offsets(list, DEADLINE)?;
            let mut behind = None;
            for element in committed.elements() {
                let end = consumer.fetch_watermarks(element.topic(), 0, DEADLINE)?.1;
                let at = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => 0,
                };
                if at < end {
                    behind = Some(format!("{} is committed up to {at} of {end}", element.topic()));
                    break;
                }
            }
            let Some(behind) = behind else { return Ok(()) };
            if streams.state() == State::Error || Instant::now() > deadline {
                return Err(format!("{behind}; state {}, {:?}", streams.state(), streams.failure()).into());
            }
            std::thread::sleep(Duration::from_millis(1)); // asks again
        }
    }

    fn produce(&self, producer: &BaseProducer, step: &Value) -> Result<(), AnyError> {
        let (key, value) = (run::bytes(&step["key"]), run::bytes(&step["value"]));
        let mut headers = OwnedHeaders::new();
        for header in &run::headers(step) {
            headers = headers.insert(Header { key: &header.key, value: header.value.as_deref() });
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(step["pipe"].as_str().unwrap_or_default())
            .partition(0)
            .timestamp(step["ts"].as_i64().unwrap_or(-1))
            .headers(headers);
        record.key = key.as_deref();
        record.payload = value.as_deref();
        producer.send(record).map_err(|(error, _)| error)?;
        // Its `flush` looks every 100 ms only.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        Ok(())
    }

    /// All that is on the topics now.
    fn read(&self, topics: &[String], mut each: impl FnMut(&str, Seen<'_>)) -> Result<(), AnyError> {
        let consumer: BaseConsumer =
            self.client().set("enable.partition.eof", "true").set("enable.auto.commit", "false").create()?;
        let mut list = TopicPartitionList::new();
        topics.iter().for_each(|topic| drop(list.add_partition_offset(topic, 0, Offset::Beginning)));
        consumer.assign(&list)?;
        let (mut ended, deadline) = (0, Instant::now() + DEADLINE);
        while ended < topics.len() {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let mut headers = RecordHeaders::new();
                    for header in message.headers().into_iter().flat_map(Headers::iter) {
                        headers.add(header.key, header.value);
                    }
                    let timestamp = message.timestamp().to_millis();
                    let seen =
                        Seen { key: message.key(), value: message.payload(), timestamp, headers: &headers };
                    each(message.topic(), seen);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => return Err(error.into()),
                None if Instant::now() > deadline => return Err("reading the topics takes too long".into()),
                None => {}
            }
        }
        Ok(())
    }
}

fn is_internal(topic: &str) -> bool {
    topic.starts_with("app-")
}

fn topics(consumer: &BaseConsumer) -> Result<Vec<String>, KafkaError> {
    let metadata = consumer.fetch_metadata(None, DEADLINE)?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

fn statements<'a>(case: &'a Value, ops: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    let all = case["topology"].as_array().into_iter().flatten();
    all.filter(move |statement| ops.iter().any(|op| statement["op"] == *op))
}

/// The topics that the program reads.
fn inputs(case: &Value) -> Vec<String> {
    let mut names = BTreeSet::new();
    for source in statements(case, &["stream", "table", "addSource"]) {
        let named = source["topics"].as_array().into_iter().flatten().chain([&source["topic"]]);
        names.extend(named.filter_map(Value::as_str).map(str::to_owned));
        if let Some(pattern) = source["pattern"].as_str() {
            let pattern = Regex::new(&format!("^(?:{pattern})$")).unwrap();
            let piped =
                case["steps"].as_array().into_iter().flatten().filter_map(|step| step["pipe"].as_str());
            names.extend(piped.filter(|topic| pattern.is_match(topic)).map(str::to_owned));
        }
    }
    names.into_iter().collect()
}

fn sinks(case: &Value) -> impl Iterator<Item = &str> {
    statements(case, &["to", "addSink"]).filter_map(|statement| statement["topic"].as_str())
}

fn run_case(case: &Value, runtime: &tokio::runtime::Handle) -> Result<(), AnyError> {
    let directory = tempfile::tempdir()?;
    // The traces are of 1970: a broker that is late with its first look at its logs would delete what has just come.
    let broker =
        BrokerConfig::new().set("group.initial.rebalance.delay.ms", "0")?.set("log.retention.ms", "-1")?;
    let broker = runtime.block_on(EmbeddedBroker::start(broker))?;
    let run = Run { bootstrap: broker.bootstrap_servers(), inputs: inputs(case) };
    runtime.block_on(run.create_topics(case))?;
    // A commit after each record, as the driver's.
    let config = run::config(case)
        .set("bootstrap.servers", &run.bootstrap)
        .state_dir(directory.path())
        .commit_interval(Duration::ZERO)
        .max_poll_records(1)
        .set("producer.linger.ms", "0")
        .set("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "0")
        .set("__emit.interval.ms.kstreams.windowed.aggregation__", "0");
    let Program { topology, sinks, dynamic_sink, stores, .. } = program::build(case, &config)?;
    let streams = KafkaStreams::new(topology, config)?;
    runtime.block_on(streams.start())?;
    let reached = runtime.block_on(async {
        tokio::time::timeout(DEADLINE, streams.state_watch().wait_for(|state| *state == State::Running))
            .await
            .is_ok()
    });
    if !reached {
        return Err(format!("it does not start: {} {:?}", streams.state(), streams.failure()).into());
    }
    let (producer, consumer): (BaseProducer, BaseConsumer) = (run.client().create()?, run.client().create()?);
    for (at, step) in case["steps"].as_array().into_iter().flatten().enumerate() {
        if step["pipe"].is_string() {
            run.produce(&producer, step)?;
            run.drain(&streams, &consumer).map_err(|error| format!("step {at}: {error}"))?;
        }
    }
    let keys = run::piped_keys(case);
    for (name, wanted) in case["expect"]["stores"].as_object().into_iter().flatten() {
        let reader = stores.get(name).ok_or_else(|| format!("no reader of store {name}"))?;
        let got = reader.contents_of(&streams, &keys)?;
        if *wanted != got {
            return Err(format!("store {name}\n      want {wanted}\n      got  {got}").into());
        }
    }
    if !runtime.block_on(streams.close(DEADLINE)) {
        return Err("closing takes too long".into());
    }
    let dead = case["config"]["errors.dead.letter.queue.topic.name"].as_str();
    let written = |topic: &String| match is_internal(topic) {
        true => topic.ends_with("-changelog"),
        false => !topic.starts_with("__"),
    };
    let read: Vec<String> = topics(&consumer)?.into_iter().filter(written).collect();
    let piped: BTreeSet<&str> =
        case["steps"].as_array().into_iter().flatten().filter_map(|step| step["pipe"].as_str()).collect();
    let (mut out, mut changelogs) = (ByKey::new(), ByKey::new());
    run.read(&read, |topic, seen| {
        if is_internal(topic) {
            note(&mut changelogs, topic, &run::row(seen, true, false, dynamic_sink));
        } else if !piped.contains(topic) && dead != Some(topic) {
            let types = sinks.get(topic).copied().unwrap_or(dynamic_sink);
            note(&mut out, topic, &run::row(seen, false, false, types));
        }
    })?;
    drop((producer, consumer, streams));
    runtime.block_on(broker.shutdown())?;
    let (mut wanted, wanted_changelogs) = expected(case);
    wanted.retain(|(topic, _), _| !piped.contains(topic.as_str()));
    differ("outputs", &wanted, &out)?;
    differ("changelogs", &wanted_changelogs, &last_of_each(changelogs))
}

fn differ(what: &str, wanted: &ByKey, got: &ByKey) -> Result<(), AnyError> {
    let keys: BTreeSet<_> = wanted.keys().chain(got.keys()).collect();
    let none = Vec::new();
    for key in keys {
        let (wanted, got) = (wanted.get(key).unwrap_or(&none), got.get(key).unwrap_or(&none));
        if wanted != got {
            let (want, got) = (Value::from(wanted.clone()), Value::from(got.clone()));
            return Err(format!("{what}: {} of {}\n      want {want}\n      got  {got}", key.1, key.0).into());
        }
    }
    Ok(())
}

/// Invariant: the same input through the driver and through a cluster gives the same output.
#[test]
fn cases_agree_with_the_jvm_on_the_embedded_broker() {
    let only = std::env::var("CASE").ok();
    let (mut cases, mut rules) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for case in super::cases() {
        if only.as_deref().is_some_and(|only| case["name"] != only) {
            continue;
        }
        match left_out(&case) {
            Some(rule) => *rules.entry(rule).or_default() += 1,
            None => cases.push(case),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = run_case(case, runtime.handle()) {
                        failed.lock().unwrap().push(format!("{}: {error}", case["name"]));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!(
        "{} of {} cases agree on the embedded broker; left out: {rules:#?}",
        cases.len() - failed.len(),
        cases.len()
    );
    assert!(failed.is_empty(), "{} cases differ\n{}", failed.len(), failed.join("\n"));
    assert!(only.is_some() || !cases.is_empty());
}
