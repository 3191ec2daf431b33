//! Configuration: Kafka Streams' settings under Kafka Streams' names, typed.
//!
//! [`StreamsConfig::new`] with setters, or [`StreamsConfig::from_properties`] with the names that a Java application uses. Settings
//! are checked together by [`StreamsConfig::validate`] (which `KafkaStreams` calls at its start): an unknown name, a value out
//! of range and two settings that contradict each other are faults, and all of them are told at once. Passwords and keys are hidden in
//! every message and in the Debug form.
//!
//! # Settings of Kafka Streams
//!
//! | Kafka key | field | default | reason, where it differs or needs one |
//! |---|---|---|---|
//! | `application.id` | `application_id` | none | group id, prefix of internal topics, folder below `state.dir` |
//! | `bootstrap.servers` | `bootstrap_servers` | none | `host:port,...`, every client uses it |
//! | `client.id` | `client_id` | `<application.id>-<process id>` | prefix of the clients' ids |
//! | `num.stream.threads` | `num_stream_threads` | 1 | processing threads; all share one group member |
//! | `processing.guarantee` | `processing_guarantee` | `at_least_once` | `exactly_once_v2` as in Kafka Streams; `at_most_once` is ours, see [`ProcessingGuarantee`] |
//! | `commit.interval.ms` | `commit_interval` | 30 s | 100 ms with `exactly_once_v2` |
//! | `statestore.cache.max.bytes` | `statestore_cache_max_bytes` | 10 MiB | over all threads; 0 forwards each update |
//! | `cache.max.bytes.buffering` | `statestore_cache_max_bytes` | | old name of the former |
//! | `memory.budget.bytes` | `memory_budget_bytes` | 256 MiB | ours: everything else that an instance holds, see [`MemoryPlan`] |
//! | `input.buffer.max.bytes` | `input_buffer_max_bytes` | 1/16 of the budget | KIP-770's name: records fetched ahead, over all partitions |
//! | `buffered.records.per.partition` | `buffered_records_per_partition` | 1000 | records a task takes from a partition's queue at a time |
//! | `max.poll.records` | `max_poll_records` | 1000 | records a thread processes between two looks at its other duties; a consumer setting in Java |
//! | `poll.ms` | `poll` | 100 ms | longest wait of an idle thread |
//! | `max.task.idle.ms` | `max_task_idle` | 0 | see [`MaxTaskIdle`] |
//! | `task.timeout.ms` | `task_timeout` | 300 s | how long a task is retried on retriable errors before it fails |
//! | `default.api.timeout.ms` | `default_api_timeout` | 60 s | bound of every blocking request to the brokers; a client setting in Java |
//! | `max.block.ms` | `producer_max_block` | 60 s | how long metadata of a topic are waited for, and with `task.timeout.ms` added room in a full producer; a producer setting in Java |
//! | `auto.offset.reset` | `auto_offset_reset` | `earliest` | of sources that name none; a consumer setting in Java |
//! | `state.dir` | `state_dir` | `<temporary folder>/kafka-streams` | |
//! | `state.cleanup.delay.ms` | `state_cleanup_delay` | 600 s | |
//! | `state.cleanup.dir.max.age.ms` | `state_cleanup_dir_max_age` | none | |
//! | `allow.os.group.write.access` | `allow_os_group_write_access` | false | |
//! | `replication.factor` | `replication_factor` | -1 | of internal topics; -1 is the broker's default |
//! | `repartition.purge.interval.ms` | `repartition_purge_interval` | 30 s | |
//! | `offsets.recommit.interval.ms` | `offsets_recommit_interval` | 1 day | ours: unchanged offsets are committed again this often, so that those of quiet inputs do not expire |
//! | `windowstore.changelog.additional.retention.ms` | `windowstore_changelog_additional_retention` | 1 day | |
//! | `topic.<setting>` | `topic_configs` | none | of internal topics, below a store's own settings |
//! | `topology.optimization` | `topology_optimization` | `none` | |
//! | `default.timestamp.extractor` | `default_timestamp_extractor` | `FailOnInvalidTimestamp` | built-ins by name; your own at the source |
//! | `dsl.store.format` | `dsl_store_format` | `DEFAULT` | KIP-1271 |
//! | `dsl.store.suppliers.class` | `dsl_store` | RocksDB | built-ins by name |
//! | `default.dsl.store` | `dsl_store` | | old name of the former: `rocksDB`, `in_memory` |
//! | `rocksdb.config.setter` | `rocksdb_config_setter` | none | yours by the setter; a Java class cannot be loaded |
//! | `upgrade.from` | `upgrade_from` | none | of the formats of internal topics; the group protocol is not that of Java instances |
//! | `ensure.explicit.internal.resource.naming` | `ensure_explicit_internal_resource_naming` | false | |
//! | `deserialization.exception.handler` | `deserialization_exception_handler` | `LogAndFail` | built-ins by name; your own by the setter |
//! | `default.deserialization.exception.handler` | `deserialization_exception_handler` | | old name of the former |
//! | `processing.exception.handler` | `processing_exception_handler` | `LogAndFail` | the same |
//! | `processing.exception.handler.global.enabled` | `processing_exception_handler_global_enabled` | false | |
//! | `production.exception.handler` | `production_exception_handler` | `LogAndFail` | the same |
//! | `default.production.exception.handler` | `production_exception_handler` | | old name of the former |
//! | `errors.dead.letter.queue.topic.name` | `errors_dead_letter_queue_topic_name` | none | KIP-1034 |
//! | `metrics.recording.level` | `metrics_recording_level` | `INFO` | |
//! | `log.summary.interval.ms` | `log_summary_interval` | 120 s | |
//! | `__emit.interval.ms.kstreams.outer.join.spurious.results.fix__` | `emit_intervals` | 1 s | internal in Java too: see [`EmitIntervals`] |
//! | `__emit.interval.ms.kstreams.windowed.aggregation__` | `emit_intervals` | 1 s | the same |
//! | `application.server` | `application_server` | none | `host:port`, told to other instances |
//!
//! Some settings have no meaning here (`default.key.serde`: serdes are types; `acceptable.recovery.lag`: there are no standbys yet);
//! they are accepted, logged once as ignored and listed by [`StreamsConfig::ignored_settings`]. Others would change
//! what an application does and are errors until they exist (`num.standby.replicas` above 0). `keys.rs` holds both lists.
//!
//! # Settings of the Kafka clients
//!
//! Names with `consumer.`, `main.consumer.`, `restore.consumer.`, `global.consumer.`, `producer.` and `admin.` go to those clients, names
//! without prefix to every client that knows them; the narrower prefix wins. Java's names are translated to librdkafka's,
//! and librdkafka's own names are taken as they are. What is translated, and which settings the library keeps to itself and why, is
//! in `client_names.rs`; what each client gets is in `client.rs`.
//!
//! Defaults differ from the Java clients' where the library's way of working says so: `isolation.level` is Java's `read_uncommitted`
//! (librdkafka would read committed), `check.crcs` is on as in Java, `linger.ms` is 100 as in Kafka Streams, and the prefetch comes from
//! the memory budget. `delivery.timeout.ms` (Java: 120 s) is `session.timeout.ms` less `heartbeat.interval.ms`, 42 s by default: a process
//! that was stopped for longer than its session and goes on throws away what it had held back, since another has its tasks by then. What
//! can't be delivered in that time is processed again from the last commit, until `task.timeout.ms`.
//!
//! With `exactly_once_v2` consumers read committed records only, the producers get a `transactional.id`
//! (`<application id>-<process id>-<thread>`), `transaction.timeout.ms` is 10 s as in Kafka Streams (longer than a commit interval, not
//! above the brokers' `transaction.max.timeout.ms`), and `delivery.timeout.ms` is the same: what can't be written in that time is done
//! again in the next transaction.

mod client;
mod client_names;
mod emit;
mod fault;
mod keys;
mod memory;
mod native;
mod properties;
mod security;
mod setters;
mod validate;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstreams_state_stores::RocksDbConfigSetter;

pub use client::{ClientKind, ClientSettings};
pub use emit::EmitIntervals;
pub use fault::{ConfigError, ConfigFault};
pub use memory::MemoryPlan;
pub use value::{
    AutoOffsetReset, DefaultTimestampExtractor, DslStore, DslStoreFormat, MaxTaskIdle, MetricsRecordingLevel,
    ProcessingGuarantee, Secret, TopologyOptimization, UpgradeFrom,
};

use crate::handlers::{
    DeserializationExceptionHandler, LogAndFail, ProcessingExceptionHandler, ProductionExceptionHandler,
};
use client::ClientOverrides;

/// The settings of an application. Fields are for reading, the setters of the same names for writing; the table in the module's
/// documentation gives Kafka's name and the default of each.
#[derive(Clone)]
#[non_exhaustive]
pub struct StreamsConfig {
    /// Name of the application: consumer group, prefix of internal topics, folder of its state.
    pub application_id: String,
    /// `host:port` of some brokers, separated by commas.
    pub bootstrap_servers: String,
    /// Prefix of the clients' ids.
    pub client_id: Option<String>,
    /// Number of processing threads.
    pub num_stream_threads: usize,
    /// What a failure may do to results.
    pub processing_guarantee: ProcessingGuarantee,
    /// Time between commits.
    pub commit_interval: Duration,
    /// Size of the record cache over all threads, in bytes.
    pub statestore_cache_max_bytes: u64,
    /// Everything else that the instance holds, in bytes.
    pub memory_budget_bytes: u64,
    /// Records fetched ahead over all partitions, in bytes; `None` takes it from the memory budget.
    pub input_buffer_max_bytes: Option<u64>,
    /// Records a task takes from a partition's queue at a time.
    pub buffered_records_per_partition: usize,
    /// Records a thread processes before it looks at its other duties.
    pub max_poll_records: usize,
    /// The longest wait of a thread that has nothing to do.
    pub poll: Duration,
    /// How long a task waits for an empty input.
    pub max_task_idle: MaxTaskIdle,
    /// How long a task is retried on retriable errors.
    pub task_timeout: Duration,
    /// Bound of each blocking request to the brokers.
    pub default_api_timeout: Duration,
    /// How long metadata of a topic are waited for; with `task_timeout` added, how long a full producer may hold up a task.
    pub producer_max_block: Duration,
    /// Where to start without a committed offset, for sources that name no policy.
    pub auto_offset_reset: AutoOffsetReset,
    /// Folder of all local state.
    pub state_dir: PathBuf,
    /// Age at which the folder of a task that moved away is deleted.
    pub state_cleanup_delay: Duration,
    /// Age at which local state is deleted at the start; `None`: it never is.
    pub state_cleanup_dir_max_age: Option<Duration>,
    /// Whether the folders of local state can be written by the user's group.
    pub allow_os_group_write_access: bool,
    /// Replication factor of internal topics; -1 is the broker's default.
    pub replication_factor: i32,
    /// Time between two deletions of committed records from repartition topics.
    pub repartition_purge_interval: Duration,
    /// Time between two commits of unchanged offsets.
    pub offsets_recommit_interval: Duration,
    /// Added to the retention of windowed changelogs.
    pub windowstore_changelog_additional_retention: Duration,
    /// Settings of internal topics (without the prefix `topic.`).
    pub topic_configs: BTreeMap<String, String>,
    /// Rewrites of the topology.
    pub topology_optimization: TopologyOptimization,
    /// Timestamp extractor of sources that name none.
    pub default_timestamp_extractor: DefaultTimestampExtractor,
    /// Engine of stores that name none.
    pub dsl_store: DslStore,
    /// Format of the stores of the DSL.
    pub dsl_store_format: DslStoreFormat,
    /// Changes the options of each store in RocksDB; `None`: the library's own.
    pub rocksdb_config_setter: Option<Arc<dyn RocksDbConfigSetter>>,
    /// The release whose instances still have to be able to read internal topics.
    pub upgrade_from: Option<UpgradeFrom>,
    /// Whether a generated name of an internal topic or store is an error.
    pub ensure_explicit_internal_resource_naming: bool,
    /// Asks the processing exception handler about records that processors of global stores fail on; else those stop the
    /// instance (`processing.exception.handler.global.enabled`, false).
    pub processing_exception_handler_global_enabled: bool,
    /// Asked about records that cannot be read.
    pub deserialization_exception_handler: Arc<dyn DeserializationExceptionHandler>,
    /// Asked about records that user code failed on.
    pub processing_exception_handler: Arc<dyn ProcessingExceptionHandler>,
    /// Asked about records that cannot be written.
    pub production_exception_handler: Arc<dyn ProductionExceptionHandler>,
    /// Where the built-in handlers send the records that they drop.
    pub errors_dead_letter_queue_topic_name: Option<String>,
    /// How many metrics are recorded.
    pub metrics_recording_level: MetricsRecordingLevel,
    /// Time between two summaries in the log; zero for none.
    pub log_summary_interval: Duration,
    /// How often joins and windows look for results that only time makes.
    pub emit_intervals: EmitIntervals,
    /// `host:port` under which this instance answers queries, told to other instances.
    pub application_server: Option<String>,
    /// Where asynchronous steps make their calls; `None`: as [`AsyncRuntime`](crate::processor::AsyncRuntime) says.
    pub async_runtime: Option<tokio::runtime::Handle>,
    /// Whether `commit_interval` was given, or follows the guarantee.
    commit_interval_given: bool,
    clients: ClientOverrides,
    ignored: BTreeMap<String, &'static str>,
    faults: Vec<ConfigFault>,
}

impl StreamsConfig {
    /// The settings of application `application_id` on the cluster at `bootstrap_servers` (`host:port,...`), all others by default.
    pub fn new(application_id: impl Into<String>, bootstrap_servers: impl Into<String>) -> Self {
        StreamsConfig {
            application_id: application_id.into(),
            bootstrap_servers: bootstrap_servers.into(),
            client_id: None,
            num_stream_threads: 1,
            processing_guarantee: ProcessingGuarantee::AtLeastOnce,
            commit_interval: ProcessingGuarantee::AtLeastOnce.default_commit_interval(),
            commit_interval_given: false,
            statestore_cache_max_bytes: 10 * 1_024 * 1_024,
            memory_budget_bytes: memory::DEFAULT_BUDGET_BYTES,
            input_buffer_max_bytes: None,
            buffered_records_per_partition: 1_000,
            max_poll_records: 1_000,
            poll: Duration::from_millis(100),
            max_task_idle: MaxTaskIdle::Wait(Duration::ZERO),
            task_timeout: Duration::from_secs(300),
            default_api_timeout: Duration::from_secs(60),
            producer_max_block: Duration::from_secs(60),
            auto_offset_reset: AutoOffsetReset::Earliest,
            state_dir: std::env::temp_dir().join("kafka-streams"),
            state_cleanup_delay: Duration::from_secs(600),
            state_cleanup_dir_max_age: None,
            allow_os_group_write_access: false,
            replication_factor: -1,
            repartition_purge_interval: Duration::from_secs(30),
            offsets_recommit_interval: Duration::from_secs(24 * 60 * 60),
            windowstore_changelog_additional_retention: Duration::from_secs(24 * 60 * 60),
            topic_configs: BTreeMap::new(),
            topology_optimization: TopologyOptimization::NONE,
            default_timestamp_extractor: DefaultTimestampExtractor::default(),
            dsl_store: DslStore::RocksDb,
            dsl_store_format: DslStoreFormat::Default,
            rocksdb_config_setter: None,
            upgrade_from: None,
            ensure_explicit_internal_resource_naming: false,
            processing_exception_handler_global_enabled: false,
            deserialization_exception_handler: Arc::new(LogAndFail),
            processing_exception_handler: Arc::new(LogAndFail),
            production_exception_handler: Arc::new(LogAndFail),
            errors_dead_letter_queue_topic_name: None,
            metrics_recording_level: MetricsRecordingLevel::Info,
            log_summary_interval: Duration::from_secs(120),
            emit_intervals: EmitIntervals::default(),
            application_server: None,
            async_runtime: None,
            clients: ClientOverrides::default(),
            ignored: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// What each part of the instance gets of `memory.budget.bytes`.
    pub fn memory_plan(&self) -> MemoryPlan {
        MemoryPlan::new(self.memory_budget_bytes, self.input_buffer_max_bytes)
    }

    /// Settings that were given and have no effect here: name and why.
    pub fn ignored_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ignored.iter().map(|(key, why)| (key.as_str(), *why))
    }
}

impl fmt::Debug for StreamsConfig {
    /// Every setting that is data; secrets hidden, handlers left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsConfig")
            .field("application_id", &self.application_id)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("num_stream_threads", &self.num_stream_threads)
            .field("processing_guarantee", &self.processing_guarantee)
            .field("commit_interval", &self.commit_interval)
            .field("statestore_cache_max_bytes", &self.statestore_cache_max_bytes)
            .field("memory_plan", &self.memory_plan())
            .field("buffered_records_per_partition", &self.buffered_records_per_partition)
            .field("max_poll_records", &self.max_poll_records)
            .field("max_task_idle", &self.max_task_idle)
            .field("task_timeout", &self.task_timeout)
            .field("auto_offset_reset", &self.auto_offset_reset)
            .field("state_dir", &self.state_dir)
            .field("state_cleanup_delay", &self.state_cleanup_delay)
            .field("state_cleanup_dir_max_age", &self.state_cleanup_dir_max_age)
            .field("replication_factor", &self.replication_factor)
            .field("topic_configs", &self.topic_configs)
            .field("topology_optimization", &self.topology_optimization)
            .field("errors_dead_letter_queue_topic_name", &self.errors_dead_letter_queue_topic_name)
            .field("metrics_recording_level", &self.metrics_recording_level)
            .field("clients", &self.clients)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
