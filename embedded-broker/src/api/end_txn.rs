//! EndTxn: commits or aborts a transaction (KIP-98). From version 5 on the answer brings the producer's next epoch (KIP-890).

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};
use tokio::task::block_in_place;

use crate::api::fenced_before;
use crate::broker::Broker;
use crate::internal_log::ProducerEpoch;
use crate::router::RequestContext;
use crate::txn::{self, EndRequest};

/// The first version that knows PRODUCER_FENCED.
const FENCED: i16 = 2;
/// The first version of clients that take a new epoch for each transaction.
const BUMPS: i16 = 5;

/// Ends the transaction in all its partitions and groups.
pub(crate) async fn handle(broker: &Broker, ctx: &RequestContext, request: EndTxnRequest) -> EndTxnResponse {
    let bumps = ctx.api_version >= BUMPS;
    let end = EndRequest {
        producer: ProducerEpoch { id: request.producer_id.0, epoch: request.producer_epoch },
        commit: request.committed,
        version: if bumps { txn::VERSION } else { 0 },
    };
    match block_in_place(|| broker.transactions().end(&request.transactional_id.0, end)) {
        Ok(next) if bumps => {
            EndTxnResponse::default().with_producer_id(ProducerId(next.id)).with_producer_epoch(next.epoch)
        }
        Ok(_) => EndTxnResponse::default(),
        Err(error) => EndTxnResponse::default().with_error_code(fenced_before(FENCED, ctx, error).code()),
    }
}
