//! ListConfigResources (key 74): which resources of a kind can be configured (KIP-1142). Version 0 is the
//! ListClientMetricsResources of KIP-714 and knows client metrics only.
//!
//! Topics, brokers and their loggers are named whether anything was set for them or not, groups and client metrics
//! subscriptions only where something was.

use crate::{Broker, context::Context};
use metadata::{Image, config::ResourceKind};
use std::sync::Arc;
use wire::{
    ErrorCode, ListConfigResourcesRequest, ListConfigResourcesResponse,
    list_config_resources_response::ConfigResource,
};

/// From this version on a request says which kinds it wants.
const VERSION_WITH_KINDS: i16 = 1;
/// Every kind, in the order in which Kafka answers.
const KINDS: &[ResourceKind] = &[
    ResourceKind::Group,
    ResourceKind::ClientMetrics,
    ResourceKind::BrokerLogger,
    ResourceKind::Broker,
    ResourceKind::Topic,
];

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let supported = match context.version {
        VERSION_WITH_KINDS.. => KINDS,
        _ => &[ResourceKind::ClientMetrics],
    };
    let wanted = request.resource_types;
    if wanted.iter().any(|number| !supported.iter().any(|kind| *kind as i8 == *number)) {
        let error_code = ErrorCode::UnsupportedVersion.to_i16();
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    let image = broker.image();
    let is_wanted = |kind: &&ResourceKind| wanted.is_empty() || wanted.contains(&(**kind as i8));
    let config_resources = supported.iter().filter(is_wanted).flat_map(|kind| {
        let named = |resource_name| ConfigResource { resource_name, resource_type: *kind as i8 };
        names(&image, *kind, &context.listener).into_iter().map(named)
    });
    ListConfigResourcesResponse { config_resources: config_resources.collect(), ..Default::default() }
}

fn names(image: &Image, kind: ResourceKind, listener: &str) -> Vec<String> {
    match kind {
        ResourceKind::Group | ResourceKind::ClientMetrics => {
            image.overridden(kind).map(|(name, _)| name.to_owned()).collect()
        }
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            let here = image.brokers_unfenced().filter(|broker| broker.endpoint(listener).is_some());
            here.map(|broker| broker.id.to_string()).collect()
        }
        ResourceKind::Topic => image.topics().map(|topic| topic.name.to_string()).collect(),
    }
}
