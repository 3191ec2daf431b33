//! The settings of an application that its topology was built with: they change nodes, stores and topics, so they must be
//! in hand when it is built, and nothing would come of them later.

use super::Topology;
use crate::config::{DslStore, DslStoreFormat, StreamsConfig, TopologyOptimization, UpgradeFrom};
use crate::error::TopologyError;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopologySettings {
    /// `topology.optimization`.
    pub optimization: TopologyOptimization,
    /// `dsl.store.suppliers.class`.
    pub dsl_store: DslStore,
    /// `dsl.store.format`.
    pub dsl_store_format: DslStoreFormat,
    /// `ensure.explicit.internal.resource.naming`.
    pub explicit_naming: bool,
    /// `upgrade.from`.
    pub upgrade_from: Option<UpgradeFrom>,
}

impl TopologySettings {
    /// Those of an application's settings.
    pub fn of(config: &StreamsConfig) -> Self {
        TopologySettings {
            optimization: config.topology_optimization,
            dsl_store: config.dsl_store,
            dsl_store_format: config.dsl_store_format,
            explicit_naming: config.ensure_explicit_internal_resource_naming,
            upgrade_from: config.upgrade_from,
        }
    }

    /// Names of the settings that differ.
    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            (self.optimization != other.optimization, "topology.optimization"),
            (self.dsl_store != other.dsl_store, "dsl.store.suppliers.class"),
            (self.dsl_store_format != other.dsl_store_format, "dsl.store.format"),
            (self.upgrade_from != other.upgrade_from, "upgrade.from"),
            (self.explicit_naming != other.explicit_naming, "ensure.explicit.internal.resource.naming"),
        ];
        pairs.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect()
    }
}

impl Topology {
    /// Notes what the topology was built with; builders of topologies call it. One made by hand has no such settings.
    pub fn built_with(&mut self, settings: TopologySettings) -> &mut Self {
        self.settings = Some(settings);
        self
    }

    /// Whether an application with these settings can run the topology as it means to.
    ///
    /// # Errors
    /// When a setting that changes topologies is another one than the topology was built with.
    pub(crate) fn check_settings(&self, config: &StreamsConfig) -> Result<(), TopologyError> {
        let Some(built) = &self.settings else { return Ok(()) };
        let differing = built.differing(&TopologySettings::of(config));
        if differing.is_empty() {
            return Ok(());
        }
        Err(TopologyError::Invalid(format!(
            "the topology was built without the application's {}: build it with builder.build_with(&config)",
            differing.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_a_topology_was_built_without_are_named() {
        let plain = StreamsConfig::new("app", "none:1");
        let optimized =
            plain.clone().set("topology.optimization", "all").set("dsl.store.suppliers.class", "in_memory");
        let mut topology = Topology::new();
        assert!(topology.check_settings(&optimized).is_ok(), "made by hand: nothing to optimise");
        topology.built_with(TopologySettings::of(&plain));
        let error = topology.check_settings(&optimized).unwrap_err().to_string();
        assert!(error.contains("topology.optimization, dsl.store.suppliers.class"), "{error}");
        topology.built_with(TopologySettings::of(&optimized));
        assert!(topology.check_settings(&optimized).is_ok());
    }
}
