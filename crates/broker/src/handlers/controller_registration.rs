//! ControllerRegistration (key 70): a controller introduces itself to the active one (KIP-919).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{ControllerRegistration, Endpoint, FeatureRange, Reply, Request};
use std::sync::Arc;
use wire::{ControllerRegistrationRequest, ControllerRegistrationResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ControllerRegistrationRequest,
) -> ControllerRegistrationResponse {
    let endpoints = request.listeners.into_iter().map(|listener| Endpoint {
        name: listener.name,
        host: listener.host,
        port: listener.port,
        security: listener.security_protocol,
    });
    let features = request.features.into_iter().map(|feature| FeatureRange {
        name: feature.name,
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    let registration = ControllerRegistration {
        id: request.controller_id,
        incarnation: request.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
    };
    match broker.controller.ask_for_another(Request::RegisterController(registration)).await {
        Ok(Reply::RegisterController) => ControllerRegistrationResponse::default(),
        other => {
            let (error_code, error_message) = failure_code::with_message(Err(controller_error(other)));
            ControllerRegistrationResponse { error_code, error_message, ..Default::default() }
        }
    }
}
