//! PushTelemetry (key 72): a client tells the values of its metrics (KIP-714).

use crate::{Broker, client_metrics, context::Context, failure_code};
use std::sync::Arc;
use telemetry::Push;
use wire::{PushTelemetryRequest, PushTelemetryResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: PushTelemetryRequest,
) -> PushTelemetryResponse {
    let now_ms = broker.world.clock.now() / 1_000_000;
    let push = Push {
        instance: request.client_instance_id,
        subscription_id: request.subscription_id,
        is_terminating: request.terminating,
        compression: request.compression_type,
        metrics: &request.metrics,
    };
    let person = client_metrics::person(context);
    let pushed = broker.client_metrics.clients.lock().push(now_ms, &push, person);
    let error_code = match pushed {
        Ok(()) => {
            context.client.on_instance(push.instance);
            failure_code::NONE
        }
        Err(refused) => failure_code::of_telemetry(refused).to_i16(),
    };
    PushTelemetryResponse { error_code, ..PushTelemetryResponse::default() }
}
