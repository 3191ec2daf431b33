//! User code that does not come back: the instance keeps its membership, a rebalance takes the task all the same, and the log
//! names the node and the record.

use std::sync::Arc;
use std::time::Duration;

use kstreams_core::processor::{ProcessResult, Processor, ProcessorContext};
use kstreams_core::{KafkaStreams, State, StreamsConfig, Topology};
use kstreams_state_stores::Record;
use kstreams_test_cluster::{Cluster, failure_of, run, start, wait_for, wait_for_state, wait_until, warned};
use tokio::sync::Semaphore;

/// Passes values on; one that begins with `hang` waits until it is let go.
struct Hangs {
    here: bool,
    gate: Arc<Gate>,
}

struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn new() -> Arc<Gate> {
        Arc::new(Gate { reached: Semaphore::new(0), open: Semaphore::new(0) })
    }
}

impl Processor<(), String, (), String> for Hangs {
    fn process(
        &mut self,
        record: Record<(), String>,
        ctx: &mut ProcessorContext<'_, (), String>,
    ) -> ProcessResult {
        if self.here && record.value.starts_with("hang") {
            self.gate.reached.add_permits(1);
            futures::executor::block_on(self.gate.open.acquire())?.forget();
        }
        ctx.forward(record)
    }
}

fn copy(input: &str, output: &str, here: bool, gate: &Arc<Gate>) -> Topology {
    let (mut topology, gate) = (Topology::new(), gate.clone());
    topology.add_source::<(), String>("in", input).unwrap();
    topology.add_processor("slow-node", move || Hangs { here, gate: gate.clone() }, &["in"]).unwrap();
    topology.add_sink::<(), String>("out", output, &["slow-node"]).unwrap();
    topology
}

/// Short bounds: tasks are waited for half of the poll interval.
fn config(cluster: &Cluster, state: &str) -> StreamsConfig {
    cluster.config_in("app", state).set("session.timeout.ms", "6000").set("max.poll.interval.ms", "6000")
}

fn tasks(streams: &KafkaStreams) -> usize {
    streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum()
}

/// A second instance takes over a task that hangs in the first, within the bound; what the first does with the record when it
/// comes back is dropped, and the record is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_takes_a_task_that_hangs() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 2).await, cluster.topic("out", 1).await);
    let gate = Gate::new();
    let first = run(copy(&input, &output, true, &gate), config(&cluster, "first")).await;
    cluster.produce_lines(&input, ["one", "two"]);
    wait_for("the first results", 2, || cluster.values(&output).len()).await;
    // Both tasks of the only thread wait behind one record.
    cluster.produce_values(&input, [(Some("key".to_owned()), "hang")]);
    gate.reached.acquire().await.unwrap().forget();

    let second = start(copy(&input, &output, false, &gate), config(&cluster, "second")).await;
    wait_for("tasks of the second instance", 1, || tasks(&second)).await;
    wait_for_state(&second, State::Running).await;
    let named = ["node slow-node", &input, "at offset", "not given up in time", "dropped"];
    assert!(warned(&named), "the warning names the node and the record");
    assert_eq!(tasks(&first), 1, "it keeps its membership, and one task");

    // It comes back. If the record's task is the one that moved, the second instance has done it.
    gate.open.add_permits(10);
    cluster.produce_lines(&input, ["three", "four"]);
    let seen = |value: &str| cluster.values(&output).iter().filter(|seen| *seen == value).count();
    wait_until("every record", || {
        ["one", "two", "hang", "three", "four"].iter().all(|value| seen(value) > 0)
    })
    .await;
    wait_until("commits", || cluster.lag("app", &input) == 0).await;
    wait_for_state(&first, State::Running).await;
    assert_eq!(seen("hang"), 1, "once: what the fenced task sent was dropped");
    kstreams_test_cluster::close(&first).await;
    kstreams_test_cluster::close(&second).await;
    cluster.stop().await;
}

/// Closing does not wait for ever, and says what it leaves behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_leaves_a_task_behind_that_hangs() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let gate = Gate::new();
    let streams = run(copy(&input, &output, true, &gate), config(&cluster, "state")).await;
    cluster.produce_lines(&input, ["hang", "next"]);
    gate.reached.acquire().await.unwrap().forget();
    streams.close(Duration::from_millis(500)).await;
    wait_until("warning", || warned(&[&input, "node slow-node", "at offset 0", "not given up in time"]))
        .await;
    gate.open.add_permits(10);

    let other = run(copy(&input, &output, false, &gate), config(&cluster, "other")).await;
    wait_for("every record once", vec!["hang".to_owned(), "next".to_owned()], || cluster.values(&output))
        .await;
    kstreams_test_cluster::close(&other).await;
    cluster.stop().await;
}

/// Past `task.timeout.ms` the instance stops, so that others get its tasks, and says where it hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_hangs_too_long_stops_the_instance() {
    let cluster = Cluster::start().await;
    let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
    let gate = Gate::new();
    let config = config(&cluster, "state").task_timeout(Duration::from_secs(1));
    let streams = run(copy(&input, &output, true, &gate), config).await;
    cluster.produce_lines(&input, ["one", "hang"]);
    let failure = failure_of(&streams).await;
    for part in ["node slow-node of task 0_0", &input, "at offset 1", "task.timeout.ms", "time-out"] {
        assert!(failure.contains(part), "{part} is missing: {failure}");
    }
    gate.open.add_permits(10);
    kstreams_test_cluster::end(&streams).await;
    cluster.stop().await;
}
