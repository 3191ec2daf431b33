//! An instance in a process of its own, killed without a chance to commit or close anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kstreams_test_cluster::{Cluster, close, instance_config, start, wait_until};

use crate::child::{self, Child};
use crate::topologies::{lines, plain_count, word_count, word_count_with};

/// How long the group keeps the tasks of the killed instance for it.
const SESSION_MS: &str = "6000";

/// What a line costs until the kill: all of them take much longer than a busy machine needs to notice the first commit.
const SLOW: Duration = Duration::from_millis(5);

/// What the child runs: this test binary asks itself for this one test, which without the variable has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child_instance() {
    let Some([bootstrap, application_id, input, output, state, guarantee]) = child::arguments() else {
        return;
    };
    // Seldom committing, so that much is uncommitted when it is killed.
    let topology = word_count_with(&input, &output, |_| std::thread::sleep(SLOW));
    let config = instance_config(&application_id, &bootstrap, &PathBuf::from(state))
        .commit_interval(Duration::from_millis(500))
        .set("processing.guarantee", guarantee)
        .set("session.timeout.ms", SESSION_MS);
    let _streams = start(topology, config).await;
    child::wait_for_parent();
}

/// At-least-once: whatever the killed instance had not committed is counted again by the one that comes after it, on the state
/// directory that was left behind. No count may be too low; what makes one higher is work that was not committed. Exactly-once: none is
/// higher. At-most-once: what makes one lower is what was read and not yet processed.
async fn killed(guarantee: &str, survivor: bool) {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", 4).await;
    let output = cluster.topic("counts", 2).await;
    let config = |state: &str| {
        let config = cluster.config_in("app", state).set("session.timeout.ms", SESSION_MS);
        config.set("processing.guarantee", guarantee)
    };
    let all = lines(8_000);
    let slow = Arc::new(AtomicBool::new(true));
    let before = if survivor {
        let slow = slow.clone();
        // It may be the survivor that has the lines and the child that counts their words.
        let each = move |_: &str| {
            if slow.load(Ordering::Relaxed) {
                std::thread::sleep(SLOW);
            }
        };
        Some(start(word_count_with(&input, &output, each), config("survivor")).await)
    } else {
        None
    };
    let (application_id, state) = (cluster.name("app"), cluster.dir("killed"));
    let arguments =
        [cluster.bootstrap(), &application_id, &input, &output, state.to_str().unwrap(), guarantee];
    let child = Child::start("processes::child_instance", arguments, &[]);
    if let Some(first) = &before {
        wait_until("task of the child", || {
            let threads = first.metadata_for_local_threads();
            threads.iter().map(|thread| thread.active_tasks.len()).sum::<usize>() == 4
        })
        .await;
    }
    cluster.produce_lines(&input, &all[..7_000]);
    let words = cluster.name("app-counts-repartition");
    wait_until("commit of counted words", || {
        let lag = cluster.lag("app", &input);
        lag < 7_000 && cluster.partitions(&words) > 0 && !cluster.counts(&output).is_empty()
    })
    .await;
    child.kill();
    let (lines_left, words_left) = (cluster.lag("app", &input), cluster.lag("app", &words));
    assert!(lines_left > 0, "killed in the middle, not after the end");
    slow.store(false, Ordering::Relaxed);

    let next = start(word_count(&input, &output), config("killed")).await;
    cluster.produce_lines(&input, &all[7_000..]);
    cluster.settled("app", &input).await;
    close(&next).await;
    if let Some(first) = before {
        close(&first).await;
    }
    let counts = cluster.counts(&output);
    for (word, expected) in plain_count(&all) {
        let count = counts.get(&word).copied().unwrap_or(0);
        match guarantee {
            "exactly_once_v2" => assert_eq!(count, expected, "{word}"),
            "at_most_once" => assert!(count <= expected, "{word} came twice: {count} for {expected}"),
            _ => assert!(count >= expected, "{word} was lost: {count} of {expected}"),
        }
        // Nothing that was committed is done again: only lines split again and words counted again.
        let again = count - expected;
        assert!(again <= lines_left + words_left, "{word}: {again} too many for {lines_left} + {words_left}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_loses_nothing() {
    killed("at_least_once", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_counts_once() {
    killed("exactly_once_v2", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_counts_at_most_once() {
    killed("at_most_once", false).await;
}

/// The same, with another instance that takes over the tasks of the killed one until the next joins.
#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_takes_over_from_a_killed_instance() {
    killed("at_least_once", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_counts_once() {
    killed("exactly_once_v2", true).await;
}
