//! Reads of local stores from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams_state_stores::KeyValueStore;
use kstreams_test_cluster::{Cluster, close, run, wait_for};

use crate::topologies::word_count;

/// What was processed is seen at once, long before it is committed, over all partitions of the store.
#[tokio::test(flavor = "multi_thread")]
async fn queries_see_what_is_processed_but_not_committed() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 2).await;
    cluster.create_topic(&output, 1).await;
    let config = cluster.config("app").commit_interval(Duration::from_secs(3_600));
    let streams = run(word_count(&input, &output), config).await;
    cluster.produce_lines(&input, ["b a c", "a b", "a"]);
    let store = streams.store::<KeyValueStore<String, i64>>("counts").unwrap();
    wait_for("the count of a", Some(3), || store.get(&"a".to_owned()).unwrap()).await;
    assert_eq!(cluster.committed("app", &input, 0), None, "nothing is committed yet");
    let all: BTreeMap<String, i64> = store.all().unwrap().map(Result::unwrap).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [("a".into(), 3), ("b".into(), 2), ("c".into(), 1)]);
    let range = store.range(Some(&"b".to_owned()), None).unwrap();
    assert_eq!(range.map(|entry| entry.unwrap().1).sum::<i64>(), 3);
    assert_eq!(store.get(&"none".to_owned()).unwrap(), None);

    let wrong = streams.store::<KeyValueStore<String, String>>("counts").unwrap().get(&"a".to_owned());
    assert!(
        wrong.unwrap_err().to_string().contains("counts"),
        "the wrong type is an error that names the store"
    );
    let unknown = streams.store::<KeyValueStore<String, i64>>("count").unwrap_err();
    assert!(unknown.to_string().contains("counts"), "{unknown}");
    close(&streams).await;
    let closed = store.get(&"a".to_owned()).unwrap_err().to_string();
    assert!(closed.contains("not on this instance now"), "{closed}");
    cluster.stop().await;
}
