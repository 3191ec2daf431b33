//! How a stream is joined with a table.

use std::time::Duration;

use super::serde_options;

/// Serdes of the stream side of a join, the join's name, its grace. The serdes matter where the stream has to be
/// repartitioned first, and with a grace.
#[derive(Debug, Clone)]
pub struct Joined<KS, VS> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
    pub(crate) grace: Option<Duration>,
}

impl<KS, VS> Joined<KS, VS> {
    /// With these serdes.
    pub fn with(key: KS, value: VS) -> Self {
        Joined { key, value, name: None, grace: None }
    }

    /// Lets records of the stream wait until stream time has passed theirs by this much, so that they meet the table as
    /// it was at their time even if its updates come late. The table has to be versioned, with a history of at least the
    /// grace. A record that comes later than the grace is joined at once.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

serde_options!(Joined { grace });
