//! OffsetCommit: how far a group is. Stored before it is answered.

use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::broker::Broker;
use crate::router::RequestContext;

/// Offsets of partitions that don't exist are refused one by one.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let exists = |topic: &str, partition: i32| {
        let topic = broker.catalog().topic(topic);
        topic.is_some_and(|topic| (0..topic.partition_count()).contains(&partition))
    };
    broker.groups().offset_commit(&request, ctx.api_version, &exists)
}
