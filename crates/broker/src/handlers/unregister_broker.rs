//! UnregisterBroker (key 64): a broker that will not come back is forgotten (KIP-631).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{Reply, Request};
use std::sync::Arc;
use wire::{UnregisterBrokerRequest, UnregisterBrokerResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    match super::decide((broker, context), Request::UnregisterBroker { broker: request.broker_id }).await {
        Ok(Reply::UnregisterBroker) => UnregisterBrokerResponse::default(),
        other => {
            let (error_code, error_message) = failure_code::with_message(Err(controller_error(other)));
            UnregisterBrokerResponse { error_code, error_message, ..UnregisterBrokerResponse::default() }
        }
    }
}
