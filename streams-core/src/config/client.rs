//! What each Kafka client of an instance is started with: our defaults, the user's settings over them, and what the library keeps
//! to itself.
//!
//! | | main consumer | restore consumer | global consumer | producer | admin |
//! |---|---|---|---|---|---|
//! | how many | one per instance | one per instance | one per instance | one per thread | one per instance |
//! | `client.id`, after `C` | `-consumer` | `-StateUpdater-<n>-restore-consumer` | `-global-consumer` | `-StreamThread-<n>-producer` | `-admin` |
//! | `group.id` | application id | application id, never joined | the same | | |
//! | `group.instance.id` | `<given>-1` | | | | |
//! | `auto.offset.reset` | `error` | `error` | `error` | | |
//! | `isolation.level` | `read_uncommitted`; exactly-once: `read_committed` | the same | the same | | |
//! | `transactional.id`, exactly-once | | | | `<application id>-<process id>-<n>` | |
//! | prefetch | memory plan | memory plan | memory plan | | |
//!
//! `C` is `client.id`, by default `<application id>-<process id>`. Kafka Streams has a consumer per thread
//! (`C-StreamThread-<n>-consumer`); one group member per instance has its own name. `auto.offset.reset` is `error` because the library
//! looks up committed offsets itself and applies the policy of each source; librdkafka needs a group id to assign partitions by hand.

use std::collections::BTreeMap;
use std::fmt;

use super::client_names::{A, C, P, PREFIXES, To, rule};
use super::fault::ConfigFault;
use super::keys::shown;
use super::memory::MemoryPlan;
use super::security::{self, Given};
use super::validate::number;
use super::value::SettingText;
use super::{ConfigError, ProcessingGuarantee, StreamsConfig};

/// A kind of Kafka client, or all consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// All three kinds of consumers (`consumer.`).
    Consumer,
    /// The consumer of the input topics (`main.consumer.`).
    MainConsumer,
    /// The consumer that restores stores from their changelogs (`restore.consumer.`).
    RestoreConsumer,
    /// The consumer of global tables (`global.consumer.`).
    GlobalConsumer,
    /// The producers (`producer.`).
    Producer,
    /// The admin client (`admin.`).
    Admin,
}

impl ClientKind {
    /// The prefix of its settings.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            ClientKind::Consumer => "consumer.",
            ClientKind::MainConsumer => "main.consumer.",
            ClientKind::RestoreConsumer => "restore.consumer.",
            ClientKind::GlobalConsumer => "global.consumer.",
            ClientKind::Producer => "producer.",
            ClientKind::Admin => "admin.",
        }
    }

    fn bit(self) -> u8 {
        match self {
            ClientKind::Producer => P,
            ClientKind::Admin => A,
            _ => C,
        }
    }

    /// The prefixes that reach it, the wider first.
    fn prefixes(self) -> impl Iterator<Item = &'static str> {
        let consumers = (self.bit() == C).then_some("consumer.");
        [Some(""), consumers, Some(self.prefix())].into_iter().flatten()
    }
}

/// librdkafka's settings of one client. Debug hides secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSettings(BTreeMap<String, SettingText>);

impl ClientSettings {
    /// Names and values in order of the names, secrets included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// The value of one setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(SettingText::expose)
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), SettingText::new(name, value.to_string()));
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// The user's settings of clients: by prefix and name, as given.
#[derive(Clone, Default)]
pub(super) struct ClientOverrides(BTreeMap<(&'static str, String), SettingText>);

/// What became of a setting offered to the clients.
pub(super) enum Taken {
    /// Kept.
    Yes,
    /// It has no effect, for this reason.
    Ignored(&'static str),
    /// The library keeps it to itself.
    Refused(ConfigFault),
    /// No client has it.
    Unknown,
}

impl ClientOverrides {
    /// Takes a setting whose name may have a client's prefix.
    pub(super) fn offer(&mut self, key: &str, value: &str) -> Taken {
        // The longest prefix first: `main.consumer.` is none of `consumer.`'s.
        let prefixes = PREFIXES.iter().rev().filter(|(prefix, _)| key.starts_with(prefix));
        for (prefix, clients) in prefixes {
            let name = &key[prefix.len()..];
            match rule(name, *clients) {
                None => continue,
                Some(To::Ignored(why)) => return Taken::Ignored(why),
                Some(To::Controlled(why)) => {
                    return Taken::Refused(ConfigFault::new(key, format!("cannot be set: {why}")));
                }
                Some(To::Only(values, why)) if !values.contains(&value.trim()) => {
                    let problem = format!(
                        "{} is not possible: {why}; set it to {} or remove it",
                        shown(key, value),
                        values.join(" or ")
                    );
                    return Taken::Refused(ConfigFault::new(key, problem));
                }
                Some(To::Only(..)) => return Taken::Yes,
                Some(To::Convert(convert)) => {
                    if let Err(problem) = convert(value.trim()) {
                        return Taken::Refused(ConfigFault::new(key, problem));
                    }
                }
                Some(To::Same | To::Name(_) | To::Security) => {}
            }
            self.0.insert((prefix, name.to_owned()), SettingText::new(key, value.trim()));
            return Taken::Yes;
        }
        Taken::Unknown
    }

    /// What the user wants of one client: by name without prefix, the narrower prefix wins.
    fn merged(&self, kind: ClientKind) -> Merged<'_> {
        let mut merged = BTreeMap::new();
        for prefix in kind.prefixes() {
            let of_prefix = self
                .0
                .iter()
                .filter(|((given, name), _)| *given == prefix && rule(name, kind.bit()).is_some());
            merged.extend(
                of_prefix.map(|((prefix, name), value)| {
                    (name.as_str(), (value.expose(), format!("{prefix}{name}")))
                }),
            );
        }
        Merged(merged)
    }

    /// The user's settings of one client in librdkafka's names: value, and the name that the user wrote.
    pub(super) fn translated(
        &self,
        kind: ClientKind,
        faults: &mut Vec<ConfigFault>,
    ) -> BTreeMap<String, (String, String)> {
        let merged = self.merged(kind);
        let mut made = Vec::new();
        for (name, (value, key)) in &merged.0 {
            match rule(name, kind.bit()) {
                Some(To::Same) => made.push((*name, (*value).to_owned(), key.clone())),
                Some(To::Name(other)) => made.push((other, (*value).to_owned(), key.clone())),
                Some(To::Convert(convert)) => {
                    // The value was accepted when it was given.
                    let converted = convert(value).unwrap_or_default();
                    made.extend(converted.into_iter().map(|(name, value)| (name, value, key.clone())));
                }
                _ => {}
            }
        }
        made.extend(security::translate(&merged, faults));
        let mut settings: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, value, key) in made {
            match settings.get(name) {
                Some((other, first)) if *other != value => {
                    faults.push(ConfigFault::new(
                        key,
                        format!("contradicts `{first}`: both set librdkafka's `{name}`; remove one"),
                    ));
                }
                _ => {
                    settings.insert(name.to_owned(), (value, key));
                }
            }
        }
        settings
    }
}

impl fmt::Debug for ClientOverrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|((prefix, name), value)| (format!("{prefix}{name}"), value)))
            .finish()
    }
}

struct Merged<'a>(BTreeMap<&'a str, (&'a str, String)>);

impl Given for Merged<'_> {
    fn given(&self, name: &str) -> Option<(&str, &str)> {
        self.0.get(name).map(|(value, key)| (*value, key.as_str()))
    }
}

/// Kafka Streams', shorter than the plain producer's: whoever takes a dead instance's tasks over waits for its transactions to end.
pub(super) const DEFAULT_TRANSACTION_TIMEOUT_MS: i64 = 10_000;

/// The consumer's `session.timeout.ms` and `heartbeat.interval.ms`, with librdkafka's defaults, which are Java's.
pub(super) const SESSION_TIMEOUT: (&str, i64) = ("session.timeout.ms", 45_000);
pub(super) const HEARTBEAT_INTERVAL: (&str, i64) = ("heartbeat.interval.ms", 3_000);

/// Java's default of `delivery.timeout.ms`.
const JAVA_DELIVERY_TIMEOUT_MS: i64 = 120_000;

/// Producer messages may be as large as librdkafka's default; its queue must hold at least two of them.
const DEFAULT_MESSAGE_MAX_BYTES: u64 = 1_000_000;

impl StreamsConfig {
    /// Settings of the one consumer of the input topics. `partitions`: every input partition that the instance could come to own,
    /// because librdkafka's prefetch limits hold per partition and are fixed when the client starts.
    ///
    /// # Errors
    /// The faults of this client's settings.
    pub fn main_consumer(&self, process_id: &str, partitions: usize) -> Result<ClientSettings, ConfigError> {
        let mut settings = self.consumer(
            &self.full_client_id(process_id, "consumer"),
            self.memory_plan().prefetch_bytes,
            partitions,
        );
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        // While the queues of busy partitions are full, only quiet ones are asked for, and the answer comes when there is
        // something or after this wait; meanwhile the busy ones run dry. Java's 500 ms cost an enrichment half of its rate.
        settings.set("fetch.wait.max.ms", 100);
        self.finish(ClientKind::MainConsumer, settings)
    }

    /// Settings of restore consumer number `n` (from 1), for at most `partitions` changelog partitions.
    ///
    /// # Errors
    /// The faults of this client's settings.
    pub fn restore_consumer(
        &self,
        process_id: &str,
        n: usize,
        partitions: usize,
    ) -> Result<ClientSettings, ConfigError> {
        let client_id = self.full_client_id(process_id, &format!("StateUpdater-{n}-restore-consumer"));
        let settings = self.consumer(&client_id, self.memory_plan().restore_bytes, partitions);
        self.finish(ClientKind::RestoreConsumer, settings)
    }

    /// Settings of the consumer of global tables, which have `partitions` partitions.
    ///
    /// # Errors
    /// The faults of this client's settings.
    pub fn global_consumer(
        &self,
        process_id: &str,
        partitions: usize,
    ) -> Result<ClientSettings, ConfigError> {
        let client_id = self.full_client_id(process_id, "global-consumer");
        let settings = self.consumer(&client_id, self.memory_plan().restore_bytes, partitions);
        self.finish(ClientKind::GlobalConsumer, settings)
    }

    /// Settings of the producer of processing thread `thread` (from 1).
    ///
    /// # Errors
    /// The faults of this client's settings.
    pub fn producer(&self, process_id: &str, thread: usize) -> Result<ClientSettings, ConfigError> {
        let mut settings =
            self.common(&self.full_client_id(process_id, &format!("StreamThread-{thread}-producer")));
        settings.set("enable.idempotence", true);
        settings.set("acks", "all");
        settings.set("linger.ms", 100);
        settings.set("delivery.timeout.ms", self.default_delivery_timeout_ms());
        // Records with a key get their partition from us; this is for those without.
        settings.set("partitioner", "murmur2_random");
        let transactional = self.processing_guarantee == ProcessingGuarantee::ExactlyOnceV2;
        if transactional {
            settings.set("transactional.id", format!("{}-{process_id}-{thread}", self.application_id));
            settings.set("transaction.timeout.ms", DEFAULT_TRANSACTION_TIMEOUT_MS);
            settings.0.remove("delivery.timeout.ms");
        }
        let mut settings = self.finish(ClientKind::Producer, settings)?;
        if transactional && settings.get("delivery.timeout.ms").is_none() {
            // A record can't be waited for longer than its transaction.
            let timeout = settings.get("transaction.timeout.ms").unwrap_or_default().to_owned();
            settings.set("delivery.timeout.ms", timeout);
        }
        if settings.get("queue.buffering.max.kbytes").is_none() {
            let largest = settings
                .get("message.max.bytes")
                .and_then(|value| value.parse().ok())
                .unwrap_or(DEFAULT_MESSAGE_MAX_BYTES);
            let threads = u64::try_from(self.num_stream_threads.max(1)).unwrap_or(u64::MAX);
            let share = (self.memory_plan().produce_bytes / threads).max(largest.saturating_mul(2));
            settings.set("queue.buffering.max.kbytes", (share / 1_024).clamp(1, 2_147_483_647));
        }
        Ok(settings)
    }

    /// `delivery.timeout.ms` without transactions, unless it is given. No broker keeps a process that was stopped beyond its session
    /// from sending, when it goes on, what its client held back before; the client does: what was handed over before the stop
    /// is too old by then. The session is counted from the last heartbeat, which may be an interval before the record.
    pub(super) fn default_delivery_timeout_ms(&self) -> i64 {
        let consumer = self.clients.translated(ClientKind::MainConsumer, &mut Vec::new());
        let [session, heartbeat] = [SESSION_TIMEOUT, HEARTBEAT_INTERVAL]
            .map(|(name, default)| number(&consumer, name).map_or(default, |(value, _)| value));
        (session - heartbeat).clamp(1, JAVA_DELIVERY_TIMEOUT_MS)
    }

    /// Settings of the admin client.
    ///
    /// # Errors
    /// The faults of this client's settings.
    pub fn admin(&self, process_id: &str) -> Result<ClientSettings, ConfigError> {
        let settings = self.common(&self.full_client_id(process_id, "admin"));
        self.finish(ClientKind::Admin, settings)
    }

    fn full_client_id(&self, process_id: &str, suffix: &str) -> String {
        match &self.client_id {
            Some(client_id) => format!("{client_id}-{suffix}"),
            None => format!("{}-{process_id}-{suffix}", self.application_id),
        }
    }

    fn common(&self, client_id: &str) -> ClientSettings {
        let mut settings = ClientSettings(BTreeMap::new());
        settings.set("bootstrap.servers", &self.bootstrap_servers);
        settings.set("client.id", client_id);
        // Brokers close idle connections as a matter of course; it is no news.
        settings.set("log.connection.close", false);
        settings
    }

    fn consumer(&self, client_id: &str, prefetch_bytes: u64, partitions: usize) -> ClientSettings {
        let limits = MemoryPlan::per_partition(prefetch_bytes, partitions);
        let mut settings = self.common(client_id);
        settings.set("group.id", &self.application_id);
        settings.set("enable.auto.commit", false);
        settings.set("enable.auto.offset.store", false);
        settings.set("auto.offset.reset", "error");
        settings.set("allow.auto.create.topics", false);
        settings.set("enable.partition.eof", true);
        settings.set(
            "isolation.level",
            match self.processing_guarantee {
                ProcessingGuarantee::ExactlyOnceV2 => "read_committed",
                ProcessingGuarantee::AtLeastOnce | ProcessingGuarantee::AtMostOnce => "read_uncommitted",
            },
        );
        settings.set("check.crcs", true);
        settings.set("queued.max.messages.kbytes", (limits.queue_bytes / 1_024).max(1));
        settings.set("max.partition.fetch.bytes", limits.fetch_bytes);
        // How soon a full queue is looked at again; librdkafka's second would leave a fast task without records.
        settings.set("fetch.queue.backoff.ms", 5);
        settings
    }

    /// Lays the user's settings over ours.
    fn finish(&self, kind: ClientKind, mut settings: ClientSettings) -> Result<ClientSettings, ConfigError> {
        let mut faults = Vec::new();
        let given = self.clients.translated(kind, &mut faults);
        ConfigError::check(faults)?;
        for (name, (value, _)) in given {
            match name.as_str() {
                // Kafka Streams numbers the members of one configuration; there is one here.
                "group.instance.id" if kind == ClientKind::MainConsumer => {
                    settings.set(&name, format!("{value}-1"))
                }
                "group.instance.id" => {}
                _ => settings.set(&name, value),
            }
        }
        Ok(settings)
    }
}
