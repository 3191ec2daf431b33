//! to: a stream into a topic.
//!
//! Key, value, timestamp and headers are written as they are; null is written as null. Nothing is stored. The partition
//! is chosen by the hash of the key's bytes, as every Kafka client does it.

use kstreams_core::topology::{SinkOptions, SinkTopic};
use kstreams_state_stores::DefaultSerde;

use crate::graph::GraphNode;
use crate::options::{ByType, Produced, SerdeFor};
use crate::stream::KStream;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Writes the stream to a topic, or each record to the topic that a function chooses for it ([`SinkTopic`]). Key,
    /// value, timestamp and headers are written as they are.
    ///
    /// The serdes are those that the stream came with, or else those of the types.
    pub fn to(&self, topic: impl Into<SinkTopic<K, V>>)
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        self.to_with(topic, Produced::with(ByType, ByType));
    }

    /// As [`to`](Self::to), with options.
    ///
    /// ```
    /// use kstreams_dsl::{Produced, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let lengths = builder.stream::<String, String>("lines").map_values(|line| line.len() as i32);
    /// lengths.to_with("lengths", Produced::<String, i32>::new().with_name("lengths-sink"));
    /// # builder.build().unwrap();
    /// ```
    pub fn to_with<KS, VS>(&self, topic: impl Into<SinkTopic<K, V>>, produced: Produced<KS, VS>)
    where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        let options = SinkOptions {
            topic: topic.into(),
            key_serde: produced.key.serde(self.key_serde.as_ref()),
            value_serde: produced.value.serde(self.value_serde.as_ref()),
            partitioner: None,
        };
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(produced.name.as_deref(), "KSTREAM-SINK-");
        graph.add(GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
            topology.add_sink_with(&name, options.clone(), writing.parents).map(|_| ())
        }));
    }
}
