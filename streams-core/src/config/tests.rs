//! The configuration as a whole: names, faults, secrets, what each client gets.

use super::*;

const BASE: [(&str, &str); 2] = [("application.id", "app"), ("bootstrap.servers", "localhost:9092")];

fn from(properties: &[(&str, &str)]) -> Result<StreamsConfig, ConfigError> {
    StreamsConfig::from_properties(BASE.iter().chain(properties).copied())
}

/// The faults of these settings, as text.
fn faults(properties: &[(&str, &str)]) -> Vec<String> {
    match from(properties) {
        Ok(config) => panic!("no fault in {config:?}"),
        Err(error) => error.faults().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn defaults_are_those_of_kafka_streams() {
    let config = from(&[]).unwrap();
    assert_eq!(config.num_stream_threads, 1);
    assert_eq!(config.commit_interval, Duration::from_millis(30_000));
    assert_eq!(config.statestore_cache_max_bytes, 10_485_760);
    assert_eq!(config.state_cleanup_delay, Duration::from_millis(600_000));
    assert_eq!(config.state_cleanup_dir_max_age, None);
    assert_eq!(config.max_task_idle.as_millis(), 0);
    assert_eq!(config.task_timeout, Duration::from_millis(300_000));
    assert_eq!(config.replication_factor, -1);
    assert_eq!(config.repartition_purge_interval, Duration::from_millis(30_000));
    assert_eq!(config.windowstore_changelog_additional_retention, Duration::from_millis(86_400_000));
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::Earliest);
    assert_eq!(config.topology_optimization, TopologyOptimization::NONE);
    assert!(config.state_dir.ends_with("kafka-streams"));
    StreamsConfig::new("app", "a:1,[::1]:2,SSL://c:3").validate().unwrap();
}

#[test]
fn settings_by_name_set_the_fields_that_setters_set() {
    let config = from(&[
        ("num.stream.threads", "4"),
        ("commit.interval.ms", " 100 "),
        ("cache.max.bytes.buffering", "0"),
        ("max.task.idle.ms", "-1"),
        ("state.dir", "/data"),
        ("state.cleanup.dir.max.age.ms", "60000"),
        ("allow.os.group.write.access", "true"),
        ("topology.optimization", "all"),
        ("consumer.auto.offset.reset", "latest"),
        ("topic.min.insync.replicas", "2"),
        ("errors.dead.letter.queue.topic.name", "dlq"),
        (
            "processing.exception.handler",
            "org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler",
        ),
    ])
    .unwrap();
    assert_eq!(config.num_stream_threads, 4);
    assert_eq!(config.commit_interval, Duration::from_millis(100));
    assert_eq!(config.statestore_cache_max_bytes, 0);
    assert_eq!(config.max_task_idle, MaxTaskIdle::DontWait);
    assert_eq!(config.state_dir, PathBuf::from("/data"));
    assert_eq!(config.state_cleanup_dir_max_age, Some(Duration::from_secs(60)));
    assert!(config.allow_os_group_write_access);
    assert_eq!(config.topology_optimization, TopologyOptimization::ALL);
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::Latest);
    assert_eq!(config.topic_configs, [("min.insync.replicas".to_owned(), "2".to_owned())].into());
    assert_eq!(config.errors_dead_letter_queue_topic_name.as_deref(), Some("dlq"));
}

#[test]
fn the_narrower_prefix_has_the_last_word() {
    let config = from(&[
        ("max.poll.records", "1"),
        ("consumer.max.poll.records", "2"),
        ("fetch.min.bytes", "3"),
        ("consumer.fetch.min.bytes", "4"),
        ("main.consumer.fetch.min.bytes", "5"),
    ])
    .unwrap();
    assert_eq!(config.max_poll_records, 2);
    assert_eq!(config.main_consumer("p", 1).unwrap().get("fetch.min.bytes"), Some("5"));
    assert_eq!(config.restore_consumer("p", 1, 1).unwrap().get("fetch.min.bytes"), Some("4"));
}

#[test]
fn every_fault_is_told_at_once_with_the_nearest_name() {
    let found = faults(&[
        ("comit.interval.ms", "100"),
        ("num.stream.threads", "0"),
        ("producer.linger.mss", "5"),
        ("topic.retention.mz", "5"),
        ("processing.guarantee", "exactly_once_beta"),
        ("state.cleanup.delay.ms", "10s"),
        ("something.else.entirely", "x"),
    ]);
    let expected = [
        ("comit.interval.ms", "did you mean `commit.interval.ms`"),
        ("num.stream.threads", "between 1 and"),
        ("processing.guarantee", "use exactly_once_v2"),
        ("producer.linger.mss", "did you mean `producer.linger.ms`"),
        ("something.else.entirely", "unknown setting"),
        ("state.cleanup.delay.ms", "milliseconds"),
        ("topic.retention.mz", "did you mean `topic.retention.ms`"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (fault, (key, problem)) in found.iter().zip(expected) {
        assert!(fault.starts_with(&format!("`{key}`")) && fault.contains(problem), "{fault}");
    }
}

#[test]
fn missing_and_malformed_addresses_are_faults() {
    let error = StreamsConfig::from_properties::<&str, &str>([]).unwrap_err();
    assert_eq!(error.faults().len(), 2, "{error}");
    for servers in
        ["localhost", "localhost:", ":9092", "localhost:0", "localhost:99999", "a:1,,b:2", "::1:9092"]
    {
        let error = StreamsConfig::new("app", servers).validate().unwrap_err();
        assert_eq!(error.faults()[0].key, "bootstrap.servers", "{servers}");
    }
    assert!(StreamsConfig::new("../up", "a:1").validate().is_err());
}

#[test]
fn contradictions_are_faults() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("cache.max.bytes.buffering", "1"), ("statestore.cache.max.bytes", "2")],
            "contradicts `statestore.cache.max.bytes`",
        ),
        (
            &[("consumer.session.timeout.ms", "3000")],
            "heartbeat.interval.ms (3000) must be below session.timeout.ms (3000)",
        ),
        (&[("session.timeout.ms", "400000")], "at most max.poll.interval.ms (300000)"),
        (&[("producer.linger.ms", "200000")], "below delivery.timeout.ms"),
        (&[("consumer.fetch.max.wait.ms", "1"), ("consumer.fetch.wait.max.ms", "2")], "contradicts"),
        (&[("producer.acks", "1")], "acknowledged by all"),
        (&[("enable.idempotence", "false")], "acknowledged by all"),
        (&[("producer.max.in.flight.requests.per.connection", "6")], "at most 5"),
        (&[("sasl.mechanism", "PLAIN")], "no effect with `security.protocol` plaintext"),
        (&[("enable.auto.commit", "true")], "commits offsets itself"),
        (&[("group.id", "other")], "application.id"),
        (&[("restore.consumer.auto.offset.reset", "latest")], "local state ends"),
        (&[("num.standby.replicas", "1")], "not there yet"),
        (&[("rocksdb.config.setter", "com.example.Setter")], "Java class"),
        (&[("producer.partitioner.class", "com.example.P")], "StreamPartitioner"),
    ];
    for (properties, problem) in cases {
        let found = faults(properties);
        assert!(found.iter().all(|fault| fault.contains(problem)), "{properties:?}: {found:?}");
    }
}

/// A Java application's file must be usable as it is where nothing is lost by it.
#[test]
fn settings_without_meaning_here_are_accepted_and_listed() {
    let config = from(&[
        ("default.key.serde", "org.apache.kafka.common.serialization.Serdes$StringSerde"),
        ("num.standby.replicas", "0"),
        ("producer.metadata.max.idle.ms", "1000"),
        ("acks", "all"),
    ])
    .unwrap();
    let ignored: Vec<&str> = config.ignored_settings().map(|(key, _)| key).collect();
    assert_eq!(ignored, ["default.key.serde", "producer.metadata.max.idle.ms"]);
}

#[test]
fn secrets_show_up_nowhere() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"hunter2\";";
    let good = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.jaas.config", jaas),
        ("ssl.key.password", "hunter2"),
    ];
    let config = from(&good).unwrap();
    let producer = config.producer("p", 1).unwrap();
    assert_eq!(
        (producer.get("sasl.password"), producer.get("security.protocol")),
        (Some("hunter2"), Some("sasl_ssl"))
    );
    assert!(!format!("{config:?} {producer:?}").contains("hunter2"));
    let bad = [
        ("sasl.pasword", "hunter2"),
        ("sasl.jaas.config", "required password=hunter2"),
        ("producer.ssl.keystore.pasword", "hunter2"),
    ];
    let error = from(&bad).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[test]
fn java_names_reach_librdkafka_under_its_own() {
    let config = from(&[
        ("consumer.fetch.max.wait.ms", "250"),
        ("consumer.receive.buffer.bytes", "-1"),
        ("metadata.max.age.ms", "10000"),
        ("producer.buffer.memory", "33554432"),
        ("producer.max.request.size", "2000000"),
        ("request.timeout.ms", "30000"),
        ("ssl.endpoint.identification.algorithm", ""),
    ])
    .unwrap();
    let consumer = config.main_consumer("p", 10).unwrap();
    assert_eq!(consumer.get("fetch.wait.max.ms"), Some("250"));
    assert_eq!(consumer.get("socket.receive.buffer.bytes"), Some("0"));
    assert_eq!(consumer.get("topic.metadata.refresh.interval.ms"), Some("10000"));
    assert_eq!(consumer.get("ssl.endpoint.identification.algorithm"), Some("none"));
    assert_eq!(
        (consumer.get("socket.timeout.ms"), consumer.get("request.timeout.ms")),
        (Some("30000"), None)
    );
    let producer = config.producer("p", 1).unwrap();
    assert_eq!(producer.get("queue.buffering.max.kbytes"), Some("32768"));
    assert_eq!(producer.get("message.max.bytes"), Some("2000000"));
    assert_eq!(
        (producer.get("socket.timeout.ms"), producer.get("request.timeout.ms")),
        (Some("30000"), Some("30000"))
    );
}

/// What Kafka Streams gives its clients, and what becomes of each setting here (see `client.rs`).
#[test]
fn clients_get_what_kafka_streams_gives_its_own() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../testdata/client_configs.json")).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let settings: Vec<String> = serde_json::from_value(case["settings"].clone()).unwrap();
        let pairs: Vec<(&str, &str)> =
            settings.iter().map(|setting| setting.split_once('=').unwrap()).collect();
        let config = from(&pairs).unwrap();
        let theirs = |client: &str, name: &str| case["clients"][client][0][name].as_str().map(str::to_owned);
        let check = |client: &str, ours: &ClientSettings, names: &[&str]| {
            for name in names {
                assert_eq!(
                    ours.get(name).map(str::to_owned),
                    theirs(client, name),
                    "{client} {name} {settings:?}"
                );
            }
        };
        check(
            "producer",
            &config.producer("<processId>", 1).unwrap(),
            &["client.id", "linger.ms", "transactional.id", "transaction.timeout.ms"],
        );
        check("admin", &config.admin("<processId>").unwrap(), &["client.id"]);
        let main = config.main_consumer("<processId>", 1).unwrap();
        check(
            "mainConsumer",
            &main,
            &["group.id", "group.instance.id", "enable.auto.commit", "allow.auto.create.topics"],
        );
        if theirs("mainConsumer", "isolation.level").is_some() {
            check("mainConsumer", &main, &["isolation.level"]);
        }
        assert_eq!(theirs("mainConsumer", "max.poll.records"), Some(config.max_poll_records.to_string()));
        let client_id = config.client_id.as_deref().unwrap_or("app-<processId>");
        assert_eq!(main.get("client.id"), Some(format!("{client_id}-consumer").as_str()));
        let restore = config.restore_consumer("<processId>", 1, 1).unwrap();
        check("restoreConsumer", &restore, &["client.id", "enable.auto.commit"]);
        let global = config.global_consumer("<processId>", 1).unwrap();
        check("globalConsumer", &global, &["client.id", "enable.auto.commit"]);
        // Java's `none` is librdkafka's `error`.
        assert_eq!(
            (restore.get("auto.offset.reset"), theirs("restoreConsumer", "auto.offset.reset")),
            (Some("error"), Some("none".into()))
        );
    }
}

#[test]
fn the_prefetch_of_all_partitions_fits_the_budget() {
    let config = StreamsConfig::new("app", "a:1");
    for partitions in [1, 8, 64] {
        let settings = config.main_consumer("p", partitions).unwrap();
        let queue: u64 = settings.get("queued.max.messages.kbytes").unwrap().parse().unwrap();
        let fetch: u64 = settings.get("max.partition.fetch.bytes").unwrap().parse().unwrap();
        let worst = (queue * 1_024 + fetch) * partitions as u64;
        assert!(worst <= config.memory_plan().prefetch_bytes, "{partitions}: {worst}");
    }
    let own = config.client_setting(ClientKind::Consumer, "queued.max.messages.kbytes", "77");
    assert_eq!(own.main_consumer("p", 1).unwrap().get("queued.max.messages.kbytes"), Some("77"));
}

#[test]
fn a_properties_file_is_read_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("streams.properties");
    std::fs::write(&path, "application.id=app\nbootstrap.servers = localhost:9092\nnum.stream.threads: 3\n")
        .unwrap();
    assert_eq!(StreamsConfig::from_properties_file(&path).unwrap().num_stream_threads, 3);
    let missing = folder.path().join("none.properties");
    let error = StreamsConfig::from_properties_file(&missing).unwrap_err();
    assert!(error.to_string().contains("none.properties"), "{error}");
}

#[test]
fn what_setters_get_wrong_is_told_by_validate() {
    let config = StreamsConfig::new("app", "a:1")
        .num_stream_threads(0)
        .memory_budget_bytes(1)
        .set("comit.interval.ms", "1");
    assert_eq!(config.validate().unwrap_err().faults().len(), 3);
}

/// Kafka Streams commits every 100 ms under exactly-once unless told otherwise, in whatever order it is told.
#[test]
fn the_commit_interval_follows_the_guarantee_unless_it_is_given() {
    let guarantee = ("processing.guarantee", "exactly_once_v2");
    let interval = ("commit.interval.ms", "500");
    assert_eq!(from(&[guarantee]).unwrap().commit_interval, Duration::from_millis(100));
    for both in [[guarantee, interval], [interval, guarantee]] {
        assert_eq!(from(&both).unwrap().commit_interval, Duration::from_millis(500), "{both:?}");
    }
    let most = from(&[("processing.guarantee", "at_most_once")]).unwrap();
    assert_eq!(most.processing_guarantee, ProcessingGuarantee::AtMostOnce);
    assert_eq!(most.commit_interval, Duration::from_secs(30));
}

/// What a process had handed to its client before it was stopped beyond its session is too old to be sent when it goes on.
#[test]
fn results_are_given_up_before_the_session_is() {
    let delivery = |settings: &[(&str, &str)]| {
        let config = StreamsConfig::new("app", "a:1");
        let config = settings.iter().fold(config, |config, (name, value)| config.set(name, *value));
        config.validate().unwrap();
        config.producer("p", 1).unwrap().get("delivery.timeout.ms").unwrap().to_owned()
    };
    assert_eq!(delivery(&[]), "42000");
    assert_eq!(
        delivery(&[("main.consumer.session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")]),
        "5500"
    );
    assert_eq!(delivery(&[("session.timeout.ms", "300000")]), "120000", "Java's default is the most");
    assert_eq!(delivery(&[("producer.delivery.timeout.ms", "300000")]), "300000", "given");
    assert_eq!(delivery(&[("processing.guarantee", "exactly_once_v2")]), "10000", "that of the transaction");
}

/// What would break the guarantee, or let every transaction time out, is refused before anything starts.
#[test]
fn settings_that_contradict_exactly_once_are_faults() {
    let with = |key: &str, value: &str| {
        let config = StreamsConfig::new("app", "a:1").set("processing.guarantee", "exactly_once_v2");
        config.set(key, value).validate().map_err(|error| error.faults()[0].key.clone())
    };
    for (key, value) in [
        ("consumer.isolation.level", "read_uncommitted"),
        ("commit.interval.ms", "10001"),
        ("producer.transaction.timeout.ms", "50"),
        ("producer.delivery.timeout.ms", "10001"),
        ("producer.transactional.id", "mine"),
    ] {
        assert_eq!(with(key, value).unwrap_err(), key);
    }
    let config = StreamsConfig::new("app", "a:1")
        .set("processing.guarantee", "exactly_once_v2")
        .set("producer.transaction.timeout.ms", "60000")
        .set("commit.interval.ms", "20000");
    let producer = config.producer("p", 2).unwrap();
    let names = ["transactional.id", "transaction.timeout.ms", "delivery.timeout.ms"];
    assert_eq!(names.map(|name| producer.get(name).unwrap()), ["app-p-2", "60000", "60000"]);
    assert_eq!(config.global_consumer("p", 1).unwrap().get("isolation.level"), Some("read_committed"));
    config.validate().unwrap();
}
