//! The handles of grouped streams that are aggregated together.

use std::fmt;

use crate::grouped::{KGroupedStream, WindowDefinition};
use crate::op::cogroup::Inputs;
use crate::windows::{SessionWindows, Windows};

/// Grouped streams with the same keys, each with its aggregator, aggregated into one table (`CogroupedKStream`, KIP-150).
/// It begins with [`KGroupedStream::cogroup`]; [`cogroup`](Self::cogroup) adds further streams, and
/// [`aggregate`](Self::aggregate) makes the table, over all time or [`windowed_by`](Self::windowed_by).
///
/// ```
/// use kstreams_dsl::{Materialized, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// let clicks = builder.stream::<String, String>("clicks").group_by_key();
/// let purchases = builder.stream::<String, i64>("purchases").group_by_key();
/// clicks
///     .cogroup(|_, _page, (clicks, spent): (i64, i64)| (clicks + 1, spent))
///     .cogroup(&purchases, |_, amount, (clicks, spent)| (clicks, spent + amount))
///     .aggregate(|| (0, 0), Materialized::<String, kstreams_state_stores::Json<(i64, i64)>>::new());
/// # builder.build().unwrap();
/// ```
pub struct CogroupedKStream<K, A> {
    pub(crate) inputs: Inputs<K, A>,
}

impl<K, A> Clone for CogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        CogroupedKStream { inputs: self.inputs.clone() }
    }
}

impl<K, A> fmt::Debug for CogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CogroupedKStream").finish_non_exhaustive()
    }
}

impl<K, V> KGroupedStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// This stream as the first of several that are aggregated into one table: `aggregator(key, value, aggregate)` adds
    /// its values. See [`CogroupedKStream`].
    pub fn cogroup<A: Clone + Send + 'static>(
        &self,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A> {
        CogroupedKStream { inputs: Inputs::new(self).with(self, aggregator) }
    }
}

impl<K, A> CogroupedKStream<K, A>
where
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Adds a grouped stream, whose values `aggregator(key, value, aggregate)` adds to the aggregate. The topics of all
    /// streams must have equally many partitions. A grouping that is there already gets this aggregator instead of the one
    /// it had.
    #[must_use]
    pub fn cogroup<V: Clone + Send + 'static>(
        &self,
        grouped: &KGroupedStream<K, V>,
        aggregator: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A> {
        CogroupedKStream { inputs: self.inputs.clone().with(grouped, aggregator) }
    }

    /// Aggregates by windows: of time, sliding ones, or sessions.
    pub fn windowed_by<W: WindowDefinition>(&self, windows: W) -> W::Cogrouped<K, A> {
        self.inputs.check(windows.fault());
        windows.cogroup(self.clone())
    }
}

/// Cogrouped streams by windows of time or sliding windows (`TimeWindowedCogroupedKStream`).
pub struct TimeWindowedCogroupedKStream<K, A> {
    pub(crate) cogrouped: CogroupedKStream<K, A>,
    pub(crate) windows: Windows,
}

impl<K, A> Clone for TimeWindowedCogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        TimeWindowedCogroupedKStream { cogrouped: self.cogrouped.clone(), windows: self.windows }
    }
}

impl<K, A> fmt::Debug for TimeWindowedCogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeWindowedCogroupedKStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

/// Cogrouped streams by sessions (`SessionWindowedCogroupedKStream`).
pub struct SessionWindowedCogroupedKStream<K, A> {
    pub(crate) cogrouped: CogroupedKStream<K, A>,
    pub(crate) windows: SessionWindows,
}

impl<K, A> Clone for SessionWindowedCogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        SessionWindowedCogroupedKStream { cogrouped: self.cogrouped.clone(), windows: self.windows }
    }
}

impl<K, A> fmt::Debug for SessionWindowedCogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWindowedCogroupedKStream")
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}
