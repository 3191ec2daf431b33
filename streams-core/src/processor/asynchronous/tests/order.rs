//! Order, limits, and what stays the same about a record.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use tokio::sync::Semaphore;

use super::*;

/// The random numbers of a test, which prints the seed: `SEED=n` repeats a run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
        println!("SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What calls see of each other.
#[derive(Default)]
struct Observed {
    running: usize,
    most: usize,
    by_key: BTreeMap<String, usize>,
    most_of_a_key: usize,
}

/// What came in, as key and value; what went out; what calls saw.
type Run = (Vec<(String, String)>, Vec<Sent>, Observed);

/// Values `<key> <n>` with random waits; the step gives each on as it is.
fn random_run(options: AsyncOptions) -> Run {
    let mut random = Random::new();
    let observed = Arc::new(Mutex::new(Observed::default()));
    let seen = Arc::clone(&observed);
    let mut driven = Driven::new(options, move |key, value| {
        let seen = Arc::clone(&seen);
        async move {
            {
                let mut seen = seen.lock();
                seen.running += 1;
                seen.most = seen.most.max(seen.running);
                let of_key = seen.by_key.entry(key.clone()).or_default();
                *of_key += 1;
                let of_key = *of_key;
                seen.most_of_a_key = seen.most_of_a_key.max(of_key);
            }
            let wait = value.rsplit(' ').next().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_micros(wait)).await;
            let mut seen = seen.lock();
            seen.running -= 1;
            *seen.by_key.get_mut(&key).unwrap() -= 1;
            Ok(value)
        }
    });
    let records: Vec<(String, String)> = (0..300)
        .map(|n| {
            let key = format!("k{}", random.below(12));
            let value = format!("{key} {n} {}", random.below(3_000));
            (key, value)
        })
        .collect();
    driven.feed(records.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    driven.finish().unwrap();
    let observed = std::mem::take(&mut *observed.lock());
    (records, driven.sent(), observed)
}

fn by_key(records: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in records {
        map.entry(key).or_default().push(value);
    }
    map
}

#[test]
fn the_order_of_each_key_is_kept_and_its_calls_follow_each_other() {
    let (records, sent, observed) = random_run(AsyncOptions::new().with_max_in_flight(20));
    let sent: Vec<(String, String)> = sent.into_iter().map(|sent| (sent.key, sent.value)).collect();
    assert_eq!(by_key(sent), by_key(records));
    assert_eq!(observed.most_of_a_key, 1);
    assert!((2..=20).contains(&observed.most), "{} calls at once", observed.most);
}

#[test]
fn the_order_of_all_is_kept_although_calls_run_at_once() {
    let options = AsyncOptions::new().with_order(AsyncOrder::All).with_max_in_flight(20);
    let (records, sent, observed) = random_run(options);
    assert_eq!(
        sent.into_iter().map(|sent| sent.value).collect::<Vec<_>>(),
        records.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    );
    let most = observed.most;
    assert!((2..=20).contains(&most), "{most} calls at once");
}

#[test]
fn without_order_everything_comes_once_and_the_limit_holds() {
    let options = AsyncOptions::new().with_order(AsyncOrder::None).with_max_in_flight(7);
    let (records, sent, observed) = random_run(options);
    let mut sent: Vec<String> = sent.into_iter().map(|sent| sent.value).collect();
    let mut values: Vec<String> = records.into_iter().map(|(_, value)| value).collect();
    sent.sort_unstable();
    values.sort_unstable();
    assert_eq!(sent, values);
    let most = observed.most;
    assert!((2..=7).contains(&most), "{most} calls at once");
}

/// The slow one is first, and of the same key: with the order given up it is overtaken all the same.
#[test]
fn without_order_a_result_goes_on_as_soon_as_it_is_there() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let options = AsyncOptions::new().with_order(AsyncOrder::None);
    let mut driven = Driven::new(options, move |_, value| {
        let gate = Arc::clone(&held);
        async move {
            if value == "slow" {
                let _permit = gate.acquire().await?;
            }
            Ok(value)
        }
    });
    driven.feed([("k", "slow"), ("k", "fast")]);
    driven.rounds(|driven| !driven.values().is_empty()).unwrap();
    assert_eq!(driven.values(), ["fast"]);
    gate.add_permits(1);
    driven.finish().unwrap();
    assert_eq!(driven.values(), ["fast", "slow"]);
}

/// A full step stops its task's intake, and nothing else about it.
#[test]
fn a_full_step_leaves_records_in_the_input_until_it_has_room() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut driven = Driven::new(AsyncOptions::new().with_max_in_flight(3), move |_, value| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await?.forget();
            Ok(value)
        }
    });
    let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    driven.feed(keys.iter().map(|key| (key.as_str(), "v")));
    assert_eq!(driven.task.process(usize::MAX).unwrap(), 3);
    assert_eq!((driven.held(), driven.task.buffered(0), driven.task.takes_records()), (3, 7, false));
    assert!(!driven.task.punctuate_wall_clock().unwrap(), "asked, and none is due");
    gate.add_permits(1);
    driven.rounds(|driven| driven.values().len() == 1).unwrap();
    driven.rounds(|driven| driven.held() == 3).unwrap();
    assert_eq!(driven.task.buffered(0), 6, "one went, one came");
    gate.add_permits(9);
    driven.finish().unwrap();
    assert_eq!(driven.values().len(), 10);
}

/// What goes on belongs to the record that it was made from, whatever the task did meanwhile.
#[test]
fn results_carry_the_context_of_their_record() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut topology = Topology::new();
    topology.add_source::<String, String>("source", "in").unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let metadata = Arc::clone(&seen);
    let processor = Arc::new(move |record: Record<String, String>, about: RecordMetadata| {
        let gate = Arc::clone(&held);
        metadata.lock().push((about.topic.unwrap().to_string(), about.partition, about.offset));
        async move {
            if record.key == "a" {
                gate.acquire().await?.forget();
            }
            // None, one or several results.
            let count: usize = record.value.parse()?;
            Ok((0..count).map(|n| record.clone().with_value(format!("{n}"))).collect())
        }
    });
    let supplier = move || AsyncAdapter::new(Arc::clone(&processor), AsyncOptions::new());
    topology.add_processor::<String, String, String, String, _>("step", supplier, &["source"]).unwrap();
    topology.add_sink::<String, String>("sink", "out", &["step"]).unwrap();
    let mut driven = Driven::of(&topology, TaskHandlers::default(), runtime());
    driven.feed([("a", "2"), ("b", "0"), ("c", "1")]);
    driven.rounds(|driven| driven.values().len() == 1).unwrap();
    gate.add_permits(1);
    driven.finish().unwrap();
    let sent: Vec<String> =
        driven.sent().into_iter().map(|sent| format!("{}{}@{}", sent.key, sent.value, sent.offset)).collect();
    assert_eq!(sent, ["c0@2", "a0@0", "a1@0"]);
    let mut seen = seen.lock().clone();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2].map(|offset| ("in".to_owned(), 0, offset)));
}
