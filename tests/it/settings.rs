//! Settings that only a running application can show.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kstreams::config::AutoOffsetReset;
use kstreams::prelude::*;
use kstreams::state::rocksdb::Options;

use kstreams_test_cluster::{Cluster, close, start, wait_for_state, wait_until};

/// Each source starts where its own policy says, whatever the application's is (KIP-1106).
#[allow(clippy::disallowed_methods)] // an age is told by the instance's clock, the system's
#[tokio::test(flavor = "multi_thread")]
async fn sources_start_where_their_policy_says() {
    let cluster = Cluster::start().await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let hour = 3_600_000;
    let mut topics = Vec::new();
    for topic in ["all", "recent", "new"] {
        let topic = cluster.topic(topic, 1).await;
        cluster.produce(&topic, &[("old", "1", now - 2 * hour), ("recent", "2", now - 1_000)]);
        topics.push(topic);
    }
    let output = cluster.topic("output", 1).await;
    let builder = StreamsBuilder::new();
    let policies =
        [None, Some(AutoOffsetReset::ByDuration(Duration::from_secs(3_600))), Some(AutoOffsetReset::Latest)];
    for (topic, policy) in topics.iter().zip(policies) {
        let consumed = Consumed::<String, String>::new();
        let consumed = policy.into_iter().fold(consumed, Consumed::with_offset_reset);
        let name = topic.rsplit('-').next().unwrap().to_owned();
        let stream = builder.stream_with(topic.as_str(), consumed);
        stream.map_values(move |value| format!("{name} {value}")).to(output.as_str());
    }
    let streams = start(builder.build().unwrap(), cluster.config("app")).await;
    // The end of a topic is looked up before its task runs.
    wait_for_state(&streams, State::Running).await;
    for topic in &topics {
        cluster.produce(topic, &[("new", "3", now)]);
    }
    wait_until("commit", || topics.iter().all(|topic| cluster.lag("app", topic) == 0)).await;
    close(&streams).await;
    let mut values: Vec<String> = cluster.texts(&output).into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    assert_eq!(values, ["all 1", "all 2", "all 3", "new 3", "recent 2", "recent 3"]);
    cluster.stop().await;
}

/// The hook sees the stores, global ones too, and what it sets holds.
#[tokio::test(flavor = "multi_thread")]
async fn the_options_of_rocksdb_are_the_users_to_change() {
    let cluster = Cluster::start().await;
    let (input, names) = (cluster.topic("input", 1).await, cluster.topic("names", 1).await);
    cluster.produce(&input, &[("k", "v", 0)]);
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(input.as_str()).group_by_key().count(Materialized::named("counts"));
    let consumed = Consumed::<String, String>::new();
    builder.global_table_with(&names, consumed, Materialized::named("names"));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let config = cluster.config("app").rocksdb_config_setter({
        let seen = Arc::clone(&seen);
        move |store: &str, options: &mut Options| {
            options.set_max_bytes_for_level_base(12_345_678);
            seen.lock().unwrap().push(store.to_owned());
        }
    });
    let streams = start(builder.build().unwrap(), config).await;
    wait_until("commit", || cluster.lag("app", &input) == 0).await;
    close(&streams).await;
    let mut stores = seen.lock().unwrap().clone();
    stores.sort_unstable();
    stores.dedup();
    assert_eq!(stores, ["counts", "names"]);
    for folder in ["0_0", "global"] {
        let database = cluster.dir("state").join(cluster.name("app")).join(folder).join("rocksdb");
        let files = std::fs::read_dir(&database).unwrap().map(|file| file.unwrap().path());
        let mut options = files.filter(|file| file.to_string_lossy().contains("OPTIONS-"));
        let kept = options.any(|file| std::fs::read_to_string(file).unwrap().contains("=12345678"));
        assert!(kept, "{}", database.display());
    }
    cluster.stop().await;
}
