//! What became of the cases: family by level, and the first difference of each case that does not agree.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;

use super::program::{self, ProgramError};
use super::run::{self, LEVELS};

/// Passed and failed at each level.
type Levels = [(usize, usize); LEVELS.len()];

/// See the module.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) passed: usize,
    /// What is not there yet, and how many cases need it; they count as failed.
    pub(crate) waiting: BTreeMap<String, usize>,
    families: BTreeMap<String, Levels>,
    /// Each case that does not agree, with its first difference.
    differing: Vec<String>,
}

/// The first difference at each level, and the text of an error that the case did not expect.
type Found = ([Option<String>; LEVELS.len()], String);

fn run_case(case: &Value) -> Result<Found, ProgramError> {
    let config = run::config(case);
    let (actual, describe) = match program::build(case, &config) {
        Err(ProgramError::NotThereYet(what)) => return Err(ProgramError::NotThereYet(what)),
        Err(error) => (run::not_built(&error), None),
        Ok(program) => {
            let describe = program.topology.describe().to_string();
            (run::run(case, program, &config), Some(describe))
        }
    };
    let error = actual["error"]["text"].as_str().unwrap_or_default().to_owned();
    Ok((run::differences(&case["expect"], &actual, describe.as_deref()), error))
}

impl Report {
    /// Runs a case and takes note of it.
    pub(crate) fn add(&mut self, case: &Value) {
        let name = case["name"].as_str().unwrap_or("(a case without name)").to_owned();
        let family = name.split('-').next().unwrap_or_default().to_owned();
        let (found, error) = match catch_unwind(AssertUnwindSafe(|| run_case(case))) {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => {
                *self.waiting.entry(why.to_string()).or_default() += 1;
                return self.not_run(family, &name, &why.to_string());
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("no text", String::as_str);
                return self.not_run(family, &name, &format!("the interpreter panicked: {text}"));
            }
        };
        let levels = self.families.entry(family).or_default();
        for (level, difference) in levels.iter_mut().zip(&found) {
            if difference.is_none() { level.0 += 1 } else { level.1 += 1 }
        }
        match LEVELS.iter().zip(found).find_map(|(level, difference)| Some((level, difference?))) {
            None => self.passed += 1,
            Some((level, difference)) => {
                self.differing.push(format!("{name}: {level}: {difference} {error}"))
            }
        }
    }

    fn not_run(&mut self, family: String, name: &str, why: &str) {
        self.families.entry(family).or_default().iter_mut().for_each(|level| level.1 += 1);
        self.differing.push(format!("{name}: {why}"));
    }

    /// A file that holds no case.
    pub(crate) fn unreadable(&mut self, file: &Path, why: &str) {
        self.not_run("(unreadable)".to_owned(), &file.display().to_string(), why);
    }

    pub(crate) fn failed(&self) -> usize {
        self.differing.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:14}", "passed/failed")?;
        LEVELS.iter().try_for_each(|level| write!(f, "{level:>17}"))?;
        writeln!(f)?;
        for (family, levels) in &self.families {
            write!(f, "{family:14}")?;
            for (passed, failed) in levels {
                write!(f, "{:>17}", format!("{passed}/{failed}"))?;
            }
            writeln!(f)?;
        }
        for difference in &self.differing {
            writeln!(f, "\n{difference}")?;
        }
        write!(f, "\n{} passed, {} failed", self.passed, self.failed())
    }
}
