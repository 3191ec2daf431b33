//! Windowed counts: views of pages by the second, out of order within the grace.

use std::collections::BTreeMap;
use std::time::Duration;

use kstreams::prelude::*;

use super::{Facts, Input, Names, Scenario, Store, StoreKind, check_counts};
use crate::random::Random;
use crate::settings::Guarantee;

pub struct Windows;

const PAGES: u64 = 40;
const WINDOW_MS: i64 = 1_000;
/// Longer than anything is late, so that no view is dropped whichever input a task reads first after a restart.
const GRACE: Duration = Duration::from_secs(60);
/// How late a view is at most.
const LATE_MS: u64 = 900;

impl Scenario for Windows {
    fn name(&self) -> &'static str {
        "windows"
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["views"]
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["by-window"]
    }

    fn repartitions(&self) -> &'static [&'static str] {
        &[]
    }

    fn stores(&self) -> &'static [Store] {
        // Half of what the grace keeps: partitions differ a little in how far they are.
        &[Store { name: "views", kind: StoreKind::Windows { kept_ms: 30_000 } }]
    }

    fn topology(&self, names: &Names, _: Guarantee) -> Topology {
        let builder = StreamsBuilder::new();
        let windows = TimeWindows::of_size_and_grace(Duration::from_millis(WINDOW_MS.unsigned_abs()), GRACE);
        builder
            .stream::<String, String>(names.topic("views"))
            .group_by_key()
            .windowed_by(windows)
            .count(Materialized::named("views"))
            .to_stream()
            .select_key(|page, _| format!("{}@{}", page.key, page.window.start))
            .to(names.topic("by-window"));
        builder.build().unwrap()
    }

    fn input(&self, random: &mut Random, _: u64, now: i64) -> Input {
        let late = i64::try_from(random.below(LATE_MS)).unwrap();
        Input {
            topic: "views",
            key: Some(format!("page{}", random.skewed(PAGES))),
            value: Some("view".to_owned()),
            timestamp: now - late,
        }
    }

    fn check(&self, facts: &Facts) -> Vec<String> {
        let mut expected = BTreeMap::new();
        for row in facts.rows("views") {
            let start = row.timestamp / WINDOW_MS * WINDOW_MS;
            *expected.entry(format!("{}@{start}", row.key)).or_insert(0) += 1;
        }
        check_counts(facts, "window", &expected, "by-window")
    }
}
