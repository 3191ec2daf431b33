//! The word count: lines of text in, how often each word occurs out. `make demo` runs it.
//!
//! ```console
//! $ cargo run --example word_count                    # Psalms and Proverbs, on the embedded broker
//! $ FILE=my.txt cargo run --example word_count        # a text of your own
//! $ BOOTSTRAP_SERVERS=broker:9092 cargo run --example word_count
//! ```
//!
//! It shows a topology with grouping and counting, reading the running counts from the store, and a restart: stop it
//! whenever you like (Ctrl-C) and start it again, it goes on where it was and counts nothing twice.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kstreams::InputMetadata;
use kstreams::prelude::*;
use support::{AnyError, Cluster, Input, Settings};

const PARTITIONS: i32 = 3;

/// The whole application: each line becomes words, equal words meet in one group, each group is counted.
fn topology(lines: &str, counts: &str) -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<(), String>(lines)
        .flat_map_values(|line| words(&line))
        // The key changes here, so the words travel through a repartition topic: equal words reach one task.
        .group_by(|_, word| word.clone())
        // The store `counts` lives in RocksDB, and in a changelog topic from which it can be rebuilt.
        .count(Materialized::named("counts"))
        .to_stream()
        .to(counts);
    builder.build()
}

/// Lower-case words, without punctuation.
fn words(line: &str) -> Vec<String> {
    let word = |text: &str| text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    line.split_whitespace().map(word).filter(|word| !word.is_empty()).collect()
}

async fn run(settings: &Settings) -> Result<(), AnyError> {
    let text = std::fs::read_to_string(&settings.file)
        .map_err(|error| format!("can't read {}: {error}", settings.file.display()))?;
    let cluster = Cluster::open(settings).await?;
    let (lines, counts) = (settings.name("lines"), settings.name("word-counts"));
    cluster.create_topic(&lines, PARTITIONS).await?;
    cluster.create_topic(&counts, PARTITIONS).await?;

    let topology = topology(&lines, &counts)?;
    println!("State      {}\n\n{}", settings.state_dir().display(), topology.describe());

    let config = StreamsConfig::new(settings.name("word-count"), &cluster.bootstrap_servers)
        .state_dir(settings.state_dir())
        // Results go out with each commit; 30 s, the default, would be long for a demo.
        .commit_interval(Duration::from_secs(1));
    let streams = KafkaStreams::new(topology, config)?;
    streams.start().await?;

    let lines_written = write_lines(&cluster, &lines, &text)?;
    println!(
        "{lines_written} lines written to {lines}{}",
        if lines_written == 0 { ": all were there already" } else { "" }
    );

    let expected = plain_count(&text);
    let total = expected.values().sum();
    let outcome = tokio::select! {
        outcome = watch(&streams, &cluster, &counts, total) => outcome,
        _ = tokio::signal::ctrl_c() => Err("stopped; start it again and it goes on from here".into()),
    };
    // Commits what was processed, so that the next start continues exactly here.
    streams.close(Duration::from_secs(30)).await;
    let outcome = outcome.and_then(|()| check(&cluster, &counts, &expected));
    let closed = cluster.close().await;
    // What stopped the work says more than what stops the broker after it.
    outcome.and(closed)
}

/// Line `i` goes to partition `i % PARTITIONS`, so a partition's end says how far an earlier run got.
fn write_lines(cluster: &Cluster, topic: &str, text: &str) -> Result<usize, AnyError> {
    let ends = cluster.end_offsets(topic, PARTITIONS)?;
    let mut next = vec![0; ends.len()];
    let missing = text.lines().zip((0..PARTITIONS).cycle()).filter_map(|(line, partition)| {
        let number = &mut next[usize::try_from(partition).ok()?];
        *number += 1;
        let written = *number <= ends[usize::try_from(partition).ok()?];
        (!written).then(|| Input { value: line.to_owned(), partition: Some(partition), ..Input::default() })
    });
    cluster.produce(topic, missing)
}

/// Shows the counts while they grow, until the output has all words and the application has read all its input.
async fn watch(streams: &KafkaStreams, cluster: &Cluster, topic: &str, total: i64) -> Result<(), AnyError> {
    let mut latest: HashMap<String, i64> = HashMap::new();
    let mut sum = 0;
    let mut shown = Instant::now();
    cluster
        .tail(topic, PARTITIONS)?
        .each(|word, count| {
            // The topic has every update of a count, so the new one takes the place of the last.
            let count = i64::from_be_bytes(count.try_into()?);
            sum += count - latest.insert(word.to_owned(), count).unwrap_or(0);
            if shown.elapsed() > Duration::from_secs(1) {
                shown = Instant::now();
                print_live(streams, total);
            }
            Ok(sum >= total)
        })
        .await?;
    // In a second run the output is complete from the start. If anything were read and counted again, it would be now.
    support::until("all input is read and committed", || all_read(streams)).await
}

/// Whether every task of this instance has committed its inputs up to their ends.
fn all_read(streams: &KafkaStreams) -> bool {
    let threads = streams.metadata_for_local_threads();
    let mut inputs = threads.iter().flat_map(|thread| &thread.active_tasks).flat_map(|task| &task.inputs);
    let read = |input: &InputMetadata| {
        input.end_offset.is_some_and(|end| input.committed_offset.unwrap_or(0) >= end)
    };
    streams.state() == State::Running && inputs.all(read)
}

/// Compares the output topic, read from its start, with a plain count of the same text.
fn check(cluster: &Cluster, topic: &str, expected: &HashMap<String, i64>) -> Result<(), AnyError> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for (word, count) in cluster.read_all(topic, PARTITIONS)? {
        counts.insert(word, i64::from_be_bytes(count.as_slice().try_into()?));
    }
    let mut top: Vec<(&String, &i64)> = counts.iter().collect();
    top.sort_by_key(|(_, count)| -**count);
    println!("\nThe most frequent of {} words in {topic}:", top.len());
    for (word, count) in top.iter().take(10) {
        println!("{count:>8}  {word}");
    }
    let wrong: Vec<&String> =
        expected.keys().filter(|word| counts.get(*word) != expected.get(*word)).collect();
    if wrong.is_empty() && counts.len() == expected.len() {
        println!("\nChecked: all {} counts equal a plain count of the text.", counts.len());
        return Ok(());
    }
    Err(format!(
        "{} counts differ from a plain count, for instance of {:?}. Was the text changed since the first run, or the \
         program killed (at-least-once: what was not committed is counted again)? Remove the data directory to start \
         anew.",
        wrong.len(),
        wrong.first()
    )
    .into())
}

/// The counts as the store has them now, before they are committed and written out. Any thread may read a store.
fn print_live(streams: &KafkaStreams, total: i64) {
    // Not there while tasks are being restored or move: then there is nothing to show.
    let Ok(store) = streams.store::<TimestampedKeyValueStore<String, i64>>("counts") else { return };
    let Ok(all) = store.all() else { return };
    let mut counts: Vec<(String, i64)> =
        all.filter_map(Result::ok).map(|(word, count)| (word, count.value)).collect();
    counts.sort_by_key(|(_, count)| -count);
    let sum: i64 = counts.iter().map(|(_, count)| count).sum();
    let top: Vec<String> = counts.iter().take(4).map(|(word, count)| format!("{word} {count}")).collect();
    println!("{sum:>8} of {total} words counted: {} ...", top.join(", "));
}

fn plain_count(text: &str) -> HashMap<String, i64> {
    let mut counts = HashMap::new();
    for word in text.lines().flat_map(words) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    run(&Settings::from_env("word_count")).await?;
    println!("Run it again: it continues, and counts nothing twice.");
    Ok(())
}
