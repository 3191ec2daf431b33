//! A broker that goes away and comes back under a running application.

use kstreams::embedded::{BrokerConfig, EmbeddedBroker};
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, start, wait_for_state};

use crate::topologies::{lines, plain_count, word_count};

/// The application waits for it and goes on. The broker stops while words are being counted; an answer that is lost on the way
/// is asked for again, and the idempotent producer keeps the repeated record from being written twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restarts_under_a_running_application() {
    let data = tempfile::tempdir().unwrap();
    let config = || BrokerConfig::new().data_dir(data.path());
    let Some(mut cluster) = Cluster::owned("a broker restarts under a running application", config()).await
    else {
        return;
    };
    let input = cluster.topic("lines", 2).await;
    let output = cluster.topic("counts", 1).await;
    let all = lines(3_000);
    let streams = start(word_count(&input, &output), cluster.config("app")).await;
    wait_for_state(&streams, State::Running).await;
    let mut broker = cluster.take_broker();
    for part in all.chunks(1_000) {
        cluster.produce_lines(&input, part);
        let address = broker.address().to_string();
        broker.shutdown().await.unwrap();
        broker = EmbeddedBroker::start(config().listen(address.as_str())).await.unwrap();
    }
    cluster.settled("app", &input).await;
    close(&streams).await;
    assert_eq!(cluster.counts(&output), plain_count(&all));
    broker.shutdown().await.unwrap();
}
