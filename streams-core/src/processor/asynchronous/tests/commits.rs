//! Commits, and what ends a task.

use std::sync::atomic::{AtomicUsize, Ordering};

use kstreams_state_stores::{KeyValueStore, Stores};
use tokio::sync::Semaphore;

use super::*;
use crate::processor::{InitContext, ProcessorContext, StoreHandle};

/// A step whose calls end when the gate lets them.
fn gated()
-> (Arc<Semaphore>, impl Fn(String, String) -> futures::future::BoxFuture<'static, ProcessResult<String>>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let call =
        move |_: String, value: String| -> futures::future::BoxFuture<'static, ProcessResult<String>> {
            let gate = Arc::clone(&held);
            Box::pin(async move {
                gate.acquire().await?.forget();
                Ok(value)
            })
        };
    (gate, call)
}

/// Counts the records of each key, and gives on `<value> <count>`.
#[derive(Default)]
struct Count(Option<StoreHandle<KeyValueStore<String, i64>>>);

impl Processor<String, String, String, String> for Count {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0 = Some(ctx.state_store("counts")?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let mut counts = ctx.store(self.0.as_ref().unwrap());
        let count = counts.get(&record.key)?.unwrap_or(0) + 1;
        counts.put(&record.key, &count)?;
        let value = format!("{} {count}", record.value);
        ctx.forward(record.with_value(value))
    }
}

/// What was done above the step and the offset go together: an offset that is committed is one whose result was sent.
#[test]
fn a_commit_waits_for_what_is_at_work() {
    let (gate, call) = gated();
    let mut topology = Topology::new();
    topology.add_source::<String, String>("source", "in").unwrap();
    topology.add_processor("count", Count::default, &["source"]).unwrap();
    let counts = Stores::key_value::<String, i64>("counts");
    topology.add_state_store(counts, &["count"]).unwrap();
    topology.add_processor("first", step(call, AsyncOptions::new()), &["count"]).unwrap();
    // What the first step sends on during the commit comes to a second one.
    let second = step(|_, value| async move { Ok(format!("{value}!")) }, AsyncOptions::new());
    topology.add_processor("second", second, &["first"]).unwrap();
    topology.add_sink::<String, String>("sink", "out", &["second"]).unwrap();
    let mut driven = Driven::of(&topology, TaskHandlers::default(), runtime());
    driven.feed([("a", "x"), ("b", "y"), ("a", "z")]);
    assert_eq!(driven.task.process(2).unwrap(), 2);

    assert!(!driven.task.drain().unwrap(), "two are at work");
    assert!(driven.task.wants_commit());
    assert_eq!(driven.task.process(1).unwrap(), 0, "no new ones meanwhile");
    gate.add_permits(2);
    let offsets = driven.commit().unwrap();
    assert_eq!(offsets[0].offset, 2);
    let mut values = driven.values();
    values.sort_unstable();
    assert_eq!(values, ["x 1!", "y 1!"]);
    let counted =
        driven.task.query("counts", |counts: &mut KeyValueStore<String, i64>| counts.get(&"a".to_owned()));
    assert_eq!(counted.unwrap().unwrap().unwrap(), Some(1), "of what is committed, and of nothing else");

    assert!(driven.task.takes_records(), "it goes on");
    gate.add_permits(1);
    driven.finish().unwrap();
    assert_eq!(driven.commit().unwrap()[0].offset, 3);
}

/// Its own limits are hours, so only the commit ends it; and the record behind it has its chance.
#[test]
fn a_call_that_a_commit_has_waited_for_too_long_goes_to_the_handler() {
    let options = AsyncOptions::new()
        .with_timeout(Duration::from_secs(3_600))
        .with_drain_timeout(Duration::from_millis(500));
    let mut driven = Driven::with(continuing(), options, |_, value| async move {
        if value == "never" {
            std::future::pending::<()>().await;
        }
        Ok(value)
    });
    driven.feed([("k", "never"), ("k", "next")]);
    driven.task.process(10).unwrap();
    assert_eq!(driven.commit().unwrap()[0].offset, 2);
    let sent = driven.sent();
    let sent: Vec<_> = sent.iter().map(|sent| (&*sent.topic, &*sent.value, sent.offset)).collect();
    assert_eq!(sent, [("dead", "never", 0), ("out", "next", 1)]);
}

/// A transaction that is aborted, a task that is lost: what was begun is forgotten, its futures are dropped, and the same
/// records come again.
#[test]
fn a_task_that_goes_back_to_its_last_commit_forgets_its_calls() {
    let (alive, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (living, calls) = (Arc::clone(&alive), Arc::clone(&first));
    let mut driven = Driven::new(AsyncOptions::new(), move |_, value| {
        let (alive, call) = (Alive::new(&living), calls.fetch_add(1, Ordering::SeqCst));
        async move {
            if call < 2 {
                std::future::pending::<()>().await;
            }
            drop(alive);
            Ok(value)
        }
    });
    driven.feed([("a", "1"), ("b", "2"), ("a", "3")]);
    driven.task.process(10).unwrap();
    wait_until("two calls", || alive.load(Ordering::SeqCst) == 2);
    driven.task.discard_uncommitted();
    assert_eq!(driven.held(), 0);
    wait_until("end of the futures", || alive.load(Ordering::SeqCst) == 0);
    driven.next_offset = 0;
    driven.feed([("a", "1"), ("b", "2"), ("a", "3")]);
    driven.finish().unwrap();
    let mut values = driven.values();
    values.sort_unstable();
    assert_eq!(values, ["1", "2", "3"]);
}

#[test]
fn a_task_that_is_closed_or_dropped_takes_its_calls_along() {
    let alive = Arc::new(AtomicUsize::new(0));
    for close in [true, false] {
        let living = Arc::clone(&alive);
        let mut driven = Driven::new(AsyncOptions::new(), move |_, value: String| {
            let alive = Alive::new(&living);
            async move {
                std::future::pending::<()>().await;
                drop(alive);
                Ok(value)
            }
        });
        driven.feed([("a", "1"), ("b", "2")]);
        driven.task.process(10).unwrap();
        wait_until("two calls", || alive.load(Ordering::SeqCst) == 2);
        if close {
            driven.task.close().unwrap();
        } else {
            drop(driven);
        }
        wait_until("end of the futures", || alive.load(Ordering::SeqCst) == 0);
    }
}
