//! Envelope (key 58): a client's request that a broker forwards to the active controller (KIP-590).

use crate::{Broker, context::Context, controller::unless_deposed, dispatch, failure_code};
use std::sync::Arc;
use wire::{EnvelopeRequest, EnvelopeResponse, ErrorCode};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: EnvelopeRequest,
) -> EnvelopeResponse {
    let refuse = |error: ErrorCode| EnvelopeResponse { response_data: None, error_code: error.to_i16() };
    if !broker.controller.is_active() {
        return refuse(ErrorCode::NotController);
    }
    let answered = match dispatch::answer_forwarded(broker, context, request.request_data) {
        Ok(answer) => match unless_deposed(answer).await {
            (answer, false) => answer,
            (_, true) => return refuse(ErrorCode::NotController),
        },
        Err(refused) => {
            tracing::warn!(%refused, "a forwarded request was refused");
            return refuse(ErrorCode::InvalidRequest);
        }
    };
    let answered = match answered {
        Ok(answer) => answer,
        Err(unwritable) => {
            tracing::error!(%unwritable, "a forwarded request was not answered");
            return refuse(ErrorCode::UnknownServerError);
        }
    };
    let mut frame = answered.to_bytes().unwrap_or_default();
    // The forwarder frames it anew.
    let response_data = (frame.len() >= 4).then(|| frame.split_off(4));
    EnvelopeResponse { response_data, error_code: failure_code::NONE }
}
