//! OffsetFetch: how far groups are. Up to version 7 for one group, from 8 on for several (KIP-709).
//!
//! `require_stable` asks for an error where a transaction is about to change an offset (KIP-447).

use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::group::{FetchedPartition, FetchedTopic};
use crate::router::RequestContext;

/// From this version on several groups are asked at once.
const BATCHED: i16 = 8;

/// No topics given means all that the group has committed.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if ctx.api_version >= BATCHED {
        let groups =
            request.groups.iter().map(|group| fetch_group(broker, group, request.require_stable)).collect();
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let wanted = |topic: &OffsetFetchRequestTopic| (topic.name.0.clone(), topic.partition_indexes.clone());
    let asked: Option<Vec<_>> = request.topics.as_ref().map(|topics| topics.iter().map(wanted).collect());
    let found = fetch(broker, &request.group_id, asked, request.require_stable);
    let topics = found.into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopic::default()
            .with_name(TopicName(name))
            .with_partitions(partitions.into_iter().map(partition).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn fetch(
    broker: &Broker,
    group: &StrBytes,
    asked: Option<Vec<(StrBytes, Vec<i32>)>>,
    stable: bool,
) -> Vec<FetchedTopic> {
    match asked {
        Some(topics) => broker.groups().fetch_offsets(group, &topics, stable),
        None => broker.groups().fetch_all_offsets(group, stable),
    }
}

fn fetch_group(broker: &Broker, group: &OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
    let asked = group.topics.as_ref().map(|topics| {
        topics.iter().map(|topic| (topic.name.0.clone(), topic.partition_indexes.clone())).collect()
    });
    let topics = fetch(broker, &group.group_id, asked, stable).into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopics::default()
            .with_name(TopicName(name))
            .with_partitions(partitions.into_iter().map(|found| batched(partition(found))).collect())
    });
    OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone()).with_topics(topics.collect())
}

/// Nothing committed is offset -1 without metadata.
fn partition((index, committed): FetchedPartition) -> OffsetFetchResponsePartition {
    let response = OffsetFetchResponsePartition::default().with_partition_index(index);
    let response = match &committed {
        Err(error) => response.with_error_code(error.code()),
        Ok(_) => response,
    };
    match committed.ok().flatten() {
        Some(committed) => response
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata)),
        None => response
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::new())),
    }
}

fn batched(partition: OffsetFetchResponsePartition) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition.partition_index)
        .with_committed_offset(partition.committed_offset)
        .with_committed_leader_epoch(partition.committed_leader_epoch)
        .with_metadata(partition.metadata)
        .with_error_code(partition.error_code)
}
