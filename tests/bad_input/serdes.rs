//! Serdes that don't fit the bytes: of a topic, and of a store that an earlier version of the program wrote.

use kstreams::handlers::LogAndContinue;
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, end, failure_of, run, wait_until};

use crate::topologies::{says, word_count};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_serde_cannot_read() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let lines = [&b"one two"[..], b"three", b"not \xff utf-8", b"four"];
    cluster.produce_values(&input, lines.map(|line| (None, line)));
    let streams =
        KafkaStreams::new(word_count(&input, &output), cluster.config_in("app", state.path())).unwrap();
    streams.start().await.unwrap();
    let failure = failure_of(&streams).await;
    says(
        &failure,
        &[
            &format!("the value of {input}-0 at offset 2 cannot be read"),
            "check the serde of the source",
            "set a deserialization exception handler to skip such records",
        ],
    );
    end(&streams).await;
    assert!(cluster.committed("app", &input, 0) <= Some(2), "the record must not be skipped in silence");

    // The remedy: it is skipped, and every other record is counted.
    let skip = cluster.config_in("app", state.path()).deserialization_exception_handler(LogAndContinue);
    let streams = run(word_count(&input, &output), skip).await;
    wait_until("every other record is counted", || cluster.counts(&output).len() == 4).await;
    end(&streams).await;
    wait_until("the offset behind the last record is committed", || {
        cluster.committed("app", &input, 0) == Some(4)
    })
    .await;
    cluster.stop().await;
}

/// The newest value of each key.
fn newest<V>(input: &str, output: &str) -> Topology
where
    V: Serde<Target = V> + DefaultSerde<Serde = V> + Default + Clone + Send + Sync + 'static,
{
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, V>(input)
        .group_by_key()
        .reduce(|_, new| new, Materialized::named("newest"))
        .to_stream()
        .to(output);
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_an_earlier_version_wrote_with_another_serde() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (texts, numbers) = (cluster.name("texts"), cluster.name("numbers"));
    let output = cluster.name("newest");
    for topic in [&texts, &numbers, &output] {
        cluster.create_topic(topic, 1).await;
    }
    cluster.produce_values(&texts, [(Some("key".to_owned()), "some text")]);
    let streams = run(newest::<String>(&texts, &output), cluster.config_in("app", state.path())).await;
    wait_until("the text is stored", || cluster.committed("app", &texts, 0) == Some(1)).await;
    end(&streams).await;

    cluster.produce_values(&numbers, [(Some("key".to_owned()), 7_i64.to_be_bytes())]);
    let streams =
        KafkaStreams::new(newest::<i64>(&numbers, &output), cluster.config_in("app", state.path())).unwrap();
    streams.start().await.unwrap();
    let failure = failure_of(&streams).await;
    says(
        &failure,
        &[
            "store newest",
            "does the serde fit the data",
            "Use the serde that wrote it",
            &format!("{numbers}-0 at offset 0"),
        ],
    );
    end(&streams).await;
    assert_eq!(cluster.committed("app", &numbers, 0), None);

    // The remedy, the old serde: the text is still there.
    let streams = run(newest::<String>(&texts, &output), cluster.config_in("app", state.path())).await;
    let store = streams.store::<TimestampedKeyValueStore<String, String>>("newest").unwrap();
    let found = store.get(&"key".to_owned()).unwrap().unwrap();
    assert_eq!(found.value, "some text");
    end(&streams).await;
    cluster.stop().await;
}
