//! Final results of windows and sessions on a cluster, through restarts without the state directory: none is missing, none
//! comes twice.

use std::time::Duration;

use kstreams::config::EmitIntervals;
use kstreams::prelude::*;
use kstreams_test_cluster::{Cluster, close, start, wait_until};

/// Some time in 2023, a multiple of ten seconds.
const START: i64 = 1_700_000_000_000;

fn seconds(window: Window) -> String {
    format!("{}-{}", (window.start - START) / 1_000, (window.end - START) / 1_000)
}

/// A result as text: key, window in seconds since the start, count.
fn write_results(results: &KTable<Windowed<String>, i64>, topic: &str) {
    let text = |key: &Windowed<String>, count: Option<i64>| {
        format!("{} {} {}", key.key, seconds(key.window), count.unwrap_or_default())
    };
    results.to_stream().map_values_with_key(text).select_key(|key, _| key.key.clone()).to(topic);
}

/// Tumbling windows emitted on close, tumbling windows and sessions suppressed until they close. The second half of the
/// records is read by an instance that has to restore windows, buffers and what was emitted already.
#[tokio::test(flavor = "multi_thread")]
async fn final_results_come_once_through_a_restart() {
    let cluster = Cluster::start().await;
    let input = cluster.topic("clicks", 1).await;
    let (closed, suppressed) = (cluster.topic("closed", 1).await, cluster.topic("suppressed", 1).await);
    let visits = cluster.topic("visits", 1).await;
    let topology = || {
        let builder = StreamsBuilder::new();
        let clicks = builder.stream::<String, String>(input.as_str()).group_by_key();
        let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(10));
        let until_closed = || Suppressed::until_window_closes(BufferConfig::unbounded());
        // Stream time jumps further than the windows are long: they have to be kept until then.
        let kept = Materialized::named("closing").with_retention_ms(60_000);
        let on_close = clicks.windowed_by(windows).emit_strategy(EmitStrategy::on_window_close()).count(kept);
        write_results(&on_close, &closed);
        let counts = clicks.windowed_by(windows).count(Materialized::named("counts"));
        write_results(&counts.suppress(until_closed()), &suppressed);
        let sessions = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(5));
        let counts = clicks.windowed_by(sessions).count(Materialized::named("sessions"));
        write_results(&counts.suppress(until_closed().with_name("closed-visits")), &visits);
        builder.build().unwrap()
    };
    let click = |second: i64| ("a", "", START + second * 1_000);
    let always = EmitIntervals { window_close: Some(Duration::ZERO), ..EmitIntervals::default() };
    for part in [[1, 2, 11], [12, 25, 40]] {
        let streams = start(topology(), cluster.config("app").emit_intervals(always)).await;
        cluster.produce(&input, &part.map(click));
        wait_until("commit of all clicks", || cluster.lag("app", &input) == 0).await;
        close(&streams).await;
        drop(streams);
        std::fs::remove_dir_all(cluster.dir("state")).unwrap();
    }
    let texts = |topic: &str| cluster.texts(topic).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(texts(&closed), ["a 0-10 2", "a 10-20 2", "a 20-30 1"]);
    assert_eq!(texts(&suppressed), ["a 0-10 2", "a 10-20 2", "a 20-30 1"]);
    assert_eq!(texts(&visits), ["a 1-2 2", "a 11-12 2", "a 25-25 1"]);
    cluster.stop().await;
}
