//! Window stores against a map with the JVM's rules of expiry.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{CACHES, Engine, Event, Lossy, LossySerde, Task, cases, event, key, on_engine};
use crate::{StoreBuilder, Stores, WindowStore, Windowed};

const RETENTION_MS: i64 = 100_000;
const SIZE_MS: i64 = 10;
const SEGMENT_MS: i64 = 60_000;

type Key = Vec<u8>;

#[derive(Debug, Clone)]
enum Op {
    Put(Key, i64, Option<Lossy>),
    FetchOne(Key, i64),
    Fetch(Key, i64, i64, bool),
    FetchRange(Option<Key>, Option<Key>, i64, i64, bool),
    Task(Event),
}

/// Starts on both sides of segments' borders and of the retention.
fn start() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 10, 59_990, 60_000, 70_000, 119_990, 120_000, 160_000, 200_000, 290_000])
}

fn value() -> impl Strategy<Value = Option<Lossy>> {
    prop::option::weighted(0.8, (0..500u16, 1..9u16).prop_map(|(kept, lost)| Lossy { kept, lost }))
}

fn times() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        Just((0, i64::MAX)),
        Just((-5, 60_000)),
        (start(), start()),
        (start(), 0..2i64).prop_map(|(start, more)| (start, start + more)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (key(), start(), value()).prop_map(|(key, start, value)| Op::Put(key, start, value)),
        8 => (key(), start()).prop_map(|(key, start)| Op::FetchOne(key, start)),
        8 => (key(), times(), any::<bool>())
            .prop_map(|(key, (from, to), reverse)| Op::Fetch(key, from, to, reverse)),
        8 => (prop::option::of(key()), prop::option::of(key()), times(), any::<bool>())
            .prop_map(|(low, high, (from, to), reverse)| Op::FetchRange(low, high, from, to, reverse)),
        9 => event().prop_map(Op::Task),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: Key,
    start: i64,
    seq: u32,
}

/// What the store should hold, and what time it is there.
#[derive(Debug, Clone)]
struct Model {
    entries: BTreeMap<Entry, Lossy>,
    observed: i64,
    dropped: usize,
}

impl Model {
    fn new() -> Self {
        Model { entries: BTreeMap::new(), observed: -1, dropped: 0 }
    }

    fn put(&mut self, engine: Engine, entry: Entry, value: Option<Lossy>) {
        self.observed = self.observed.max(entry.start);
        let live = match engine {
            Engine::Rocks => entry.start / SEGMENT_MS >= (self.observed - RETENTION_MS) / SEGMENT_MS,
            Engine::Memory | Engine::Own => entry.start > self.observed - RETENTION_MS,
        };
        match value {
            _ if !live => self.dropped += 1,
            Some(value) => {
                self.entries.insert(entry, value.after_a_round_trip());
            }
            // A null among duplicates is for none of them in particular.
            None if entry.seq > 0 => {}
            None => {
                self.entries.remove(&entry);
            }
        }
    }

    fn visible_from(&self) -> i64 {
        self.observed - RETENTION_MS + 1
    }
}

/// The order of the JVM's iterators.
fn order(engine: Engine, entry: &Entry) -> (i64, Vec<u8>) {
    let mut bytes = entry.key.clone();
    if engine == Engine::Rocks {
        bytes.extend_from_slice(&entry.start.to_be_bytes());
    }
    bytes.extend_from_slice(&entry.seq.to_be_bytes());
    (if engine == Engine::Rocks { entry.start / SEGMENT_MS } else { entry.start }, bytes)
}

struct Check {
    engine: Engine,
    task: Task<WindowStore<Key, Lossy>>,
    duplicates: bool,
    current: Model,
    committed: Model,
    seq: u32,
    /// Whether expired windows have to be hidden and counted to the letter. The cache still shows them, and a database
    /// that was opened again knows the time of its newest segment only.
    exact: bool,
}

impl Check {
    fn new(engine: Engine, cache: Option<usize>, duplicates: bool) -> Self {
        let mut builder =
            on_engine!(Stores::window::<Vec<u8>, LossySerde>("store", RETENTION_MS, SIZE_MS), engine);
        if cache.is_some() {
            builder = builder.with_caching_enabled();
        }
        if duplicates {
            builder = builder.retain_duplicates();
        }
        let build = {
            let builder = builder.clone();
            move |env: &_| builder.build(env).unwrap()
        };
        let task = Task::new(engine, cache.unwrap_or(0), builder.spec(), build);
        let (current, committed) = (Model::new(), Model::new());
        Check { engine, task, duplicates, current, committed, seq: 0, exact: cache.is_none() }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(key, start, value) => self.put(key, *start, *value),
            // Which of several it is, is of no use to anybody.
            Op::FetchOne(..) if self.duplicates => {}
            Op::FetchOne(key, start) => self.check_one(key, *start),
            Op::Fetch(key, from, to, reverse) => self.check_fetch(key, *from, *to, *reverse),
            Op::FetchRange(low, high, from, to, reverse) => {
                self.check_range(low.as_ref(), high.as_ref(), *from, *to, *reverse);
            }
            Op::Task(event) => self.apply_event(*event),
        }
        if self.exact {
            assert_eq!(self.task.access().0.observed_stream_time(), self.current.observed);
        }
    }

    fn apply_event(&mut self, event: Event) {
        self.task.apply(event);
        event.settle(&mut self.current, &mut self.committed);
        if event.goes_back() {
            self.task.changelog.dropped = self.current.dropped;
        }
        if event.reopens() {
            self.seq = 0;
            self.exact &= self.engine.is_in_memory();
        }
    }

    fn put(&mut self, key: &Key, start: i64, value: Option<Lossy>) {
        let (store, mut cx) = self.task.access();
        store.put(&mut cx, key, value.as_ref(), start).unwrap();
        if self.duplicates {
            self.seq += 1;
        }
        // A null put of a store that retains duplicates is logged and nothing else; in memory its time counts.
        if value.is_some() || !self.duplicates || self.engine.is_in_memory() {
            self.current.put(self.engine, Entry { key: key.clone(), start, seq: self.seq }, value);
        }
        if self.exact {
            assert_eq!(self.task.changelog.dropped, self.current.dropped);
        }
    }

    fn check_one(&mut self, key: &Key, start: i64) {
        let found = self.task.access().0.fetch_one(key, start).unwrap();
        let hidden = start < self.current.visible_from();
        let entry = Entry { key: key.clone(), start, seq: self.seq };
        if hidden && self.exact {
            assert_eq!(found, None);
        } else if !hidden {
            assert_eq!(found, self.current.entries.get(&entry).copied());
        }
    }

    fn check_fetch(&mut self, key: &Key, from: i64, to: i64, reverse: bool) {
        let expected = self.expected(|entry| entry.key == *key, from, to, reverse);
        let expected: Vec<_> = expected.into_iter().map(|(key, value)| (key.window.start, value)).collect();
        let visible_from = self.comparable_from();
        let store = self.task.access().0;
        let view = store.fetch_view(key, from, to);
        let view =
            std::thread::spawn(|| view.unwrap().map(Result::unwrap).collect::<Vec<_>>()).join().unwrap();
        let entries = if reverse { store.backward_fetch(key, from, to) } else { store.fetch(key, from, to) };
        let entries = entries.unwrap().map(Result::unwrap);
        let entries: Vec<_> = entries.filter(|(start, _)| *start >= visible_from).collect();
        assert_eq!(entries, expected);
        let view = view.into_iter().filter(|(start, _)| *start >= visible_from);
        let view: Vec<_> = if reverse { view.rev().collect() } else { view.collect() };
        assert_eq!(view, expected);
    }

    fn check_range(&mut self, low: Option<&Key>, high: Option<&Key>, from: i64, to: i64, reverse: bool) {
        let inside = |entry: &Entry| {
            low.is_none_or(|low| entry.key >= *low) && high.is_none_or(|high| entry.key <= *high)
        };
        let expected = self.expected(inside, from, to, reverse);
        let visible_from = self.comparable_from();
        let store = self.task.access().0;
        let entries = match reverse {
            true => store.backward_fetch_range(low, high, from, to),
            false => store.fetch_range(low, high, from, to),
        };
        let entries = entries.unwrap().map(Result::unwrap);
        let entries: Vec<_> = entries.filter(|(key, _)| key.window.start >= visible_from).collect();
        assert_eq!(entries, expected);
    }

    fn comparable_from(&self) -> i64 {
        if self.exact { i64::MIN } else { self.current.visible_from() }
    }

    fn expected(
        &self,
        inside: impl Fn(&Entry) -> bool,
        from: i64,
        to: i64,
        reverse: bool,
    ) -> Vec<(Windowed<Key>, Lossy)> {
        let from = from.max(self.current.visible_from());
        let entries = self.current.entries.iter();
        let mut entries: Vec<_> =
            entries.filter(|(entry, _)| inside(entry) && entry.start >= from && entry.start <= to).collect();
        entries.sort_by_key(|(entry, _)| order(self.engine, entry));
        if reverse {
            entries.reverse();
        }
        let windowed =
            |entry: &Entry| Windowed::new(entry.key.clone(), crate::Window::of_size(entry.start, SIZE_MS));
        entries.into_iter().map(|(entry, value)| (windowed(entry), *value)).collect()
    }
}

fn check(engine: Engine, cache: Option<usize>, duplicates: bool, ops: &[Op]) {
    let mut check = Check::new(engine, cache, duplicates);
    for op in ops {
        check.apply(op);
    }
    check.apply(&Op::Task(Event::Commit));
    check.apply(&Op::Task(Event::Crash));
    check.check_range(None, None, 0, i64::MAX, false);
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn windows_in_memory_live_by_their_start(
        ops in prop::collection::vec(op(), 1..120),
        cache in 0..CACHES.len(),
    ) {
        check(Engine::Memory, CACHES[cache], false, &ops);
        check(Engine::Own, CACHES[cache], false, &ops);
    }

    #[test]
    fn duplicates_in_memory_are_all_kept(ops in prop::collection::vec(op(), 1..80)) {
        check(Engine::Memory, None, true, &ops);
        check(Engine::Own, None, true, &ops);
    }
}

proptest! {
    // Each opens databases.
    #![proptest_config(cases(20))]

    #[test]
    fn windows_in_rocksdb_live_by_segment(
        ops in prop::collection::vec(op(), 1..120),
        cache in 0..CACHES.len(),
    ) {
        check(Engine::Rocks, CACHES[cache], false, &ops);
    }

    #[test]
    fn duplicates_in_rocksdb_are_all_kept(ops in prop::collection::vec(op(), 1..80)) {
        check(Engine::Rocks, None, true, &ops);
    }
}
