//! Kafka Streams' settings by name: which field each sets, which have no meaning here, which are not there yet.

use std::sync::Arc;

use super::StreamsConfig;
use super::client_names::known_names_with_prefixes;
use super::fault::{ConfigFault, nearest};
use super::value::{self, MaxTaskIdle, boolean, is_secret, millis, number};
use crate::handlers::{LogAndContinue, LogAndFail};

/// What a setting does.
enum Rule {
    /// Sets a field.
    Set(fn(&mut StreamsConfig, &str) -> Result<(), String>),
    /// Has no effect here, for this reason; accepted, so that a Java application's settings can be used as they are.
    Ignored(&'static str),
    /// Only these values are possible; any other is an error for this reason.
    Only(&'static [&'static str], &'static str),
    /// Is an error, for this reason.
    Refused(&'static str),
}

const NO_STANDBYS: &str = "there are no standby replicas yet, so nothing to balance";
const SERDES_ARE_TYPES: &str = "serdes are type arguments here: builder.stream::<K, V>(..)";
const NOT_RACK_AWARE: &str = "rack-aware assignment is not there yet; remove the setting";
const MAX_BYTES: u64 = i64::MAX as u64;

use Rule::{Ignored, Only, Refused, Set};

#[rustfmt::skip]
const KEYS: &[(&str, Rule)] = &[
    ("application.id", Set(|c, v| { c.application_id = v.trim().to_owned(); Ok(()) })),
    ("bootstrap.servers", Set(|c, v| { c.bootstrap_servers = v.trim().to_owned(); Ok(()) })),
    ("client.id", Set(|c, v| { c.client_id = Some(v.trim().to_owned()).filter(|id| !id.is_empty()); Ok(()) })),
    ("num.stream.threads", Set(|c, v| { c.num_stream_threads = number(v, 1, 10_000, "")?; Ok(()) })),
    ("processing.guarantee", Set(|c, v| { c.set_guarantee(v.parse()?); Ok(()) })),
    ("commit.interval.ms", Set(|c, v| { c.set_commit_interval(millis(v)?); Ok(()) })),
    ("statestore.cache.max.bytes", Set(cache_bytes)),
    ("cache.max.bytes.buffering", Set(cache_bytes)),
    ("memory.budget.bytes", Set(|c, v| { c.memory_budget_bytes = number(v, super::memory::MIN_BUDGET_BYTES, MAX_BYTES, " of bytes")?; Ok(()) })),
    ("input.buffer.max.bytes", Set(|c, v| { c.input_buffer_max_bytes = Some(number(v, 1, MAX_BYTES, " of bytes")?); Ok(()) })),
    ("buffered.records.per.partition", Set(|c, v| { c.buffered_records_per_partition = number(v, 1, 1_000_000_000, " of records")?; Ok(()) })),
    ("max.poll.records", Set(|c, v| { c.max_poll_records = number(v, 1, 1_000_000_000, " of records")?; Ok(()) })),
    ("poll.ms", Set(|c, v| { c.poll = millis(v)?; Ok(()) })),
    ("max.task.idle.ms", Set(max_task_idle)),
    ("task.timeout.ms", Set(|c, v| { c.task_timeout = millis(v)?; Ok(()) })),
    ("default.api.timeout.ms", Set(|c, v| { c.default_api_timeout = millis(v)?; Ok(()) })),
    ("max.block.ms", Set(|c, v| { c.producer_max_block = millis(v)?; Ok(()) })),
    ("auto.offset.reset", Set(|c, v| { c.auto_offset_reset = v.parse()?; Ok(()) })),
    ("state.dir", Set(|c, v| { c.state_dir = v.trim().into(); Ok(()) })),
    ("state.cleanup.delay.ms", Set(|c, v| { c.state_cleanup_delay = millis(v)?; Ok(()) })),
    ("state.cleanup.dir.max.age.ms", Set(state_max_age)),
    ("allow.os.group.write.access", Set(|c, v| { c.allow_os_group_write_access = boolean(v)?; Ok(()) })),
    ("replication.factor", Set(|c, v| { c.replication_factor = number(v, -1, i32::from(i16::MAX), "")?; Ok(()) })),
    ("repartition.purge.interval.ms", Set(|c, v| { c.repartition_purge_interval = millis(v)?; Ok(()) })),
    ("offsets.recommit.interval.ms", Set(|c, v| { c.offsets_recommit_interval = millis(v)?; Ok(()) })),
    ("windowstore.changelog.additional.retention.ms", Set(|c, v| { c.windowstore_changelog_additional_retention = millis(v)?; Ok(()) })),
    ("topology.optimization", Set(|c, v| { c.topology_optimization = v.parse()?; Ok(()) })),
    ("default.timestamp.extractor", Set(|c, v| { c.default_timestamp_extractor = v.parse()?; Ok(()) })),
    ("dsl.store.suppliers.class", Set(|c, v| { c.dsl_store = v.parse()?; Ok(()) })),
    ("dsl.store.format", Set(|c, v| { c.dsl_store_format = v.parse()?; Ok(()) })),
    ("default.dsl.store", Set(|c, v| { c.dsl_store = v.parse()?; Ok(()) })),
    ("upgrade.from", Set(|c, v| { c.upgrade_from = Some(v.parse()?); Ok(()) })),
    ("processing.exception.handler.global.enabled", Set(|c, v| { c.processing_exception_handler_global_enabled = boolean(v)?; Ok(()) })),
    ("ensure.explicit.internal.resource.naming", Set(|c, v| { c.ensure_explicit_internal_resource_naming = boolean(v)?; Ok(()) })),
    ("deserialization.exception.handler", Set(deserialization_handler)),
    ("default.deserialization.exception.handler", Set(deserialization_handler)),
    ("processing.exception.handler", Set(processing_handler)),
    ("production.exception.handler", Set(production_handler)),
    ("default.production.exception.handler", Set(production_handler)),
    ("errors.dead.letter.queue.topic.name", Set(|c, v| { c.errors_dead_letter_queue_topic_name = Some(v.trim().to_owned()); Ok(()) })),
    ("metrics.recording.level", Set(|c, v| { c.metrics_recording_level = v.parse()?; Ok(()) })),
    ("log.summary.interval.ms", Set(|c, v| { c.log_summary_interval = if v.trim() == "-1" { std::time::Duration::ZERO } else { millis(v)? }; Ok(()) })),
    ("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", Set(|c, v| { c.emit_intervals.outer_join = Some(millis(v)?); Ok(()) })),
    ("__emit.interval.ms.kstreams.windowed.aggregation__", Set(|c, v| { c.emit_intervals.window_close = Some(millis(v)?); Ok(()) })),
    ("application.server", Set(|c, v| { c.application_server = Some(v.trim().to_owned()).filter(|s| !s.is_empty()); Ok(()) })),
    // Not there yet: accepted only where they ask for what is there.
    ("num.standby.replicas", Only(&["0"], "standby replicas are not there yet; set it to 0 or remove it")),
    ("group.protocol", Only(&["classic"], "the library brings its own assignment over the classic protocol; `streams` and `consumer` are not there yet")),
    ("rack.aware.assignment.tags", Only(&[""], NOT_RACK_AWARE)),
    ("rack.aware.assignment.strategy", Only(&["none"], NOT_RACK_AWARE)),
    // No meaning here.
    ("config.providers", Only(&[""], "they are Java classes, which cannot be loaded here; put the values themselves in")),
    ("acceptable.recovery.lag", Ignored(NO_STANDBYS)),
    ("max.warmup.replicas", Ignored(NO_STANDBYS)),
    ("probing.rebalance.interval.ms", Ignored(NO_STANDBYS)),
    ("rack.aware.assignment.traffic_cost", Ignored(NO_STANDBYS)),
    ("rack.aware.assignment.non_overlap_cost", Ignored(NO_STANDBYS)),
    ("default.key.serde", Ignored(SERDES_ARE_TYPES)),
    ("default.value.serde", Ignored(SERDES_ARE_TYPES)),
    ("default.list.key.serde.inner", Ignored(SERDES_ARE_TYPES)),
    ("default.list.value.serde.inner", Ignored(SERDES_ARE_TYPES)),
    ("default.list.key.serde.type", Ignored(SERDES_ARE_TYPES)),
    ("default.list.value.serde.type", Ignored(SERDES_ARE_TYPES)),
    ("windowed.inner.class.serde", Ignored(SERDES_ARE_TYPES)),
    ("window.size.ms", Ignored(SERDES_ARE_TYPES)),
    ("built.in.metrics.version", Ignored("there is one version of the metrics here")),
    ("metrics.num.samples", Ignored("the recorder installed for the `metrics` facade keeps the samples")),
    ("metrics.sample.window.ms", Ignored("the recorder installed for the `metrics` facade keeps the samples")),
    ("metric.reporters", Ignored("install a recorder for the `metrics` facade instead")),
    ("auto.include.jmx.reporter", Ignored("install a recorder for the `metrics` facade instead")),
    // Java classes that would change what the application does.
    ("task.assignor.class", Refused("names a Java class, which cannot be loaded here; remove it")),
    ("processor.wrapper.class", Refused("names a Java class, which cannot be loaded here; give your own in code with Topology::set_processor_wrapper")),
    ("default.client.supplier", Refused("names a Java class, which cannot be loaded here; remove it")),
    ("rocksdb.config.setter", Refused("names a Java class, which cannot be loaded here; give your own in code with StreamsConfig::rocksdb_config_setter")),
];

/// Settings that set the same field: to give both with different values is a contradiction.
pub(super) const OLD_NAMES: &[(&str, &str)] = &[
    ("cache.max.bytes.buffering", "statestore.cache.max.bytes"),
    ("default.dsl.store", "dsl.store.suppliers.class"),
    ("default.deserialization.exception.handler", "deserialization.exception.handler"),
    ("default.production.exception.handler", "production.exception.handler"),
];

/// Settings of the consumer and the producer in Java that are ours, and taken with their prefixes too.
pub(super) const OURS_IN_CLIENTS: &[(&str, &str)] = &[
    ("consumer.", "auto.offset.reset"),
    ("main.consumer.", "auto.offset.reset"),
    ("consumer.", "max.poll.records"),
    ("main.consumer.", "max.poll.records"),
    ("consumer.", "default.api.timeout.ms"),
    ("main.consumer.", "default.api.timeout.ms"),
    ("admin.", "default.api.timeout.ms"),
    ("producer.", "max.block.ms"),
];

impl StreamsConfig {
    /// Sets one setting by its name in Kafka.
    pub(super) fn apply(&mut self, key: &str, value: &str) -> Result<(), ConfigFault> {
        let ours = OURS_IN_CLIENTS.iter().find(|(prefix, name)| key.strip_prefix(prefix) == Some(name));
        let name = ours.map_or(key, |(_, name)| name);
        let Some((_, rule)) = KEYS.iter().find(|(known, _)| *known == name) else {
            return self.apply_client_or_topic(key, value);
        };
        match rule {
            Set(set) => set(self, value).map_err(|problem| ConfigFault::new(key, problem)),
            Only(values, _) if values.contains(&value.trim()) => Ok(()),
            Only(_, why) => Err(ConfigFault::new(key, format!("`{value}` is not possible: {why}"))),
            Refused(why) => Err(ConfigFault::new(key, *why)),
            Ignored(why) => {
                self.ignored.insert(key.to_owned(), why);
                Ok(())
            }
        }
    }

    fn apply_client_or_topic(&mut self, key: &str, value: &str) -> Result<(), ConfigFault> {
        if let Some(taken) = self.apply_to_clients(key, value) {
            return taken;
        }
        if let Some(setting) = key.strip_prefix("topic.")
            && TOPIC_SETTINGS.contains(&setting)
        {
            self.topic_configs.insert(setting.to_owned(), value.trim().to_owned());
            return Ok(());
        }
        if key.starts_with("client.tag.") {
            self.ignored.insert(key.to_owned(), NO_STANDBYS);
            return Ok(());
        }
        Err(unknown(key))
    }
}

/// The fault of a name that nothing knows, with the nearest one that something does. The value stays out: it may be a secret.
fn unknown(key: &str) -> ConfigFault {
    let clients = known_names_with_prefixes();
    let topics = TOPIC_SETTINGS.iter().map(|setting| format!("topic.{setting}")).collect::<Vec<_>>();
    let known = KEYS
        .iter()
        .map(|(name, _)| *name)
        .chain(clients.iter().map(String::as_str))
        .chain(topics.iter().map(String::as_str));
    match nearest(key, known) {
        Some(near) => ConfigFault::new(key, format!("unknown setting; did you mean `{near}`?")),
        None => ConfigFault::new(
            key,
            "unknown setting; if it is one of a client or of internal topics, check its prefix (`consumer.`, `producer.`, `admin.`, `topic.`), else remove it",
        ),
    }
}

fn cache_bytes(config: &mut StreamsConfig, text: &str) -> Result<(), String> {
    config.statestore_cache_max_bytes = number(text, 0, MAX_BYTES, " of bytes")?;
    Ok(())
}

fn max_task_idle(config: &mut StreamsConfig, text: &str) -> Result<(), String> {
    config.max_task_idle = match text.trim() {
        "-1" => MaxTaskIdle::DontWait,
        _ => MaxTaskIdle::Wait(millis(text).map_err(|problem| format!("{problem}, nor -1 (do not wait)"))?),
    };
    Ok(())
}

fn state_max_age(config: &mut StreamsConfig, text: &str) -> Result<(), String> {
    config.state_cleanup_dir_max_age = match text.trim() {
        "-1" => None,
        _ => Some(millis(text).map_err(|problem| format!("{problem}, nor -1 (never)"))?),
    };
    Ok(())
}

/// Which built-in handler a Java class name or ours means: true to continue, false to fail.
fn continues(text: &str, setter: &str) -> Result<bool, String> {
    match value::simple_class_name(text) {
        "LogAndContinueExceptionHandler" | "LogAndContinueProcessingExceptionHandler" | "LogAndContinue" => {
            Ok(true)
        }
        "LogAndFailExceptionHandler"
        | "LogAndFailProcessingExceptionHandler"
        | "DefaultProductionExceptionHandler"
        | "LogAndFail" => Ok(false),
        _ => Err(format!(
            "`{text}` is not a built-in handler (LogAndContinue, LogAndFail); a Java class cannot be loaded here, give your own in \
             code with StreamsConfig::{setter}"
        )),
    }
}

fn deserialization_handler(config: &mut StreamsConfig, text: &str) -> Result<(), String> {
    config.deserialization_exception_handler = if continues(text, "deserialization_exception_handler")? {
        Arc::new(LogAndContinue)
    } else {
        Arc::new(LogAndFail)
    };
    Ok(())
}

fn processing_handler(config: &mut StreamsConfig, text: &str) -> Result<(), String> {
    config.processing_exception_handler = if continues(text, "processing_exception_handler")? {
        Arc::new(LogAndContinue)
    } else {
        Arc::new(LogAndFail)
    };
    Ok(())
}

fn production_handler(config: &mut StreamsConfig, text: &str) -> Result<(), String> {
    config.production_exception_handler = if continues(text, "production_exception_handler")? {
        Arc::new(LogAndContinue)
    } else {
        Arc::new(LogAndFail)
    };
    Ok(())
}

/// A value as a message may show it.
pub(super) fn shown(key: &str, value: &str) -> String {
    if is_secret(key) { "[hidden]".to_owned() } else { format!("`{value}`") }
}

/// Settings of a topic (Apache Kafka's `TopicConfig`).
const TOPIC_SETTINGS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the module's documentation is what a user reads: it names every setting that sets a field.
    #[test]
    fn the_documented_table_has_every_setting() {
        let documentation = include_str!("mod.rs");
        for (key, rule) in KEYS {
            if matches!(rule, Set(_)) {
                assert!(documentation.contains(&format!("//! | `{key}` |")), "{key} is not in the table");
            }
        }
    }

    #[test]
    fn no_setting_stands_twice() {
        let mut names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
        assert!(OLD_NAMES.iter().all(|(old, new)| names.contains(old) && names.contains(new)));
        assert!(OURS_IN_CLIENTS.iter().all(|(_, name)| names.contains(name)));
    }
}
