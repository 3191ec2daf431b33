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
    /// - result: the record as it is; of a windowed key only the key inside chooses the partition
    /// - null: is written as null
    /// - repartition, state: none
    /// - late records: as any other
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
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/windowed_partitioner.json")).unwrap();
        let counts = file["partitionCounts"].as_array().unwrap();
        for case in file["cases"].as_array().unwrap() {
            let number = |name: &str| case[name].as_i64().unwrap();
            let (start, end) = (number("start"), number("end"));
            let serde = DynSerde::new(WindowedSerde::new(String::new(), end - start));
            let partitioner: StreamPartitioner<_, ()> = by_inner_key(&serde).unwrap();
            let key = Windowed::new(case["key"].as_str().unwrap().to_owned(), Window { start, end });
            for (count, partition) in counts.iter().zip(case["partitions"].as_array().unwrap()) {
                let count = i32::try_from(count.as_i64().unwrap()).unwrap();
                let chosen = partitioner("out", &key, &(), count).unwrap();
                assert_eq!(
                    chosen,
                    [i32::try_from(partition.as_i64().unwrap()).unwrap()],
                    "{case} of {count}"
                );
            }
        }
        assert!(by_inner_key::<_, ()>(&DynSerde::new(String::new())).is_none());
    }
}
