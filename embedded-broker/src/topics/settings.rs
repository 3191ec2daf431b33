//! A topic's settings: its own over the broker's over the defaults.

use crate::config::key::ConfigKey;
use crate::config::{ConfigError, Settings, topic, unknown};

/// Where a setting's value comes from (`DescribeConfigs`' config source).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set when the broker was started.
    Broker = 4,
    /// Nobody set it.
    Default = 5,
}

/// The value in force of a topic's setting.
pub(crate) fn effective<'a>(
    key: &'a ConfigKey,
    overrides: &'a Settings,
    broker: &'a Settings,
) -> (&'a str, Source) {
    if let Some(value) = overrides.get(key.name) {
        return (value, Source::Topic);
    }
    match key.synonym.and_then(|synonym| broker.get(synonym)) {
        Some(value) => (value, Source::Broker),
        None => (key.default, Source::Default),
    }
}

/// Checks a topic's settings: every name known, every value in range, no contradiction among them.
pub(crate) fn check_overrides<'a>(
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
    broker: &Settings,
) -> Result<Settings, ConfigError> {
    let mut checked = Settings::new();
    for (name, value) in given {
        let key = topic::find(name).ok_or_else(|| unknown(name, topic::KEYS.iter()))?;
        checked.insert(name.to_owned(), key.check(value)?);
    }
    check_lags(&checked, broker)?;
    Ok(checked)
}

/// `min.compaction.lag.ms` may not exceed `max.compaction.lag.ms` (`LogConfig.validateValues`).
fn check_lags(overrides: &Settings, broker: &Settings) -> Result<(), ConfigError> {
    let lag = |name| {
        topic::find(name).map_or("0", |key| effective(key, overrides, broker).0).parse::<i64>().unwrap_or(0)
    };
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min <= max {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        name: "min.compaction.lag.ms".to_owned(),
        value: min.to_string(),
        reason: format!("must not be larger than max.compaction.lag.ms, which is {max}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_own_value_wins_over_the_brokers_over_the_default() {
        let key = topic::find("retention.ms").unwrap();
        let (mut own, mut broker) = (Settings::new(), Settings::new());
        assert_eq!(effective(key, &own, &broker), ("604800000", Source::Default));
        broker.insert("log.retention.ms".to_owned(), "5".to_owned());
        assert_eq!(effective(key, &own, &broker), ("5", Source::Broker));
        own.insert("retention.ms".to_owned(), "7".to_owned());
        assert_eq!(effective(key, &own, &broker), ("7", Source::Topic));
    }

    #[test]
    fn contradictions_and_unknown_names_are_refused() {
        let none = Settings::new();
        assert!(check_overrides([("cleanup.policy", "compact,delete")], &none).is_ok());
        assert!(check_overrides([("cleanup.policy", "compost")], &none).is_err());
        assert!(check_overrides([("retention", "1")], &none).is_err());
        let lags = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
        assert!(check_overrides(lags, &none).is_err());
    }
}
