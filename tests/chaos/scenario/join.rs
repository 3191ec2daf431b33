//! Orders joined with the customers as they are at that moment.

use std::collections::BTreeMap;

use kstreams::prelude::*;

use super::{Facts, Input, Names, Row, Scenario, Store, StoreKind, check_each};
use crate::random::Random;
use crate::settings::Guarantee;

pub struct Join;

const CUSTOMERS: u64 = 60;
/// Of a hundred records, how many change a customer.
const CHANGES: u64 = 15;

impl Scenario for Join {
    fn name(&self) -> &'static str {
        "join"
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["customers", "orders"]
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["shipments"]
    }

    fn repartitions(&self) -> &'static [&'static str] {
        &[]
    }

    fn stores(&self) -> &'static [Store] {
        &[Store { name: "customers", kind: StoreKind::Table }]
    }

    fn topology(&self, names: &Names, _: Guarantee) -> Topology {
        let builder = StreamsBuilder::new();
        let customers = builder.table_with(
            &names.topic("customers"),
            Consumed::<String, String>::new(),
            Materialized::named("customers"),
        );
        builder
            .stream::<String, String>(names.topic("orders"))
            .left_join(&customers, |order, customer: Option<String>| {
                format!("{order} {}", customer.as_deref().unwrap_or("0"))
            })
            .to(names.topic("shipments"));
        builder.build().unwrap()
    }

    /// An order's value is its number, and a customer's the number of the change: later ones are higher.
    fn input(&self, random: &mut Random, n: u64, now: i64) -> Input {
        let topic = if random.chance(CHANGES) { "customers" } else { "orders" };
        let key = Some(format!("c{}", random.skewed(CUSTOMERS)));
        Input { topic, key, value: Some((n + 1).to_string()), timestamp: now }
    }

    fn check(&self, facts: &Facts) -> Vec<String> {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in facts.rows("orders") {
            expected.entry(row.key.clone()).or_default().push(row.text().to_owned());
        }
        let seen = facts.by_key("shipments", |row| parts(row).0);
        let mut wrong = check_each(facts, "orders of", &expected, &seen);
        wrong.extend(self.check_customers(facts));
        wrong
    }
}

impl Join {
    /// Every order has met a customer that exists; under exactly-once none that was replaced before.
    fn check_customers(&self, facts: &Facts) -> Vec<String> {
        let known = facts.by_key("customers", Row::text);
        let mut wrong = Vec::new();
        for (key, versions) in facts.by_key("shipments", |row| parts(row).1) {
            let mut latest = 0;
            for version in versions {
                let known = known.get(key).is_some_and(|all| all.contains(&version));
                let number: u64 = version.parse().unwrap();
                if number != 0 && !known {
                    wrong.push(format!("customer {key}: there was no version {version}"));
                }
                if number < latest && facts.guarantee == Guarantee::ExactlyOnce {
                    wrong.push(format!("customer {key}: version {version} after {latest}"));
                }
                latest = latest.max(number);
            }
        }
        wrong
    }
}

fn parts(row: &Row) -> (&str, &str) {
    row.text().split_once(' ').unwrap()
}
