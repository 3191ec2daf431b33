//! A foreign-key join in the graph: eleven nodes in two sub-topologies, two internal topics between them, one store.

use std::collections::BTreeSet;
use std::sync::Arc;

use kstreams_core::config::UpgradeFrom;
use kstreams_core::topology::{RepartitionTopic, SinkOptions, SinkTopic, StreamPartitioner};
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, KeyValueStoreBuilder};

use super::messages::{
    CombinedKeySerde, PseudoTopics, Response, ResponseSerde, Subscription, SubscriptionSerde,
};
use super::processor::{
    AnswerSubscription, JoinResponse, KeepSubscriptions, RowHasher, Subscribe, TellSubscribers,
};
use super::{Combine, Extract, serdes};
use crate::graph::{Graph, GraphNode, NodeId, Writing};
use crate::op::merge::other_builder;
use crate::op::repartition::internal_source;
use crate::op::table_join::connect;
use crate::op::table_source::SourceTable;
use crate::op::to::by_inner_key;
use crate::options::{Materialized, SerdeFor, TableJoined};
use crate::stream::Upstream;
use crate::table::{Change, GetterSupplier, KTable, nullable};

/// Serdes of the parts of a join's messages.
pub(super) struct JoinSerdes<K, V, KO, VO> {
    pub(super) key: DynSerde<K>,
    pub(super) value: DynSerde<V>,
    pub(super) foreign_key: DynSerde<KO>,
    pub(super) foreign_value: DynSerde<VO>,
}

/// The generated or given names of a join, in the order in which they consume indices.
struct Names {
    registration_topic: String,
    subscribe: String,
    registration_sink: String,
    registration_source: String,
    store: String,
    receive: String,
    answer: String,
    tell: String,
    response_topic: String,
    response_sink: String,
    response_source: String,
    resolve: String,
    result: String,
}

impl Names {
    fn generate(graph: &mut Graph, given: Option<&str>) -> Self {
        let mut name = |suffix, prefix| graph.names.or_suffixed(given, suffix, prefix);
        let registration = "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-";
        let processor = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-";
        let resolver = "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-";
        Names {
            registration_topic: name("-subscription-registration", registration) + "-topic",
            subscribe: name("-subscription-registration-processor", registration),
            registration_sink: name("-subscription-registration-sink", "KTABLE-SINK-"),
            registration_source: name("-subscription-registration-source", "KTABLE-SOURCE-"),
            store: name("-subscription-store", "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-"),
            receive: name("-subscription-receive", processor),
            answer: name("-subscription-join-foreign", processor),
            tell: name("-foreign-join-subscription", processor),
            response_topic: name("-subscription-response", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-")
                + "-topic",
            response_sink: name("-subscription-response-sink", "KTABLE-SINK-"),
            response_source: name("-subscription-response-source", "KTABLE-SOURCE-"),
            resolve: name("-subscription-response-resolver", resolver),
            result: name("-result", "KTABLE-FK-JOIN-OUTPUT-"),
        }
    }
}

/// A join while the graph is built.
struct Plan<K, V, KO, VO, VR> {
    extract: Extract<K, V, KO>,
    combine: Combine<V, VO, VR>,
    is_left: bool,
    names: Names,
    topics: PseudoTopics,
    serdes: JoinSerdes<K, V, KO, VO>,
    joined: TableJoined<K, V, KO, VO>,
    getters: (GetterSupplier<K, V>, GetterSupplier<KO, VO>),
}

impl<K, V> KTable<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    pub(super) fn join_foreign<KO, VO, VR, KS, VS>(
        &self,
        other: &KTable<KO, VO>,
        extract: Extract<K, V, KO>,
        combine: Combine<V, VO, VR>,
        is_left: bool,
        joined: TableJoined<K, V, KO, VO>,
        materialized: Materialized<KS, VS>,
    ) -> KTable<K, VR>
    where
        KO: Clone + Send + 'static,
        VO: Clone + Send + 'static,
        VR: Clone + Send + 'static,
        KS: SerdeFor<K>,
        VS: SerdeFor<VR>,
    {
        let mut graph = self.upstream.graph.lock();
        if !self.upstream.graph.is(&other.upstream.graph) {
            graph.fail(other_builder("joined"));
        }
        other.origin.enable_old_values(true);
        self.origin.enable_old_values(true);
        let names = Names::generate(&mut graph, joined.name.as_deref());
        let name = names.result.clone();
        let store = materialized.store_name_or(|| graph.names.store("KTABLE-FK-JOIN-OUTPUT-"));
        let spec = materialized.into_spec(store, self.key_serde.as_ref(), None);
        let (key_serde, value_serde) = (spec.key.clone(), spec.value.clone());
        let queryable = spec.queryable.then(|| Arc::from(&*spec.name));
        let result = Arc::new(SourceTable::new(spec));
        let sources = with(&self.upstream.sources, &names.response_source);
        let mut node = self.upstream.node;
        match serdes(self, other, &joined) {
            Ok(serdes) => {
                let topics = PseudoTopics {
                    registration_topic: names.registration_topic.clone(),
                    store: names.store.clone(),
                };
                let getters = (self.origin.getter(), other.origin.getter());
                let plan = Plan { extract, combine, is_left, names, topics, serdes, joined, getters };
                graph.copartition(with(&other.upstream.sources, &plan.names.registration_source));
                graph.copartition(sources.clone());
                node = Arc::new(plan).add_to(&mut graph, &self.upstream, &other.upstream, &result);
            }
            Err(fault) => graph.fail(TopologyError::Invalid(fault)),
        }
        drop(graph);
        let upstream = Arc::new(Upstream { sources, ..self.upstream.then(node, name) });
        KTable {
            upstream,
            key_serde: Some(key_serde),
            value_serde: Some(value_serde),
            origin: result,
            queryable,
        }
    }
}

fn with(sources: &BTreeSet<String>, another: &str) -> BTreeSet<String> {
    sources.iter().cloned().chain([another.to_owned()]).collect()
}

/// The last release whose subscriptions have no partition.
const WITHOUT_PARTITION: UpgradeFrom = UpgradeFrom::new(3, 3);

/// Adds a graph node whose writer takes what `$plan` holds.
macro_rules! add {
    ($graph:expr, $plan:expr, $name:ident, $parents:expr, $write:ident) => {{
        let plan = Arc::clone($plan);
        let node = GraphNode::operator(&$plan.names.$name, $parents, move |topology, writing| {
            plan.$write(topology, writing)
        });
        $graph.add(node)
    }};
}

impl<K, V, KO, VO, VR> Plan<K, V, KO, VO, VR>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    KO: Clone + Send + 'static,
    VO: Clone + Send + 'static,
    VR: Clone + Send + 'static,
{
    /// Adds the nodes, and answers that of the result.
    fn add_to(
        self: &Arc<Self>,
        graph: &mut Graph,
        this: &Upstream,
        other: &Upstream,
        result: &Arc<SourceTable<K, VR>>,
    ) -> NodeId {
        let subscribe = add!(graph, self, subscribe, [this.node], write_subscribe);
        let sink = add!(graph, self, registration_sink, [subscribe], write_registration_sink);
        let source = add!(graph, self, registration_source, [sink], write_registration_source);
        graph.source_reads(&self.names.registration_source, [self.names.registration_topic.clone()]);
        add!(graph, self, store, [], write_store);
        let receive = add!(graph, self, receive, [source], write_receive);
        let answer = add!(graph, self, answer, [receive], write_answer);
        let tell = add!(graph, self, tell, [other.node], write_tell);
        let sink = add!(graph, self, response_sink, [answer, tell], write_response_sink);
        let source = add!(graph, self, response_source, [sink], write_response_source);
        graph.source_reads(&self.names.response_source, [self.names.response_topic.clone()]);
        let resolve = add!(graph, self, resolve, [source], write_resolve);
        let (name, result) = (self.names.result.clone(), Arc::clone(result));
        let versioned = result.is_versioned();
        let node = GraphNode::operator(name.clone(), [resolve], move |topology, writing| {
            let split = |key: K, value: Option<VR>| (Some(key), value);
            result.write(topology, &name, writing, split)
        });
        graph.add(node.versioned(versioned))
    }

    fn write_subscribe(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let (extract, is_left) = (Arc::clone(&self.extract), self.is_left);
        let (foreign_key, value) = (self.serdes.foreign_key.clone(), self.serdes.value.clone());
        let topics = self.topics.clone();
        let drops_late = writing.is_versioned();
        let tells_partition = writing.settings.upgrade_from.is_none_or(|from| from > WITHOUT_PARTITION);
        let supplier = move || Subscribe {
            extract: Arc::clone(&extract),
            foreign_key: foreign_key.clone(),
            topics: topics.clone(),
            hasher: RowHasher::new(&value, &topics),
            is_left,
            drops_late,
            tells_partition,
        };
        topology
            .add_processor::<K, Change<V>, Option<KO>, Subscription<K>, _>(
                &self.names.subscribe,
                supplier,
                writing.parents,
            )
            .map(|_| ())
    }

    fn subscription_serde(&self) -> DynSerde<Subscription<K>> {
        DynSerde::new(SubscriptionSerde { key: self.serdes.key.clone(), topics: self.topics.clone() })
    }

    fn write_registration_sink(
        &self,
        topology: &mut Topology,
        writing: &Writing<'_>,
    ) -> Result<(), TopologyError> {
        type Partitioner<KO, K> = StreamPartitioner<Option<KO>, Subscription<K>>;
        let partitioner: Option<Partitioner<KO, K>> = match self.joined.other_partitioner.clone() {
            Some(choose) => Some(Arc::new(move |topic, key, _, partitions| {
                key.as_ref().and_then(|key| choose(topic, key, partitions))
            })),
            None => by_inner_key::<KO, ()>(&self.serdes.foreign_key).map(|choose| -> Partitioner<KO, K> {
                Arc::new(move |topic, key, _, partitions| choose(topic, key.as_ref()?, &(), partitions))
            }),
        };
        let sink = SinkOptions {
            topic: SinkTopic::Name(self.names.registration_topic.clone()),
            key_serde: nullable(&self.serdes.foreign_key),
            value_serde: self.subscription_serde(),
            partitioner,
        };
        topology.add_repartition_topic(&self.names.registration_topic, RepartitionTopic { partitions: None });
        topology.add_sink_with(&self.names.registration_sink, sink, writing.parents).map(|_| ())
    }

    fn write_registration_source(
        &self,
        topology: &mut Topology,
        _: &Writing<'_>,
    ) -> Result<(), TopologyError> {
        let options = internal_source(nullable(&self.serdes.foreign_key), self.subscription_serde());
        let Names { registration_source, registration_topic, .. } = &self.names;
        topology.add_source_with(registration_source, &**registration_topic, options).map(|_| ())
    }

    fn write_store(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let key = CombinedKeySerde {
            foreign: self.serdes.foreign_key.clone(),
            primary: self.serdes.key.clone(),
            topics: self.topics.clone(),
        };
        let (key, value) = (DynSerde::new(key), self.subscription_serde());
        let store = KeyValueStoreBuilder::timestamped(&self.names.store, key, value)
            .with_headers_logged()
            .with_store_type(writing.store_type());
        topology.add_state_store(store, &[]).map(|_| ())
    }

    fn write_receive(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let Names { receive, store, .. } = &self.names;
        let store_name = store.clone();
        let supplier = move || KeepSubscriptions::<KO, K>::new(&store_name);
        topology.add_processor(receive, supplier, writing.parents)?;
        topology.connect_processor_and_state_stores(receive, &[store]).map(|_| ())
    }

    fn write_answer(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let make = Arc::clone(&self.getters.1.make);
        let supplier = move || AnswerSubscription { foreign: make() };
        let name = &self.names.answer;
        topology.add_processor::<Option<KO>, Subscription<K>, K, Response<VO>, _>(
            name,
            supplier,
            writing.parents,
        )?;
        connect(topology, name, &self.getters.1.stores)
    }

    fn write_tell(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let (store_name, topics) = (self.names.store.clone(), self.topics.clone());
        let foreign_key = self.serdes.foreign_key.clone();
        let drops_late = writing.is_versioned();
        let supplier = move || TellSubscribers::<KO, K> {
            store_name: store_name.clone(),
            foreign_key: foreign_key.clone(),
            topics: topics.clone(),
            drops_late,
            store: None,
        };
        let name = &self.names.tell;
        topology.add_processor::<KO, Change<VO>, K, Response<VO>, _>(name, supplier, writing.parents)?;
        topology.connect_processor_and_state_stores(name, &[&self.names.store]).map(|_| ())
    }

    fn write_response_sink(
        &self,
        topology: &mut Topology,
        writing: &Writing<'_>,
    ) -> Result<(), TopologyError> {
        let partitioner: StreamPartitioner<K, Response<VO>> = match self.joined.partitioner.clone() {
            Some(choose) => Arc::new(move |topic, key, _, partitions| choose(topic, key, partitions)),
            None => Arc::new(|_, _, response, _| response.partition.map(|partition| vec![partition])),
        };
        let sink = SinkOptions {
            topic: SinkTopic::Name(self.names.response_topic.clone()),
            key_serde: self.serdes.key.clone(),
            value_serde: DynSerde::new(ResponseSerde(self.serdes.foreign_value.clone())),
            partitioner: Some(partitioner),
        };
        topology.add_repartition_topic(&self.names.response_topic, RepartitionTopic { partitions: None });
        topology.add_sink_with(&self.names.response_sink, sink, writing.parents).map(|_| ())
    }

    fn write_response_source(&self, topology: &mut Topology, _: &Writing<'_>) -> Result<(), TopologyError> {
        let value = DynSerde::new(ResponseSerde(self.serdes.foreign_value.clone()));
        let options = internal_source(self.serdes.key.clone(), value);
        let Names { response_source, response_topic, .. } = &self.names;
        topology.add_source_with(response_source, &**response_topic, options).map(|_| ())
    }

    fn write_resolve(&self, topology: &mut Topology, writing: &Writing<'_>) -> Result<(), TopologyError> {
        let (make, combine) = (Arc::clone(&self.getters.0.make), Arc::clone(&self.combine));
        let (value, topics) = (self.serdes.value.clone(), self.topics.clone());
        let supplier = move || JoinResponse {
            rows: make(),
            hasher: RowHasher::new(&value, &topics),
            combine: Arc::clone(&combine),
        };
        let name = &self.names.resolve;
        topology.add_processor::<K, Response<VO>, K, Option<VR>, _>(name, supplier, writing.parents)?;
        connect(topology, name, &self.getters.0.stores)
    }
}
