//! Asynchronous steps behind a stateful operator: requests are counted by sender, and each count takes a while, and sometimes
//! a second attempt, before it is given on. A commit must wait for what is under way, else what was counted is counted again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kstreams::prelude::*;

use super::{Facts, Input, Names, Scenario, Store, StoreKind, check_counts};
use crate::random::Random;
use crate::settings::Guarantee;

pub struct Steps;

const SENDERS: u64 = 80;
/// One attempt of so many fails.
const FAILS: u64 = 23;
const LONGEST_MS: u64 = 25;

impl Scenario for Steps {
    fn name(&self) -> &'static str {
        "steps"
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["requests"]
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["answers"]
    }

    fn repartitions(&self) -> &'static [&'static str] {
        &[]
    }

    fn stores(&self) -> &'static [Store] {
        &[Store { name: "requests", kind: StoreKind::Count }]
    }

    fn topology(&self, names: &Names, _: Guarantee) -> Topology {
        let builder = StreamsBuilder::new();
        let attempts = AtomicU64::new(0);
        builder
            .stream::<String, String>(names.topic("requests"))
            .group_by_key()
            .count(Materialized::named("requests"))
            .to_stream()
            .map_values_async(AsyncOptions::new().with_retries(10), move |count| {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                async move {
                    // Later ones are often ready earlier.
                    tokio::time::sleep(Duration::from_millis(attempt * 7 % LONGEST_MS)).await;
                    if attempt.is_multiple_of(FAILS) { Err("not this time".into()) } else { Ok(count) }
                }
            })
            .to(names.topic("answers"));
        builder.build().unwrap()
    }

    fn input(&self, random: &mut Random, n: u64, now: i64) -> Input {
        let key = Some(format!("s{}", random.skewed(SENDERS)));
        Input { topic: "requests", key, value: Some(n.to_string()), timestamp: now }
    }

    fn check(&self, facts: &Facts) -> Vec<String> {
        let mut expected = BTreeMap::new();
        for row in facts.rows("requests") {
            *expected.entry(row.key.clone()).or_insert(0) += 1;
        }
        check_counts(facts, "sender", &expected, "answers")
    }
}
