//! What a run did and found.

use std::collections::BTreeMap;
use std::fmt;

/// How many violations are told of in full.
const SHOWN: usize = 20;

#[derive(Default)]
pub struct Report {
    tallies: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
    found: usize,
}

impl Report {
    pub fn count(&mut self, what: &'static str, by: u64) {
        *self.tallies.entry(what).or_default() += by;
    }

    pub fn tally(&self, what: &str) -> u64 {
        self.tallies.get(what).copied().unwrap_or(0)
    }

    /// Something that must not be.
    pub fn violation(&mut self, text: impl Into<String>) {
        self.found += 1;
        if self.violations.len() < SHOWN {
            self.violations.push(text.into());
        }
    }

    pub fn violations(&mut self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|text| self.violation(text));
    }

    pub fn has_violations(&self) -> bool {
        self.found > 0
    }

    pub fn add(&mut self, other: &Report) {
        for (what, count) in &other.tallies {
            self.count(what, *count);
        }
        self.violations.extend(other.violations.iter().cloned());
        self.violations.truncate(SHOWN);
        self.found += other.found;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.tallies {
            write!(f, "{what} {count}, ")?;
        }
        write!(f, "violations {}", self.found)?;
        self.violations.iter().try_for_each(|text| write!(f, "\n  VIOLATION: {text}"))
    }
}
