//! Settings of internal topics against those that the JVM makes, and the judgement of existing ones.

use super::*;

const DAY: i64 = 86_400_000;

fn topic(kind: InternalTopicKind) -> InternalTopicConfig {
    InternalTopicConfig { name: "app-s-changelog".into(), kind, partitions: 1, configs: BTreeMap::new() }
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn app() -> StreamsConfig {
    StreamsConfig::new("app", "localhost:9092")
}

/// One of each kind out of the vectors `names.json` of the JVM.
#[test]
fn settings_are_those_of_kafka_streams() {
    let window = |retention_ms, retain_duplicates| InternalTopicKind::WindowedChangelog {
        retention_ms,
        retain_duplicates,
    };
    let cases = [
        (
            InternalTopicKind::Repartition,
            vec![("cleanup.policy", "delete"), ("retention.ms", "-1"), ("segment.bytes", "52428800")],
        ),
        (InternalTopicKind::Changelog, vec![("cleanup.policy", "compact")]),
        (window(90_000, false), vec![("cleanup.policy", "compact,delete"), ("retention.ms", "86490000")]),
        (window(25_000, true), vec![("cleanup.policy", "delete"), ("retention.ms", "86425000")]),
        (
            window(i64::MAX, false),
            vec![("cleanup.policy", "compact,delete"), ("retention.ms", "9223372036854775807")],
        ),
        (
            InternalTopicKind::VersionedChangelog { history_retention_ms: 60_000 },
            vec![("cleanup.policy", "compact"), ("min.compaction.lag.ms", "86460000")],
        ),
    ];
    for (kind, mut expected) in cases {
        expected.push(("message.timestamp.type", "CreateTime"));
        assert_eq!(topic(kind).effective_configs(&app()), configs(&expected), "{kind:?}");
    }
}

#[test]
fn the_stores_settings_go_over_the_applications_and_those_over_the_defaults() {
    let app = app().topic_config("segment.bytes", "1").topic_config("retention.ms", "2");
    let mut windowed =
        topic(InternalTopicKind::WindowedChangelog { retention_ms: 5, retain_duplicates: false });
    windowed.configs = configs(&[("retention.ms", "1234")]);
    let effective = windowed.effective_configs(&app);
    assert_eq!((effective["segment.bytes"].as_str(), effective["retention.ms"].as_str()), ("1", "1234"));
    windowed.configs.clear();
    assert_eq!(windowed.effective_configs(&app)["retention.ms"], "2");
}

#[test]
fn names_are_those_of_kafka_streams() {
    assert_eq!(changelog_topic("app", "counts"), "app-counts-changelog");
    assert_eq!(repartition_topic("app", "by-word"), "app-by-word-repartition");
    assert_eq!(repartition_topic("app", "by-word-repartition"), "app-by-word-repartition");
}

/// Judges `found` against the defaults of `kind`.
fn judge(kind: InternalTopicKind, found: &[(&str, &str)]) -> Result<Vec<String>, TopicsError> {
    let topic = topic(kind);
    check_configs(&topic, &topic.effective_configs(&app()), &configs(found))
}

#[test]
fn a_changelog_that_deletes_state_is_refused() {
    for policy in ["delete", "compact,delete", "delete, compact"] {
        let error =
            judge(InternalTopicKind::Changelog, &[("cleanup.policy", policy)]).unwrap_err().to_string();
        let parts = ["app-s-changelog", policy, "compact", "kafka-configs"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    assert_eq!(judge(InternalTopicKind::Changelog, &[("cleanup.policy", "compact")]).unwrap(), [""; 0]);
}

#[test]
fn a_repartition_topic_that_compacts_is_refused_and_a_limited_one_remarked() {
    assert!(judge(InternalTopicKind::Repartition, &[("cleanup.policy", "compact")]).is_err());
    let limited =
        judge(InternalTopicKind::Repartition, &[("cleanup.policy", "delete"), ("retention.ms", "604800000")])
            .unwrap();
    assert_eq!(limited.len(), 1, "{limited:?}");
}

#[test]
fn a_windowed_changelog_must_keep_what_its_store_keeps() {
    let kind = InternalTopicKind::WindowedChangelog { retention_ms: 10 * DAY, retain_duplicates: false };
    let with =
        |retention: &str| judge(kind, &[("cleanup.policy", "compact,delete"), ("retention.ms", retention)]);
    assert_eq!(with(&(11 * DAY).to_string()).unwrap(), [""; 0]);
    assert_eq!(with("-1").unwrap(), [""; 0]);
    assert_eq!(with(&(10 * DAY).to_string()).unwrap().len(), 1);
    assert!(matches!(with(&(10 * DAY - 1).to_string()), Err(TopicsError::Retention { .. })));
    assert_eq!(judge(kind, &[("cleanup.policy", "compact"), ("retention.ms", "5")]).unwrap().len(), 1);
}

/// The user's own cleanup policy is not held against the topic made with it.
#[test]
fn what_the_user_asked_for_is_accepted() {
    let mut topic = topic(InternalTopicKind::Changelog);
    topic.configs = configs(&[("cleanup.policy", "compact,delete")]);
    let expected = topic.effective_configs(&app());
    assert_eq!(check_configs(&topic, &expected, &expected).unwrap(), [""; 0]);
}
