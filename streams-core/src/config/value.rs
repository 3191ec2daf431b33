//! The types of settings, and how they are read from text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A text that must not show up in logs: passwords, keys. Debug and Display print `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Whether the value of this setting must be kept out of logs. By parts of the name, so that a mistyped name is covered too.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let marks = [
        "pas",
        "pwd",
        "secret",
        "jaas",
        "ssl.key",
        "keystore.key",
        "private.key",
        "oauthbearer.config",
        "ssl_key",
        "sas.token",
    ];
    marks.iter().any(|mark| key.contains(mark)) && !key.ends_with(".location")
}

/// The text of a setting: hidden in every output where its name says that it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SettingText {
    Plain(String),
    Hidden(Secret),
}

impl SettingText {
    pub(crate) fn new(key: &str, text: impl Into<String>) -> Self {
        if is_secret(key) { SettingText::Hidden(Secret::new(text)) } else { SettingText::Plain(text.into()) }
    }

    /// The text itself, for the client that needs it.
    pub(crate) fn expose(&self) -> &str {
        match self {
            SettingText::Plain(text) => text,
            SettingText::Hidden(secret) => secret.expose(),
        }
    }
}

impl fmt::Debug for SettingText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingText::Plain(text) => fmt::Debug::fmt(text, f),
            SettingText::Hidden(secret) => fmt::Debug::fmt(secret, f),
        }
    }
}

/// How records are processed with regard to failures (`processing.guarantee`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessingGuarantee {
    /// Each record has its effect at least once; after a failure some effects may be seen twice.
    #[default]
    AtLeastOnce,
    /// Each record has its effect exactly once: results, state and offsets are committed in one transaction, or not at all
    /// (KIP-447). Needs Apache Kafka 2.5 or newer; whoever reads the results has to read committed records only
    /// (`isolation.level=read_committed`).
    ExactlyOnceV2,
    /// No record has its effect twice, and after a failure some have none: offsets are committed before their records are
    /// processed. Not in Kafka Streams.
    AtMostOnce,
}

impl ProcessingGuarantee {
    /// `commit.interval.ms` where it is not set: Kafka Streams' 30 s; 100 ms with transactions, whose results are not
    /// seen before.
    pub(super) fn default_commit_interval(self) -> Duration {
        match self {
            ProcessingGuarantee::ExactlyOnceV2 => Duration::from_millis(100),
            ProcessingGuarantee::AtLeastOnce | ProcessingGuarantee::AtMostOnce => Duration::from_secs(30),
        }
    }
}

impl FromStr for ProcessingGuarantee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "at_least_once" => Ok(ProcessingGuarantee::AtLeastOnce),
            "exactly_once_v2" => Ok(ProcessingGuarantee::ExactlyOnceV2),
            "at_most_once" => Ok(ProcessingGuarantee::AtMostOnce),
            old @ ("exactly_once" | "exactly_once_beta") => {
                Err(format!("`{old}` was removed from Kafka Streams in 4.0; use exactly_once_v2"))
            }
            other => Err(format!(
                "`{other}` is not a guarantee; use at_least_once, exactly_once_v2 or at_most_once"
            )),
        }
    }
}

/// The release of Kafka Streams that an application is being upgraded from (`upgrade.from`): until its last instance is gone,
/// nothing is written to internal topics that those cannot read. Up to 3.4: an update of a row that stays in its group goes
/// to a grouped table's repartition topic as two records (KIP-904); up to 3.3: subscriptions of foreign-key joins without
/// the row's partition (KIP-775).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpgradeFrom {
    /// The first number of the release.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl UpgradeFrom {
    /// The release `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        UpgradeFrom { major, minor }
    }
}

impl FromStr for UpgradeFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .trim()
            .split_once('.')
            .and_then(|(major, minor)| Some(UpgradeFrom::new(major.parse().ok()?, minor.parse().ok()?)));
        numbers.ok_or_else(|| format!("`{text}` is no release of Kafka Streams, such as 3.4"))
    }
}

/// Where to start in a partition that has no committed offset, or whose offset no longer exists (`auto.offset.reset`).
/// Said for the application by [`StreamsConfig::auto_offset_reset`](super::StreamsConfig), for one source by
/// [`SourceOptions`](crate::topology::SourceOptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AutoOffsetReset {
    /// At the first record. Kafka Streams' default, unlike the plain consumer's.
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record at most this old (KIP-1106); where such a record's offset is committed and gone, at the first.
    ByDuration(Duration),
    /// Nowhere: the instance stops with an error.
    None,
}

impl FromStr for AutoOffsetReset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.as_str() {
            "earliest" => Ok(AutoOffsetReset::Earliest),
            "latest" => Ok(AutoOffsetReset::Latest),
            "none" => Ok(AutoOffsetReset::None),
            _ => lower
                .strip_prefix("by_duration:")
                .and_then(iso_8601_duration)
                .map(AutoOffsetReset::ByDuration)
                .ok_or_else(|| format!("`{text}` is none of earliest, latest, none, by_duration:<ISO 8601 duration, as PT1H30M>")),
        }
    }
}

/// How long a task waits for an empty input while its other inputs have records (`max.task.idle.ms`, KIP-353, KIP-695).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxTaskIdle {
    /// Not at all: records of different inputs may be processed out of order.
    DontWait,
    /// While the broker has records of that input, and then this long for new ones. Zero, the default, waits for
    /// what is there only.
    Wait(Duration),
}

impl MaxTaskIdle {
    /// Kafka's number: -1, 0 or milliseconds.
    pub fn as_millis(self) -> i64 {
        match self {
            MaxTaskIdle::DontWait => -1,
            MaxTaskIdle::Wait(time) => i64::try_from(time.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// Which rewrites of the topology are made (`topology.optimization`); section 1 of the optimisations in Kafka Streams'
/// developer guide says what each does to the internal topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopologyOptimization {
    /// A materialised `table()` uses its source topic as changelog.
    pub reuse_ktable_source_topics: bool,
    /// Repartition topics after one change of key become one.
    pub merge_repartition_topics: bool,
    /// An inner join of a stream with itself keeps one store.
    pub single_store_self_join: bool,
}

impl TopologyOptimization {
    /// No rewrite (`none`), the default.
    pub const NONE: TopologyOptimization = TopologyOptimization {
        reuse_ktable_source_topics: false,
        merge_repartition_topics: false,
        single_store_self_join: false,
    };
    /// Every rewrite (`all`).
    pub const ALL: TopologyOptimization = TopologyOptimization {
        reuse_ktable_source_topics: true,
        merge_repartition_topics: true,
        single_store_self_join: true,
    };
}

impl FromStr for TopologyOptimization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let alone = |what: &str| {
            if names.len() == 1 {
                Ok(())
            } else {
                Err(format!("`{what}` cannot be combined with other values"))
            }
        };
        let mut chosen = TopologyOptimization::NONE;
        for name in &names {
            match *name {
                "none" => alone("none")?,
                "all" => {
                    alone("all")?;
                    chosen = TopologyOptimization::ALL;
                }
                "reuse.ktable.source.topics" => chosen.reuse_ktable_source_topics = true,
                "merge.repartition.topics" => chosen.merge_repartition_topics = true,
                "single.store.self.join" => chosen.single_store_self_join = true,
                other => {
                    return Err(format!(
                        "`{other}` is none of none, all, reuse.ktable.source.topics, merge.repartition.topics, single.store.self.join"
                    ));
                }
            }
        }
        Ok(chosen)
    }
}

/// The timestamp extractor of sources that name none (`default.timestamp.extractor`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultTimestampExtractor {
    /// The record's timestamp; a negative one fails the task.
    #[default]
    FailOnInvalidTimestamp,
    /// The record's timestamp; a record with a negative one is logged and skipped.
    LogAndSkipOnInvalidTimestamp,
    /// The record's timestamp; where negative, the partition's time.
    UsePartitionTimeOnInvalidTimestamp,
    /// The time of processing.
    WallclockTimestampExtractor,
}

impl FromStr for DefaultTimestampExtractor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match simple_class_name(text) {
            "FailOnInvalidTimestamp" => Ok(DefaultTimestampExtractor::FailOnInvalidTimestamp),
            "LogAndSkipOnInvalidTimestamp" => Ok(DefaultTimestampExtractor::LogAndSkipOnInvalidTimestamp),
            "UsePartitionTimeOnInvalidTimestamp" => {
                Ok(DefaultTimestampExtractor::UsePartitionTimeOnInvalidTimestamp)
            }
            "WallclockTimestampExtractor" => Ok(DefaultTimestampExtractor::WallclockTimestampExtractor),
            _ => Err(format!(
                "`{text}` is not a built-in extractor (FailOnInvalidTimestamp, LogAndSkipOnInvalidTimestamp, \
                 UsePartitionTimeOnInvalidTimestamp, WallclockTimestampExtractor); a Java class cannot be loaded here, give \
                 your own extractor to each source with Consumed::with_timestamp_extractor"
            )),
        }
    }
}

/// The engine of stores that name none (`dsl.store.suppliers.class`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DslStore {
    /// On disk, in RocksDB.
    #[default]
    RocksDb,
    /// In memory; restored from the changelog at each start.
    InMemory,
}

impl FromStr for DslStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match simple_class_name(text) {
            "rocksDB" | "RocksDBDslStoreSuppliers" | "BuiltInDslStoreSuppliers$RocksDBDslStoreSuppliers" => {
                Ok(DslStore::RocksDb)
            }
            "in_memory"
            | "InMemoryDslStoreSuppliers"
            | "BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers" => Ok(DslStore::InMemory),
            _ => Err(format!(
                "`{text}` is not a built-in store supplier (RocksDBDslStoreSuppliers, InMemoryDslStoreSuppliers); a Java class \
                 cannot be loaded here"
            )),
        }
    }
}

/// The format of the stores of the DSL (`dsl.store.format`, KIP-1271).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DslStoreFormat {
    /// Values with their timestamps.
    #[default]
    Default,
    /// Values with timestamps and headers. As in Kafka Streams 4.3, the DSL leaves the headers of values empty; deletions
    /// are logged with the headers of the record that made them.
    Headers,
}

impl FromStr for DslStoreFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_uppercase().as_str() {
            "DEFAULT" => Ok(DslStoreFormat::Default),
            "HEADERS" => Ok(DslStoreFormat::Headers),
            _ => Err(format!("`{text}` is none of DEFAULT, HEADERS")),
        }
    }
}

/// How many metrics are recorded (`metrics.recording.level`); each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricsRecordingLevel {
    /// Of instance, threads and restoration; and what each task dropped.
    #[default]
    Info,
    /// Also of tasks, nodes, stores and caches.
    Debug,
    /// Everything.
    Trace,
}

impl FromStr for MetricsRecordingLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_uppercase().as_str() {
            "INFO" => Ok(MetricsRecordingLevel::Info),
            "DEBUG" => Ok(MetricsRecordingLevel::Debug),
            "TRACE" => Ok(MetricsRecordingLevel::Trace),
            _ => Err(format!("`{text}` is none of INFO, DEBUG, TRACE")),
        }
    }
}

/// `org.apache.kafka.x.Name` or `Name` -> `Name`; nested classes keep their `$`.
pub(crate) fn simple_class_name(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("class ").unwrap_or(text).rsplit('.').next().unwrap_or(text)
}

/// Whole milliseconds, not negative.
pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    text.trim()
        .parse()
        .map(Duration::from_millis)
        .map_err(|_| format!("`{text}` is not a whole number of milliseconds (30 seconds are 30000)"))
}

/// A whole number within `min ..= max`; `unit` says of what.
pub(crate) fn number<N>(text: &str, min: N, max: N, unit: &str) -> Result<N, String>
where
    N: FromStr + PartialOrd + fmt::Display,
{
    match text.trim().parse::<N>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => Err(format!("`{text}` is not a whole number{unit} between {min} and {max}")),
    }
}

/// `true` or `false`, as Kafka reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Days to seconds of ISO 8601 (`p1dt2h30m10.5s`, lower case), as `java.time.Duration` reads it; `None` for anything else.
fn iso_8601_duration(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('p')?.split_once('t') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (text.strip_prefix('p')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let (seconds_of_days, rest) = iso_part(days, 'd', 86_400.0)?;
    if !rest.is_empty() {
        return None;
    }
    let (hours, rest) = iso_part(time, 'h', 3_600.0)?;
    let (minutes, rest) = iso_part(rest, 'm', 60.0)?;
    let (seconds, rest) = iso_part(rest, 's', 1.0)?;
    if !rest.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(seconds_of_days + hours + minutes + seconds).ok()
}

/// The seconds of the leading part that ends in `unit`, 0 when there is none, and the rest of the text.
fn iso_part(text: &str, unit: char, seconds: f64) -> Option<(f64, &str)> {
    let Some((amount, rest)) = text.split_once(unit) else { return Some((0.0, text)) };
    let plain = !amount.is_empty() && amount.chars().all(|c| c.is_ascii_digit() || (unit == 's' && c == '.'));
    let amount: f64 = if plain { amount.parse().ok()? } else { return None };
    Some((amount * seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_print_and_are_recognised_by_name() {
        let secret = Secret::new("hunter2");
        assert_eq!((format!("{secret:?}"), secret.to_string()), ("[hidden]".into(), "[hidden]".into()));
        for key in [
            "sasl.jaas.config",
            "producer.sasl.password",
            "ssl.truststore.pasword",
            "ssl.key.pem",
            "ssl.keystore.key",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["ssl.key.location", "ssl.keystore.location", "linger.ms", "sasl.mechanism", "client.id"] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn reset_policies_are_read_as_the_jvm_reads_them() {
        assert_eq!("Earliest".parse(), Ok(AutoOffsetReset::Earliest));
        let by = |seconds| Ok(AutoOffsetReset::ByDuration(Duration::from_secs_f64(seconds)));
        assert_eq!("by_duration:PT1H30M".parse(), by(5_400.0));
        assert_eq!("by_duration:P2DT0.5S".parse(), by(172_800.5));
        for wrong in [
            "by_duration:",
            "by_duration:P",
            "by_duration:PT",
            "by_duration:1h",
            "by_duration:PT1M1H",
            "by_duration:-PT1S",
            "first",
        ] {
            assert!(wrong.parse::<AutoOffsetReset>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn optimisations_combine_but_all_and_none_stand_alone() {
        assert_eq!("all".parse(), Ok(TopologyOptimization::ALL));
        assert_eq!("none".parse(), Ok(TopologyOptimization::NONE));
        let two: TopologyOptimization = "merge.repartition.topics, single.store.self.join".parse().unwrap();
        assert!(
            two.merge_repartition_topics && two.single_store_self_join && !two.reuse_ktable_source_topics
        );
        assert!("all,merge.repartition.topics".parse::<TopologyOptimization>().is_err());
        assert!("merge".parse::<TopologyOptimization>().is_err());
    }

    #[test]
    fn java_class_names_of_built_ins_are_understood() {
        assert_eq!(
            "org.apache.kafka.streams.processor.WallclockTimestampExtractor".parse(),
            Ok(DefaultTimestampExtractor::WallclockTimestampExtractor)
        );
        assert_eq!(
            "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers".parse(),
            Ok(DslStore::InMemory)
        );
        assert!(
            "com.example.MyExtractor"
                .parse::<DefaultTimestampExtractor>()
                .unwrap_err()
                .contains("Java class")
        );
    }
}
