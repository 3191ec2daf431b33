//! Serdes that don't fit the bytes: of a topic, and of a store that an earlier version of the program wrote.

use kstreams::handlers::LogAndContinue;
use kstreams::prelude::*;

use crate::cluster::{Cluster, close, failure_of, run, says, until, word_count};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_serde_cannot_read() {
    let cluster = Cluster::start().await;
    let state = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.create_topic(&input, 1, &[]).await;
    cluster.create_topic(&output, 1, &[]).await;
    cluster.produce(&input, [&b"one two"[..], b"three", b"not \xff utf-8", b"four"]);
    let streams = KafkaStreams::new(word_count(&input, &output), cluster.config(state.path())).unwrap();
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
    close(streams).await;
    assert!(cluster.committed(&input) <= 2, "the record must not be skipped in silence");

    // The remedy: it is skipped, and every other record is counted.
    let skip = cluster.config(state.path()).deserialization_exception_handler(LogAndContinue);
    let streams = run(word_count(&input, &output), skip).await;
    until("every other record is counted", || cluster.counts(&output).len() == 4);
    close(streams).await;
    until("the offset behind the last record is committed", || cluster.committed(&input) == 4);
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
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.produce_keyed(&texts, [(Some("key".to_owned()), "some text")]);
    let streams = run(newest::<String>(&texts, &output), cluster.config(state.path())).await;
    until("the text is stored", || cluster.committed(&texts) == 1);
    close(streams).await;

    cluster.produce_keyed(&numbers, [(Some("key".to_owned()), 7_i64.to_be_bytes())]);
    let streams = KafkaStreams::new(newest::<i64>(&numbers, &output), cluster.config(state.path())).unwrap();
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
    close(streams).await;
    assert_eq!(cluster.committed(&numbers), 0);

    // The remedy, the old serde: the text is still there.
    let streams = run(newest::<String>(&texts, &output), cluster.config(state.path())).await;
    let store = streams.store::<TimestampedKeyValueStore<String, String>>("newest").unwrap();
    let found = store.get(&"key".to_owned()).unwrap().unwrap();
    assert_eq!(found.value, "some text");
    close(streams).await;
    cluster.stop().await;
}
