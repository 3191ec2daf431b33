//! The applications: for each its topology, its input, and what its output must be, computed plainly.

mod bank;
mod checked;
mod join;
mod steps;
mod tables;
mod windows;
mod words;

pub use checked::check_the_checks;

use std::collections::BTreeMap;

use kstreams::Topology;

use crate::random::Random;
use crate::settings::Guarantee;

/// Partitions of inputs, and with them of what is repartitioned.
pub const PARTITIONS: i32 = 4;

/// All of them; the first is the one of the short run.
pub const ALL: [&dyn Scenario; 6] =
    [&words::Words, &windows::Windows, &tables::Tables, &join::Join, &bank::Bank, &steps::Steps];

pub fn named(name: &str) -> Option<&'static dyn Scenario> {
    ALL.into_iter().find(|scenario| scenario.name() == name)
}

/// An application under test.
pub trait Scenario: Sync {
    fn name(&self) -> &'static str;

    /// Topics that others write to.
    fn inputs(&self) -> &'static [&'static str];

    /// Topics that it writes to.
    fn outputs(&self) -> &'static [&'static str];

    /// Its repartition topics, in the order of the way through them, without prefix and suffix.
    fn repartitions(&self) -> &'static [&'static str];

    fn stores(&self) -> &'static [Store];

    /// What a worker runs.
    fn topology(&self, names: &Names, guarantee: Guarantee) -> Topology;

    /// Input number `n`, at the time `now` (ms).
    fn input(&self, random: &mut Random, n: u64, now: i64) -> Input;

    /// Compares the output with the input; answers what is wrong.
    fn check(&self, facts: &Facts) -> Vec<String>;
}

/// A store and how its entries are read.
#[derive(Clone, Copy)]
pub struct Store {
    pub name: &'static str,
    pub kind: StoreKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Text to a number, with timestamps, as aggregations store it.
    Count,
    /// Text to text, with timestamps, as tables store it.
    Table,
    /// Text to a number, without timestamps.
    Plain,
    /// Text and window to a number; windows that start before the latest one by this many ms may be gone.
    Windows { kept_ms: i64 },
}

/// The names of one episode on the cluster.
#[derive(Clone)]
pub struct Names(pub String);

impl Names {
    pub fn topic(&self, topic: &str) -> String {
        format!("{}-{topic}", self.0)
    }

    pub fn application(&self) -> String {
        self.topic("app")
    }

    pub fn repartition(&self, name: &str) -> String {
        format!("{}-{name}-repartition", self.application())
    }

    pub fn changelog(&self, store: &str) -> String {
        format!("{}-{store}-changelog", self.application())
    }
}

/// A record to write.
pub struct Input {
    pub topic: &'static str,
    /// `None`: to any partition.
    pub key: Option<String>,
    pub value: Option<String>,
    pub timestamp: i64,
}

/// A record read.
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub raw_key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
}

impl Row {
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap()).unwrap()
    }

    pub fn number(&self) -> i64 {
        i64::from_be_bytes(self.value.as_deref().unwrap().try_into().unwrap())
    }
}

/// What a check has: the topics as a plain consumer has read them, partition by partition. Outputs without what was aborted.
pub struct Facts {
    pub guarantee: Guarantee,
    /// Intermediate updates may be left out.
    pub cached: bool,
    pub topics: BTreeMap<&'static str, Vec<Row>>,
}

impl Facts {
    pub fn rows(&self, topic: &str) -> &[Row] {
        &self.topics[topic]
    }

    /// The values of each key in their order.
    pub fn by_key<'a, T>(&'a self, topic: &str, value: impl Fn(&'a Row) -> T) -> BTreeMap<&'a str, Vec<T>> {
        let mut keys: BTreeMap<&str, Vec<T>> = BTreeMap::new();
        for row in self.rows(topic) {
            keys.entry(&row.key).or_default().push(value(row));
        }
        keys
    }
}

/// Keys of one that the other has not.
fn unknown<'a, A, B>(
    seen: &'a BTreeMap<&'a str, A>,
    expected: &'a BTreeMap<String, B>,
    what: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let unknown = seen.keys().filter(|key| !expected.contains_key(**key));
    unknown.map(move |key| format!("{what} {key} is in the output, but not in the input"))
}

/// Counts that go up by one with each input: each key's updates against how often the input has it.
fn check_counts(facts: &Facts, what: &str, expected: &BTreeMap<String, i64>, output: &str) -> Vec<String> {
    let seen = facts.by_key(output, Row::number);
    let mut wrong: Vec<String> = unknown(&seen, expected, what).collect();
    for (key, times) in expected {
        let updates = seen.get(key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let last = updates.last().copied().unwrap_or(0);
        let rising = updates.windows(2).all(|pair| pair[0] < pair[1]);
        let fault = match facts.guarantee {
            Guarantee::ExactlyOnce if facts.cached => {
                (last != *times || !rising).then_some("not exactly once")
            }
            Guarantee::ExactlyOnce => {
                let all = updates.iter().copied().eq(1..=*times);
                (!all).then_some("not each update exactly once")
            }
            Guarantee::AtLeastOnce => (last < *times).then_some("lost"),
            Guarantee::AtMostOnce => {
                let most = updates.iter().copied().max().unwrap_or(0);
                let often = i64::try_from(updates.len()).unwrap();
                (most > *times || often > *times).then_some("double")
            }
        };
        if let Some(fault) = fault {
            wrong.push(format!("{what} {key}: {fault}: {times} in the input, updates {}", around(updates)));
        }
    }
    wrong
}

/// The place of interest in a list of updates: where they don't go up by one, and the end.
fn around(updates: &[i64]) -> String {
    let jump = updates.windows(2).position(|pair| pair[0] + 1 != pair[1]);
    let from = jump.unwrap_or(updates.len()).saturating_sub(3);
    let to = (from + 8).min(updates.len());
    format!("..{:?}.. last {:?} of {}", &updates[from..to], updates.last(), updates.len())
}

/// Things that go through one by one: of each key the same things in the same order.
fn check_each(
    facts: &Facts,
    what: &str,
    expected: &BTreeMap<String, Vec<String>>,
    seen: &BTreeMap<&str, Vec<&str>>,
) -> Vec<String> {
    let mut wrong: Vec<String> = unknown(seen, expected, what).collect();
    for (key, all) in expected {
        let got = seen.get(key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let mut left: BTreeMap<&str, i64> = BTreeMap::new();
        all.iter().for_each(|one| *left.entry(one).or_default() += 1);
        got.iter().for_each(|one| *left.entry(one).or_default() -= 1);
        let lost = left.iter().find(|(_, left)| **left > 0).map(|(one, _)| format!("{one} is lost"));
        let double = left.iter().find(|(_, left)| **left < 0).map(|(one, _)| format!("{one} is double"));
        let moved = || {
            let at = all.iter().zip(got).position(|(expected, got)| expected != got)?;
            Some(format!("at {at} there is {} instead of {}", got[at], all[at]))
        };
        let fault = match facts.guarantee {
            Guarantee::ExactlyOnce => lost.or(double).or_else(moved),
            Guarantee::AtLeastOnce => lost,
            Guarantee::AtMostOnce => double,
        };
        wrong.extend(fault.map(|fault| format!("{what} {key}: {fault} ({} of {})", got.len(), all.len())));
    }
    wrong
}
