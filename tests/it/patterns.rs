//! A source by pattern, and a topic that is created while the application runs.

use kstreams::prelude::*;
use regex::Regex;

use crate::support::{Cluster, close, start, wait_for_state, wait_until};

/// The new topic's records arrive without a restart, and keep arriving after one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_later_is_read() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in-a", 2).await, cluster.topic("out", 1).await);
    let topology = || {
        let builder = StreamsBuilder::new();
        let pattern = Regex::new(&format!("{}.*", regex::escape(&cluster.name("in-")))).unwrap();
        builder.stream::<String, String>(pattern).to(output.as_str());
        builder.build().unwrap()
    };
    let mut expected = Vec::new();
    let produce = |topic: &str, key: &str, expected: &mut Vec<(String, String)>| {
        cluster.produce(topic, &[(key, topic, 1)]);
        expected.push((key.to_owned(), topic.to_owned()));
    };
    let streams = start(topology(), cluster.config("app", "state")).await;
    wait_for_state(&streams, State::Running).await;
    produce(&input, "first", &mut expected);
    wait_until("record of the first topic", || cluster.texts(&output) == expected).await;
    let later = cluster.topic("in-b", 1).await;
    produce(&later, "second", &mut expected);
    wait_until("record of the later topic", || cluster.texts(&output) == expected).await;
    close(&streams).await;

    produce(&later, "third", &mut expected);
    let streams = start(topology(), cluster.config("app", "state")).await;
    wait_until("record after the restart", || cluster.texts(&output).len() >= expected.len()).await;
    close(&streams).await;
    assert_eq!(cluster.texts(&output), expected, "each once");
    cluster.stop().await;
}
