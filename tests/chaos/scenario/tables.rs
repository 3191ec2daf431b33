//! A table of who is in which team, grouped by team and counted: each change of team takes from one group and gives to another.

use std::collections::BTreeMap;

use kstreams::prelude::*;

use super::{Facts, Input, Names, Row, Scenario, Store, StoreKind, unknown};
use crate::random::Random;
use crate::settings::Guarantee;

pub struct Tables;

const PEOPLE: u64 = 400;
const TEAMS: u64 = 25;
/// Of a hundred records, how many say that somebody has left.
const LEAVE: u64 = 10;

/// What happens to the size of one team.
#[derive(Default)]
struct Moves {
    come: usize,
    go: usize,
    /// Said to be where they are already.
    stay: usize,
}

impl Scenario for Tables {
    fn name(&self) -> &'static str {
        "tables"
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["people"]
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["sizes"]
    }

    fn repartitions(&self) -> &'static [&'static str] {
        &["sizes"]
    }

    fn stores(&self) -> &'static [Store] {
        &[Store { name: "people", kind: StoreKind::Table }, Store { name: "sizes", kind: StoreKind::Count }]
    }

    fn topology(&self, names: &Names, _: Guarantee) -> Topology {
        let builder = StreamsBuilder::new();
        builder
            .table_with(
                &names.topic("people"),
                Consumed::<String, String>::new(),
                Materialized::named("people"),
            )
            .group_by(|person, team| (team, person.clone()))
            .count(Materialized::named("sizes"))
            .to_stream()
            .to(names.topic("sizes"));
        builder.build().unwrap()
    }

    fn input(&self, random: &mut Random, _: u64, now: i64) -> Input {
        Input {
            topic: "people",
            key: Some(format!("p{}", random.below(PEOPLE))),
            value: (!random.chance(LEAVE)).then(|| format!("team{}", random.skewed(TEAMS))),
            timestamp: now,
        }
    }

    fn check(&self, facts: &Facts) -> Vec<String> {
        let mut where_is: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut moves: BTreeMap<String, Moves> = BTreeMap::new();
        for row in facts.rows("people") {
            let to = row.value.as_ref().map(|_| row.text());
            let from = where_is.insert(&row.key, to).flatten();
            if from == to {
                to.into_iter().for_each(|team| moves.entry(team.to_owned()).or_default().stay += 1);
                continue;
            }
            from.into_iter().for_each(|team| moves.entry(team.to_owned()).or_default().go += 1);
            to.into_iter().for_each(|team| moves.entry(team.to_owned()).or_default().come += 1);
        }
        let seen = facts.by_key("sizes", Row::number);
        let mut wrong: Vec<String> = unknown(&seen, &moves, "team").collect();
        // A change that is counted twice, or half, is no lower bound of anything: as in the JVM, only exactly-once keeps
        // sums that go both ways. The store of the table itself is compared with its changelog in any case.
        if facts.guarantee == Guarantee::ExactlyOnce {
            wrong.extend(moves.iter().filter_map(|(team, moves)| {
                let sizes = seen.get(team.as_str()).map(Vec::as_slice).unwrap_or_default();
                moves.fault(sizes, facts.cached).map(|fault| format!("team {team}: {fault}"))
            }));
        }
        wrong
    }
}

impl Moves {
    /// Which members of a team move first is not determined, because they come from several partitions; how many is.
    fn fault(&self, sizes: &[i64], cached: bool) -> Option<String> {
        let (come, go) = (i64::try_from(self.come).unwrap(), i64::try_from(self.go).unwrap());
        let last = sizes.last().copied().unwrap_or(0);
        if last != come - go {
            return Some(format!("its size is {last}, not {come} - {go}"));
        }
        let steps = std::iter::once(&0).chain(sizes).zip(sizes).map(|(before, after)| after - before);
        let (mut up, mut down, mut same) = (0, 0, 0);
        for step in steps {
            match step {
                1 => up += 1,
                -1 => down += 1,
                0 => same += 1,
                _ if cached => {}
                _ => return Some(format!("its size moves by {step} at once")),
            }
        }
        let exact = (up, down, same) == (self.come, self.go, self.stay);
        (!cached && !exact).then(|| {
            format!("{up} came, {down} went, {same} stayed, not {}, {} and {}", self.come, self.go, self.stay)
        })
    }
}
