//! to: a stream into a topic.
//!
//! Key, value, timestamp and headers are written as they are; null is written as null. Nothing is stored. The partition
//! is chosen by the hash of the key's bytes, as every Kafka client does it; of a windowed key, only the key inside counts.

use std::sync::Arc;

use kstreams_core::murmur2::partition_for_key;
use kstreams_core::topology::{SinkOptions, SinkTopic, StreamPartitioner};
use kstreams_state_stores::{DefaultSerde, DynSerde, Serde};

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
    ///
    /// ```
    /// use kstreams_core::topology::SinkTopic;
    ///
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let readings = builder.stream::<String, i64>("readings");
    /// readings.to("all-readings");
    /// readings.to(SinkTopic::chosen_by(|sensor, _, _| format!("readings-of-{sensor}")));
    /// # builder.build().unwrap();
    /// ```
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
        self.write(topic.into(), None, produced);
    }

    /// As [`to_with`](Self::to_with), where a function chooses the partitions of each record ([`StreamPartitioner`]).
    /// Joins and tables expect the records of a key in the partition of the key's hash: this is for others to read.
    pub fn to_partitioned<KS, VS>(
        &self,
        topic: impl Into<SinkTopic<K, V>>,
        partitioner: impl Fn(&str, &K, &V, i32) -> Option<Vec<i32>> + Send + Sync + 'static,
        produced: Produced<KS, VS>,
    ) where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        self.write(topic.into(), Some(Arc::new(partitioner)), produced);
    }

    fn write<KS, VS>(
        &self,
        topic: SinkTopic<K, V>,
        partitioner: Option<StreamPartitioner<K, V>>,
        produced: Produced<KS, VS>,
    ) where
        KS: SerdeFor<K>,
        VS: SerdeFor<V>,
    {
        let key_serde = produced.key.serde(self.key_serde.as_ref());
        let options = SinkOptions {
            topic,
            partitioner: partitioner.or_else(|| by_inner_key(&key_serde)),
            key_serde,
            value_serde: produced.value.serde(self.value_serde.as_ref()),
        };
        let mut graph = self.upstream.graph.lock();
        let name = graph.names.or_processor(produced.name.as_deref(), "KSTREAM-SINK-");
        graph.add(GraphNode::operator(name.clone(), [self.upstream.node], move |topology, writing| {
            topology.add_sink_with(&name, options.clone(), writing.parents).map(|_| ())
        }));
    }
}

/// Brings all windows of a key into one partition (`WindowedStreamPartitioner`); `None` for keys without windows.
pub(crate) fn by_inner_key<K: 'static, V>(serde: &DynSerde<K>) -> Option<StreamPartitioner<K, V>> {
    let window_bytes = serde.window_bytes();
    if window_bytes == 0 {
        return None;
    }
    let serde = serde.clone();
    Some(Arc::new(move |_, key, _, partition_count| {
        let mut bytes = Vec::new();
        // A key that cannot be written fails in the sink, where the error has its place.
        let present = serde.serialize_nullable(key, &mut bytes).unwrap_or(false);
        let inner = bytes.get(..bytes.len().checked_sub(window_bytes)?)?;
        present.then(|| vec![partition_for_key(inner, partition_count)])
    }))
}

#[cfg(test)]
mod tests {
    use kstreams_state_stores::{Window, Windowed, WindowedSerde};

    use super::*;

    #[test]
    fn all_windows_of_a_key_go_to_one_partition_and_that_is_the_jvms() {
        let serde = DynSerde::new(WindowedSerde::new(String::new(), 10));
        let partitioner: StreamPartitioner<_, ()> = by_inner_key(&serde).unwrap();
        // From the JVM's WindowedStreamPartitioner, for these numbers of partitions.
        let counts = [2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 50, 64, 100, 128, 1000];
        let expected = [0, 1, 0, 4, 4, 5, 4, 4, 4, 12, 4, 28, 24, 60, 24, 124, 524];
        for start in [0, 1000, 1_700_000_000_000] {
            let key = Windowed::new("a".to_owned(), Window::of_size(start, 10));
            for (count, partition) in counts.into_iter().zip(expected) {
                assert_eq!(partitioner("out", &key, &(), count), Some(vec![partition]));
            }
        }
        assert!(by_inner_key::<_, ()>(&DynSerde::new(String::new())).is_none());
    }
}
