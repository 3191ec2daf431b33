//! How a topic is read.

use std::sync::Arc;

use kstreams_core::topology::{
    AutoOffsetReset, Extracted, ExtractorRecord, SourceOptions, TimestampExtractor,
};
use kstreams_state_stores::{DynSerde, Serde};

/// Serdes and name of a source, where its records' times come from, and where it starts.
///
/// ```
/// use kstreams_core::topology::Extracted;
/// use kstreams_dsl::{Consumed, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// let measured = builder.stream_with(
///     "measured-at",
///     Consumed::<String, i64>::new()
///         .with_name("measurements")
///         .with_timestamp_extractor(|record, _partition_time| Extracted::Timestamp(*record.value)),
/// );
/// ```
pub struct Consumed<KS: Serde, VS: Serde> {
    pub(crate) key: KS,
    pub(crate) value: VS,
    pub(crate) name: Option<String>,
    timestamp_extractor: Option<TimestampExtractor<KS::Target, VS::Target>>,
    offset_reset: Option<AutoOffsetReset>,
}

impl<KS: Serde + Default, VS: Serde + Default> Consumed<KS, VS> {
    /// With the serdes named as type arguments.
    pub fn new() -> Self {
        Consumed::with(KS::default(), VS::default())
    }
}

impl<KS: Serde + Default, VS: Serde + Default> Default for Consumed<KS, VS> {
    fn default() -> Self {
        Consumed::new()
    }
}

impl<KS: Serde, VS: Serde> Consumed<KS, VS> {
    /// With these serdes.
    pub fn with(key: KS, value: VS) -> Self {
        Consumed { key, value, name: None, timestamp_extractor: None, offset_reset: None }
    }

    /// Names the source's node.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes each record's time from this function; its second argument is the highest time read from the partition
    /// before (-1: none). Without, the application's default holds.
    #[must_use]
    pub fn with_timestamp_extractor(
        mut self,
        extractor: impl Fn(&ExtractorRecord<'_, KS::Target, VS::Target>, i64) -> Extracted + Send + Sync + 'static,
    ) -> Self {
        self.timestamp_extractor = Some(Arc::new(extractor));
        self
    }

    /// Where to start when nothing is committed; without, the application's `auto.offset.reset` holds.
    #[must_use]
    pub fn with_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.offset_reset = Some(reset);
        self
    }

    /// The source's options for the topology.
    pub(crate) fn into_source(self) -> SourceOptions<KS::Target, VS::Target> {
        SourceOptions {
            key_serde: DynSerde::new(self.key),
            value_serde: DynSerde::new(self.value),
            timestamp_extractor: self.timestamp_extractor,
            offset_reset: self.offset_reset,
        }
    }
}
