//! A record cache of any size leaves the same final state as none: what differs is how often updates are told.

use std::collections::BTreeMap;

use kstreams_core::config::StreamsConfig;
use kstreams_dsl::{Materialized, StreamsBuilder};
use kstreams_state_stores::TimestampedKeyValueStore;
use kstreams_test::TopologyTestDriver;

/// Sums per key, and per sum modulo 3 the number of keys and the sum of the sums: a chain of two tables, so that what
/// leaves the first cache must come with the right old value.
fn topology() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let updates = builder.stream::<(), String>("in").flat_map(|(), line| {
        let updates = line.split(' ').map(|update| {
            let (key, value) = update.split_once('=').unwrap();
            (key.to_owned(), value.parse::<i64>().unwrap())
        });
        updates.collect::<Vec<_>>()
    });
    let sums = updates
        .group_by_key()
        .reduce(|sum, value| if value == 0 { 0 } else { sum + value }, Materialized::named("sums"));
    let small = sums.filter(|_, &sum| sum != 0);
    let groups = small.group_by(|_, sum| (sum % 3, sum));
    groups.count(Materialized::named("members"));
    groups.aggregate(|| 0, |_, new, sum| sum + new, |_, old, sum| sum - old, Materialized::named("totals"));
    builder
}

/// Numbers that look random; the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn content<K: Ord + 'static>(driver: &TopologyTestDriver, store: &str) -> BTreeMap<K, i64> {
    let content = driver.with_store(store, |store: &mut TimestampedKeyValueStore<K, i64>| {
        let rows = store.all().unwrap().map(Result::unwrap);
        rows.map(|(key, row)| (key, row.value)).collect::<BTreeMap<K, i64>>()
    });
    content.unwrap()
}

/// The two ends of the chain after `lines`.
fn run(
    cache_bytes: usize,
    lines: &[String],
) -> (BTreeMap<String, i64>, BTreeMap<i64, i64>, BTreeMap<i64, i64>) {
    let config =
        StreamsConfig::new("app", "none:1").set("statestore.cache.max.bytes", cache_bytes.to_string());
    let driver = TopologyTestDriver::with_config(topology().build().unwrap(), &config, 0).unwrap();
    let input = driver.create_input_topic::<(), String>("in");
    for line in lines {
        input.pipe_input((), line.clone()).unwrap();
    }
    (content(&driver, "sums"), content(&driver, "members"), content(&driver, "totals"))
}

#[test]
fn caches_of_any_size_leave_the_state_that_none_leaves() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let lines: Vec<String> = (0..30)
            .map(|_| {
                let updates = (0..=random.below(6)).map(|_| {
                    let key = char::from(b'a' + u8::try_from(random.below(5)).unwrap());
                    format!("{key}={}", random.below(5))
                });
                updates.collect::<Vec<_>>().join(" ")
            })
            .collect();
        let plain = run(0, &lines);
        for cache_bytes in [1, 150, 400, 1_000_000] {
            assert_eq!(run(cache_bytes, &lines), plain, "seed {seed}, cache of {cache_bytes} bytes");
        }
        let (sums, members, totals) = plain;
        let mut expected: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for sum in sums.into_values().filter(|&sum| sum != 0) {
            let group = expected.entry(sum % 3).or_default();
            *group = (group.0 + 1, group.1 + sum);
        }
        for (group, members) in members {
            let (count, total) = expected.get(&group).copied().unwrap_or_default();
            assert_eq!((members, totals[&group]), (count, total), "seed {seed}, group {group}");
        }
    }
}
