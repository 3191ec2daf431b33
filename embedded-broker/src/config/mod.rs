//! The broker's settings: where it listens and keeps its data, and Apache Kafka's keys by name.
//!
//! [`key`] says what a setting is (type, range, default); [`topic`] lists the topic's, [`broker`] the broker's.

pub(crate) mod broker;
pub(crate) mod key;
pub(crate) mod topic;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{SharedClock, SystemClock};
use crate::fault::{DiskFaults, VolatileDisk};
use crate::log::Disk;
use key::ConfigKey;

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No setting has this name.
    #[error("unknown configuration {name}{}", suggestion.map(|near| format!(", did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// The name given.
        name: String,
        /// The nearest name there is.
        suggestion: Option<&'static str>,
    },
    /// The value doesn't fit the setting.
    #[error("invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The setting.
        name: String,
        /// The value given.
        value: String,
        /// What is expected.
        reason: String,
    },
}

/// Settings by Kafka's names, as text; every entry was checked when it was set.
pub(crate) type Settings = BTreeMap<String, String>;

/// How a broker is to be started. The default: a temporary data directory (deleted on shutdown), a free port on
/// 127.0.0.1, one partition for topics created automatically, Apache Kafka's defaults for everything else.
///
/// ```
/// use kstreams_embedded_broker::BrokerConfig;
/// let config = BrokerConfig::new().set("num.partitions", "4")?.set("log.retention.ms", "60000")?;
/// # Ok::<(), kstreams_embedded_broker::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: String,
    pub(crate) settings: Settings,
    /// Which settings were given in a unit coarser than milliseconds, and how many of these it has.
    units: BTreeMap<&'static str, i64>,
    pub(crate) clock: SharedClock,
    pub(crate) disk: Disk,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            data_dir: None,
            listen: "127.0.0.1:0".to_owned(),
            settings: Settings::new(),
            units: BTreeMap::new(),
            clock: Arc::new(SystemClock),
            disk: Disk::default(),
        }
    }
}

impl BrokerConfig {
    /// The default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps topics and offsets in `dir`, which is created if it does not exist and outlives the broker.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Listens on `address`, `host:port`; port 0 lets the system choose a free one.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// Takes the time of day from `clock` (timestamps, retention, expiry).
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `faults` decide which changes to the logs' files fail, for tests of what a broken or full disk does.
    #[must_use]
    pub fn disk_faults(mut self, faults: Arc<dyn DiskFaults>) -> Self {
        self.disk.faults = Some(faults);
        self
    }

    /// Writes through `disk`, which can lose what was never made durable, for tests of power cuts. Every write costs
    /// more then.
    #[must_use]
    pub fn volatile_disk(mut self, disk: &VolatileDisk) -> Self {
        self.disk.volatile = Some(disk.clone());
        self
    }

    /// Sets one of Apache Kafka's broker settings by its name (`num.partitions`, `log.retention.ms`,
    /// `offsets.retention.minutes`, ...). Of several units of one setting (`log.retention.hours`, `.minutes`, `.ms`) the
    /// finest counts, in whatever order they are set.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] with the nearest name, [`ConfigError::Invalid`] with what is expected.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let (name, unit_ms) = broker::COARSE_UNITS
            .iter()
            .find(|(coarse, ..)| *coarse == name)
            .map_or((name, 1), |(_, fine, unit_ms)| (*fine, *unit_ms));
        let key = broker::find(name).ok_or_else(|| unknown(name, broker::KEYS.iter()))?;
        let mut value = key.check(value)?;
        if let Some(count) = value.parse::<i64>().ok().filter(|count| unit_ms > 1 && *count > 0) {
            value = count.saturating_mul(unit_ms).to_string();
        }
        if self.units.get(key.name).is_none_or(|given| unit_ms <= *given) {
            self.settings.insert(name.to_owned(), value);
            self.units.insert(key.name, unit_ms);
        }
        Ok(self)
    }
}

/// The error for a name that isn't among `keys`.
pub(crate) fn unknown<'a>(name: &str, keys: impl Iterator<Item = &'a ConfigKey>) -> ConfigError {
    let nearest = keys.map(|key| (distance(name, key.name), key.name)).min();
    let suggestion = nearest.and_then(|(distance, near)| (distance <= 1 + name.len() / 5).then_some(near));
    ConfigError::Unknown { name: name.to_owned(), suggestion }
}

/// Levenshtein distance in bytes: how many single edits turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let value = (*cell + 1).min(left + 1).min(diagonal + usize::from(x != y));
            diagonal = *cell;
            *cell = value;
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_names_the_nearest_one() {
        let error = BrokerConfig::new().set("log.retention.m", "1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown configuration log.retention.m, did you mean log.retention.ms?"
        );
        let error = BrokerConfig::new().set("colour", "red").unwrap_err();
        assert_eq!(error.to_string(), "unknown configuration colour");
    }

    #[test]
    fn of_several_units_of_a_setting_the_finest_counts() {
        let of = |pairs: &[(&str, &str)]| {
            let set = |config: BrokerConfig, (name, value): &(&str, &str)| config.set(name, value).unwrap();
            pairs.iter().fold(BrokerConfig::new(), set).settings
        };
        assert_eq!(of(&[("log.retention.hours", "2")])["log.retention.ms"], "7200000");
        let finest = of(&[("log.retention.minutes", "3"), ("log.retention.hours", "2")]);
        assert_eq!(finest["log.retention.ms"], "180000");
        let finest =
            of(&[("log.retention.hours", "-1"), ("log.retention.ms", "5"), ("log.retention.hours", "2")]);
        assert_eq!(finest["log.retention.ms"], "5");
        assert_eq!(of(&[("log.retention.hours", "-1")])["log.retention.ms"], "-1", "for ever");
    }

    #[test]
    fn a_value_of_the_wrong_type_says_what_is_expected() {
        let error = BrokerConfig::new().set("num.partitions", "many").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value many for configuration num.partitions: expected an integer"
        );
    }

    #[test]
    fn edit_distance() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
