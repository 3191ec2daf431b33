//! What holds after the faults, looked at with plain clients: nothing here uses the library under test.

mod leaks;
mod reader;
mod settle;
mod stores;

use std::collections::BTreeMap;

pub use leaks::{Footprint, nobody_left, nothing_open};
pub use settle::settle;
pub use stores::stores_equal_changelogs;

use crate::load::{Acknowledged, fingerprint};
use crate::report::Report;
use crate::scenario::{Facts, Names, Scenario};
use crate::settings::Guarantee;

/// Compares the topics of an episode with each other: all input that was acknowledged is there, and the output is what the
/// scenario computes from the input.
pub fn topics(
    scenario: &dyn Scenario,
    names: &Names,
    bootstrap: &str,
    acknowledged: &Acknowledged,
    guarantee: Guarantee,
    cached: bool,
    report: &mut Report,
) {
    let mut rows = BTreeMap::new();
    for topic in scenario.inputs().iter().chain(scenario.outputs()) {
        match reader::read(bootstrap, &names.topic(topic), true) {
            Ok(read) => rows.insert(*topic, read),
            Err(error) => return report.violation(error),
        };
    }
    let mut missing = 0;
    for topic in scenario.inputs() {
        let there: BTreeMap<(i32, i64), u64> = rows[topic]
            .iter()
            .map(|row| {
                let hash = fingerprint(Some(row.key.as_bytes()), row.value.as_deref());
                ((row.partition, row.offset), hash)
            })
            .collect();
        let mine = acknowledged.iter().filter(|((name, _, _), _)| name == topic);
        // An answer that was lost and given again, as a duplicate, tells no offset.
        let is_there = |p: &i32, o: &i64, hash: &u64| match o {
            0.. => there.get(&(*p, *o)) == Some(hash),
            _ => there.values().any(|other| other == hash),
        };
        missing += mine.filter(|((_, p, o), hash)| !is_there(p, o, hash)).count();
        report.count("input records", there.len() as u64);
    }
    if missing > 0 {
        report.violation(format!("the brokers have lost {missing} acknowledged records of the input"));
    }
    for topic in scenario.outputs() {
        report.count("output records", rows[topic].len() as u64);
        match reader::read(bootstrap, &names.topic(topic), false) {
            Ok(all) => report.count("aborted records", (all.len() - rows[topic].len()) as u64),
            Err(error) => report.violation(error),
        }
    }
    let facts = Facts { guarantee, cached, topics: rows };
    report.violations(scenario.check(&facts));
}
