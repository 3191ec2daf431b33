//! The store with a bounded number of entries: what gives way, what the changelog says of it, what comes back.

use super::{Engine, Task};
use crate::{KeyValueStore, StateStore, StoreBuilder, Stores};

type Store = KeyValueStore<String, i64>;

fn task() -> Task<Store> {
    let builder = Stores::lru_map::<String, i64>("recent", 2);
    Task::new(Engine::Memory, 0, builder.spec(), move |env| builder.build(env).unwrap())
}

fn put(task: &mut Task<Store>, key: &str, value: i64) {
    let (store, mut cx) = task.access();
    store.put(&mut cx, &key.to_owned(), Some(&value)).unwrap();
}

fn keys(task: &mut Task<Store>) -> String {
    task.access().0.all().unwrap().map(|entry| entry.unwrap().0).collect()
}

#[test]
fn the_least_recently_used_entry_gives_way_and_its_deletion_is_logged_first() {
    let mut task = task();
    put(&mut task, "a", 1);
    put(&mut task, "b", 2);
    assert_eq!(task.access().0.get(&"a".to_owned()).unwrap(), Some(1), "a is used");
    put(&mut task, "c", 3);
    assert_eq!(keys(&mut task), "ac");
    let logged: Vec<_> = task.changelog.records.iter().map(|r| (r.key.clone(), r.value.is_some())).collect();
    let expected = [("a", true), ("b", true), ("b", false), ("c", true)];
    assert_eq!(logged, expected.map(|(key, put)| (key.as_bytes().to_vec(), put)));
}

#[test]
fn a_restored_store_holds_the_same_and_goes_on_by_the_order_of_puts() {
    let mut task = task();
    for (at, key) in ["a", "b", "c", "b"].into_iter().enumerate() {
        put(&mut task, key, at as i64);
    }
    task.commit();
    task.restart();
    assert_eq!(keys(&mut task), "bc");
    put(&mut task, "d", 9);
    assert_eq!(keys(&mut task), "bd", "c was put before b was put again");
}

#[test]
fn an_abort_brings_back_what_gave_way() {
    let mut task = task();
    put(&mut task, "a", 1);
    put(&mut task, "b", 2);
    task.commit();
    put(&mut task, "c", 3);
    put(&mut task, "d", 4);
    task.abort();
    assert_eq!(keys(&mut task), "ab");
    put(&mut task, "e", 5);
    assert_eq!(task.access().0.approximate_entries(), 2);
}
