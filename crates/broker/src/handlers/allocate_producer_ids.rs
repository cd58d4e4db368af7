//! AllocateProducerIds (key 67): a block of producer ids for a broker (KIP-730).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{Reply, Request};
use std::sync::Arc;
use wire::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let order =
        Request::AllocateProducerIds { broker: request.broker_id, broker_epoch: request.broker_epoch };
    match broker.controller.ask_for_another(order).await {
        Ok(Reply::AllocateProducerIds(ids)) => AllocateProducerIdsResponse {
            producer_id_start: ids.first,
            producer_id_len: ids.count,
            ..AllocateProducerIdsResponse::default()
        },
        other => AllocateProducerIdsResponse {
            error_code: failure_code::of_controller(&controller_error(other)).to_i16(),
            ..AllocateProducerIdsResponse::default()
        },
    }
}
