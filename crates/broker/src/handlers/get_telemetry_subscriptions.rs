//! GetTelemetrySubscriptions (key 71): which metrics a client is to push, and how often (KIP-714).

use crate::{Broker, client_metrics, context::Context, failure_code};
use std::sync::Arc;
use wire::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let now_ms = broker.world.clock.now() / 1_000_000;
    let drawn = broker.world.random.uuid();
    let person = client_metrics::person(context);
    let asked = broker.client_metrics.clients.lock().ask(now_ms, request.client_instance_id, drawn, person);
    match asked {
        Ok(granted) => {
            context.client.on_instance(granted.instance);
            GetTelemetrySubscriptionsResponse {
                client_instance_id: granted.instance,
                subscription_id: granted.subscription_id,
                accepted_compression_types: granted.compressions,
                push_interval_ms: granted.interval_ms,
                telemetry_max_bytes: broker.client_metrics.bytes_max,
                delta_temporality: true,
                requested_metrics: granted.metrics,
                ..GetTelemetrySubscriptionsResponse::default()
            }
        }
        Err(refused) => GetTelemetrySubscriptionsResponse {
            error_code: failure_code::of_telemetry(refused).to_i16(),
            ..GetTelemetrySubscriptionsResponse::default()
        },
    }
}
