//! Key-value stores against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{CACHES, Engine, Event, Lossy, LossySerde, Task, cases, event, on_engine};
use crate::{KeyValueStore, StoreBuilder, Stores};

type Key = Vec<u8>;
type Model = BTreeMap<Key, Lossy>;

#[derive(Debug, Clone)]
enum Op {
    Put(Key, Lossy),
    Delete(Key),
    PutIfAbsent(Key, Lossy),
    Get(Key),
    Range(Option<Key>, Option<Key>, bool),
    Prefix(Key, bool),
    Task(Event),
}

/// Few keys, so that they meet: the empty one, beginnings of others, zeros and 0xff at their ends.
fn key() -> impl Strategy<Value = Key> {
    let byte = prop::sample::select(vec![0u8, b'a', b'b', 0xff]);
    prop::collection::vec(byte, 0..3)
}

fn value() -> impl Strategy<Value = Lossy> {
    (0..500u16, 1..9u16).prop_map(|(kept, lost)| Lossy { kept, lost })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (key(), value()).prop_map(|(key, value)| Op::Put(key, value)),
        6 => key().prop_map(Op::Delete),
        3 => (key(), value()).prop_map(|(key, value)| Op::PutIfAbsent(key, value)),
        10 => key().prop_map(Op::Get),
        6 => (prop::option::of(key()), prop::option::of(key()), any::<bool>())
            .prop_map(|(from, to, reverse)| Op::Range(from, to, reverse)),
        3 => (key(), any::<bool>()).prop_map(|(prefix, reverse)| Op::Prefix(prefix, reverse)),
        9 => event().prop_map(Op::Task),
    ]
}

struct Check {
    task: Task<KeyValueStore<Key, Lossy>>,
    current: Model,
    committed: Model,
    /// What a node downstream of the cache knows.
    forwarded: Model,
    cached: bool,
}

impl Check {
    fn new(engine: Engine, cache: Option<usize>) -> Self {
        let mut builder = on_engine!(Stores::key_value::<Vec<u8>, LossySerde>("store"), engine);
        if cache.is_some() {
            builder = builder.with_caching_enabled();
        }
        let build = {
            let builder = builder.clone();
            move |env: &_| {
                let mut store = builder.build(env).unwrap();
                store.forward_flushed(true);
                store
            }
        };
        let task = Task::new(engine, cache.unwrap_or(0), builder.spec(), build);
        let cached = cache.is_some();
        Check { task, current: Model::new(), committed: Model::new(), forwarded: Model::new(), cached }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(key, value) => {
                let (store, mut cx) = self.task.access();
                store.put(&mut cx, key, Some(value)).unwrap();
                self.current.insert(key.clone(), value.after_a_round_trip());
            }
            Op::Delete(key) => {
                let (store, mut cx) = self.task.access();
                let old = store.delete(&mut cx, key).unwrap();
                assert_eq!(old, self.current.remove(key));
            }
            Op::PutIfAbsent(key, value) => {
                let (store, mut cx) = self.task.access();
                let old = store.put_if_absent(&mut cx, key, Some(value)).unwrap();
                assert_eq!(old, self.current.get(key).copied());
                self.current.entry(key.clone()).or_insert(value.after_a_round_trip());
            }
            Op::Get(key) => {
                let found = self.task.access().0.get(key).unwrap();
                assert_eq!(found, self.current.get(key).copied());
            }
            Op::Range(from, to, reverse) => self.check_range(from.as_ref(), to.as_ref(), *reverse),
            Op::Prefix(prefix, reverse) => self.check_prefix(prefix, *reverse),
            Op::Task(event) => self.apply_event(*event),
        }
        self.pop_flushed();
        if self.cached && matches!(op, Op::Task(Event::FlushCache | Event::Commit)) {
            assert_eq!(self.forwarded, self.current, "after a flush, everything is forwarded");
        }
    }

    fn apply_event(&mut self, event: Event) {
        self.task.apply(event);
        event.settle(&mut self.current, &mut self.committed);
        if event.goes_back() {
            // What was forwarded after the commit is of the aborted transaction, too.
            self.forwarded = self.committed.clone();
        }
    }

    fn check_range(&mut self, from: Option<&Key>, to: Option<&Key>, reverse: bool) {
        let inside = |key: &Key| from.is_none_or(|from| key >= from) && to.is_none_or(|to| key <= to);
        let expected = self.expected(inside, reverse);
        let store = self.task.access().0;
        let view = if reverse { store.reverse_read_view(from, to) } else { store.read_view(from, to) };
        let view: Result<Vec<_>, _> = std::thread::spawn(|| view.unwrap().collect()).join().unwrap();
        let entries = if reverse { store.reverse_range(from, to) } else { store.range(from, to) };
        let entries: Result<Vec<_>, _> = entries.unwrap().collect();
        assert_eq!(entries.unwrap(), expected);
        assert_eq!(view.unwrap(), expected);
    }

    fn check_prefix(&mut self, prefix: &Key, reverse: bool) {
        let expected = self.expected(|key| key.starts_with(prefix), reverse);
        let store = self.task.access().0;
        if !reverse {
            let (mut pages, mut read) = (store.pages(prefix), Vec::new());
            while !pages.ended() {
                read.extend(store.next_page(&mut pages, 2).unwrap());
            }
            assert_eq!(read, expected, "in pages");
        }
        let entries = if reverse { store.reverse_prefix_scan(prefix) } else { store.prefix_scan(prefix) };
        let entries: Result<Vec<_>, _> = entries.unwrap().collect();
        assert_eq!(entries.unwrap(), expected);
    }

    fn expected(&self, inside: impl Fn(&Key) -> bool, reverse: bool) -> Vec<(Key, Lossy)> {
        let entries = self.current.iter().filter(|(key, _)| inside(key));
        let mut entries: Vec<_> = entries.map(|(key, value)| (key.clone(), *value)).collect();
        if reverse {
            entries.reverse();
        }
        entries
    }

    fn pop_flushed(&mut self) {
        while let Some(flushed) = self.task.access().0.pop_flushed().unwrap() {
            let old = match flushed.new {
                Some(new) => self.forwarded.insert(flushed.key.clone(), new),
                None => self.forwarded.remove(&flushed.key),
            };
            assert_eq!(flushed.old, old, "the old value is the one forwarded last");
            assert!(flushed.new.is_some() || flushed.old.is_some(), "nothing to nothing is not forwarded");
        }
    }
}

fn check(engine: Engine, cache: Option<usize>, ops: &[Op]) {
    let mut check = Check::new(engine, cache);
    for op in ops {
        check.apply(op);
    }
    check.apply(&Op::Task(Event::Commit));
    check.apply(&Op::Task(Event::Crash));
    check.check_range(None, None, false);
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_store_in_memory_is_a_map(ops in prop::collection::vec(op(), 1..120), cache in 0..CACHES.len()) {
        check(Engine::Memory, CACHES[cache], &ops);
        check(Engine::Own, CACHES[cache], &ops);
    }
}

proptest! {
    // Each opens databases.
    #![proptest_config(cases(24))]

    #[test]
    fn a_store_in_rocksdb_is_a_map(ops in prop::collection::vec(op(), 1..120), cache in 0..CACHES.len()) {
        check(Engine::Rocks, CACHES[cache], &ops);
    }
}
