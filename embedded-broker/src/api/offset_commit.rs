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
    let exists = |topic: &str, partition| broker.catalog().has_partition(topic, partition);
    broker.groups().offset_commit(&request, ctx.api_version, &exists)
}
