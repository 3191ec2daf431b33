//! The typed setters, each under its field's name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstreams_state_stores::RocksDbConfigSetter;

use super::value::{
    AutoOffsetReset, DefaultTimestampExtractor, DslStore, DslStoreFormat, MaxTaskIdle, MetricsRecordingLevel,
    ProcessingGuarantee, TopologyOptimization, UpgradeFrom,
};
use super::{ClientKind, EmitIntervals, StreamsConfig};
use crate::handlers::{
    DeserializationExceptionHandler, ProcessingExceptionHandler, ProductionExceptionHandler,
};

/// One setter per line: documentation, name, type.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        })*
    };
}

impl StreamsConfig {
    setters! {
        /// `num.stream.threads`: processing threads of this instance, at least 1.
        num_stream_threads: usize;
        /// `statestore.cache.max.bytes`: size of the record cache over all threads; 0 forwards and logs each update.
        statestore_cache_max_bytes: u64;
        /// `memory.budget.bytes`: what the instance holds beside the record cache; at least 16 MiB. See [`MemoryPlan`](super::MemoryPlan).
        memory_budget_bytes: u64;
        /// `buffered.records.per.partition`: records a task takes from a partition's queue at a time.
        buffered_records_per_partition: usize;
        /// `max.poll.records`: records a thread processes before it looks at its other duties.
        max_poll_records: usize;
        /// `poll.ms`: the longest wait of a thread that has nothing to do.
        poll: Duration;
        /// `max.task.idle.ms`: how long a task waits for an empty input.
        max_task_idle: MaxTaskIdle;
        /// `task.timeout.ms`: how long a task is retried on retriable errors.
        task_timeout: Duration;
        /// `default.api.timeout.ms`: bound of each blocking request to the brokers.
        default_api_timeout: Duration;
        /// `max.block.ms`: how long metadata of a topic are waited for; with `task.timeout.ms` added, how long a full producer may hold up a task.
        producer_max_block: Duration;
        /// `auto.offset.reset`: for sources that name no policy of their own.
        auto_offset_reset: AutoOffsetReset;
        /// `state.cleanup.delay.ms`: age at which the folder of a task that moved away is deleted.
        state_cleanup_delay: Duration;
        /// `state.cleanup.dir.max.age.ms`: age at which tasks' local state is deleted when the instance is made; `None`: never.
        state_cleanup_dir_max_age: Option<Duration>;
        /// `allow.os.group.write.access`: whether the folders of local state can be written by the user's group.
        allow_os_group_write_access: bool;
        /// `replication.factor` of internal topics; -1 is the broker's default.
        replication_factor: i32;
        /// `repartition.purge.interval.ms`: time between two deletions of committed records from repartition topics.
        repartition_purge_interval: Duration;
        /// `offsets.recommit.interval.ms`: time between two commits of unchanged offsets; below the brokers'
        /// `offsets.retention.minutes`.
        offsets_recommit_interval: Duration;
        /// `windowstore.changelog.additional.retention.ms`: added to the retention of windowed changelogs.
        windowstore_changelog_additional_retention: Duration;
        /// `topology.optimization`.
        topology_optimization: TopologyOptimization;
        /// `default.timestamp.extractor`.
        default_timestamp_extractor: DefaultTimestampExtractor;
        /// `dsl.store.suppliers.class`: engine of stores that name none.
        dsl_store: DslStore;
        /// `dsl.store.format`: whether stores of the DSL keep headers.
        dsl_store_format: DslStoreFormat;
        /// `upgrade.from`: the release whose instances still have to be able to read internal topics.
        upgrade_from: Option<UpgradeFrom>;
        /// `ensure.explicit.internal.resource.naming`: whether a generated name of an internal topic or store is an error.
        ensure_explicit_internal_resource_naming: bool;
        /// `processing.exception.handler.global.enabled`: asks the processing handler about global stores, too.
        processing_exception_handler_global_enabled: bool;
        /// `metrics.recording.level`.
        metrics_recording_level: MetricsRecordingLevel;
        /// How often joins and windows look for results that only time makes.
        emit_intervals: EmitIntervals;
        /// `log.summary.interval.ms`; zero for no summaries.
        log_summary_interval: Duration;
    }

    /// `processing.guarantee`. Sets `commit.interval.ms` to the guarantee's default unless that was or will be given.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_core::config::ProcessingGuarantee;
    /// use kstreams_core::StreamsConfig;
    ///
    /// let config = StreamsConfig::new("transfers", "localhost:9092")
    ///     .processing_guarantee(ProcessingGuarantee::ExactlyOnceV2);
    /// assert_eq!(config.commit_interval, Duration::from_millis(100));
    /// ```
    #[must_use]
    pub fn processing_guarantee(mut self, guarantee: ProcessingGuarantee) -> Self {
        self.set_guarantee(guarantee);
        self
    }

    /// `commit.interval.ms`: time between commits.
    #[must_use]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.set_commit_interval(interval);
        self
    }

    pub(super) fn set_guarantee(&mut self, guarantee: ProcessingGuarantee) {
        self.processing_guarantee = guarantee;
        if !self.commit_interval_given {
            self.commit_interval = guarantee.default_commit_interval();
        }
    }

    pub(super) fn set_commit_interval(&mut self, interval: Duration) {
        self.commit_interval = interval;
        self.commit_interval_given = true;
    }

    /// `client.id`: prefix of the clients' ids.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// `input.buffer.max.bytes`: records fetched ahead over all partitions, instead of a share of the memory budget.
    #[must_use]
    pub fn input_buffer_max_bytes(mut self, bytes: u64) -> Self {
        self.input_buffer_max_bytes = Some(bytes);
        self
    }

    /// `state.dir`: folder of all local state. Two instances on one machine need two folders.
    #[must_use]
    pub fn state_dir(mut self, state_dir: impl Into<PathBuf>) -> Self {
        self.state_dir = state_dir.into();
        self
    }

    /// `application.server`: `host:port` under which this instance answers queries.
    #[must_use]
    pub fn application_server(mut self, host_and_port: impl Into<String>) -> Self {
        self.application_server = Some(host_and_port.into());
        self
    }

    /// `rocksdb.config.setter`: changes the options of each store in RocksDB, after the library's own are set. Memory is
    /// bounded by [`memory_budget_bytes`](Self::memory_budget_bytes) for all stores together as long as the setter gives
    /// a store no block cache or write buffer of its own.
    ///
    /// ```
    /// use kstreams_core::StreamsConfig;
    /// use kstreams_state_stores::rocksdb::{DBCompressionType, Options};
    ///
    /// let config = StreamsConfig::new("word-count", "localhost:9092").rocksdb_config_setter(
    ///     |store: &str, options: &mut Options| {
    ///         if store == "counts" {
    ///             options.set_compression_type(DBCompressionType::None);
    ///         }
    ///     },
    /// );
    /// ```
    #[must_use]
    pub fn rocksdb_config_setter(mut self, setter: impl RocksDbConfigSetter + 'static) -> Self {
        self.rocksdb_config_setter = Some(Arc::new(setter));
        self
    }

    /// `deserialization.exception.handler`: asked about records that cannot be read.
    #[must_use]
    pub fn deserialization_exception_handler(
        mut self,
        handler: impl DeserializationExceptionHandler + 'static,
    ) -> Self {
        self.deserialization_exception_handler = Arc::new(handler);
        self
    }

    /// `processing.exception.handler`: asked about records that user code failed on.
    #[must_use]
    pub fn processing_exception_handler(
        mut self,
        handler: impl ProcessingExceptionHandler + 'static,
    ) -> Self {
        self.processing_exception_handler = Arc::new(handler);
        self
    }

    /// `production.exception.handler`: asked about records that cannot be written.
    #[must_use]
    pub fn production_exception_handler(
        mut self,
        handler: impl ProductionExceptionHandler + 'static,
    ) -> Self {
        self.production_exception_handler = Arc::new(handler);
        self
    }

    /// `errors.dead.letter.queue.topic.name`: where the built-in handlers send the records that they drop.
    #[must_use]
    pub fn errors_dead_letter_queue_topic_name(mut self, topic: impl Into<String>) -> Self {
        self.errors_dead_letter_queue_topic_name = Some(topic.into());
        self
    }

    /// The tokio runtime that asynchronous steps (`map_values_async`) make their calls on, with its timers enabled. Without
    /// it they use the one that `KafkaStreams::start` is awaited on if that has several threads, else one of the
    /// instance's own. It must outlive the instance.
    #[must_use]
    pub fn async_runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.async_runtime = Some(runtime);
        self
    }

    /// `topic.<setting>`: a setting of every internal topic.
    #[must_use]
    pub fn topic_config(self, setting: &str, value: impl AsRef<str>) -> Self {
        self.set(&format!("topic.{setting}"), value)
    }

    /// A setting of one kind of client, under Java's name or librdkafka's.
    #[must_use]
    pub fn client_setting(self, client: ClientKind, setting: &str, value: impl AsRef<str>) -> Self {
        self.set(&format!("{}{setting}", client.prefix()), value)
    }

    /// Any setting under its name in Kafka (`commit.interval.ms`, `producer.linger.ms`). What is wrong with name or value is
    /// told by [`validate`](Self::validate), together with everything else.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl AsRef<str>) -> Self {
        if let Err(fault) = self.apply(key, value.as_ref()) {
            self.faults.push(fault);
        }
        self
    }
}
