//! Names, partitions and settings of internal topics, as an operator sees them with Kafka's own tools: a Java application
//! with the same id takes them over as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams::embedded::BrokerConfig;
use kstreams::embedded::fault::{ApiKey, Fault};
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, start};
use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use crate::topologies::word_count;

async fn settings(cluster: &Cluster, topic: &str) -> BTreeMap<String, String> {
    let resources = [ResourceSpecifier::Topic(topic)];
    let answers = cluster.admin().describe_configs(&resources, &AdminOptions::new()).await.unwrap();
    let [Ok(answer)] = &answers[..] else { panic!("{answers:?}") };
    let known = answer.entries.iter().filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?)));
    known.collect()
}

/// One of each kind: repartition, changelog of a table, changelog of windows.
#[tokio::test(flavor = "multi_thread")]
async fn internal_topics_have_the_names_and_settings_of_kafka_streams() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("lines", 3).await, cluster.topic("out", 1).await);
    let builder = StreamsBuilder::new();
    let words = builder.stream::<(), String>(input.as_str()).group_by(|_, line| line.clone());
    words.count(Materialized::named("counts")).to_stream().to(output.as_str());
    let minutes = TimeWindows::of_size_and_grace(Duration::from_secs(60), Duration::from_secs(30));
    words.windowed_by(minutes).count(Materialized::named("by-minute"));
    let config = cluster.config("app").topic_config("min.insync.replicas", "1");
    let streams = start(builder.build().unwrap(), config).await;
    close(&streams).await;

    let repartition = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("segment.bytes", "52428800"),
        ("message.timestamp.type", "CreateTime"),
    ];
    let expected: [(&str, &[(&str, &str)]); 4] = [
        ("app-counts-repartition", &repartition),
        // A grouping without a name is repartitioned for each of its stores.
        ("app-by-minute-repartition", &repartition),
        ("app-counts-changelog", &[("cleanup.policy", "compact"), ("message.timestamp.type", "CreateTime")]),
        (
            "app-by-minute-changelog",
            // Window and grace, and the day of windowstore.changelog.additional.retention.ms.
            &[("cleanup.policy", "compact,delete"), ("retention.ms", "86490000")],
        ),
    ];
    let mut names: Vec<String> = expected.iter().map(|(name, _)| cluster.name(name)).collect();
    names.extend([input, output]);
    names.sort_unstable();
    assert_eq!(cluster.topics(), names, "these and no others");
    for (name, settings_expected) in expected {
        let topic = cluster.name(name);
        assert_eq!(cluster.partitions(&topic), 3, "{name}");
        let found = settings(&cluster, &topic).await;
        for (setting, value) in settings_expected {
            assert_eq!(found.get(*setting).map(String::as_str), Some(*value), "{setting} of {name}");
        }
        assert_eq!(found.get("min.insync.replicas").map(String::as_str), Some("1"), "{name}");
    }
    cluster.stop().await;
}

/// Connections that break while internal topics are made and looked at: each request is sent again, the start goes on. (The
/// client repeats no request of its admin side.)
#[tokio::test(flavor = "multi_thread")]
async fn a_start_survives_broken_connections() {
    let test = "a start survives broken connections";
    let Some(mut cluster) = Cluster::owned(test, BrokerConfig::new()).await else { return };
    let (input, output) = (cluster.topic("lines", 2).await, cluster.topic("counts", 1).await);
    let broker = cluster.take_broker();
    for api in [ApiKey::CreateTopics, ApiKey::DescribeConfigs] {
        let broken = broker.faults().inject(Fault::disconnect().api(api).times(2));
        let streams = start(word_count(&input, &output), cluster.config("app")).await;
        close(&streams).await;
        assert_eq!(broken.hits(), 2, "{api:?}");
    }
    broker.shutdown().await.unwrap();
}
