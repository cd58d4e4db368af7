//! BrokerHeartbeat (key 63): a broker says that it is alive, how far it has read, and what it wants (KIP-631).

use crate::{Broker, context::Context, failure_code};
use coordinator::Now;
use metadata::{Error, Heartbeat, Pulse};
use std::sync::Arc;
use wire::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    match beat(broker, request).await {
        Ok(pulse) => BrokerHeartbeatResponse {
            is_caught_up: pulse.is_caught_up,
            is_fenced: pulse.is_fenced,
            should_shut_down: pulse.should_shut_down,
            ..BrokerHeartbeatResponse::default()
        },
        Err(error) => BrokerHeartbeatResponse {
            error_code: failure_code::of_controller(&error).to_i16(),
            is_fenced: true,
            ..BrokerHeartbeatResponse::default()
        },
    }
}

async fn beat(broker: &Arc<Broker>, request: BrokerHeartbeatRequest) -> Result<Pulse, Error> {
    let heartbeat = Heartbeat {
        broker: request.broker_id,
        broker_epoch: request.broker_epoch,
        metadata_offset: request.current_metadata_offset,
        wants_fence: request.want_fence,
        wants_shutdown: request.want_shut_down,
        offline: request.offline_log_dirs,
        cordoned: request.cordoned_log_dirs,
    };
    let now = Now { wall: broker.world.clock.wall(), monotonic: broker.world.clock.now() };
    let pulse = broker.images.with_sessions(|sessions, image| sessions.on_heartbeat(now, image, heartbeat));
    let mut pulse = pulse.unwrap_or_else(|| Err(Error::NotController("another node decides".into())))?;
    for request in std::mem::take(&mut pulse.requests) {
        broker.controller.ask_for_another(request).await?;
    }
    Ok(pulse)
}
