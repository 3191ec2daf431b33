//! The process dies between every two steps of a commit, under each guarantee: at-least-once no count is too low afterwards, exactly-once
//! each is right and was seen once, at-most-once none is too high; and the local state says what its changelog says.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kstreams::prelude::*;
use kstreams_test_cluster::{
    Cluster, Counts, close, instance_config, run, start, wait_for_state, wait_until,
};

use crate::child::{self, Child};
use crate::topologies::{lines, plain_count};

/// After these steps (`streams-core/src/runtime/fail_point.rs`), each at another commit of its process.
const MOMENTS: [&str; 6] = [
    "caches-flushed:2",
    "acknowledged:3",
    "offsets-committed:2",
    "task-written:3",
    "done:2",
    "offsets-committed:1",
];
const PARTITIONS: i32 = 2;
/// Small enough to evict, and large enough to keep some for the commit.
const CACHE_BYTES: u64 = 4_000;
/// Of the windows; the records' times pass several of them.
const WINDOW_MS: i64 = 1_000;

#[derive(Clone, Copy)]
struct Case {
    guarantee: &'static str,
    windows: bool,
    cache: bool,
}

/// Where else a process can die under this guarantee.
fn moments(guarantee: &str) -> Vec<&'static str> {
    let more: &[&str] = match guarantee {
        "exactly_once_v2" => &["offsets-sent:2", "offsets-sent:1"],
        "at_most_once" => &["ahead:2", "ahead:5"],
        _ => &[],
    };
    MOMENTS.iter().chain(more).copied().collect()
}

impl Case {
    /// Words, counted over all time or by window.
    fn topology(self, input: &str, output: &str) -> Topology {
        let builder = StreamsBuilder::new();
        let words = builder
            .stream::<String, String>(input)
            .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .group_by(|_, word| word.clone());
        if self.windows {
            let window = Duration::from_millis(WINDOW_MS.unsigned_abs());
            words
                // What is read again after a death may be late by then; here it shall count.
                .windowed_by(TimeWindows::of_size_and_grace(window, Duration::from_secs(3_600)))
                .count(Materialized::named("counts"))
                .to_stream()
                .map(|window, count| (format!("{} {}", window.key, window.window.start), count))
                .to(output);
        } else {
            words.count(Materialized::named("counts")).to_stream().to(output);
        }
        builder.build().unwrap()
    }

    fn config(self, config: StreamsConfig) -> StreamsConfig {
        // A static member that died takes its place again without waiting for its session to end.
        config
            .set("processing.guarantee", self.guarantee)
            .set("group.instance.id", "one")
            .statestore_cache_max_bytes(if self.cache { CACHE_BYTES } else { 0 })
    }

    /// What the local store says, in the words of the output.
    fn state(self, streams: &KafkaStreams) -> Counts {
        if self.windows {
            let store = streams.store::<TimestampedWindowStore<String, i64>>("counts").unwrap();
            let all = store.fetch_range(None, None, 0, i64::MAX).unwrap().map(Result::unwrap);
            all.map(|(window, count)| (format!("{} {}", window.key, window.window.start), count.value))
                .collect()
        } else {
            let store = streams.store::<TimestampedKeyValueStore<String, i64>>("counts").unwrap();
            store.all().unwrap().map(Result::unwrap).map(|(word, count)| (word, count.value)).collect()
        }
    }

    /// Counts by word: of all windows together, because which window a word fell into doesn't matter here.
    fn by_word(self, counts: &Counts) -> Counts {
        let mut sums = BTreeMap::new();
        for (key, count) in counts {
            let word = if self.windows { key.split_once(' ').unwrap().0 } else { key };
            *sums.entry(word.to_owned()).or_insert(0) += count;
        }
        sums
    }
}

/// A process that dies at its moment.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_dies() {
    let Some([bootstrap, application_id, input, output, state, guarantee, windows, cache]) =
        child::arguments()
    else {
        return;
    };
    let case = Case { guarantee: guarantee.leak(), windows: windows == "true", cache: cache == "true" };
    let config = instance_config(&application_id, &bootstrap, &PathBuf::from(state));
    let _streams = start(case.topology(&input, &output), case.config(config)).await;
    child::wait_for_parent();
}

async fn dies_at_every_moment(case: Case) {
    let cluster = Cluster::start().await;
    let input = cluster.topic("lines", PARTITIONS).await;
    let output = cluster.topic("counts", 1).await;
    let (application_id, state) = (cluster.name("app"), cluster.dir("state"));
    let (windows, cache) = (case.windows.to_string(), case.cache.to_string());
    let (bootstrap, state) = (cluster.bootstrap(), state.to_str().unwrap());
    let arguments = [bootstrap, &application_id, &input, &output, state, case.guarantee, &windows, &cache];
    let part = lines(100);
    let mut parts = 0;
    // Not long ago: topics keep no record that is older than their retention.
    #[allow(clippy::disallowed_methods)] // it is the cluster's clock that counts
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begin = i64::try_from(now.as_millis()).unwrap() / WINDOW_MS * WINDOW_MS;
    let mut produce = || {
        let time = begin + parts * WINDOW_MS / 4;
        for partition in 0..PARTITIONS {
            let records: Vec<(&str, &str, i64)> =
                part.iter().map(|line| ("line", line.as_str(), time)).collect();
            cluster.produce_to(&input, partition, &records);
        }
        parts += 1;
    };
    for moment in moments(case.guarantee) {
        let mut child =
            Child::start("commit_kills::child_that_dies", arguments, &[("KSTREAMS_DIE_AT", moment)]);
        wait_until(&format!("death at {moment}"), || {
            produce();
            child.ended().is_some_and(|status| {
                // SIGABRT: not a failure of another kind.
                assert_eq!(status.signal(), Some(6), "{status} at {moment}");
                true
            })
        })
        .await;
    }
    let streams = run(case.topology(&input, &output), case.config(cluster.config("app"))).await;
    cluster.settled("app", &input).await;
    let local = case.state(&streams);
    close(&streams).await;
    let counted = case.by_word(&local);
    for (word, once) in plain_count(&part) {
        let (count, expected) =
            (counted.get(&word).copied().unwrap_or(0), once * parts * i64::from(PARTITIONS));
        match case.guarantee {
            "at_least_once" => {
                assert!(count >= expected, "{word} was lost: {count} of {expected}: {local:?}")
            }
            "at_most_once" => {
                assert!(count <= expected, "{word} came twice: {count} for {expected}: {local:?}")
            }
            _ => assert_eq!(count, expected, "{word}: {local:?}"),
        }
    }
    let seen = cluster.counts(&output);
    match case.guarantee {
        "at_least_once" => assert_eq!(seen, local, "the last results are the state"),
        "exactly_once_v2" => {
            assert_eq!(seen, local, "the last results are the state");
            cluster.each_count_once(&output, !case.cache);
        }
        _ => {
            // A record may have reached the state alone.
            let ahead = |(key, count): (&String, &i64)| local.get(key).is_none_or(|local| count > local);
            assert!(!seen.iter().any(ahead), "results are ahead of the state: {seen:?}, {local:?}");
            cluster.each_count_once(&output, false);
        }
    }

    // From the changelog alone.
    let config = case.config(cluster.config_in("app", "empty"));
    let streams = start(case.topology(&input, &output), config).await;
    wait_for_state(&streams, State::Running).await;
    assert_eq!(case.state(&streams), local, "the changelog is the state");
    close(&streams).await;
    cluster.stop().await;
}

/// A test for each guarantee, of a topology with or without a cache.
macro_rules! each_guarantee {
    ($($name:ident: $guarantee:literal, windows $windows:literal, cache $cache:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            dies_at_every_moment(Case { guarantee: $guarantee, windows: $windows, cache: $cache }).await;
        })*
    };
}

each_guarantee! {
    counts_without_a_cache: "at_least_once", windows false, cache false;
    counts_with_a_cache: "at_least_once", windows false, cache true;
    windows_without_a_cache: "at_least_once", windows true, cache false;
    windows_with_a_cache: "at_least_once", windows true, cache true;
    counts_once_without_a_cache: "exactly_once_v2", windows false, cache false;
    counts_once_with_a_cache: "exactly_once_v2", windows false, cache true;
    windows_once_without_a_cache: "exactly_once_v2", windows true, cache false;
    windows_once_with_a_cache: "exactly_once_v2", windows true, cache true;
    counts_at_most_once_without_a_cache: "at_most_once", windows false, cache false;
    counts_at_most_once_with_a_cache: "at_most_once", windows false, cache true;
    windows_at_most_once_without_a_cache: "at_most_once", windows true, cache false;
    windows_at_most_once_with_a_cache: "at_most_once", windows true, cache true;
}
