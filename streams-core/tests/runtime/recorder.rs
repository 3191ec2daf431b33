//! Keeps every metric of this process, for tests that look at some.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Every metric by name and tags: a counter as its number, a gauge as the bits of its value.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Kept {
    /// The recorder of this process; before the first instance is made.
    pub fn installed() -> Kept {
        static KEPT: OnceLock<Kept> = OnceLock::new();
        let kept = KEPT.get_or_init(|| {
            let kept = Kept::default();
            metrics::set_global_recorder(kept.clone()).unwrap();
            kept
        });
        kept.clone()
    }

    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let tags: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), tags.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    /// The counter of this name (without `kafka.streams.`) and tags; `None` before there is one.
    pub fn counter(&self, name: &str) -> Option<u64> {
        let kept = self.0.lock().unwrap();
        kept.get(&format!("kafka.streams.{name}")).map(|cell| cell.load(Ordering::Relaxed))
    }

    /// The gauge of this name and tags.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.counter(name).map(f64::from_bits)
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
