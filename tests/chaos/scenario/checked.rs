//! The checks, checked before each run: a right output passes, and whatever is lost, double or in the wrong order is found. A check
//! that finds nothing would make every run a success.

use std::collections::BTreeMap;

use super::{Facts, Row, Scenario, bank, join, tables, words};
use crate::settings::Guarantee::{self, AtLeastOnce, AtMostOnce, ExactlyOnce};

/// Records of one topic: key and value.
type Records<'a> = &'a [(&'a str, Vec<u8>)];

fn text(key: &'static str, value: &str) -> (&'static str, Vec<u8>) {
    (key, value.as_bytes().to_vec())
}

fn number(key: &'static str, value: i64) -> (&'static str, Vec<u8>) {
    (key, value.to_be_bytes().to_vec())
}

fn rows(records: Records<'_>) -> Vec<Row> {
    let row = |(offset, (key, value)): (i64, &(&str, Vec<u8>))| Row {
        partition: 0,
        offset,
        key: (*key).to_owned(),
        raw_key: key.as_bytes().to_vec(),
        value: Some(value.clone()),
        timestamp: 0,
    };
    (0..).zip(records).map(row).collect()
}

/// Whether the check is content.
fn passes(scenario: &dyn Scenario, guarantee: Guarantee, topics: &[(&'static str, Records<'_>)]) -> bool {
    let topics: BTreeMap<_, _> = topics.iter().map(|(topic, records)| (*topic, rows(records))).collect();
    scenario.check(&Facts { guarantee, cached: false, topics }).is_empty()
}

/// Which guarantees an output fulfils.
fn fulfils(
    scenario: &dyn Scenario,
    inputs: &[(&'static str, Records<'_>)],
    outputs: &[(&'static str, Records<'_>)],
    expected: &[Guarantee],
) {
    let topics: Vec<_> = inputs.iter().chain(outputs).copied().collect();
    for guarantee in [AtLeastOnce, ExactlyOnce, AtMostOnce] {
        let passed = passes(scenario, guarantee, &topics);
        let name = scenario.name();
        assert_eq!(passed, expected.contains(&guarantee), "{name}, {guarantee:?}: {outputs:?}");
    }
}

/// Panics when a check doesn't find what it must.
pub fn check_the_checks() {
    let lines = [text("", "a b a")];
    let words = |counts: Records<'_>, expected: &[Guarantee]| {
        fulfils(&words::Words, &[("lines", &lines)], &[("counts", counts)], expected);
    };
    words(&[number("a", 1), number("b", 1), number("a", 2)], &[AtLeastOnce, ExactlyOnce, AtMostOnce]);
    words(&[number("a", 1), number("b", 1)], &[AtMostOnce]);
    words(&[number("a", 1), number("b", 1), number("a", 2), number("a", 3)], &[AtLeastOnce]);
    words(&[number("a", 2), number("b", 1)], &[AtLeastOnce, AtMostOnce]);
    words(&[number("a", 2), number("b", 1), number("a", 1)], &[AtMostOnce]);
    words(&[number("a", 1), number("b", 1), number("a", 2), number("c", 1)], &[]);

    let orders = [text("ada", "2"), text("ada", "3")];
    let customers = [text("ada", "1"), text("ada", "4")];
    let join = |shipments: Records<'_>, expected: &[Guarantee]| {
        let inputs: [(_, Records<'_>); 2] = [("orders", &orders), ("customers", &customers)];
        fulfils(&join::Join, &inputs, &[("shipments", shipments)], expected);
    };
    join(&[text("ada", "2 1"), text("ada", "3 4")], &[AtLeastOnce, ExactlyOnce, AtMostOnce]);
    join(&[text("ada", "3 1")], &[AtMostOnce]);
    join(&[text("ada", "2 1"), text("ada", "3 1"), text("ada", "3 4")], &[AtLeastOnce]);
    join(&[text("ada", "3 1"), text("ada", "2 1")], &[AtLeastOnce, AtMostOnce]);
    join(&[text("ada", "2 4"), text("ada", "3 1")], &[AtLeastOnce, AtMostOnce]);
    join(&[text("ada", "2 1"), text("ada", "3 5")], &[]);

    let people = [text("ada", "x"), text("ada", "y"), text("bob", "y")];
    let tables = |sizes: Records<'_>, exactly: bool| {
        let topics: [(_, Records<'_>); 2] = [("people", &people), ("sizes", sizes)];
        assert_eq!(passes(&tables::Tables, ExactlyOnce, &topics), exactly, "{sizes:?}");
    };
    tables(&[number("x", 1), number("x", 0), number("y", 1), number("y", 2)], true);
    tables(&[number("x", 1), number("y", 1), number("y", 2)], false);
    tables(&[number("x", 1), number("x", 0), number("y", 2)], false);
    tables(
        &[number("x", 1), number("x", 0), number("y", 1), number("y", 0), number("y", 1), number("y", 2)],
        false,
    );

    check_the_bank();
}

fn check_the_bank() {
    // Within the branch, and to another one.
    let transfers = [text("b0", "0 100 b0/a0 b0/a1"), text("b0", "1 50 b0/a1 b1/a0")];
    let bank = |ledger: Records<'_>, credits: Records<'_>, expected: &[Guarantee]| {
        let inputs: [(_, Records<'_>); 1] = [("transfers", &transfers)];
        fulfils(&bank::Bank, &inputs, &[("ledger", ledger), ("credits", credits)], expected);
    };
    let debit = || vec![text("b0", "0 b0/a0 400")];
    let rest = || vec![text("b0", "1 b0/a1 550")];
    let whole = [debit(), vec![text("b0", "0 b0/a1 600")], rest()].concat();
    let credit = [text("b1", "1 b1/a0 50")];
    bank(&whole, &credit, &[AtLeastOnce, ExactlyOnce, AtMostOnce]);
    bank(&whole, &[], &[AtMostOnce]);
    bank(&[debit(), rest()].concat(), &credit, &[AtMostOnce]);
    bank(&[debit(), debit(), vec![text("b0", "0 b0/a1 600")], rest()].concat(), &credit, &[AtLeastOnce]);
    bank(&whole, &[text("b1", "1 b1/a0 100")], &[AtLeastOnce, AtMostOnce]);
    bank(&whole, &[text("b1", "1 b1/a0 50"), text("b1", "1 b1/a0 100")], &[AtLeastOnce]);
    // A lost credit is found although the debit was done several times.
    bank(&[debit(), debit(), rest(), rest()].concat(), &credit, &[]);
    bank(&[whole.clone(), rest()].concat(), &[], &[]);

    // One that the account can't pay is refused under exactly-once, and nothing else is right.
    let transfers: Vec<_> = transfers.into_iter().chain([text("b0", "2 900 b0/a0 b0/a1")]).collect();
    let refused = [whole.clone(), vec![text("b0", "2 b0/a0 refused")]].concat();
    let paid = [whole.clone(), vec![text("b0", "2 b0/a0 -500"), text("b0", "2 b0/a1 1450")]].concat();
    for (ledger, right) in [(&refused, true), (&paid, false), (&whole, false)] {
        let topics: [(_, Records<'_>); 3] =
            [("transfers", &transfers), ("ledger", ledger), ("credits", &credit)];
        assert_eq!(passes(&bank::Bank, ExactlyOnce, &topics), right, "{ledger:?}");
    }
    // The same, seen by a reader between the two entries of one transfer.
    let mut rows = rows(&refused);
    rows.iter_mut().skip(1).for_each(|row| row.offset += 1);
    let input = [("transfers", self::rows(&transfers)), ("ledger", rows), ("credits", self::rows(&credit))];
    let facts = Facts { guarantee: ExactlyOnce, cached: false, topics: input.into() };
    assert!(!bank::Bank.check(&facts).is_empty(), "a transfer that is half done at a committed moment");
}
