//! The Processor API: a node written by hand, where the DSL has no operator for what you need.
//!
//! ```console
//! $ cargo run --example processor_api
//! ```
//!
//! Sensors send temperatures. The processor raises an alarm when a sensor falls silent: it keeps each sensor's last time in a
//! store, and looks through the store whenever another minute of stream time has passed.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams::prelude::*;
use support::{AnyError, Cluster, Input, Settings, start_of_story};

const MINUTE: i64 = 60_000;
const LAST_SEEN: &str = "last-seen";

/// Each task has its own processor and its own part of the store.
#[derive(Default)]
struct SilenceAlarm {
    last_seen: Option<StoreHandle<KeyValueStore<String, i64>>>,
}

impl Processor<String, String, String, String> for SilenceAlarm {
    /// Once per task, before the first record.
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.last_seen = Some(ctx.state_store(LAST_SEEN)?);
        // Stream time moves with the records, so the same input gives the same alarms, however fast it is read.
        ctx.schedule(Duration::from_secs(60), PunctuationType::StreamTime);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let Some(last_seen) = &self.last_seen else { return Ok(()) };
        ctx.store(last_seen).put(&record.key, &record.timestamp)?;
        Ok(())
    }

    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        now: i64,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let Some(last_seen) = &self.last_seen else { return Ok(()) };
        // The borrow of the store ends before anything is forwarded: a node below may use the same store.
        let mut silent = Vec::new();
        for entry in ctx.store(last_seen).all()? {
            let (sensor, time) = entry?;
            if now - time > 2 * MINUTE {
                silent.push((sensor, time));
            }
        }
        for (sensor, time) in silent {
            ctx.store(last_seen).delete(&sensor)?;
            ctx.forward(Record::new(sensor, format!("silent since minute {}", time / MINUTE % 60), now))?;
        }
        Ok(())
    }
}

fn topology(readings: &str, alarms: &str) -> Result<Topology, TopologyError> {
    let mut topology = Topology::new();
    topology.add_source::<String, String>("readings", readings)?;
    topology.add_processor("silence-alarm", SilenceAlarm::default, &["readings"])?;
    topology.add_state_store(Stores::key_value::<String, i64>(LAST_SEEN), &["silence-alarm"])?;
    topology.add_sink::<String, String>("alarms", alarms, &["silence-alarm"])?;
    Ok(topology)
}

/// Runs the example and returns the alarm of each sensor.
async fn run(settings: &Settings) -> Result<BTreeMap<String, String>, AnyError> {
    let cluster = Cluster::open(settings).await?;
    let (readings, alarms) = (settings.name("readings"), settings.name("alarms"));
    cluster.create_topic(&readings, 1).await?;
    cluster.create_topic(&alarms, 1).await?;

    // The cellar's sensor sends every minute; the attic's stops after minute 3, the roof's after minute 5.
    let sensors = [("cellar", 10), ("attic", 3), ("roof", 5)];
    let start = start_of_story();
    let readings_of = |minute: i64| {
        let sending = sensors.iter().filter(move |(_, last)| minute <= *last);
        sending.map(move |(sensor, _)| Input::keyed(sensor, "21.5").at(start + minute * MINUTE))
    };
    cluster.produce(&readings, (0..=10).flat_map(readings_of))?;

    let config = StreamsConfig::new(settings.name("processor-api"), &cluster.bootstrap_servers)
        .state_dir(settings.state_dir())
        .commit_interval(Duration::from_secs(1));
    let topology = topology(&readings, &alarms)?;
    println!("{}", topology.describe());
    let streams = KafkaStreams::new(topology, config)?;
    streams.start().await?;

    let mut seen = BTreeMap::new();
    cluster
        .tail(&alarms, 1)?
        .each(|sensor, alarm| {
            let alarm = String::from_utf8(alarm.to_vec())?;
            println!("  {sensor}: {alarm}");
            seen.insert(sensor.to_owned(), alarm);
            Ok(seen.len() == 2)
        })
        .await?;

    streams.close(Duration::from_secs(30)).await;
    cluster.close().await?;
    Ok(seen)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let alarms = run(&Settings::fresh("processor_api")).await?;
    assert_eq!(alarms.get("attic").map(String::as_str), Some("silent since minute 3"));
    assert_eq!(alarms.get("cellar"), None);
    Ok(())
}
