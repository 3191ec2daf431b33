//! Whether an internal topic that exists can be trusted: nobody's settings are altered, but those that lose records stop the start.

use std::collections::{BTreeMap, BTreeSet};

use super::{InternalTopicConfig, InternalTopicKind, TopicsError};

/// Judges the settings of an existing topic. `expected` is [`InternalTopicConfig::effective_configs`], `found` what the broker has.
/// Answers what is different without losing anything, for the log.
///
/// # Errors
/// `CleanupPolicy` when state would be deleted from a changelog, or records from a repartition topic compacted away; `Retention`
/// when a windowed changelog forgets windows that its store keeps. (The rules of Kafka Streams' `InternalTopicManager.validate`, KIP-698.)
pub fn check_configs(
    topic: &InternalTopicConfig,
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Result<Vec<String>, TopicsError> {
    let mut remarks = Vec::new();
    if let Some(policy) = found.get("cleanup.policy") {
        let wanted = expected.get("cleanup.policy").map_or("", String::as_str);
        let (has, needs) = (policies(policy), policies(wanted));
        let added = |policy: &str| has.contains(policy) && !needs.contains(policy);
        let loses = match topic.kind {
            InternalTopicKind::Repartition => added("compact"),
            InternalTopicKind::Changelog | InternalTopicKind::VersionedChangelog { .. } => added("delete"),
            // Compaction keeps one value of a key: wrong for a store that keeps several.
            InternalTopicKind::WindowedChangelog { .. } => false,
        };
        if loses {
            let (topic, found, expected) = (topic.name.clone(), policy.clone(), wanted.to_owned());
            return Err(TopicsError::CleanupPolicy { topic, found, expected });
        }
        if has != needs {
            remarks.push(format!("cleanup.policy is {policy}, expected {wanted}"));
        }
        if let InternalTopicKind::WindowedChangelog { retention_ms, .. } = topic.kind
            && has.contains("delete")
        {
            check_retention(topic, retention_ms, expected, found, &mut remarks)?;
        }
    }
    if topic.kind == InternalTopicKind::Repartition {
        let finite = ["retention.ms", "retention.bytes"]
            .into_iter()
            .filter(|name| found.get(*name).is_some_and(|value| value != "-1"));
        remarks.extend(
            finite.map(|name| format!("{name} is limited: records may be deleted before they are processed")),
        );
    }
    Ok(remarks)
}

/// Shorter than the store's own retention loses windows; between that and the expected one, only the margin is gone.
fn check_retention(
    topic: &InternalTopicConfig,
    store_retention_ms: i64,
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
    remarks: &mut Vec<String>,
) -> Result<(), TopicsError> {
    let number = |configs: &BTreeMap<String, String>| {
        configs.get("retention.ms").and_then(|value| value.parse::<i64>().ok())
    };
    let (Some(has), Some(needs)) = (number(found), number(expected)) else { return Ok(()) };
    if has < 0 || has >= needs {
        return Ok(());
    }
    // What the user set for the topic is what the user wants.
    if has < store_retention_ms.min(needs) {
        let topic = topic.name.clone();
        return Err(TopicsError::Retention { topic, found: has.to_string(), expected: needs.to_string() });
    }
    remarks.push(format!("retention.ms is {has}, expected {needs}"));
    Ok(())
}

fn policies(text: &str) -> BTreeSet<&str> {
    text.split(',').map(str::trim).filter(|policy| !policy.is_empty()).collect()
}
