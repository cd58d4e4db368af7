//! InitProducerId (key 22): an id for an idempotent producer (KIP-98). Transactional ids are not served: the request
//! is refused so that a transactional producer fails at once instead of losing its guarantees.

use crate::{Broker, context::Context};
use std::sync::Arc;
use wire::{ErrorCode, InitProducerIdRequest, InitProducerIdResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refuse = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.to_i16(),
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        Some("") => return refuse(ErrorCode::InvalidRequest),
        Some(_) => return refuse(ErrorCode::UnsupportedVersion),
        None => {}
    }
    match broker.producer_ids.next(broker).await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            tracing::warn!(%error, "no producer id could be allocated");
            refuse(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}
