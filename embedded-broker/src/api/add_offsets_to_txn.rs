//! AddOffsetsToTxn: a producer says that its transaction is about to commit offsets of a group (KIP-98).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use tokio::task::block_in_place;

use crate::api::{NONE, fenced_before};
use crate::broker::Broker;
use crate::internal_log::ProducerEpoch;
use crate::router::RequestContext;
use crate::topics::offsets_partition;

/// The first version that knows PRODUCER_FENCED.
const FENCED: i16 = 2;

/// Adds the partition of the offsets topic that the group's offsets go to; there is one.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = ProducerEpoch { id: request.producer_id.0, epoch: request.producer_epoch };
    let add = || {
        let partitions = vec![offsets_partition()];
        broker.transactions().add_partitions(&request.transactional_id.0, producer, partitions)
    };
    let outcome = match request.group_id.is_empty() {
        true => Err(ResponseError::InvalidGroupId),
        false => block_in_place(add),
    };
    let code = outcome.map_or_else(|error| fenced_before(FENCED, ctx, error).code(), |()| NONE);
    AddOffsetsToTxnResponse::default().with_error_code(code)
}
