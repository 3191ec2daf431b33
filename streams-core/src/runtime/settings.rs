//! The settings that the runtime works with, resolved once from the user's configuration.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;

use super::sources;
use crate::config::{ClientSettings, ConfigError, ProcessingGuarantee, StreamsConfig};
use crate::handlers::{StreamThreadExceptionResponse, StreamsUncaughtExceptionHandler};
use crate::topology::{AutoOffsetReset, Topology};

/// librdkafka's default of `session.timeout.ms`, which is Kafka's.
const SESSION_TIMEOUT_MS: u64 = 45_000;
/// librdkafka's default of `max.poll.interval.ms`, which is Kafka's.
const MAX_POLL_INTERVAL_MS: u64 = 300_000;
/// The configuration always sets `delivery.timeout.ms`.
const DELIVERY_TIMEOUT_MS: u64 = 120_000;
/// No request of ours needs longer, whatever `default.api.timeout.ms` allows.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the first answer of a broker is waited for: long enough for one that restarts, short enough for a person.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the sources' metadata are looked at, unless the consumer's `metadata.max.age.ms` says otherwise.
const METADATA_INTERVAL_MS: u64 = 30_000;
/// Tasks that are taken away get at most this long to commit: a rebalance waits for them.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// Resolved settings of one instance.
pub(crate) struct Settings {
    pub(crate) config: StreamsConfig,
    pub(crate) process_id: String,
    pub(crate) application_id: Arc<str>,
    /// Prefix of the clients' and threads' names.
    pub(crate) client_id: String,
    pub(crate) threads: usize,
    pub(crate) guarantee: ProcessingGuarantee,
    pub(crate) commit_interval: Duration,
    /// How often unchanged offsets are committed again, before they can expire.
    pub(crate) recommit_interval: Duration,
    pub(crate) max_task_idle_ms: i64,
    pub(crate) buffered_records_per_partition: usize,
    pub(crate) max_batch: usize,
    pub(crate) repartition_purge_interval: Duration,
    pub(crate) metadata_interval: Duration,
    pub(crate) cleanup_delay: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) startup_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    /// How long a transaction may last; `None`: there are none.
    pub(crate) transaction_timeout: Option<Duration>,
    /// How long to wait for room in the producer's queue.
    pub(crate) max_block: Duration,
    /// How long errors that may pass are waited out.
    pub(crate) task_timeout: Duration,
    /// The rebalance timeout, and the longest time a thread may be busy with one round.
    pub(crate) max_poll_interval: Duration,
    /// After this the group gives a silent member up.
    pub(crate) session_timeout: Duration,
    /// How long tasks that are taken away may take to commit; below the rebalance timeout.
    pub(crate) give_up_timeout: Duration,
    /// Bytes of the record caches, over all threads.
    pub(crate) cache_bytes: usize,
    /// Bytes that restores may sort in.
    pub(crate) restore_bytes: usize,
    /// Asked when a thread failed.
    pub(crate) uncaught: Mutex<Option<Arc<dyn StreamsUncaughtExceptionHandler>>>,
}

impl Settings {
    /// Checks the configuration and resolves it.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub(crate) fn new(config: StreamsConfig, process_id: String) -> Result<Self, ConfigError> {
        config.validate()?;
        let consumer = config.main_consumer(&process_id, 1)?;
        let producer = config.producer(&process_id, 1)?;
        let memory = config.memory_plan();
        let max_poll_interval = millis(&consumer, "max.poll.interval.ms", MAX_POLL_INTERVAL_MS);
        let client_id =
            config.client_id.clone().unwrap_or_else(|| format!("{}-{process_id}", config.application_id));
        Ok(Settings {
            application_id: Arc::from(config.application_id.as_str()),
            client_id,
            threads: config.num_stream_threads.max(1),
            guarantee: config.processing_guarantee,
            commit_interval: config.commit_interval,
            recommit_interval: config.offsets_recommit_interval,
            max_task_idle_ms: config.max_task_idle.as_millis(),
            buffered_records_per_partition: config.buffered_records_per_partition.max(1),
            max_batch: config.max_poll_records.max(1),
            repartition_purge_interval: config.repartition_purge_interval,
            metadata_interval: millis(&consumer, "topic.metadata.refresh.interval.ms", METADATA_INTERVAL_MS),
            cleanup_delay: config.state_cleanup_delay,
            request_timeout: config.default_api_timeout.min(REQUEST_TIMEOUT),
            startup_timeout: config.default_api_timeout.min(STARTUP_TIMEOUT),
            delivery_timeout: millis(&producer, "delivery.timeout.ms", DELIVERY_TIMEOUT_MS),
            transaction_timeout: producer
                .get("transaction.timeout.ms")
                .filter(|_| config.processing_guarantee == ProcessingGuarantee::ExactlyOnceV2)
                .and_then(|value| value.parse().ok())
                .map(Duration::from_millis),
            max_block: config.producer_max_block,
            task_timeout: config.task_timeout,
            give_up_timeout: GIVE_UP_TIMEOUT.min(max_poll_interval / 2),
            max_poll_interval,
            session_timeout: millis(&consumer, "session.timeout.ms", SESSION_TIMEOUT_MS),
            cache_bytes: bytes(config.statestore_cache_max_bytes),
            restore_bytes: bytes(memory.restore_bytes),
            uncaught: Mutex::new(None),
            process_id,
            config,
        })
    }

    /// The main consumer's settings; `partitions` are all that the instance could come to own.
    pub(crate) fn main_consumer(&self, partitions: usize) -> Result<ClientConfig, ConfigError> {
        let mut config = self.config.main_consumer(&self.process_id, partitions).map(client)?;
        // See `Fetched::End`: with it, a rebalance skips records.
        config.set("enable.partition.eof", "false");
        bound_fetched(&mut config);
        Ok(config)
    }

    /// The settings of the consumer of restore thread `number`, which counts from 1.
    pub(crate) fn restore_consumer(
        &self,
        number: usize,
        partitions: usize,
    ) -> Result<ClientConfig, ConfigError> {
        let mut config = self.config.restore_consumer(&self.process_id, number, partitions).map(client)?;
        if config.get("fetch.wait.max.ms").is_none() {
            // A fetch that waits at the end of one changelog would hold up those that are added meanwhile.
            config.set("fetch.wait.max.ms", "20");
        }
        bound_fetched(&mut config);
        Ok(config)
    }

    /// The settings of the consumer of global stores.
    pub(crate) fn global_consumer(&self, partitions: usize) -> Result<ClientConfig, ConfigError> {
        let mut config = self.config.global_consumer(&self.process_id, partitions).map(client)?;
        bound_fetched(&mut config);
        Ok(config)
    }

    /// The main consumer's name, by which the group lists it.
    pub(crate) fn consumer_name(&self) -> String {
        format!("{}-consumer", self.client_id)
    }

    /// A processing thread's producer's settings; `thread` counts from 1.
    pub(crate) fn producer(&self, thread: usize) -> Result<ClientConfig, ConfigError> {
        let mut config = self.config.producer(&self.process_id, thread).map(client)?;
        // At least one full batch (`batch.num.messages`).
        bound_messages(&mut config, "queue.buffering.max.kbytes", "queue.buffering.max.messages", 10_000);
        Ok(config)
    }

    /// The admin client's settings.
    pub(crate) fn admin(&self) -> Result<ClientConfig, ConfigError> {
        self.config.admin(&self.process_id).map(client)
    }

    /// Whether a topic is one of the application's repartition topics, whose committed records are purged.
    pub(crate) fn is_repartition(&self, topic: &str) -> bool {
        topic.ends_with("-repartition")
            && topic.strip_prefix(&*self.application_id).is_some_and(|rest| rest.starts_with('-'))
    }

    /// What to do when nothing valid is committed for a partition of this topic.
    pub(crate) fn reset_of(&self, topology: &Topology, topic: &str) -> AutoOffsetReset {
        sources::offset_reset(topology, &self.application_id, topic).unwrap_or(self.config.auto_offset_reset)
    }

    /// The uncaught exception handler's answer; without one the instance stops, as in the JVM.
    pub(crate) fn uncaught(
        &self,
        error: &(dyn std::error::Error + 'static),
    ) -> StreamThreadExceptionResponse {
        let handler = self.uncaught.lock().clone();
        handler.map_or(StreamThreadExceptionResponse::ShutdownClient, |handler| handler.handle(error))
    }
}

fn client(settings: ClientSettings) -> ClientConfig {
    settings.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// librdkafka counts the bytes of records in its queues, but not what it needs to hold each: about 300 bytes, more than
/// a small record. The number of records is bounded so that both together stay near the limit.
fn bound_messages(config: &mut ClientConfig, kbytes: &str, messages: &str, least: u64) {
    const BYTES_PER_MESSAGE: u64 = 320;
    let kbytes = config.get(kbytes).and_then(|value| value.parse::<u64>().ok());
    if let (Some(kbytes), None) = (kbytes, config.get(messages)) {
        let bound = (kbytes.saturating_mul(1_024) / BYTES_PER_MESSAGE).clamp(least, 100_000);
        config.set(messages, bound.to_string());
    }
}

fn bound_fetched(config: &mut ClientConfig) {
    bound_messages(config, "queued.max.messages.kbytes", "queued.min.messages", 2_000);
}

fn millis(settings: &ClientSettings, name: &str, default: u64) -> Duration {
    Duration::from_millis(settings.get(name).and_then(|value| value.parse().ok()).unwrap_or(default))
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
