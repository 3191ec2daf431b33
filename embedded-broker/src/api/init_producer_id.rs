//! InitProducerId: an id for an idempotent producer, the next epoch for a transactional one (KIP-98, KIP-360).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use tokio::task::block_in_place;

use crate::api::fenced_before;
use crate::broker::Broker;
use crate::internal_log::ProducerEpoch;
use crate::router::RequestContext;

/// The first version that knows PRODUCER_FENCED.
const FENCED: i16 = 4;

/// Without a transactional id it hands out an id nobody had before, epoch 0.
pub(crate) async fn handle(
    broker: &Broker,
    ctx: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match block_in_place(|| init(broker, &request)) {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(fenced_before(FENCED, ctx, error).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

fn init(broker: &Broker, request: &InitProducerIdRequest) -> Result<ProducerEpoch, ResponseError> {
    let Some(id) = &request.transactional_id else {
        return match broker.producer_ids().next() {
            Ok(id) => Ok(ProducerEpoch { id, epoch: 0 }),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no producer id can be handed out");
                Err(ResponseError::KafkaStorageError)
            }
        };
    };
    let expected = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ResponseError::InvalidRequest),
        (id, epoch) => Some(ProducerEpoch { id, epoch }),
    };
    broker.transactions().init_producer_id(&id.0, request.transaction_timeout_ms, expected)
}
