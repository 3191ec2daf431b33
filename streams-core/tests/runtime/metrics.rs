//! The metrics of a running instance: each name is there and has been fed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kstreams_core::Topology;
use kstreams_core::config::MetricsRecordingLevel;
use kstreams_core::processor::{
    AsyncAdapter, AsyncOptions, InitContext, ProcessResult, Processor, ProcessorContext, RecordMetadata,
    StoreHandle,
};
use kstreams_state_stores::{KeyValueStore, Record, Stores};

use crate::recorder::Kept;
use kstreams_test_cluster::{Cluster, DEADLINE, run};

/// Counts by key in a cached store; drops the key `drop`.
#[derive(Default)]
struct Count(Option<StoreHandle<KeyValueStore<String, i64>>>);

impl Processor<String, String, String, i64> for Count {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0 = Some(ctx.state_store("counts")?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, i64>,
    ) -> ProcessResult {
        if record.key == "drop" {
            ctx.drop_record("as the test wants");
            return Ok(());
        }
        let mut counts = ctx.store(self.0.as_ref().unwrap());
        let count = counts.get(&record.key)?.unwrap_or(0) + 1;
        counts.put(&record.key, &count)?;
        ctx.forward(record.with_value(count))
    }
}

fn topology(input: &str, output: &str) -> Topology {
    let mut topology = Topology::new();
    topology.add_source::<String, String>("in", input).unwrap();
    topology.add_processor("count", Count::default, &["in"]).unwrap();
    let store = Stores::key_value::<String, i64>("counts").with_caching_enabled();
    topology.add_state_store(store, &["count"]).unwrap();
    topology.add_sink::<String, i64>("out", output, &["count"]).unwrap();
    // Its first attempt at each record gets no answer, the second one does.
    let seen = Mutex::new(BTreeSet::new());
    let ask = Arc::new(move |record: Record<String, String>, about: RecordMetadata| {
        let is_first = seen.lock().unwrap().insert(about.offset);
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            Ok(vec![record])
        }
    });
    let options = AsyncOptions::new().with_timeout(Duration::from_millis(500)).with_retries(1);
    let ask = move || AsyncAdapter::new(ask.clone(), options.clone());
    topology.add_processor::<String, String, String, String, _>("ask", ask, &["in"]).unwrap();
    topology
}

/// Waits until a metric has the value that `expected` wants.
async fn eventually<T: std::fmt::Debug>(
    name: &str,
    look: impl Fn(&str) -> Option<T>,
    expected: impl Fn(&T) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = look(name);
        if found.as_ref().is_some_and(&expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {found:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The names are Kafka Streams', so dashboards find them; a name that nobody feeds would show a flat line.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_fed() {
    let kept = Kept::installed();
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.name("in"), cluster.name("out"));
    cluster.create_topic(&input, 1).await;
    cluster.create_topic(&output, 1).await;
    let client = cluster.name("client");
    let debug = |config: kstreams_core::StreamsConfig| {
        config.client_id(client.clone()).metrics_recording_level(MetricsRecordingLevel::Debug)
    };
    let streams = run(topology(&input, &output), debug(cluster.config("app"))).await;
    cluster.produce_to(&input, 0, &[("a", "", 10_000), ("a", "", 4_000), ("drop", "", 9_000)]);

    let of_thread = |name: &str| format!("stream-thread-metrics.{name}{{thread-id={client}-StreamThread-1}}");
    let tags = format!("thread-id={client}-StreamThread-1,task-id=0_0");
    let of_task = |name: &str| format!("stream-task-metrics.{name}{{{tags}}}");
    let of_node = |node: &str, name: &str| {
        format!("stream-processor-node-metrics.{name}{{{tags},processor-node-id={node}}}")
    };
    let (counter, gauge) = (|name: &str| kept.counter(name), |name: &str| kept.gauge(name));
    for name in [of_thread("process-total"), of_task("process-total"), of_node("count", "process-total")] {
        eventually(&name, counter, |total| *total == 3).await;
    }
    eventually(&of_node("in", "process-total"), counter, |total| *total == 3).await;
    eventually(&of_node("out", "process-total"), counter, |total| *total == 2).await;
    eventually(&of_task("dropped-records-total"), counter, |total| *total == 1).await;
    eventually(&of_task("record-lateness-max"), gauge, |late| *late == 6_000.0).await;
    for name in ["async-retries-total", "async-timeouts-total"] {
        eventually(&of_task(name), counter, |total| *total == 3).await;
    }
    eventually(&of_task("async-in-flight"), gauge, |held| *held == 0.0).await;
    // Since 1970: the records' times are the test's.
    eventually(&of_node("out", "record-e2e-latency-min"), gauge, |age| *age > 1e12).await;
    for name in ["commit-total", "poll-total", "task-created-total", "commit-rate"] {
        // Of a rate the bits: any but those of zero.
        eventually(&of_thread(name), counter, |total| *total > 0).await;
    }
    for name in ["commit-latency-avg", "poll-latency-max", "poll-records-avg", "blocked-time-ns-total"] {
        eventually(&of_thread(name), gauge, |value| *value > 0.0).await;
    }
    eventually(&of_task("records-lag"), gauge, |lag| *lag == 0.0).await;
    // All keys are in the cache by now.
    cluster.produce_to(&input, 0, &[("a", "", 11_000), ("a", "", 12_000)]);
    let cache = format!("stream-record-cache-metrics.hit-ratio{{{tags},record-cache-id=counts}}");
    eventually(&cache, gauge, |ratio| *ratio == 1.0).await;
    let of_client = |name: &str| format!("stream-metrics.{name}{{client-id={client}}}");
    eventually(&of_client("client-state"), gauge, |state| *state == 2.0).await;
    eventually(&of_client("alive-stream-threads"), gauge, |threads| *threads == 1.0).await;
    assert!(streams.close(Duration::from_secs(30)).await);

    let state = tempfile::tempdir().unwrap();
    let streams = run(topology(&input, &output), debug(cluster.config_in("app", state.path()))).await;
    let restore =
        |name: &str| format!("stream-task-metrics.{name}{{thread-id={client}-StateUpdater-1,task-id=0_0}}");
    eventually(&restore("restore-total"), counter, |total| *total > 0).await;
    eventually(&restore("restore-remaining-records-total"), gauge, |left| *left == 0.0).await;
    assert!(streams.close(Duration::from_secs(30)).await);
    cluster.stop().await;
}
