//! Windows and sessions in the order of time, read in pages, against the same store's own order: the index says what the
//! store holds, whatever happened to it.

use proptest::prelude::*;

use super::{CACHES, Engine, Event, Task, cases, event, key, on_engine};
use crate::{SessionStore, StoreBuilder, Stores, TimePages, Window, WindowStore, Windowed};

const RETENTION_MS: i64 = 100_000;
const SIZE_MS: i64 = 10;

type Key = Vec<u8>;
type Rows = Vec<(Windowed<Key>, i64)>;

#[derive(Debug, Clone)]
enum Op {
    /// A key, a window's start or a session's end, how long before a session started.
    Put(Key, i64, i64, Option<i64>),
    Read(i64, i64, usize),
    Task(Event),
}

/// On both sides of segments' borders and of the retention.
fn time() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 10, 59_990, 60_000, 70_000, 119_990, 120_000, 160_000, 200_000, 290_000])
}

fn op() -> impl Strategy<Value = Op> {
    let lengths = prop::sample::select(vec![0, 5, 70_000]);
    prop_oneof![
        20 => (key(), time(), lengths, prop::option::weighted(0.8, 0..500i64))
            .prop_map(|(key, time, length, value)| Op::Put(key, time, length, value)),
        10 => (time(), prop_oneof![Just(i64::MAX), time()], 1..5usize)
            .prop_map(|(from, to, limit)| Op::Read(from, to, limit)),
        9 => event().prop_map(Op::Task),
    ]
}

/// Ends every run: what was committed is there after a crash.
const LAST: [&Op; 3] = [&Op::Task(Event::Commit), &Op::Task(Event::Crash), &Op::Read(0, i64::MAX, 2)];

/// All pages, one after the other.
fn read_all(mut pages: TimePages, mut next: impl FnMut(&mut TimePages) -> Rows) -> Rows {
    let mut rows = Vec::new();
    while !pages.ended() {
        rows.extend(next(&mut pages));
    }
    assert_eq!(next(&mut pages), [], "an end stays an end");
    rows
}

fn read_windows(store: &mut WindowStore<Key, i64>, from: i64, to: i64, limit: usize) {
    let mut expected: Rows = store.fetch_all(from, to).unwrap().map(Result::unwrap).collect();
    expected.sort_by_key(|(windowed, _)| (windowed.window.start, windowed.key.clone()));
    let pages = store.by_time(from, to);
    let mut found = read_all(pages, |pages| store.next_page_by_time(pages, limit).unwrap());
    let starts: Vec<_> = found.iter().map(|(windowed, _)| windowed.window.start).collect();
    assert!(starts.is_sorted(), "{starts:?}");
    // Within a start the order is that of the keys with what follows them, which only matters to the JVM's traces.
    found.sort_by_key(|(windowed, _)| (windowed.window.start, windowed.key.clone()));
    assert_eq!(found, expected);
}

fn read_sessions(store: &mut SessionStore<Key, i64>, from: i64, to: i64, limit: usize) {
    let visible_from = store.observed_stream_time() - RETENTION_MS + 1;
    let order =
        |(session, _): &(Windowed<Key>, i64)| (session.window.end, session.window.start, session.key.clone());
    let all = store.find_sessions_range(None, None, from, i64::MAX).unwrap().map(Result::unwrap);
    let in_time = |end: i64| end <= to && end >= visible_from;
    let mut expected: Rows = all.filter(|(session, _)| in_time(session.window.end)).collect();
    expected.sort_by_key(order);
    let pages = store.by_time(from, to);
    let found = read_all(pages, |pages| store.next_page_by_time(pages, limit).unwrap());
    let ends: Vec<_> = found.iter().map(|(session, _)| session.window.end).collect();
    assert!(ends.is_sorted(), "{ends:?}");
    let mut found: Rows = found.into_iter().filter(|(session, _)| in_time(session.window.end)).collect();
    found.sort_by_key(order);
    assert_eq!(found, expected);
}

fn check_windows(engine: Engine, cache: Option<usize>, final_results: bool, ops: &[Op]) {
    let mut builder = on_engine!(Stores::window::<Vec<u8>, i64>("store", RETENTION_MS, SIZE_MS), engine);
    if cache.is_some() {
        builder = builder.with_caching_enabled();
    }
    if final_results {
        builder = builder.for_final_results();
    }
    let spec = builder.spec();
    let mut task = Task::new(engine, cache.unwrap_or(0), spec, move |env: &_| builder.build(env).unwrap());
    for op in ops.iter().chain(LAST) {
        if let Op::Task(event) = op {
            task.apply(*event);
            continue;
        }
        let (store, mut cx) = task.access();
        match op {
            Op::Put(key, start, _, value) => store.put(&mut cx, key, value.as_ref(), *start).unwrap(),
            Op::Read(from, to, limit) => read_windows(store, *from, *to, *limit),
            Op::Task(_) => {}
        }
    }
}

fn check_sessions(engine: Engine, ops: &[Op]) {
    let builder = on_engine!(Stores::session::<Vec<u8>, i64>("store", RETENTION_MS), engine);
    let builder = builder.for_final_results();
    let spec = builder.spec();
    let mut task = Task::new(engine, 0, spec, move |env: &_| builder.build(env).unwrap());
    for op in ops.iter().chain(LAST) {
        if let Op::Task(event) = op {
            task.apply(*event);
            continue;
        }
        let (store, mut cx) = task.access();
        match op {
            Op::Put(key, end, length, value) => {
                let window = Window { start: (end - length).max(0), end: *end };
                let session = Windowed::new(key.clone(), window);
                match value {
                    Some(_) => store.put(&mut cx, &session, value.as_ref()).unwrap(),
                    None => store.remove(&mut cx, &session).unwrap(),
                }
            }
            Op::Read(from, to, limit) => read_sessions(store, *from, *to, *limit),
            Op::Task(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn in_memory_the_order_is_by_time(
        ops in prop::collection::vec(op(), 1..100),
        cache in 0..CACHES.len(),
    ) {
        check_windows(Engine::Memory, CACHES[cache], true, &ops);
        check_windows(Engine::Own, CACHES[cache], true, &ops);
        check_sessions(Engine::Memory, &ops);
    }
}

proptest! {
    // Each opens databases.
    #![proptest_config(cases(20))]

    #[test]
    fn in_rocksdb_the_index_says_what_is_there(
        ops in prop::collection::vec(op(), 1..100),
        cache in 0..CACHES.len(),
    ) {
        check_windows(Engine::Rocks, CACHES[cache], true, &ops);
        check_windows(Engine::Rocks, CACHES[cache], false, &ops);
        check_sessions(Engine::Rocks, &ops);
    }
}
