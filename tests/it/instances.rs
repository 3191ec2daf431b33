//! Several instances in one process: sharing tasks, joining and leaving while lines keep coming.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, Counts, close, start, wait_for_state, wait_until};

use crate::topologies::{lines, plain_count, word_count};

/// Partitions of the input, and with them of the repartition topic: two tasks for each.
const PARTITIONS: i32 = 6;

fn tasks(streams: &KafkaStreams) -> usize {
    streams.metadata_for_local_threads().iter().map(|thread| thread.active_tasks.len()).sum()
}

/// All tasks run, and each of these instances has as many as the others, give or take `PARTITIONS` uneven ones.
async fn shared(instances: &[&KafkaStreams]) {
    let all = 2 * usize::try_from(PARTITIONS).unwrap();
    let even = all / instances.len();
    wait_until("even share of the tasks", || {
        let counts: Vec<usize> = instances.iter().map(|streams| tasks(streams)).collect();
        counts.iter().sum::<usize>() == all && counts.iter().all(|&count| count.abs_diff(even) <= 1)
    })
    .await;
    for streams in instances {
        wait_for_state(streams, State::Running).await;
    }
}

/// Produces the same lines again and again from its own thread, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<usize>,
}

impl Load {
    fn start(cluster: &Arc<Cluster>, input: &str, lines: Vec<String>) -> Load {
        let (stop, cluster) = (Arc::new(AtomicBool::new(false)), cluster.clone());
        let (asked, input) = (stop.clone(), input.to_owned());
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !asked.load(Ordering::Relaxed) {
                cluster.produce_lines(&input, &lines);
                rounds += 1;
                // Steady, not as fast as it can: rebalances shall find work at any time, and an end of it.
                std::thread::sleep(Duration::from_millis(20));
            }
            rounds
        });
        Load { stop, thread }
    }

    /// How often the lines were produced.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn times(counts: Counts, factor: usize) -> Counts {
    counts.into_iter().map(|(word, count)| (word, count * i64::try_from(factor).unwrap())).collect()
}

/// One, two and three instances; the second is closed. Each hand-over commits before a task moves, so no word is lost and
/// none counted twice, although lines arrive all the time.
#[tokio::test(flavor = "multi_thread")]
async fn instances_share_tasks_join_and_leave_under_load() {
    let cluster = Arc::new(Cluster::start().await);
    let input = cluster.topic("lines", PARTITIONS).await;
    let output = cluster.topic("counts", 2).await;
    let instance =
        async |state: &str| start(word_count(&input, &output), cluster.config_in("app", state)).await;
    let some = lines(120);
    let first = instance("first").await;
    let load = Load::start(&cluster, &input, some.clone());
    shared(&[&first]).await;
    let second = instance("second").await;
    shared(&[&first, &second]).await;
    let third = instance("third").await;
    shared(&[&first, &second, &third]).await;
    close(&second).await;
    shared(&[&first, &third]).await;

    let rounds = load.stop();
    cluster.settled("app", &input).await;
    close(&first).await;
    close(&third).await;
    assert_eq!(cluster.counts(&output), times(plain_count(&some), rounds));
    Arc::into_inner(cluster).expect("the load is over").stop().await;
}

/// Two instances that start at the same moment on topics full of lines: internal topics are made once, tasks have one owner.
#[tokio::test(flavor = "multi_thread")]
async fn two_instances_start_together() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", PARTITIONS).await;
    let output = cluster.topic("counts", 2).await;
    let all = lines(1_200);
    cluster.produce_lines(&input, &all);
    let (first, second) = tokio::join!(
        start(word_count(&input, &output), cluster.config_in("app", "first")),
        start(word_count(&input, &output), cluster.config_in("app", "second")),
    );
    shared(&[&first, &second]).await;
    cluster.settled("app", &input).await;
    tokio::join!(close(&first), close(&second));
    assert_eq!(cluster.counts(&output), plain_count(&all));
    cluster.stop().await;
}
