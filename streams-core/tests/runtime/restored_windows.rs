//! Windows that are restored from their changelog: the store knows the time that it had seen.

use kstreams_core::Topology;
use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
use kstreams_state_stores::{Record, StoreType, Stores, WindowStore};
use kstreams_test_cluster::{Cluster, close, start};

/// Some time in 2023, a multiple of a minute.
const START: i64 = 1_699_999_980_000;
/// Two segments of a store in RocksDB.
const RETENTION_MS: i64 = 120_000;

/// Puts each record into the window that starts at its time, and tells how many windows its key has then.
#[derive(Default)]
struct Keep(Option<StoreHandle<WindowStore<String, String>>>);

impl Processor<String, String, String, String> for Keep {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0 = Some(ctx.state_store("windows")?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let Some(handle) = &self.0 else { return Ok(()) };
        let mut store = ctx.store(handle);
        store.put(&record.key, &record.value, record.timestamp)?;
        let windows = store.fetch(&record.key, 0, i64::MAX)?.count();
        let seen = (store.store.observed_stream_time() - START) / 1_000;
        ctx.forward(record.with_value(format!("{windows} windows, time {seen}")))
    }
}

fn topology(input: &str, output: &str, store_type: StoreType) -> Topology {
    let mut topology = Topology::new();
    topology.add_source::<String, String>("in", input).unwrap();
    topology.add_processor("keep", Keep::default, &["in"]).unwrap();
    let store = Stores::window::<String, String>("windows", RETENTION_MS, 1_000).with_store_type(store_type);
    topology.add_state_store(store, &["keep"]).unwrap();
    topology.add_sink::<String, String>("out", output, &["keep"]).unwrap();
    topology
}

/// After a restore, in bulk (RocksDB) or record by record (memory), and just as well with the state still there, a record
/// that is too late for its window is not stored: else a restart would bring back windows that had expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_window_store_refuses_what_was_too_late_before() {
    for (store_type, forget) in
        [(StoreType::RocksDb, true), (StoreType::RocksDb, false), (StoreType::InMemory, true)]
    {
        let cluster = Cluster::start().await;
        let (input, output) = (cluster.topic("in", 1).await, cluster.topic("out", 1).await);
        let at = |key: &'static str, second: i64| (key, "x", START + second * 1_000);
        // `late` at 0 has expired by 600; `edge` at 500 has not, nor at the restart.
        for part in [
            [at("late", 0), at("edge", 500), at("new", 600)],
            [at("late", 1), at("edge", 550), at("new", 610)],
        ] {
            let streams = start(topology(&input, &output, store_type), cluster.config("app")).await;
            cluster.produce(&input, &part);
            cluster.settled("app", &input).await;
            close(&streams).await;
            drop(streams);
            if forget {
                let _ = std::fs::remove_dir_all(cluster.dir("state"));
            }
        }
        let texts: Vec<String> = cluster.texts(&output).into_iter().map(|(_, text)| text).collect();
        let expected = [
            "1 windows, time 0",
            "1 windows, time 500",
            "1 windows, time 600",
            "0 windows, time 600",
            "2 windows, time 600",
            "2 windows, time 610",
        ];
        assert_eq!(texts, expected, "{store_type:?}, state deleted: {forget}");
        cluster.stop().await;
    }
}
