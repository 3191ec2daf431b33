//! The handles of groupings: what is left to say is how to aggregate. The aggregations stand in `op/`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kstreams_core::TopologyError;
use kstreams_state_stores::DynSerde;

use crate::cogrouped::{CogroupedKStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream};
use crate::graph::{Graph, NodeId};
use crate::op::repartition;
use crate::stream::Upstream;
use crate::windows::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, Windows};

/// A stream whose records are grouped by key (`KGroupedStream`), to be aggregated:
/// [`count`](Self::count), [`reduce`](Self::reduce), [`aggregate`](Self::aggregate), each over all time or
/// [`windowed_by`](Self::windowed_by).
pub struct KGroupedStream<K, V> {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) key_serde: DynSerde<K>,
    pub(crate) value_serde: DynSerde<V>,
    /// The grouping's name, which the repartition topic has.
    pub(crate) name: Option<Arc<str>>,
    /// The repartition that a first aggregation made; later ones share it if the grouping has a name.
    pub(crate) repartition: Arc<Mutex<Option<(NodeId, String)>>>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        KGroupedStream {
            upstream: Arc::clone(&self.upstream),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            name: self.name.clone(),
            repartition: Arc::clone(&self.repartition),
        }
    }
}

impl<K, V> fmt::Debug for KGroupedStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KGroupedStream").field(&self.upstream.name).finish()
    }
}

impl<K, V> KGroupedStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Aggregates by windows: of time ([`TimeWindows`](crate::TimeWindows),
    /// [`UnlimitedWindows`](crate::UnlimitedWindows)), [sliding](crate::SlidingWindows) ones, or
    /// [sessions](crate::SessionWindows), which make a [`SessionWindowedKStream`].
    ///
    /// - result: none before it is aggregated
    /// - null, late records: as the aggregation says
    /// - repartition, state: those of the aggregation
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::{Materialized, SlidingWindows, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let last_minute = SlidingWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    /// clicks.windowed_by(last_minute).count(Materialized::named("clicks-in-a-minute"));
    /// # builder.build().unwrap();
    /// ```
    pub fn windowed_by<W: WindowDefinition>(&self, windows: W) -> W::Windowed<K, V> {
        if let Some(fault) = windows.fault() {
            self.upstream.graph.lock().fail(TopologyError::Invalid(fault));
        }
        windows.group(self.clone())
    }

    /// Tells this grouping from others; clones of the handle are the same one.
    pub(crate) fn grouping(&self) -> usize {
        Arc::as_ptr(&self.repartition).addr()
    }

    /// Where an aggregation into `store` hangs: here, or below a repartition if the key changed.
    pub(crate) fn partitioned_for(&self, graph: &mut Graph, store: &str) -> Upstream {
        if !self.upstream.key_changed {
            return Upstream::clone(&self.upstream);
        }
        let prefix = self.name.as_deref().unwrap_or(store);
        // The names are asked for even where the node of a first aggregation is shared.
        let node = repartition::new_node(graph, prefix, &self.key_serde, &self.value_serde);
        let mut shared = self.repartition.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, source) = match &*shared {
            Some((id, source)) if self.name.is_some() => {
                graph.add_again(*id);
                (*id, source.clone())
            }
            _ => {
                let source = node.source.clone();
                (repartition::add_node(graph, self.upstream.node, node), source)
            }
        };
        *shared = Some((id, source.clone()));
        Upstream::at_source(&self.upstream.graph, id, &source)
    }
}

/// Windows by which a stream can be aggregated, and what that makes of it.
pub trait WindowDefinition: sealed::Sealed {
    /// A grouped stream by these windows.
    type Windowed<K, V>;
    /// Grouped streams aggregated together by these windows.
    type Cogrouped<K, A>;

    /// A grouped stream by these windows.
    #[doc(hidden)]
    fn group<K, V>(self, grouped: KGroupedStream<K, V>) -> Self::Windowed<K, V>;

    /// Cogrouped streams by these windows.
    #[doc(hidden)]
    fn cogroup<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> Self::Cogrouped<K, A>;
}

mod sealed {
    /// Windows are ours alone: their aggregations know each kind.
    pub trait Sealed {
        /// What is wrong with them, if anything.
        fn fault(&self) -> Option<String>;
    }
}

macro_rules! windows_of_time {
    ($($windows:ty),+) => {
        $(
            impl sealed::Sealed for $windows {
                fn fault(&self) -> Option<String> {
                    Windows::from(*self).fault()
                }
            }

            impl WindowDefinition for $windows {
                type Windowed<K, V> = TimeWindowedKStream<K, V>;
                type Cogrouped<K, A> = TimeWindowedCogroupedKStream<K, A>;

                fn group<K, V>(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
                    TimeWindowedKStream { grouped, windows: self.into(), emit: EmitStrategy::default() }
                }
                fn cogroup<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> TimeWindowedCogroupedKStream<K, A> {
                    TimeWindowedCogroupedKStream { cogrouped, windows: self.into() }
                }
            }
        )+
    };
}
windows_of_time!(TimeWindows, UnlimitedWindows, SlidingWindows, Windows);

impl sealed::Sealed for SessionWindows {
    /// Any gap makes sense: with none, a session is a time.
    fn fault(&self) -> Option<String> {
        None
    }
}

impl WindowDefinition for SessionWindows {
    type Windowed<K, V> = SessionWindowedKStream<K, V>;
    type Cogrouped<K, A> = SessionWindowedCogroupedKStream<K, A>;

    fn group<K, V>(self, grouped: KGroupedStream<K, V>) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream { grouped, windows: self, emit: EmitStrategy::default() }
    }
    fn cogroup<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> SessionWindowedCogroupedKStream<K, A> {
        SessionWindowedCogroupedKStream { cogrouped, windows: self }
    }
}

/// A grouped stream by windows of time or sliding windows (`TimeWindowedKStream`): the result of an aggregation is a
/// table by key and window.
pub struct TimeWindowedKStream<K, V> {
    pub(crate) grouped: KGroupedStream<K, V>,
    pub(crate) windows: Windows,
    pub(crate) emit: EmitStrategy,
}

impl<K, V> TimeWindowedKStream<K, V> {
    /// When results are told: at each update, or once a window has closed. [`UnlimitedWindows`](crate::UnlimitedWindows)
    /// never close.
    #[must_use]
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        if emit.on_close && !self.windows.close() {
            self.grouped.upstream.graph.lock().fail(TopologyError::Invalid(
                "unlimited windows never close: emit their results on window update".to_owned(),
            ));
        }
        self.emit = emit;
        self
    }
}

impl<K, V> Clone for TimeWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        TimeWindowedKStream { grouped: self.grouped.clone(), windows: self.windows, emit: self.emit }
    }
}

impl<K, V> fmt::Debug for TimeWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeWindowedKStream")
            .field("of", &self.grouped.upstream.name)
            .field("windows", &self.windows)
            .finish()
    }
}

/// A grouped stream by sessions (`SessionWindowedKStream`): the result of an aggregation is a table by key and session.
pub struct SessionWindowedKStream<K, V> {
    pub(crate) grouped: KGroupedStream<K, V>,
    pub(crate) windows: SessionWindows,
    pub(crate) emit: EmitStrategy,
}

impl<K, V> SessionWindowedKStream<K, V> {
    /// When results are told: at each update, or once a session has closed.
    #[must_use]
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        self.emit = emit;
        self
    }
}

impl<K, V> Clone for SessionWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        SessionWindowedKStream { grouped: self.grouped.clone(), windows: self.windows, emit: self.emit }
    }
}

impl<K, V> fmt::Debug for SessionWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWindowedKStream")
            .field("of", &self.grouped.upstream.name)
            .field("windows", &self.windows)
            .finish()
    }
}

/// A table whose rows are grouped by another key (`KGroupedTable`), to be aggregated: [`count`](Self::count),
/// [`reduce`](Self::reduce), [`aggregate`](Self::aggregate). A row that changes is taken out of its old group and put
/// into its new one.
pub struct KGroupedTable<K, V> {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) key_serde: DynSerde<K>,
    pub(crate) value_serde: DynSerde<V>,
    pub(crate) name: Option<Arc<str>>,
    /// As for [`KGroupedStream`].
    pub(crate) repartition: Arc<Mutex<Option<(NodeId, String)>>>,
}

impl<K, V> Clone for KGroupedTable<K, V> {
    fn clone(&self) -> Self {
        KGroupedTable {
            upstream: Arc::clone(&self.upstream),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            name: self.name.clone(),
            repartition: Arc::clone(&self.repartition),
        }
    }
}

impl<K, V> fmt::Debug for KGroupedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KGroupedTable").field(&self.upstream.name).finish()
    }
}
