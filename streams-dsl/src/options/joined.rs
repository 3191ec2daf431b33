//! How a stream is joined with a table.

use super::serde_options;

/// Serdes of the stream side of a join, and the join's name. The serdes matter where the stream has to be repartitioned
/// first.
#[derive(Debug, Clone)]
pub struct Joined<KS, VS> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
}

impl<KS, VS> Joined<KS, VS> {
    /// With these serdes.
    pub fn with(key: KS, value: VS) -> Self {
        Joined { key, value, name: None }
    }
}

serde_options!(Joined {});
