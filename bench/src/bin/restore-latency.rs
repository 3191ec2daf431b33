//! How much a restore costs the tasks that run meanwhile: the time that ticks need from a producer through a running task to a
//! consumer, while other tasks of the same instance are restored from their changelogs, and afterwards.
//!
//! One process, with an embedded broker (or the one that `BOOTSTRAP` names). First it fills a store of `KEYS` keys (default 2 M) in
//! `PARTITIONS` partitions (default 4), then deletes that state and starts again. `bench/README.md` says how to run it.

#![allow(clippy::disallowed_methods)] // a program that measures time

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kstreams::prelude::*;
use kstreams::task::TopicPartition;
use kstreams::{State, StateRestoreListener};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use support::{Broker, Failure, PATIENCE};

/// A tick this often.
const TICK_EVERY: Duration = Duration::from_millis(2);
/// Ticks are measured without a restore for so long.
const QUIET: Duration = Duration::from_secs(10);
const TICKS: &str = "ticks";
const TOCKS: &str = "tocks";
const ROWS: &str = "rows";

fn number(name: &str, default: usize) -> Result<usize, Failure> {
    Ok(std::env::var(name).map_or(Ok(default), |text| text.parse())?)
}

/// Ticks go through, in one sub-topology; rows are kept, in another.
fn topology() -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    builder.stream::<(), Vec<u8>>(TICKS).to(TOCKS);
    builder.stream::<i64, Vec<u8>>(ROWS).group_by_key().reduce(|_, new| new, Materialized::named("rows"));
    builder.build()
}

fn config(bootstrap: &str, state: &Path) -> StreamsConfig {
    StreamsConfig::new("restore-latency", bootstrap)
        .state_dir(state)
        .commit_interval(Duration::from_millis(1_000))
        .set("producer.linger.ms", "1")
}

/// Counts the stores that are being restored, and the records.
#[derive(Default)]
struct Restores {
    begun: AtomicUsize,
    ended: AtomicUsize,
    records: AtomicU64,
}

struct Listener(Arc<Restores>);

impl StateRestoreListener for Listener {
    fn on_restore_start(&self, _: &TopicPartition, _: &str, _: i64, _: i64) {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn on_batch_restored(&self, _: &TopicPartition, _: &str, _: i64, records: usize) {
        self.0.records.fetch_add(records as u64, Ordering::SeqCst);
    }

    fn on_restore_end(&self, _: &TopicPartition, _: &str, _: u64) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

fn fill(client: &ClientConfig, keys: usize) -> Result<(), Failure> {
    let producer: BaseProducer = client
        .clone()
        .set("compression.codec", "lz4")
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "200000")
        .create()?;
    let key = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
    support::write(&producer, ROWS, (0..keys as u64).map(|number| (key(number), [7_u8; 40])))
}

/// Latencies in microseconds with the time at which each tick was sent.
type Latencies = Vec<(Duration, u64)>;

/// Sends ticks and reads tocks until `stop`.
fn measure(client: &ClientConfig, start: Instant, stop: &AtomicBool) -> Result<Latencies, Failure> {
    let producer: BaseProducer = client.clone().set("linger.ms", "0").create()?;
    let consumer: BaseConsumer =
        client.clone().set("group.id", "tocks").set("fetch.wait.max.ms", "50").create()?;
    let mut from_end = rdkafka::TopicPartitionList::new();
    let (_, end) = consumer.fetch_watermarks(TOCKS, 0, PATIENCE)?;
    from_end.add_partition_offset(TOCKS, 0, rdkafka::Offset::Offset(end))?;
    consumer.assign(&from_end)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<(), Failure> {
            while !stop.load(Ordering::SeqCst) {
                let now = (start.elapsed().as_nanos() as u64).to_be_bytes();
                producer.send(BaseRecord::<(), [u8]>::to(TICKS).payload(&now)).map_err(|(error, _)| error)?;
                producer.poll(Duration::ZERO);
                std::thread::sleep(TICK_EVERY);
            }
            Ok(producer.flush(PATIENCE)?)
        });
        let mut latencies = Latencies::new();
        while !stop.load(Ordering::SeqCst) {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message?;
            let sent: [u8; 8] = message.payload().unwrap_or_default().try_into()?;
            let sent = Duration::from_nanos(u64::from_be_bytes(sent));
            latencies.push((sent, start.elapsed().saturating_sub(sent).as_micros() as u64));
        }
        sender.join().map_err(|_| "the sender panicked")??;
        Ok(latencies)
    })
}

fn percentiles(mut latencies: Vec<u64>) -> String {
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = ((latencies.len() as f64 - 1.0) * share).max(0.0) as usize;
        latencies.get(index).map_or(f64::NAN, |micros| *micros as f64 / 1_000.0)
    };
    let (count, p50, p99, p999) = (latencies.len(), at(0.5), at(0.99), at(0.999));
    format!("{count:>6} ticks  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms  p99.9 {p999:>7.2} ms")
}

async fn run_until(streams: &KafkaStreams, state: State) -> Result<(), Failure> {
    let mut watch = streams.state_watch();
    tokio::time::timeout(PATIENCE, watch.wait_for(|now| *now == state)).await??;
    Ok(())
}

/// Lets the application take up all rows, so that its changelog has them.
async fn process_rows(broker: &Broker, state: &Path, keys: usize) -> Result<(), Failure> {
    let streams = KafkaStreams::new(topology()?, config(&broker.bootstrap, state))?;
    streams.start().await?;
    run_until(&streams, State::Running).await?;
    let group: BaseConsumer = broker.client().set("group.id", "restore-latency").create()?;
    let mut rows = rdkafka::TopicPartitionList::new();
    let partitions =
        group.fetch_metadata(Some(ROWS), PATIENCE)?.topics().iter().map(|t| t.partitions().len()).sum();
    for partition in 0..partitions {
        rows.add_partition(ROWS, i32::try_from(partition)?);
    }
    loop {
        let committed = group.committed_offsets(rows.clone(), PATIENCE)?;
        let done: i64 = committed
            .elements()
            .iter()
            .filter_map(|element| element.offset().to_raw())
            .filter(|offset| *offset > 0)
            .sum();
        if usize::try_from(done)? >= keys {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    streams.close(PATIENCE).await;
    Ok(())
}

/// Deletes the rows' state, not that of the ticks' task (which has none).
fn forget_state(state: &Path) -> Result<(), Failure> {
    std::fs::remove_dir_all(state.join("restore-latency"))?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (keys, partitions) = (number("KEYS", 2_000_000)?, number("PARTITIONS", 4)?);
    let state = tempfile::tempdir()?;
    let topics = [(TICKS, 1), (TOCKS, 1), (ROWS, i32::try_from(partitions)?)];
    let broker = Broker::open(&topics).await?;
    let client = broker.client();
    fill(&client, keys)?;
    process_rows(&broker, state.path(), keys).await?;
    forget_state(state.path())?;
    println!("{keys} keys in {partitions} partitions, a tick every {TICK_EVERY:?}");

    let (start, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let measuring = {
        let (client, stop) = (client.clone(), stop.clone());
        std::thread::spawn(move || measure(&client, start, &stop))
    };
    let streams = KafkaStreams::new(topology()?, config(&broker.bootstrap, state.path()))?;
    let restores = Arc::new(Restores::default());
    streams.set_restore_listener(Listener(restores.clone()));
    streams.start().await?;
    while restores.begun.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = start.elapsed();
    while restores.ended.load(Ordering::SeqCst) < partitions {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ended = start.elapsed();
    run_until(&streams, State::Running).await?;
    let quiet = start.elapsed();
    tokio::time::sleep(QUIET).await;
    stop.store(true, Ordering::SeqCst);
    let latencies = measuring.join().map_err(|_| "the measuring thread panicked")??;
    let between = |from: Duration, to: Duration| {
        let sent = latencies.iter().filter(|(sent, _)| (from..to).contains(sent));
        percentiles(sent.map(|(_, micros)| *micros).collect())
    };
    let records = restores.records.load(Ordering::SeqCst);
    let (took, rate) = (ended - begun, records as f64 / (ended - begun).as_secs_f64() / 1e6);
    println!("restore: {records} records in {took:.1?}, {rate:.2} M/s");
    // The tasks start together: ticks that waited for the first fetch are not the restore's doing.
    println!("while restoring  {}", between(begun + Duration::from_millis(300), ended));
    println!("afterwards       {}", between(quiet, start.elapsed()));
    streams.close(PATIENCE).await;
    broker.close().await
}
