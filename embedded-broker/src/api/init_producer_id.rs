//! InitProducerId: a new id for an idempotent producer. Transactional ids follow with transactions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use tokio::task::block_in_place;

use crate::broker::Broker;
use crate::router::RequestContext;

/// Hands out an id nobody had before, epoch 0.
pub(crate) async fn handle(
    broker: &Broker,
    _: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let failed = |error: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        return failed(ResponseError::UnsupportedVersion);
    }
    match block_in_place(|| broker.producer_ids().next()) {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no producer id can be handed out");
            failed(ResponseError::KafkaStorageError)
        }
    }
}
