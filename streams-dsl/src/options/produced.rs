//! How a stream is written to a topic.

use super::serde_options;

/// Serdes and name of a sink.
#[derive(Debug, Clone)]
pub struct Produced<KS, VS> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
}

impl<KS, VS> Produced<KS, VS> {
    /// With these serdes.
    pub fn with(key: KS, value: VS) -> Self {
        Produced { key, value, name: None }
    }
}

serde_options!(Produced {});
