//! How a stream goes through a repartition topic.

use super::serde_options;

/// Serdes, name and partition count of a repartition topic.
#[derive(Debug, Clone)]
pub struct Repartitioned<KS, VS> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
    pub(crate) partitions: Option<i32>,
}

impl<KS, VS> Repartitioned<KS, VS> {
    /// With these serdes.
    pub fn with(key: KS, value: VS) -> Self {
        Repartitioned { key, value, name: None, partitions: None }
    }

    /// Fixes the number of partitions; without, it follows from the source topics.
    #[must_use]
    pub fn with_number_of_partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

serde_options!(Repartitioned { partitions });
