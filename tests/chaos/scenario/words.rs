//! The word count: lines without keys, a repartition topic, one store.

use std::collections::BTreeMap;

use kstreams::prelude::*;

use super::{Facts, Input, Names, Scenario, Store, StoreKind, check_counts};
use crate::random::Random;
use crate::settings::Guarantee;

pub struct Words;

const WORDS: u64 = 300;

impl Scenario for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["lines"]
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["counts"]
    }

    fn repartitions(&self) -> &'static [&'static str] {
        &["word-counts"]
    }

    fn stores(&self) -> &'static [Store] {
        &[Store { name: "word-counts", kind: StoreKind::Count }]
    }

    fn topology(&self, names: &Names, _: Guarantee) -> Topology {
        let builder = StreamsBuilder::new();
        builder
            .stream::<(), String>(names.topic("lines"))
            .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .group_by(|_, word| word.clone())
            .count(Materialized::named("word-counts"))
            .to_stream()
            .to(names.topic("counts"));
        builder.build().unwrap()
    }

    fn input(&self, random: &mut Random, _: u64, now: i64) -> Input {
        let words = 1 + random.below(5);
        let line: Vec<String> = (0..words).map(|_| format!("w{}", random.skewed(WORDS))).collect();
        Input { topic: "lines", key: None, value: Some(line.join(" ")), timestamp: now }
    }

    fn check(&self, facts: &Facts) -> Vec<String> {
        let mut expected = BTreeMap::new();
        for word in facts.rows("lines").iter().flat_map(|row| row.text().split_whitespace()) {
            *expected.entry(word.to_owned()).or_insert(0) += 1;
        }
        check_counts(facts, "word", &expected, "counts")
    }
}
