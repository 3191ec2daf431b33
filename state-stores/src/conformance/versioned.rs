//! Versioned stores against a map of all versions ever put, read by the JVM's rules; and what the changelog rebuilds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Engine, Event, TOPIC, Task, cases, event, key, on_engine};
use crate::testing::Logged;
use crate::{
    BulkRestore, StateStore, StoreBuilder, Stores, VersionedKeyValueStore, VersionedKeyValueStoreBuilder,
    VersionedPut,
};

type Key = Vec<u8>;
type Store = VersionedKeyValueStore<Key, i64>;

const HISTORY_MS: i64 = 20;
const END: i64 = 100;

#[derive(Debug, Clone)]
enum Op {
    Put(Key, Option<i64>, i64),
    Delete(Key, i64),
    Get(Key),
    GetAsOf(Key, i64),
    Versions(Key, i64, i64),
    Task(Event),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => (key(), prop::option::weighted(0.8, 0..9i64), 0..END)
            .prop_map(|(key, value, time)| Op::Put(key, value, time)),
        3 => (key(), 0..END).prop_map(|(key, time)| Op::Delete(key, time)),
        8 => key().prop_map(Op::Get),
        12 => (key(), 0..END).prop_map(|(key, time)| Op::GetAsOf(key, time)),
        4 => (key(), 0..END, 0..END).prop_map(|(key, a, b)| Op::Versions(key, a.min(b), a.max(b))),
        9 => event().prop_map(Op::Task),
    ]
}

/// The JVM's store with one segment for all of history: the newest value apart, and a row of versions that follow one
/// another up to `next`, at which a deletion is implied.
#[derive(Debug, Clone)]
struct Model {
    keys: BTreeMap<Key, Versions>,
    observed: i64,
}

#[derive(Debug, Clone, Default)]
struct Versions {
    latest: Option<(i64, i64)>,
    history: Option<Segment>,
}

#[derive(Debug, Clone)]
struct Segment {
    next: i64,
    /// Time and value, oldest first; none where only the deletion is known.
    records: Vec<(i64, Option<i64>)>,
}

impl Segment {
    fn min(&self) -> i64 {
        self.records.first().map_or(self.next, |(time, _)| *time)
    }

    /// The version that counts at `time`: its index, and until when.
    fn find(&self, time: i64) -> Option<(usize, i64)> {
        let index = self.records.partition_point(|(from, _)| *from <= time).checked_sub(1)?;
        let valid_to = self.records.get(index + 1).map_or(self.next, |(from, _)| *from);
        (time < valid_to).then_some((index, valid_to))
    }
}

impl Versions {
    fn insert_as_latest(&mut self, from: i64, to: i64, value: Option<i64>) {
        let segment = self.history.get_or_insert(Segment { next: from, records: Vec::new() });
        if segment.next != from {
            segment.records.push((segment.next, None));
        }
        segment.records.push((from, value));
        segment.next = to;
    }

    /// Answers until when the version counts.
    fn put(&mut self, time: i64, value: Option<i64>) -> Option<i64> {
        let mut found = None;
        if let Some((latest, old)) = self.latest {
            if time >= latest {
                if time > latest {
                    self.insert_as_latest(latest, time, Some(old));
                }
                self.latest = value.map(|value| (time, value));
                return None;
            }
            found = Some(latest);
        }
        if let Some(segment) = self.history.as_mut().filter(|segment| segment.next > time) {
            if let Some((index, valid_to)) = segment.find(time) {
                match segment.records[index].0 == time {
                    true => segment.records[index].1 = value,
                    false => segment.records.insert(index + 1, (time, value)),
                }
                return Some(valid_to);
            }
            found = Some(segment.min());
        }
        self.finish_put(time, value, found);
        found
    }

    fn finish_put(&mut self, time: i64, value: Option<i64>, found: Option<i64>) {
        match (found, value, &mut self.history) {
            (None, Some(value), _) => self.latest = Some((time, value)),
            (None, None, None) => self.history = Some(Segment { next: time, records: Vec::new() }),
            (None, None, Some(segment)) if segment.next == time => {}
            (None, None, Some(segment)) => {
                segment.records.push((segment.next, None));
                segment.next = time;
            }
            (Some(_), value, Some(segment)) if segment.next > time => {
                segment.records.insert(0, (time, value));
            }
            (Some(found), value, _) => self.insert_as_latest(time, found, value),
        }
    }
}

impl Model {
    fn new() -> Self {
        Model { keys: BTreeMap::new(), observed: -1 }
    }

    fn put(&mut self, key: &Key, value: Option<i64>, time: i64) -> VersionedPut {
        if time < self.observed - HISTORY_MS {
            return VersionedPut::TooOld;
        }
        self.observed = self.observed.max(time);
        let valid_to = self.keys.entry(key.clone()).or_default().put(time, value);
        valid_to.map_or(VersionedPut::Latest, VersionedPut::ValidTo)
    }

    fn get(&self, key: &Key) -> Option<(i64, i64)> {
        self.keys.get(key)?.latest.map(|(time, value)| (value, time))
    }

    fn get_as_of(&self, key: &Key, time: i64) -> Option<(i64, i64)> {
        if let Some(latest) = self.get(key).filter(|(_, since)| *since <= time) {
            return Some(latest);
        }
        if time < self.observed - HISTORY_MS {
            return None;
        }
        let segment = self.keys.get(key)?.history.as_ref()?;
        let (since, value) = segment.records[segment.find(time)?.0];
        value.map(|value| (value, since))
    }
}

fn builder(engine: Engine) -> VersionedKeyValueStoreBuilder<Key, i64> {
    on_engine!(Stores::versioned_key_value::<Vec<u8>, i64>("store", HISTORY_MS), engine)
}

fn task(engine: Engine) -> Task<Store> {
    let builder = builder(engine);
    Task::new(engine, 0, builder.spec(), move |env| builder.build(env).unwrap())
}

/// All that can be asked of a store.
fn answers(store: &mut Store, model: &Model) -> Vec<Option<(i64, i64)>> {
    let mut answers = Vec::new();
    for key in model.keys.keys() {
        answers.push(store.get(key).unwrap().map(|found| (found.value, found.timestamp)));
        for time in 0..END {
            answers.push(store.get_as_of(key, time).unwrap().map(|found| (found.value, found.timestamp)));
        }
    }
    answers
}

fn check(engine: Engine, ops: &[Op]) {
    let mut task = task(engine);
    let (mut current, mut committed) = (Model::new(), Model::new());
    for op in ops {
        let (store, mut cx) = task.access();
        match op {
            Op::Put(key, value, time) => {
                let put = store.put(&mut cx, key, value.as_ref(), *time).unwrap();
                assert_eq!(put, current.put(key, *value, *time));
            }
            Op::Delete(key, time) => {
                let old = store.delete(&mut cx, key, *time).unwrap();
                let expected = current.get_as_of(key, *time);
                let put = current.put(key, None, *time);
                let expected = expected.filter(|_| put != VersionedPut::TooOld);
                assert_eq!(old.map(|old| (old.value, old.timestamp)), expected);
            }
            Op::Get(key) => {
                let found = store.get(key).unwrap();
                assert_eq!(found.map(|found| (found.value, found.timestamp)), current.get(key));
            }
            Op::GetAsOf(key, time) => {
                let found = store.get_as_of(key, *time).unwrap();
                assert_eq!(found.map(|found| (found.value, found.timestamp)), current.get_as_of(key, *time));
            }
            Op::Versions(key, from, to) => check_versions(store, &current, key, *from, *to),
            Op::Task(event) => {
                task.apply(*event);
                event.settle(&mut current, &mut committed);
            }
        }
    }
    task.commit();
    let expected = answers(task.access().0, &current);
    check_restored(engine, &task, &current, &expected);
}

/// Each version that counts in the range, once, newest first.
fn check_versions(store: &mut Store, model: &Model, key: &Key, from: i64, to: i64) {
    let found = store.versions(key, from, to).unwrap();
    let found: Vec<_> = found.into_iter().map(|found| (found.value, found.timestamp)).collect();
    let mut expected = Vec::new();
    let start = model.observed - HISTORY_MS;
    let first = if to < start { to } else { from.max(start) };
    for time in (first..=to).rev() {
        let version = model.get_as_of(key, time);
        if let Some(version) = version.filter(|version| expected.last() != Some(version)) {
            expected.push(version);
        }
    }
    assert_eq!(found, expected);
}

/// The changelog alone gives the same answers: by records, and in bulk.
fn check_restored(engine: Engine, task: &Task<Store>, model: &Model, expected: &[Option<(i64, i64)>]) {
    let mut restored = self::task(engine);
    let records = &task.changelog.records;
    restored.access().0.restore(&mut records.iter().map(Logged::restore)).unwrap();
    assert_eq!(answers(restored.access().0, model), expected);
    if engine.is_in_memory() {
        return;
    }
    let mut restored = self::task(engine);
    let builder = builder(engine);
    let mut bulk = BulkRestore::new(&restored.backend, &builder.spec(), 200).unwrap();
    for logged in records {
        bulk.push(&logged.restore()).unwrap();
    }
    let done = bulk.finish(TOPIC, 0, records.len() as i64).unwrap();
    let store = restored.access().0;
    store.bulk_restored(&done);
    assert_eq!(answers(store, model), expected);
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn versions_in_memory_are_a_map_by_time(ops in prop::collection::vec(op(), 1..120)) {
        check(Engine::Memory, &ops);
        check(Engine::Own, &ops);
    }
}

proptest! {
    // Each opens databases.
    #![proptest_config(cases(16))]

    #[test]
    fn versions_in_rocksdb_are_a_map_by_time(ops in prop::collection::vec(op(), 1..120)) {
        check(Engine::Rocks, &ops);
    }
}

#[test]
fn old_versions_are_removed_at_commits() {
    let mut task = task(Engine::Memory);
    for time in 0..1000 {
        let (store, mut cx) = task.access();
        store.put(&mut cx, &vec![(time % 7) as u8], (time % 5 != 0).then_some(&time), time).unwrap();
        if time % 10 == 0 {
            task.commit();
        }
    }
    task.commit();
    let rows = task.access().0.approximate_entries();
    assert!(rows < 150, "{rows} rows for 7 keys and a history of {HISTORY_MS} versions");
}
