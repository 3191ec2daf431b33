//! `ensure.explicit.internal.resource.naming` (KIP-1111): every store and internal topic must have a name that the user
//! gave, because a generated one changes with the operators before it.

use kstreams_core::{Topology, TopologyError};

use crate::names::Names;

/// What has a generated name.
#[derive(Default)]
struct Unnamed {
    stores: Vec<String>,
    changelogs: Vec<String>,
    repartitions: Vec<String>,
}

/// # Errors
/// When a store, and with it its changelog, or a repartition topic has a generated name.
pub(super) fn check(topology: &Topology, names: &Names) -> Result<(), TopologyError> {
    // Those that never come to be too: what is added below them would make them, under a name that nobody gave.
    let mut unnamed =
        Unnamed { stores: names.unnamed_stores().iter().cloned().collect(), ..Unnamed::default() };
    for part in topology.sub_topologies() {
        for store in topology.stores(&part) {
            let is_logged = store.spec.logging.is_some() && store.source_topic.is_none();
            if is_logged && names.unnamed_stores().contains(&store.spec.name) {
                unnamed.changelogs.push(format!("{}-changelog", store.spec.name));
            }
        }
    }
    let is_generated = |topic: &&String| names.is_generated(topic.trim_end_matches("-repartition"));
    unnamed.repartitions.extend(topology.repartition_topics().keys().filter(is_generated).cloned());
    match unnamed.told() {
        None => Ok(()),
        Some(told) => Err(TopologyError::Invalid(told)),
    }
}

impl Unnamed {
    fn told(&self) -> Option<String> {
        let lists = [
            ("state stores", &self.stores, "Materialized::named, StreamJoined::with_store_name"),
            ("changelog topics", &self.changelogs, "the name of the store"),
            (
                "repartition topics",
                &self.repartitions,
                "Grouped, Joined, Repartitioned or the operator with a name",
            ),
        ];
        let told: Vec<String> = lists
            .iter()
            .filter(|(_, names, _)| !names.is_empty())
            .map(|(what, names, how)| {
                format!("{what} without a name of yours: {} (give {how})", names.join(", "))
            })
            .collect();
        (!told.is_empty())
            .then(|| format!("ensure.explicit.internal.resource.naming is set; {}", told.join("; ")))
    }
}
