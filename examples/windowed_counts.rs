//! Windowed counts: how often each page was viewed, minute by minute, by the time in the records.
//!
//! ```console
//! $ cargo run --example windowed_counts
//! ```
//!
//! It shows tumbling windows and grace: a view that arrives late still counts in its own minute as long as stream time
//! has not passed the end of that minute by more than the grace; after that it is dropped (and counted in a metric).

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams::prelude::*;
use support::{AnyError, Cluster, Input, Settings, start_of_story};

const MINUTE: i64 = 60_000;

fn topology(views: &str, counts: &str) -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(views)
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(30)))
        .count(Materialized::named("views-by-minute"))
        .to_stream()
        // The key is now a page and its window; as plain text any consumer can read it.
        .select_key(|page, _| format!("{} in minute {}", page.key, page.window.start / MINUTE % 60))
        .to(counts);
    builder.build()
}

/// Runs the example and returns the last count of each page and minute.
async fn run(settings: &Settings) -> Result<BTreeMap<String, i64>, AnyError> {
    let cluster = Cluster::open(settings).await?;
    let (views, counts) = (settings.name("views"), settings.name("views-by-minute"));
    cluster.create_topic(&views, 1).await?;
    cluster.create_topic(&counts, 1).await?;

    // Page, and the second of the (imaginary) clock at which it was viewed, in the order of arrival.
    let arrivals = [
        ("/home", 1),
        ("/home", 20),
        ("/docs", 30),
        ("/home", 65),  // the second minute begins
        ("/home", 59),  // late, but within the grace: counts in minute 0
        ("/docs", 100), // stream time passes 1:30, minute 0 is over for good
        ("/home", 10),  // too late: dropped
        ("/home", 119),
    ];
    let start = start_of_story();
    let view = |&(page, second): &(&str, i64)| Input::keyed(page, "view").at(start + second * 1000);
    cluster.produce(&views, arrivals.iter().map(view))?;

    let config = StreamsConfig::new(settings.name("windowed-counts"), &cluster.bootstrap_servers)
        .state_dir(settings.state_dir())
        .commit_interval(Duration::from_secs(1));
    let streams = KafkaStreams::new(topology(&views, &counts)?, config)?;
    streams.start().await?;

    let mut latest = BTreeMap::new();
    cluster
        .tail(&counts, 1)?
        .each(|page_and_minute, count| {
            let count = i64::from_be_bytes(count.try_into()?);
            println!("  {page_and_minute}: {count}");
            latest.insert(page_and_minute.to_owned(), count);
            // All but the one that came too late.
            Ok(latest.values().sum::<i64>() == 7)
        })
        .await?;

    streams.close(Duration::from_secs(30)).await;
    cluster.close().await?;
    Ok(latest)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let counts = run(&Settings::fresh("windowed_counts")).await?;
    assert_eq!(counts.get("/home in minute 0"), Some(&3));
    assert_eq!(counts.get("/home in minute 1"), Some(&2));
    Ok(())
}
