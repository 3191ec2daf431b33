//! What an update costs that many rows refer to: a foreign-key join whose right side has one row, its left side `ROWS` rows
//! (default 1 M) that all refer to it. Prints how long an update takes until the last result is there, and by how much the
//! process's memory grows meanwhile at most.
//!
//! The broker is another process's if `BOOTSTRAP` names it, else an embedded one, whose memory then counts too.
//! `bench/README.md` says how to run it.

#![allow(clippy::disallowed_methods)] // a program that measures time

mod support;

use std::time::{Duration, Instant};

use kstreams::prelude::*;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::BaseProducer;
use support::{Broker, Failure, PATIENCE};

const ORDERS: &str = "orders";
const CUSTOMERS: &str = "customers";
const OUTPUT: &str = "orders-with-customers";

fn topology() -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    let orders = builder.table::<u64, String>(ORDERS);
    let customers = builder.table::<String, String>(CUSTOMERS);
    let joined =
        orders.join_on_foreign_key(&customers, |_, customer| customer.clone(), |_, customer| customer);
    joined.to_stream().to(OUTPUT);
    builder.build()
}

/// A line of `/proc/self/status` in MiB.
fn memory(field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such line")?;
    let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024)
}

/// Waits until the output has `records` records.
async fn results(consumer: &BaseConsumer, records: i64) -> Result<(), Failure> {
    let begun = Instant::now();
    while consumer.fetch_watermarks(OUTPUT, 0, PATIENCE)?.1 < records {
        if begun.elapsed() > PATIENCE {
            return Err("the results did not come".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let rows: i64 = std::env::var("ROWS").map_or(Ok(1_000_000), |text| text.parse())?;
    let state = tempfile::tempdir()?;
    let broker = Broker::open(&[(ORDERS, 1), (CUSTOMERS, 1), (OUTPUT, 1)]).await?;
    let consumer: BaseConsumer = broker.client().set("group.id", "results").create()?;
    let producer: BaseProducer = broker.client().set("linger.ms", "20").create()?;
    let customer = |value| [(b"c".to_vec(), value)];
    support::write(&producer, CUSTOMERS, customer("before"))?;
    support::write(&producer, ORDERS, (0..rows).map(|order| (order.to_be_bytes().to_vec(), "c")))?;

    let config = StreamsConfig::new("fanout", &broker.bootstrap)
        .state_dir(state.path())
        .commit_interval(Duration::from_millis(1_000));
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start().await?;
    results(&consumer, rows).await?;
    // Let the last commits pass.
    tokio::time::sleep(Duration::from_secs(5)).await;

    for round in 1..=3 {
        // From here on the greatest amount of memory counts (`man 5 proc_pid_clear_refs`).
        std::fs::write("/proc/self/clear_refs", "5")?;
        let (before, begun) = (memory("VmRSS")?, Instant::now());
        support::write(&producer, CUSTOMERS, customer("after"))?;
        results(&consumer, rows * (round + 1)).await?;
        println!(
            "update {round}: {rows} results in {:.1?}; memory {before} MiB before, at most {} MiB",
            begun.elapsed(),
            memory("VmHWM")?
        );
    }
    streams.close(PATIENCE).await;
    broker.close().await
}
