//! A topic's settings: its own over the broker's over the defaults.

use crate::config::key::ConfigKey;
use crate::config::{ConfigError, Settings, broker, topic, unknown};
use crate::log::LogConfig;

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

/// Reads parsed values; every text in reach was checked when it was set, defaults pass their own check by test.
struct Reader<'a> {
    overrides: &'a Settings,
    broker: &'a Settings,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> &str {
        topic::find(name).map_or("", |key| effective(key, self.overrides, self.broker).0)
    }

    fn get<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        self.text(name).parse().unwrap_or_default()
    }

    fn list_has(&self, name: &str, word: &str) -> bool {
        self.text(name).split(',').any(|item| item == word)
    }
}

/// The settings in force, as a log takes them.
pub(crate) fn log_config(overrides: &Settings, broker_settings: &Settings) -> LogConfig {
    let read = Reader { overrides, broker: broker_settings };
    let expiration = broker::find("producer.id.expiration.ms").map_or("", |key| key.default);
    let expiration = broker_settings.get("producer.id.expiration.ms").map_or(expiration, String::as_str);
    LogConfig {
        segment_bytes: read.get("segment.bytes"),
        segment_ms: read.get("segment.ms"),
        retention_ms: read.get("retention.ms"),
        retention_bytes: read.get("retention.bytes"),
        delete: read.list_has("cleanup.policy", "delete"),
        compact: read.list_has("cleanup.policy", "compact"),
        delete_retention_ms: read.get("delete.retention.ms"),
        min_compaction_lag_ms: read.get("min.compaction.lag.ms"),
        max_compaction_lag_ms: read.get("max.compaction.lag.ms"),
        min_cleanable_dirty_ratio: read.get("min.cleanable.dirty.ratio"),
        file_delete_delay_ms: read.get("file.delete.delay.ms"),
        log_append_time: read.text("message.timestamp.type") == "LogAppendTime",
        timestamp_before_max_ms: read.get("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: read.get("message.timestamp.after.max.ms"),
        max_message_bytes: read.get("max.message.bytes"),
        index_interval_bytes: read.get("index.interval.bytes"),
        flush_messages: read.get("flush.messages"),
        flush_ms: read.get("flush.ms"),
        producer_id_expiration_ms: expiration.parse().unwrap_or(i64::MAX),
    }
}

/// `min.insync.replicas` in force.
pub(crate) fn min_insync_replicas(overrides: &Settings, broker: &Settings) -> i32 {
    Reader { overrides, broker }.get("min.insync.replicas")
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
    fn the_defaults_here_are_the_logs_own() {
        assert_eq!(log_config(&Settings::new(), &Settings::new()), LogConfig::default());
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
