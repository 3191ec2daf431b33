//! DescribeLogDirs: the data directory and how many bytes each partition takes in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::NONE;
use crate::broker::Broker;
use crate::router::RequestContext;
use crate::topics::Topic;

/// Lists the partitions asked for, or all.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let mut wanted: BTreeMap<String, (Arc<Topic>, Vec<i32>)> = BTreeMap::new();
    match request.topics {
        None => {
            for topic in broker.catalog().topics() {
                let all = (0..topic.partition_count()).collect();
                wanted.insert(topic.name.to_string(), (topic, all));
            }
        }
        Some(asked) => {
            for entry in asked {
                if let Some(topic) = broker.catalog().topic(&entry.topic) {
                    wanted
                        .entry(entry.topic.to_string())
                        .or_insert((topic, Vec::new()))
                        .1
                        .extend(entry.partitions);
                }
            }
        }
    }
    let topics = wanted.into_iter().map(|(name, (topic, partitions))| {
        let sizes =
            partitions.into_iter().filter_map(|index| Some((index, topic.log(index).ok()?.size_bytes())));
        let partitions = sizes.map(|(index, size)| {
            DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX))
        });
        let partitions = partitions.collect();
        DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_string(name)))
            .with_partitions(partitions)
    });
    // Sizes of the volume stay unknown (-1): the standard library has no way to ask for them.
    let dir = DescribeLogDirsResult::default()
        .with_error_code(NONE)
        .with_log_dir(StrBytes::from_string(broker.data_dir().path().display().to_string()))
        .with_topics(topics.collect());
    DescribeLogDirsResponse::default().with_results(vec![dir])
}
