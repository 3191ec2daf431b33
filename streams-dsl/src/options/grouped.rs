//! How a stream or table is grouped.

use super::serde_options;

/// Serdes of a grouping, and its name. The name is that of the repartition topic, if one is needed; two aggregations of
/// one named grouping share the topic.
#[derive(Debug, Clone)]
pub struct Grouped<KS, VS> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
}

impl<KS, VS> Grouped<KS, VS> {
    /// With these serdes.
    pub fn with(key: KS, value: VS) -> Self {
        Grouped { key, value, name: None }
    }
}

serde_options!(Grouped {});
