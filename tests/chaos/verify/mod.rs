//! What holds after the faults, looked at with plain clients: nothing here uses the library under test.

mod leaks;
mod reader;
mod settle;
mod stores;

use std::collections::{BTreeMap, HashMap};

pub use leaks::{Footprint, nobody_left, nothing_open};
pub use settle::settle;
pub use stores::stores_equal_changelogs;

use crate::load::{Acknowledged, fingerprint};
use crate::report::Report;
use crate::scenario::{Facts, Names, Row, Scenario};
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
    for topic in scenario.inputs() {
        report.count("input records", rows[topic].len() as u64);
        let lost = lost_input(topic, &rows[topic], acknowledged, report);
        report.violations(lost);
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

/// Every acknowledged record of an input has to be where its acknowledgement said. One without an offset has to be among those of its
/// partition that nobody else claims.
fn lost_input(topic: &str, rows: &[Row], acknowledged: &Acknowledged, report: &mut Report) -> Vec<String> {
    let mut there: HashMap<(i32, i64), u64> = HashMap::new();
    for row in rows {
        let record = fingerprint(Some(row.key.as_bytes()), row.value.as_deref());
        there.insert((row.partition, row.offset), record);
    }
    let mut lost = Vec::new();
    for ((_, partition), placed) in acknowledged.placed.iter().filter(|((name, _), _)| *name == topic) {
        for (offset, record) in placed {
            match there.remove(&(*partition, *offset)) {
                Some(found) if found == *record => {}
                found => {
                    let what = if found.is_some() { "another record is" } else { "nothing is" };
                    lost.push(format!(
                        "{what} at offset {offset} of {topic}-{partition}, where one was acknowledged"
                    ));
                }
            }
        }
    }
    let mut unclaimed: HashMap<(i32, u64), usize> = HashMap::new();
    there
        .iter()
        .for_each(|((partition, _), record)| *unclaimed.entry((*partition, *record)).or_default() += 1);
    for ((_, partition), records) in acknowledged.duplicates.iter().filter(|((name, _), _)| *name == topic) {
        report.count("input acknowledged without an offset", records.len() as u64);
        for record in records {
            match unclaimed.get_mut(&(*partition, *record)).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => lost.push(format!(
                    "a record of {topic}-{partition} was acknowledged without an offset and is not there"
                )),
            }
        }
    }
    lost
}
