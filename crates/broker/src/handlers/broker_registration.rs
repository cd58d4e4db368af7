//! BrokerRegistration (key 62): a broker introduces itself to the active controller (KIP-631, KIP-858, KIP-966).

use crate::{Broker, context::Context, failure_code};
use coordinator::Now;
use metadata::{Endpoint, Error, FeatureRange, RegisterBroker, Reply, Request};
use std::sync::Arc;
use wire::{BrokerRegistrationRequest, BrokerRegistrationResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: BrokerRegistrationRequest,
) -> BrokerRegistrationResponse {
    match register(broker, request).await {
        Ok(broker_epoch) => BrokerRegistrationResponse { broker_epoch, ..Default::default() },
        Err(error) => {
            tracing::warn!(%error, "a broker was not registered");
            let error_code = failure_code::of_controller(&error).to_i16();
            BrokerRegistrationResponse { error_code, broker_epoch: -1, ..Default::default() }
        }
    }
}

async fn register(broker: &Arc<Broker>, request: BrokerRegistrationRequest) -> Result<i64, Error> {
    let endpoints = request.listeners.into_iter().map(|listener| Endpoint {
        name: listener.name,
        host: listener.host,
        port: listener.port,
        security: listener.security_protocol,
    });
    let is_synced = |name: &str| name == metadata::features::SYNCED;
    // What is not said is not believed: brokers of Apache Kafka do not say it.
    let synced = request.features.iter().any(|feature| is_synced(&feature.name));
    let features = request.features.into_iter().filter(|feature| !is_synced(&feature.name));
    let features = features.map(|feature| FeatureRange {
        name: feature.name,
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    let registration = RegisterBroker {
        broker: request.broker_id,
        cluster_id: request.cluster_id,
        incarnation: request.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
        rack: request.rack,
        directories: request.log_dirs,
        fenced: true,
        previous_epoch: request.previous_broker_epoch,
        synced,
    };
    let now = Now { wall: broker.world.clock.wall(), monotonic: broker.world.clock.now() };
    let checked =
        broker.images.with_sessions(|sessions, image| sessions.check_registration(now, image, &registration));
    checked.unwrap_or_else(|| Err(Error::NotController("another node decides".into())))?;
    match broker.controller.ask_for_another(Request::RegisterBroker(registration)).await? {
        Reply::RegisterBroker(epoch) => Ok(epoch),
        other => Err(super::controller_error(Ok(other))),
    }
}
