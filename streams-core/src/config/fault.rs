//! What is wrong with a configuration: every fault at once, each with the setting's name and a remedy.

use std::fmt;

/// One fault of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFault {
    /// The setting's name as the user wrote it, or Kafka's name where a setter was used.
    pub key: String,
    /// What is wrong and what to do. Never holds the value of a secret.
    pub problem: String,
}

impl ConfigFault {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigFault { key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.problem)
    }
}

/// A configuration with at least one fault; lists all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<ConfigFault>,
}

impl ConfigError {
    /// Faults in order of the setting's name, each once; `Ok` when there is none.
    pub(crate) fn check(mut faults: Vec<ConfigFault>) -> Result<(), ConfigError> {
        faults.sort_by(|a, b| (&a.key, &a.problem).cmp(&(&b.key, &b.problem)));
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
    }

    pub(crate) fn of(fault: ConfigFault) -> Self {
        ConfigError { faults: vec![fault] }
    }

    /// The faults, in order of the settings' names.
    pub fn faults(&self) -> &[ConfigFault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [only] => write!(f, "the configuration has a fault: {only}"),
            faults => {
                write!(f, "the configuration has {} faults:", faults.len())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
            }
        }
    }
}

/// The name of `known` that the user most likely meant, if one is near: a typing error or two, or another way to write it
/// (`commit_interval_ms`).
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain_form(given);
    let allowed = (given.len() / 4).clamp(1, 4);
    known
        .map(|name| (strsim::damerau_levenshtein(&plain, &plain_form(name)), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Lower case, with every separator written as a dot.
fn plain_form(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(['_', '-', ' '], ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_forgives_typing_errors_and_other_separators_but_does_not_guess_wildly() {
        let known = ["commit.interval.ms", "state.dir", "num.stream.threads"];
        assert_eq!(nearest("comit.interval.ms", known.into_iter()), Some("commit.interval.ms"));
        assert_eq!(nearest("COMMIT_INTERVAL_MS", known.into_iter()), Some("commit.interval.ms"));
        assert_eq!(nearest("num.streams.thread", known.into_iter()), Some("num.stream.threads"));
        assert_eq!(nearest("state.dirs", known.into_iter()), Some("state.dir"));
        assert_eq!(nearest("window.size", known.into_iter()), None);
    }

    #[test]
    fn all_faults_are_told_once_and_in_order() {
        let faults =
            vec![ConfigFault::new("b", "bad"), ConfigFault::new("a", "worse"), ConfigFault::new("b", "bad")];
        let error = ConfigError::check(faults).unwrap_err();
        assert_eq!(error.to_string(), "the configuration has 2 faults:\n  - `a`: worse\n  - `b`: bad");
        assert_eq!(ConfigError::check(Vec::new()), Ok(()));
    }
}
