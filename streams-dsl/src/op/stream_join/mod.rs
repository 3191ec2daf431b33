//! join_stream, left_join_stream, outer_join_stream: records of two streams that have the same key and are close in time.
//!
//! Each record is kept for the length of the window and the grace, and joined with those of the other stream that are
//! there already; a result has the key, the later of the two timestamps, and the headers of the record that came last.
//! A record of a left (outer: either) side that found no partner waits in a store of its own, and is joined with `None`
//! when stream time, shared by both sides, has passed its window and grace: with its own timestamp, and the headers of the
//! record that moved the time. One that comes when its window is over already is not kept waiting.
//!
//! A null value is dropped and counted. A null key is too, but for the side that needs no partner: it is joined with
//! `None` at once. A stream whose key changed is repartitioned first; both must have equally many partitions. No record is
//! too late: one finds the partners that the stores still have.

mod processor;
mod unmatched;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{BytesStoreSupplier, DefaultSerde, DynSerde};

use super::merge::other_builder;
use crate::graph::{Graph, GraphNode, NodeId, Writing};
use crate::join_windows::JoinWindows;
use crate::options::{ByType, JoinSettings, SerdeFor, StreamJoined};
use crate::stream::{KStream, Upstream};
use write::JoinPlan;

/// Makes a result of a key and the values of both sides, of which at least one is there; `None`: there is no result.
type Combine<K, L, R, VO> = Arc<dyn Fn(&K, Option<L>, Option<R>) -> Option<VO> + Send + Sync>;

/// Writes one of a join's graph nodes.
type Write<K, L, R, VO> =
    fn(&JoinPlan<K, L, R, VO>, &mut Topology, &Writing<'_>) -> Result<(), TopologyError>;

/// Which side needs no partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

/// Joins of two streams, each with its form that takes options and shows the key: what the joiner is given of both sides, and,
/// of both values, each of which may be missing, what it is called with.
macro_rules! stream_joins {
    ($(
        $(#[$doc:meta])*
        pub fn $join:ident, $join_with:ident($this:ty, $other:ty), $kind:expr,
        |$left:ident, $right:ident| ($given_left:expr, $given_right:expr);
    )+) => {
        impl<K, V> KStream<K, V>
        where
            K: Clone + Send + 'static,
            V: Clone + Send + 'static,
        {$(
            $(#[$doc])*
            pub fn $join<V2, VO>(
                &self,
                other: &KStream<K, V2>,
                joiner: impl Fn($this, $other) -> VO + Send + Sync + 'static,
                windows: JoinWindows,
            ) -> KStream<K, VO>
            where
                K: DefaultSerde,
                V: DefaultSerde,
                V2: DefaultSerde + Clone + Send,
                VO: Clone + Send + 'static,
            {
                let joined = StreamJoined::<ByType, ByType, ByType>::new();
                self.$join_with(other, move |_, left, right| joiner(left, right), windows, joined)
            }

            #[doc = concat!("As [`", stringify!($join), "`](Self::", stringify!($join), "), with options and the key to")]
            /// look at.
            pub fn $join_with<V2, VO, KS, VS, VS2>(
                &self,
                other: &KStream<K, V2>,
                joiner: impl Fn(&K, $this, $other) -> VO + Send + Sync + 'static,
                windows: JoinWindows,
                joined: StreamJoined<KS, VS, VS2>,
            ) -> KStream<K, VO>
            where
                V2: Clone + Send + 'static,
                VO: Clone + Send + 'static,
                KS: SerdeFor<K>,
                VS: SerdeFor<V>,
                VS2: SerdeFor<V2>,
            {
                let combine: Combine<K, V, V2, VO> =
                    Arc::new(move |key, $left, $right| Some(joiner(key, $given_left, $given_right)));
                self.join_streams(other, $kind, combine, windows, joined)
            }
        )+}
    };
}

stream_joins! {
    /// The pairs of records of two streams that have the same key and are within the window of each other.
    ///
    /// - result: of the same key, with the later of the two timestamps and the headers of the record that came last
    /// - null: a null value is dropped and counted; a null key too, but on a side that needs no partner it is joined
    ///   with `None` at once
    /// - repartition: a stream whose key changed; state: both sides for the window and the grace, and what has no partner
    /// - late records: find the partners that the stores still have
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::JoinWindows;
    ///
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks");
    /// let views = builder.stream::<String, String>("views");
    /// let within = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(10));
    /// views.join_stream(&clicks, |view, click| format!("{view} led to {click}"), within).to("seen-and-clicked");
    /// # builder.build().unwrap();
    /// ```
    pub fn join_stream, join_stream_with(V, V2), Kind::Inner, |left, right| (left?, right?);

    /// As [`join_stream`](Self::join_stream), and each record of this stream that had no partner, with `None`, once its
    /// window and grace have passed.
    ///
    /// - result: of the same key, with the later of the two timestamps and the headers of the record that came last
    /// - null: a null value is dropped and counted; a null key too, but on a side that needs no partner it is joined
    ///   with `None` at once
    /// - repartition: a stream whose key changed; state: both sides for the window and the grace, and what has no partner
    /// - late records: find the partners that the stores still have
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::JoinWindows;
    ///
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks");
    /// let views = builder.stream::<String, String>("views");
    /// let within = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(10));
    /// let text = |view: String, click: Option<String>| format!("{view}, clicked: {}", click.is_some());
    /// views.left_join_stream(&clicks, text, within).to("seen");
    /// # builder.build().unwrap();
    /// ```
    pub fn left_join_stream, left_join_stream_with(V, Option<V2>), Kind::Left, |left, right| (left?, right);

    /// As [`join_stream`](Self::join_stream), and each record of either stream that had no partner, with `None`, once its
    /// window and grace have passed.
    ///
    /// - result: of the same key, with the later of the two timestamps and the headers of the record that came last
    /// - null: a null value is dropped and counted; a null key too, but on a side that needs no partner it is joined
    ///   with `None` at once
    /// - repartition: a stream whose key changed; state: both sides for the window and the grace, and what has no partner
    /// - late records: find the partners that the stores still have
    ///
    /// ```
    /// use std::time::Duration;
    /// use kstreams_dsl::JoinWindows;
    ///
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks");
    /// let views = builder.stream::<String, String>("views");
    /// let within = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(10));
    /// let text = |view: Option<String>, click: Option<String>| format!("{} {}", view.is_some(), click.is_some());
    /// views.outer_join_stream(&clicks, text, within).to("seen");
    /// # builder.build().unwrap();
    /// ```
    pub fn outer_join_stream, outer_join_stream_with(Option<V>, Option<V2>), Kind::Outer, |left, right| (left, right);
}

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    fn join_streams<V2, VO, KS, VS, VS2>(
        &self,
        other: &KStream<K, V2>,
        kind: Kind,
        combine: Combine<K, V, V2, VO>,
        windows: JoinWindows,
        joined: StreamJoined<KS, VS, VS2>,
    ) -> KStream<K, VO>
    where
        V2: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
        VS2: SerdeFor<V2>,
    {
        let StreamJoined { key, value, other_value, settings } = joined;
        let key = key.serde(self.key_serde.as_ref().or(other.key_serde.as_ref()));
        let value = value.serde(self.value_serde.as_ref());
        let other_value = other_value.serde(other.value_serde.as_ref());
        let side = |suffix: &str| settings.name.as_ref().map(|name| format!("{name}{suffix}"));
        let left = with_serdes(self, &key, &value).partitioned_for_join(side("-left").as_deref());
        let right = with_serdes(other, &key, &other_value).partitioned_for_join(side("-right").as_deref());
        let mut graph = left.upstream.graph.lock();
        if !left.upstream.graph.is(&right.upstream.graph) {
            graph.fail(other_builder("joined"));
        }
        if let Some(fault) = windows.fault() {
            graph.fail(TopologyError::Invalid(fault));
        }
        if let Some(fault) = settings.fault(&windows) {
            graph.fail(fault);
        }
        let sources: BTreeSet<String> =
            left.upstream.sources.union(&right.upstream.sources).cloned().collect();
        graph.copartition(sources.clone());
        let names = Names::generate(&mut graph, kind, &settings);
        let merge = names.merge.clone();
        let serdes = (key.clone(), value, other_value);
        let plan = Arc::new(JoinPlan { kind, combine, windows, settings, names, serdes });
        let parents = [left.upstream.node, right.upstream.node];
        let node = |name: &str, parents: &[NodeId], write: Write<K, V, V2, VO>| {
            let plan = Arc::clone(&plan);
            GraphNode::operator(name, parents, move |topology, writing| write(&plan, topology, writing))
        };
        graph.add(node(&plan.names.this_windowed, &parents[..1], JoinPlan::write_this_window));
        let keeps_other = node(&plan.names.other_windowed, &parents[1..], JoinPlan::write_other_window);
        let keeps_other = graph.add(keeps_other);
        let join = node(&merge, &parents, JoinPlan::write_join);
        let join = join.takes_null_keys(kind != Kind::Inner).joins_streams(keeps_other);
        let node = graph.add(join);
        drop(graph);
        let upstream = Upstream { sources, key_changed: false, ..left.upstream.then(node, merge) };
        KStream::new(upstream, Some(key), None)
    }
}

/// The stream with the serdes by which the join writes it.
fn with_serdes<K: 'static, V: 'static>(
    stream: &KStream<K, V>,
    key: &DynSerde<K>,
    value: &DynSerde<V>,
) -> KStream<K, V> {
    KStream { key_serde: Some(key.clone()), value_serde: Some(value.clone()), ..stream.clone() }
}

/// The names of a join's nodes and stores.
struct Names {
    this_windowed: String,
    other_windowed: String,
    this_join: String,
    other_join: String,
    merge: String,
    this_store: String,
    other_store: String,
    /// Of the records without a partner; inner joins have none.
    unmatched_store: Option<String>,
}

impl Names {
    fn generate(graph: &mut Graph, kind: Kind, settings: &JoinSettings) -> Self {
        let (left_alone, right_alone) = (kind != Kind::Inner, kind == Kind::Outer);
        let given = settings.name.as_deref();
        let names = &mut graph.names;
        let this_windowed = names.or_suffixed(given, "-this-windowed", "KSTREAM-WINDOWED-");
        let other_windowed = names.or_suffixed(given, "-other-windowed", "KSTREAM-WINDOWED-");
        let this_prefix = if right_alone { "KSTREAM-OUTERTHIS-" } else { "KSTREAM-JOINTHIS-" };
        let other_prefix = if left_alone { "KSTREAM-OUTEROTHER-" } else { "KSTREAM-JOINOTHER-" };
        let this_generated = names.processor(this_prefix);
        let other_generated = names.processor(other_prefix);
        let this_suffix = if right_alone { "-outer-this-join" } else { "-this-join" };
        let other_suffix = if left_alone { "-outer-other-join" } else { "-other-join" };
        let merge = names.or_suffixed(given, "-merge", "KSTREAM-MERGE-");
        let is_named = settings.store_name.is_some();
        let or_generated = |base: Option<&str>, suffix: &str, generated: &str| {
            base.map_or_else(|| generated.to_owned(), |base| format!("{base}{suffix}"))
        };
        let stores = settings.store_name.as_deref();
        let index = this_generated.trim_start_matches(this_prefix);
        let shared_suffix = if right_alone { "-outer-shared-join" } else { "-left-shared-join" };
        let shared = or_generated(stores, shared_suffix, &format!("KSTREAM-OUTERSHARED-{index}"));
        let supplied = |supplier: &Option<BytesStoreSupplier>| {
            supplier.as_ref().map(|supplier| supplier.name().to_owned())
        };
        let this_store = supplied(&settings.this_supplier)
            .unwrap_or_else(|| or_generated(stores, this_suffix, &this_generated) + "-store");
        let other_store = supplied(&settings.other_supplier)
            .unwrap_or_else(|| or_generated(stores, other_suffix, &other_generated) + "-store");
        let made = Names {
            this_windowed,
            other_windowed,
            this_store,
            other_store,
            this_join: or_generated(given, this_suffix, &this_generated),
            other_join: or_generated(given, other_suffix, &other_generated),
            merge,
            unmatched_store: left_alone.then(|| shared + "-store"),
        };
        let generated = |supplier: &Option<BytesStoreSupplier>| !is_named && supplier.is_none();
        if generated(&settings.this_supplier) {
            names.note_unnamed_store(&made.this_store);
        }
        if generated(&settings.other_supplier) {
            names.note_unnamed_store(&made.other_store);
        }
        if let Some(store) = made.unmatched_store.as_ref().filter(|_| !is_named) {
            names.note_unnamed_store(store);
        }
        made
    }
}
