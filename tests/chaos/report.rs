//! What a run did and found.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

/// How many violations are told of in full.
const SHOWN: usize = 20;

#[derive(Default)]
pub struct Report {
    tallies: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
    found: usize,
    /// When what was counted, to be read beside the logs.
    timeline: String,
}

impl Report {
    pub fn count(&mut self, what: &'static str, by: u64) {
        *self.tallies.entry(what).or_default() += by;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, ms) = (now.as_secs() % 86_400, now.subsec_millis());
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let _ = writeln!(self.timeline, "{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z {what} {by}");
    }

    /// What was counted when.
    pub fn timeline(&self) -> &str {
        &self.timeline
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
            *self.tallies.entry(what).or_default() += count;
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
