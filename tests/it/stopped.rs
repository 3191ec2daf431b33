//! A process that is stopped beyond its session, and goes on when another has its tasks.

use std::path::PathBuf;

use kstreams::prelude::*;
use kstreams_embedded_broker::BrokerConfig;
use kstreams_embedded_broker::fault::{ApiKey, Fault, ResponseError};
use kstreams_test_cluster::{Cluster, close, instance_config, run, wait_for, wait_until};

use crate::child::{self, Child};

fn count(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    let counts = builder.stream::<String, String>(input).group_by_key().count(Materialized::named("counts"));
    counts.to_stream().to(output);
    builder.build().unwrap()
}

fn config(config: StreamsConfig) -> StreamsConfig {
    config.set("session.timeout.ms", "3000").set("heartbeat.interval.ms", "500").statestore_cache_max_bytes(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn child_instance() {
    let Some([bootstrap, application_id, input, output, state]) = child::arguments() else { return };
    let config = config(instance_config(&application_id, &bootstrap, &PathBuf::from(state)));
    let _streams = run(count(&input, &output), config.set("client.id", "stopped")).await;
    child::wait_for_parent();
}

/// The brokers have no fence for what the client of a stopped process had not sent yet, except in transactions. It would come behind
/// the results of whoever has the task by then: a count that goes back, and a changelog with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_process_had_not_sent_is_never_sent() {
    let test = "what a stopped process had not sent is never sent";
    let broker = BrokerConfig::new().set("group.min.session.timeout.ms", "1000").unwrap();
    let Some(mut cluster) = Cluster::owned(test, broker).await else { return };
    let broker = cluster.take_broker();
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let produce = |times: usize| {
        let records: Vec<(&str, &str, i64)> = (0..times).map(|_| ("a", "x", 1)).collect();
        cluster.produce(&input, &records);
    };
    let count_of_a = || cluster.counts(&output).get("a").copied();
    let (application_id, state) = (cluster.name("app"), cluster.dir("stopped"));
    let arguments = [cluster.bootstrap(), &application_id, &input, &output, state.to_str().unwrap()];
    let child = Child::start("stopped::child_instance", arguments, &[]);
    produce(1);
    wait_for("the first commit", Some(1), || cluster.committed("app", &input, 0)).await;
    assert_eq!(count_of_a(), Some(1));

    let held = Fault::refuse(ResponseError::NotLeaderOrFollower).api(ApiKey::Produce);
    let held = broker.faults().inject(held.client("stopped-StreamThread-1-producer"));
    produce(1);
    wait_until("a count that the client holds", || held.hits() > 0).await;
    child.signal("STOP");
    let other = run(count(&input, &output), config(cluster.config_in("app", "other"))).await;
    produce(3);
    wait_for("the other's counts", Some(5), count_of_a).await;
    held.lift();
    child.signal("CONT");

    // It lives, and goes on from there when the task comes back to it.
    close(&other).await;
    produce(1);
    wait_for("its own next count", Some(6), count_of_a).await;
    cluster.each_count_once(&output, true);
    cluster.each_count_once(&format!("{application_id}-counts-changelog"), true);
    child.kill();
    broker.shutdown().await.unwrap();
}
