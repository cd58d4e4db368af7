//! UnregisterController (key 94): a controller that will not come back is forgotten (KIP-1312).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{Reply, Request};
use std::sync::Arc;
use wire::{UnregisterControllerRequest, UnregisterControllerResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: UnregisterControllerRequest,
) -> UnregisterControllerResponse {
    let request = Request::UnregisterController { controller: request.controller_id };
    match super::decide((broker, context), request).await {
        Ok(Reply::UnregisterController) => UnregisterControllerResponse::default(),
        other => {
            let (error_code, error_message) = failure_code::with_message(Err(controller_error(other)));
            UnregisterControllerResponse {
                error_code,
                error_message,
                ..UnregisterControllerResponse::default()
            }
        }
    }
}
