//! Generated names, sub-topologies, topics and the text of `describe()`.

use std::collections::{BTreeMap, BTreeSet};

use kstreams_core::internal_topics::{InternalTopicConfig, InternalTopicKind};
use kstreams_core::{StreamsConfig, Topology};
use kstreams_state_stores::StoreSpec;
use serde_json::{Value, json};

use crate::interpreter;
use crate::program::calls;

const APPLICATION: &str = "app";

#[test]
fn programs_have_the_names_and_the_description_that_the_jvm_gives_them() {
    let vectors: Value = serde_json::from_str(include_str!("data/names.json")).unwrap();
    let mut differing = Vec::new();
    let programs = vectors["programs"].as_array().unwrap();
    for program in programs {
        let name = program["name"].as_str().unwrap();
        for optimization in ["none", "all"] {
            if let Err(difference) = check(program, optimization) {
                differing.push(format!("== {name}, topology.optimization={optimization}\n{difference}"));
            }
        }
    }
    println!("{} programs, with and without optimisation", programs.len());
    assert!(
        differing.is_empty(),
        "{} of {} differ\n{}",
        differing.len(),
        programs.len(),
        differing.join("\n")
    );
}

fn check(program: &Value, optimization: &str) -> Result<(), String> {
    let expected = if program[optimization] == "same" { &program["none"] } else { &program[optimization] };
    let config = StreamsConfig::new(APPLICATION, "none:1").set("topology.optimization", optimization);
    let topology = match interpreter::builder_of(&calls(program)).build_with(&config) {
        Ok(topology) => topology,
        Err(_) if expected["error"].is_string() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if let Some(error) = expected["error"].as_str() {
        return Err(format!("expected the error {error}"));
    }
    let (described, wanted) = (topology.describe().to_string(), expected["describe"].as_str().unwrap());
    if described != wanted {
        return Err(format!("-- described\n{described}-- expected\n{wanted}"));
    }
    let parts = topology.sub_topologies();
    let stores = parts.iter().filter(|part| !part.global).flat_map(|part| topology.stores(part));
    let stores: BTreeMap<String, (bool, Option<i64>)> = stores
        .map(|store| {
            let logged = store.spec.logging.is_some() && store.source_topic.is_none();
            // The JVM does not call a history a retention.
            let retention = store.spec.retention_ms.filter(|_| store.spec.kind.is_windowed());
            (store.spec.name, (logged, retention))
        })
        .collect();
    let wanted = expected["stores"].as_object().unwrap().iter();
    let wanted: BTreeMap<String, (bool, Option<i64>)> = wanted
        .map(|(name, store)| (name.clone(), (store["loggingEnabled"] == true, store["retentionMs"].as_i64())))
        .collect();
    if stores != wanted {
        return Err(format!("stores {stores:?} instead of {wanted:?}"));
    }
    let groups: BTreeSet<String> = topology
        .copartition_groups()
        .iter()
        .map(|group| {
            let mut topics: Vec<_> =
                group.iter().map(|topic| topology.decorate(APPLICATION, topic)).collect();
            topics.sort();
            format!("[{}]", topics.join(", "))
        })
        .collect();
    let wanted = expected["copartitionGroups"].as_array().unwrap();
    let wanted = wanted.iter().map(|group| group.as_str().unwrap().to_owned());
    // A topic alone agrees with itself.
    let wanted: BTreeSet<String> = wanted.filter(|group| group.contains(", ")).collect();
    if groups != wanted {
        return Err(format!("copartition groups {groups:?} instead of {wanted:?}"));
    }
    let (topics, wanted) = (topics_by_part(&topology), &expected["topicsBySubtopology"]);
    if topics != *wanted {
        return Err(format!("topics {topics}\ninstead of {wanted}"));
    }
    Ok(())
}

/// What each part with tasks reads and writes, and the internal topics that are made for it with their settings.
fn topics_by_part(topology: &Topology) -> Value {
    let parts = topology.sub_topologies();
    let read = |part: &&_| !topology.source_topics(part).is_empty();
    let parts = parts.iter().filter(|part| !part.global).filter(read).map(|part| {
        let sources: BTreeSet<String> = topology.source_topics(part).into_iter().collect();
        let full = |names: &BTreeSet<String>| -> BTreeSet<String> {
            names.iter().map(|name| topology.decorate(APPLICATION, name)).collect()
        };
        let repartitions: BTreeMap<String, Value> = sources
            .iter()
            .filter_map(|name| Some((name, topology.repartition_topics().get(name)?)))
            .map(|(name, topic)| {
                let config = InternalTopicConfig::repartition(topology.decorate(APPLICATION, name), 1);
                internal_topic(&config, topic.partitions)
            })
            .collect();
        let changelogs: BTreeMap<String, Value> = topology
            .stores(part)
            .iter()
            .filter_map(|store| match &store.source_topic {
                // A source topic that serves as changelog is listed, but nothing to create.
                Some(topic) => {
                    let spec = StoreSpec { logging: Some(BTreeMap::new()), ..store.spec.clone() };
                    let changelog = InternalTopicConfig::changelog(APPLICATION, &spec, 1)?;
                    Some(internal_topic(&InternalTopicConfig { name: topic.clone(), ..changelog }, None))
                }
                None => {
                    let changelog = InternalTopicConfig::changelog(APPLICATION, &store.spec, 1)?;
                    Some(internal_topic(&changelog, None))
                }
            })
            .collect();
        let sinks: BTreeSet<String> = topology.sink_topics(part).into_iter().collect();
        json!({
            "subtopology": part.id, "sourceTopics": full(&sources), "sinkTopics": full(&sinks),
            "repartitionSourceTopics": repartitions, "stateChangelogTopics": changelogs,
        })
    });
    parts.collect()
}

fn internal_topic(topic: &InternalTopicConfig, enforced: Option<i32>) -> (String, Value) {
    let kind = match topic.kind {
        InternalTopicKind::Repartition => "RepartitionTopicConfig",
        InternalTopicKind::WindowedChangelog { .. } => "WindowedChangelogTopicConfig",
        InternalTopicKind::VersionedChangelog { .. } => "VersionedChangelogTopicConfig",
        _ => "UnwindowedUnversionedChangelogTopicConfig",
    };
    let configs = topic.effective_configs(&StreamsConfig::new(APPLICATION, "none:1"));
    (topic.name.clone(), json!({ "kind": kind, "enforcedPartitions": enforced, "configs": configs }))
}
