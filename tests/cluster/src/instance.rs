//! Instances of the library under test.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use kstreams_core::{KafkaStreams, State, StreamsConfig, Topology};

use crate::DEADLINE;

/// The settings of an instance by their parts, for one in another process.
pub fn instance_config(application_id: &str, bootstrap: &str, state: &Path) -> StreamsConfig {
    StreamsConfig::new(application_id, bootstrap)
        .state_dir(state)
        .commit_interval(Duration::from_millis(100))
        .set("heartbeat.interval.ms", "300")
        .set("metadata.max.age.ms", "500")
        .set("producer.linger.ms", "5")
}

/// Makes an instance and starts it.
pub async fn start(topology: Topology, config: StreamsConfig) -> KafkaStreams {
    let streams = KafkaStreams::new(topology, config).unwrap();
    streams.start().await.unwrap();
    streams
}

/// Makes an instance, starts it and waits until every task of it processes.
pub async fn run(topology: Topology, config: StreamsConfig) -> KafkaStreams {
    let streams = start(topology, config).await;
    wait_for_state(&streams, State::Running).await;
    streams
}

/// Closes an instance, also one that has failed.
pub async fn end(streams: &KafkaStreams) {
    assert!(streams.close(DEADLINE).await, "closing takes too long: {}", streams.state());
}

/// Closes an instance that runs, which commits what it has processed.
pub async fn close(streams: &KafkaStreams) {
    end(streams).await;
    assert_eq!(streams.state(), State::NotRunning, "{:?}", streams.failure());
}

/// Waits until an instance is in a state.
pub async fn wait_for_state(streams: &KafkaStreams, state: State) {
    let mut watch = streams.state_watch();
    let reached = tokio::time::timeout(DEADLINE, watch.wait_for(|now| *now == state)).await;
    assert!(reached.is_ok(), "state is {} instead of {state}: {:?}", streams.state(), streams.failure());
}

/// Waits until a running instance has stopped with an error: its message.
pub async fn failure_of(streams: &KafkaStreams) -> String {
    wait_for_state(streams, State::Error).await;
    streams.failure().unwrap()
}

/// The message of an error with its causes: what a program prints.
pub fn message_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
