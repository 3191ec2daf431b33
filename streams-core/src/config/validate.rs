//! The checks between settings, made once everything is given.

use super::client::{ClientKind, DEFAULT_TRANSACTION_TIMEOUT_MS, HEARTBEAT_INTERVAL, SESSION_TIMEOUT};
use super::fault::{ConfigError, ConfigFault};
use super::memory::MIN_BUDGET_BYTES;
use super::{MaxTaskIdle, ProcessingGuarantee, StreamsConfig, native};
use std::collections::BTreeMap;
use std::time::Duration;

type Given = BTreeMap<String, (String, String)>;

impl StreamsConfig {
    /// Checks every setting, alone and with the others.
    ///
    /// # Errors
    /// All faults at once, each with the setting's name and what to do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut faults = self.faults.clone();
        self.check_identity(&mut faults);
        self.check_numbers(&mut faults);
        let kinds = [
            ClientKind::MainConsumer,
            ClientKind::RestoreConsumer,
            ClientKind::GlobalConsumer,
            ClientKind::Producer,
            ClientKind::Admin,
        ];
        for kind in kinds {
            let given = self.clients.translated(kind, &mut faults);
            faults.extend(given.iter().filter_map(|(name, (value, key))| native::check(name, value, key)));
            check_login(&given, &mut faults);
            match kind {
                ClientKind::MainConsumer => check_consumer(&given, &mut faults),
                ClientKind::Producer => {
                    check_producer(&given, self.default_delivery_timeout_ms(), &mut faults)
                }
                _ => {}
            }
            if self.processing_guarantee == ProcessingGuarantee::ExactlyOnceV2 {
                match kind {
                    ClientKind::Producer => self.check_transactions(&given, &mut faults),
                    _ => check_isolation(&given, &mut faults),
                }
            }
        }
        ConfigError::check(faults)
    }

    /// What the times of transactional producers have to do with others.
    fn check_transactions(&self, given: &Given, faults: &mut Vec<ConfigFault>) {
        let default = ("transaction.timeout.ms", DEFAULT_TRANSACTION_TIMEOUT_MS);
        let (timeout, key) = number(given, default.0).unwrap_or((default.1, "commit.interval.ms"));
        let interval = i64::try_from(self.commit_interval.as_millis()).unwrap_or(i64::MAX);
        if timeout < interval {
            let problem = format!(
                "every transaction would time out: commit.interval.ms ({interval}) must be at most producer.transaction.timeout.ms ({timeout}); lower the one or raise the other"
            );
            faults.push(ConfigFault::new(key, problem));
        }
        for name in ["delivery.timeout.ms", "socket.timeout.ms"] {
            check_order(given, (name, 0), default, false, faults);
        }
    }

    fn check_identity(&self, faults: &mut Vec<ConfigFault>) {
        let mut fault = |key: &str, problem: String| faults.push(ConfigFault::new(key, problem));
        let id = self.application_id.as_str();
        if id.is_empty() {
            fault(
                "application.id",
                "is missing; choose a name, the same for all instances of the application".into(),
            );
        } else if matches!(id, "." | "..") || id.contains(['/', '\\', '\0']) {
            fault(
                "application.id",
                format!("`{id}` cannot name a folder; use letters, digits, `.`, `_` and `-`"),
            );
        }
        if self.bootstrap_servers.is_empty() {
            fault(
                "bootstrap.servers",
                "is missing; give host:port of some brokers, separated by commas".into(),
            );
        }
        for server in
            self.bootstrap_servers.split(',').map(str::trim).filter(|_| !self.bootstrap_servers.is_empty())
        {
            if let Err(problem) = host_and_port(server) {
                fault("bootstrap.servers", problem);
            }
        }
        if let Some(server) = &self.application_server
            && let Err(problem) = host_and_port(server)
        {
            fault("application.server", problem);
        }
        if self.errors_dead_letter_queue_topic_name.as_deref() == Some("") {
            fault("errors.dead.letter.queue.topic.name", "is empty; name a topic or remove it".into());
        }
    }

    fn check_numbers(&self, faults: &mut Vec<ConfigFault>) {
        let at_least_one: [(&str, u64); 4] = [
            ("num.stream.threads", self.num_stream_threads as u64),
            ("buffered.records.per.partition", self.buffered_records_per_partition as u64),
            ("max.poll.records", self.max_poll_records as u64),
            ("input.buffer.max.bytes", self.input_buffer_max_bytes.unwrap_or(1)),
        ];
        let zero = at_least_one.iter().filter(|(_, value)| *value == 0);
        faults.extend(zero.map(|(key, _)| ConfigFault::new(*key, "is 0; it must be at least 1")));
        if self.memory_budget_bytes < MIN_BUDGET_BYTES {
            let problem = format!(
                "{} bytes are too few to work with; give at least {MIN_BUDGET_BYTES}",
                self.memory_budget_bytes
            );
            faults.push(ConfigFault::new("memory.budget.bytes", problem));
        }
        if self.replication_factor == 0 || self.replication_factor < -1 {
            let problem = format!(
                "{} is no replication factor; give -1 (the broker's default) or at least 1",
                self.replication_factor
            );
            faults.push(ConfigFault::new("replication.factor", problem));
        }
        // Records of an idle task wait in memory: more than a day is a unit mixed up.
        let longest = Duration::from_secs(24 * 60 * 60);
        if matches!(self.max_task_idle, MaxTaskIdle::Wait(time) if time > longest) {
            faults.push(ConfigFault::new("max.task.idle.ms", "is more than a day; it is in milliseconds"));
        }
    }
}

/// `host:port`, `[v6]:port`, with `PROTOCOL://` before it or not.
fn host_and_port(server: &str) -> Result<(), String> {
    let address = server.split_once("://").map_or(server, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(format!("`{server}` has no port; write host:port"));
    };
    let v6_without_brackets = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || host.contains(char::is_whitespace) || v6_without_brackets {
        return Err(format!("`{server}` is not of the form host:port"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("`{server}` has no port between 1 and 65535; write host:port")),
    }
}

/// A setting that is a number: the number and the name that the user wrote.
pub(super) fn number<'a>(given: &'a Given, name: &str) -> Option<(i64, &'a str)> {
    given.get(name).and_then(|(value, key)| Some((value.parse().ok()?, key.as_str())))
}

/// `smaller` must not be above `larger`; where the user gave neither, the defaults are right.
fn check_order(
    given: &Given,
    smaller: (&str, i64),
    larger: (&str, i64),
    strictly: bool,
    faults: &mut Vec<ConfigFault>,
) {
    let (low, high) = (number(given, smaller.0), number(given, larger.0));
    let Some(key) = low.or(high).map(|(_, key)| key) else { return };
    let (low, high) = (low.map_or(smaller.1, |(value, _)| value), high.map_or(larger.1, |(value, _)| value));
    if low > high || (strictly && low == high) {
        let relation = if strictly { "below" } else { "at most" };
        let problem = format!("{} ({low}) must be {relation} {} ({high})", smaller.0, larger.0);
        faults.push(ConfigFault::new(key, problem));
    }
}

fn check_consumer(given: &Given, faults: &mut Vec<ConfigFault>) {
    check_order(given, HEARTBEAT_INTERVAL, SESSION_TIMEOUT, true, faults);
    check_order(given, SESSION_TIMEOUT, ("max.poll.interval.ms", 300_000), false, faults);
    check_order(given, ("fetch.min.bytes", 1), ("fetch.max.bytes", 52_428_800), false, faults);
    check_order(given, ("fetch.wait.max.ms", 500), ("socket.timeout.ms", 60_000), true, faults);
}

fn check_producer(given: &Given, delivery_timeout_ms: i64, faults: &mut Vec<ConfigFault>) {
    check_order(given, ("linger.ms", 100), ("delivery.timeout.ms", delivery_timeout_ms), true, faults);
    if let Some((6.., key)) = number(given, "max.in.flight.requests.per.connection") {
        faults.push(ConfigFault::new(
            key,
            "must be at most 5: more would let retries change the order of records",
        ));
    }
    if let Some((0, key)) = number(given, "retries") {
        faults.push(ConfigFault::new(key, "must be above 0: results are retried until delivery.timeout.ms"));
    }
}

/// Results of transactions that fail must not be read.
fn check_isolation(given: &Given, faults: &mut Vec<ConfigFault>) {
    if let Some((level, key)) = given.get("isolation.level").filter(|(level, _)| level != "read_committed") {
        let problem = format!(
            "{level} is not possible with `processing.guarantee` exactly_once_v2; remove the setting"
        );
        faults.push(ConfigFault::new(key, problem));
    }
}

/// A login that would never be used, because the protocol has none.
fn check_login(given: &Given, faults: &mut Vec<ConfigFault>) {
    let protocol = given.get("security.protocol").map_or("plaintext", |(value, _)| value.as_str());
    if protocol.starts_with("sasl") {
        return;
    }
    let names = ["sasl.mechanism", "sasl.username", "sasl.oauthbearer.client.id"];
    if let Some((_, key)) = names.iter().find_map(|name| given.get(*name)) {
        let problem = format!(
            "has no effect with `security.protocol` {protocol}; set that to sasl_ssl (or sasl_plaintext), or remove this"
        );
        faults.push(ConfigFault::new(key, problem));
    }
}
