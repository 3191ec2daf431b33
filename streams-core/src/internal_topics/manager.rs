//! Making internal topics and checking those that exist, through the brokers. Every call ends within its time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{InternalTopicConfig, TopicsError, check_configs};
use crate::config::{ClientSettings, StreamsConfig};

/// The wait between two looks at topics that are being made.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The longest time of one request; it is repeated as long as its call may take.
const ONE_REQUEST: Duration = Duration::from_secs(8);

/// Looks after an application's topics. Its calls block; make them off the processing threads.
pub struct TopicManager {
    admin: AdminClient<DefaultClientContext>,
    servers: String,
    timeout: Duration,
}

impl TopicManager {
    /// A manager with the settings of [`StreamsConfig::admin`]; each of its calls ends within `timeout`.
    ///
    /// # Errors
    /// `Request` when librdkafka refuses the settings.
    pub fn new(settings: &ClientSettings, timeout: Duration) -> Result<Self, TopicsError> {
        let admin = settings.to_client_config().create();
        let admin = admin.map_err(|source| request("starting the admin client", source))?;
        let servers = settings.get("bootstrap.servers").unwrap_or_default().to_owned();
        Ok(TopicManager { admin, servers, timeout })
    }

    /// Every topic of the cluster and its number of partitions. Asks for all topics, because to ask for one by name may create it.
    ///
    /// # Errors
    /// `Unreachable` when no broker answers in time.
    pub fn partition_counts(&self) -> Result<BTreeMap<String, i32>, TopicsError> {
        Ok(self
            .topics(Deadline::after(self.timeout))?
            .into_iter()
            .map(|(topic, state)| (topic, state.partitions))
            .collect())
    }

    /// Makes the topics that are missing and checks those that exist; afterwards each has its partitions and leaders. Answers the
    /// names of those made. Another instance may do the same at the same time.
    ///
    /// # Errors
    /// `PartitionCount`, `CleanupPolicy` and `Retention` for topics that exist and do not fit, before anything is made; `InvalidName`,
    /// `Creation`, `NotReady`, `Unreachable`.
    pub fn ensure(
        &self,
        topics: &[InternalTopicConfig],
        config: &StreamsConfig,
    ) -> Result<Vec<String>, TopicsError> {
        let deadline = Deadline::after(self.timeout);
        let found = self.topics(deadline)?;
        let (there, missing): (Vec<_>, Vec<_>) =
            topics.iter().partition(|topic| found.contains_key(&topic.name));
        for topic in &there {
            check_count(topic, found[&topic.name].partitions)?;
        }
        self.check_existing(&there, config, deadline)?;
        if let Some(topic) = missing.iter().find(|topic| !is_legal_name(&topic.name)) {
            return Err(TopicsError::InvalidName { topic: topic.name.clone() });
        }
        let made = self.create(&missing, config, deadline)?;
        self.await_ready(topics, deadline)?;
        Ok(made)
    }

    /// Makes a topic with `partitions` partitions, or more if it is there with more already; one that is smaller is
    /// enlarged. Answers how many it has. Another instance may do the same at the same time.
    ///
    /// # Errors
    /// `InvalidName`, `Creation`, `NotReady`, `Unreachable`, `Request`.
    pub fn ensure_at_least(
        &self,
        topic: &str,
        partitions: i32,
        config: &StreamsConfig,
    ) -> Result<i32, TopicsError> {
        let deadline = Deadline::after(self.timeout);
        if !is_legal_name(topic) {
            return Err(TopicsError::InvalidName { topic: topic.to_owned() });
        }
        loop {
            match self.topics(deadline)?.get(topic) {
                Some(state) if state.led && state.partitions >= partitions => return Ok(state.partitions),
                Some(state) if state.partitions < partitions => self.grow(topic, partitions, deadline)?,
                Some(_) => {}
                None => {
                    let new = InternalTopicConfig::repartition(topic, partitions);
                    self.create(&[&new], config, deadline)?;
                }
            }
            if !deadline.is_ahead() {
                let waited_ms = deadline.waited_ms();
                return Err(TopicsError::NotReady { topics: vec![topic.to_owned()], waited_ms });
            }
            pause();
        }
    }

    fn grow(&self, topic: &str, partitions: i32, deadline: Deadline) -> Result<(), TopicsError> {
        let count = usize::try_from(partitions).unwrap_or(0);
        let answer =
            block_on(self.admin.create_partitions(&[NewPartitions::new(topic, count)], &deadline.options()));
        for result in answer.map_err(|source| request("enlarging an internal topic", source))? {
            if let Err((topic, code)) = result {
                // Another instance may have been faster; the next look tells.
                tracing::debug!(topic, %code, "internal topic not enlarged");
            }
        }
        Ok(())
    }

    fn topics(&self, deadline: Deadline) -> Result<BTreeMap<String, TopicState>, TopicsError> {
        let metadata = self.admin.inner().fetch_metadata(None, deadline.left());
        let metadata = metadata.map_err(|source| TopicsError::Unreachable {
            servers: self.servers.clone(),
            waited_ms: deadline.waited_ms(),
            source: Box::new(source),
        })?;
        let topics = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
        let states = topics.map(|topic| {
            let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
            (topic.name().to_owned(), TopicState { partitions, led })
        });
        Ok(states.collect())
    }

    /// Compares the settings of topics that exist with those they should have.
    fn check_existing(
        &self,
        topics: &[&InternalTopicConfig],
        config: &StreamsConfig,
        deadline: Deadline,
    ) -> Result<(), TopicsError> {
        if topics.is_empty() {
            return Ok(());
        }
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
        let answer = ask("describing internal topics", deadline, || {
            block_on(self.admin.describe_configs(&resources, &deadline.options()))
        })?;
        for (topic, described) in topics.iter().zip(answer) {
            let described = match described {
                Ok(described) => described,
                Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    tracing::warn!(
                        topic = topic.name,
                        "not allowed to describe an internal topic, its settings are not checked"
                    );
                    continue;
                }
                Err(code) => {
                    return Err(request("describing an internal topic", KafkaError::AdminOp(code)));
                }
            };
            let found =
                described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
            for remark in check_configs(topic, &topic.effective_configs(config), &found)? {
                tracing::warn!(topic = topic.name, "internal topic: {remark}");
            }
        }
        Ok(())
    }

    /// Makes topics, trying again while the brokers say that they cannot yet.
    fn create(
        &self,
        topics: &[&InternalTopicConfig],
        config: &StreamsConfig,
        deadline: Deadline,
    ) -> Result<Vec<String>, TopicsError> {
        let mut left: BTreeMap<&str, &InternalTopicConfig> =
            topics.iter().map(|topic| (topic.name.as_str(), *topic)).collect();
        let mut made = Vec::new();
        while !left.is_empty() {
            for result in self.create_once(left.values().copied(), config, deadline)? {
                match result {
                    Ok(topic) => {
                        tracing::info!(topic, "internal topic created");
                        left.remove(topic.as_str());
                        made.push(topic);
                    }
                    Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => {
                        left.remove(topic.as_str());
                    }
                    Err((topic, code)) if may_pass(code) && deadline.is_ahead() => {
                        tracing::debug!(topic, %code, "internal topic not created yet");
                    }
                    Err((topic, code)) => {
                        return Err(TopicsError::Creation { topic, reason: code.to_string() });
                    }
                }
            }
            if !left.is_empty() {
                pause();
            }
        }
        Ok(made)
    }

    fn create_once<'a>(
        &self,
        topics: impl Iterator<Item = &'a InternalTopicConfig>,
        config: &StreamsConfig,
        deadline: Deadline,
    ) -> Result<Vec<TopicResult>, TopicsError> {
        let with_configs: Vec<_> = topics.map(|topic| (topic, topic.effective_configs(config))).collect();
        let new_topics: Vec<NewTopic<'_>> = with_configs
            .iter()
            .map(|(topic, configs)| {
                let new = NewTopic::new(
                    &topic.name,
                    topic.partitions,
                    TopicReplication::Fixed(config.replication_factor),
                );
                configs.iter().fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        ask("creating internal topics", deadline, || {
            block_on(self.admin.create_topics(&new_topics, &deadline.options()))
        })
    }

    /// Waits until every topic shows up with its partitions and a leader for each: a broker answers before all others know.
    fn await_ready(&self, topics: &[InternalTopicConfig], deadline: Deadline) -> Result<(), TopicsError> {
        loop {
            let found = self.topics(deadline)?;
            let mut waiting = BTreeSet::new();
            for topic in topics {
                match found.get(&topic.name) {
                    Some(state) if state.led => check_count(topic, state.partitions)?,
                    _ => drop(waiting.insert(topic.name.clone())),
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            if !deadline.is_ahead() {
                let waited_ms = deadline.waited_ms();
                return Err(TopicsError::NotReady { topics: waiting.into_iter().collect(), waited_ms });
            }
            pause();
        }
    }
}

impl std::fmt::Debug for TopicManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicManager")
            .field("servers", &self.servers)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

struct TopicState {
    partitions: i32,
    /// Whether each partition has a leader.
    led: bool,
}

fn request(action: &'static str, source: KafkaError) -> TopicsError {
    TopicsError::Request { action, source: Box::new(source) }
}

/// Asks again while a failure may pass: a connection that breaks ends a request, the client doesn't repeat it.
fn ask<T>(
    action: &'static str,
    deadline: Deadline,
    call: impl Fn() -> Result<T, KafkaError>,
) -> Result<T, TopicsError> {
    loop {
        match call() {
            Err(KafkaError::AdminOp(code)) if deadline.is_ahead() && may_pass(code) => {
                tracing::debug!(%code, action, "no answer; asking again");
                pause();
            }
            answer => return answer.map_err(|source| request(action, source)),
        }
    }
}

fn check_count(topic: &InternalTopicConfig, found: i32) -> Result<(), TopicsError> {
    if found == topic.partitions {
        return Ok(());
    }
    Err(TopicsError::PartitionCount { topic: topic.name.clone(), found, expected: topic.partitions })
}

/// Answers of brokers that are still coming up or are busy with the same topic.
fn may_pass(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        NotController
            | RequestTimedOut
            | OperationTimedOut
            | LeaderNotAvailable
            | CoordinatorLoadInProgress
            | BrokerTransportFailure
            | AllBrokersDown
            | DestroyBroker
            // While too few brokers have registered.
            | InvalidReplicationFactor
            | ThrottlingQuotaExceeded
    )
}

/// Kafka's rule for names of topics.
fn is_legal_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(legal)
}

fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}

/// The end of a call's time.
#[derive(Clone, Copy)]
struct Deadline {
    start: Instant,
    timeout: Duration,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Deadline { start: Instant::now(), timeout }
    }

    fn waited(self) -> Duration {
        self.start.elapsed()
    }

    fn waited_ms(self) -> u64 {
        u64::try_from(self.waited().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_ahead(self) -> bool {
        self.waited() < self.timeout
    }

    /// What is left, at least a moment: zero means "now" to some calls and "for ever" to others.
    fn left(self) -> Duration {
        self.timeout.saturating_sub(self.waited()).max(LOOK_AGAIN)
    }

    fn options(self) -> AdminOptions {
        // In pieces: a request that went to a broker which has just died is asked again while there is time.
        let timeout = self.left().min(ONE_REQUEST);
        AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_refuses_are_told_apart() {
        let long = "x".repeat(250);
        for name in ["", ".", "..", "a b", "a/b", "caf\u{e9}", long.as_str()] {
            assert!(!is_legal_name(name), "{name}");
        }
        assert!(is_legal_name("app-KSTREAM-AGGREGATE-STATE-STORE-0000000002-changelog"));
    }

    /// Nobody listens there: the call must end, with the address in its message.
    #[test]
    fn no_broker_is_told_within_the_time() {
        let config = StreamsConfig::new("app", "127.0.0.1:1");
        let manager = TopicManager::new(&config.admin("p").unwrap(), Duration::from_millis(500)).unwrap();
        let start = Instant::now();
        let error = manager.partition_counts().unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(60));
        assert!(
            matches!(error, TopicsError::Unreachable { .. }) && error.to_string().contains("127.0.0.1:1"),
            "{error:?}"
        );
    }
}
