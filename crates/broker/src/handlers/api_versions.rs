//! ApiVersions (key 18): what this broker answers, in which versions, and the features of the cluster (KIP-35, KIP-511,
//! KIP-584), unless the client took this broker for another one (KIP-1242).

use crate::{Broker, context::Context, dispatch};
use metadata::Image;
use std::sync::Arc;
use wire::{
    ApiVersionsRequest, ApiVersionsResponse, ErrorCode,
    api_versions_response::{FinalizedFeatureKey, SupportedFeatureKey},
    catalogue,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let image = broker.image();
    let is_controller = broker.config.controller_listeners.iter().any(|name| **name == *context.listener);
    if is_meant_for_another(broker, &image, &request) {
        return refusal(ErrorCode::RebootstrapRequired);
    }
    let named = [&request.client_software_name, &request.client_software_version];
    if context.version >= 3 && !named.iter().all(|name| catalogue::is_software_name(name)) {
        return refusal(ErrorCode::InvalidRequest);
    }
    if context.version >= 3 {
        context.client.on_software(request.client_software_name, request.client_software_version);
    }
    let supported = metadata::features::supported().into_iter().map(|feature| SupportedFeatureKey {
        name: feature.name.to_owned(),
        // Before version 4 clients cannot read a lowest level of 0 (KIP-1014): such features are left out below.
        min_version: feature.min,
        max_version: feature.max,
    });
    let supported = supported.filter(|feature| context.version >= 4 || feature.min_version > 0);
    let finalized = image.features().filter(|(_, level)| *level > 0).map(|(name, level)| {
        FinalizedFeatureKey { name: name.to_owned(), max_version_level: level, min_version_level: level }
    });
    ApiVersionsResponse {
        api_keys: catalogue::rows(dispatch::apis(is_controller)),
        supported_features: supported.collect(),
        finalized_features_epoch: image.position().offset,
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}

/// Whether the client's metadata are so old that they name another cluster or node at this address.
fn is_meant_for_another(broker: &Broker, image: &Image, request: &ApiVersionsRequest) -> bool {
    let is_other_cluster = request.cluster_id.as_deref().is_some_and(|id| id != image.cluster_id());
    is_other_cluster || request.node_id >= 0 && request.node_id != broker.config.node_id
}

fn refusal(error: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse { error_code: error.to_i16(), ..ApiVersionsResponse::default() }
}
