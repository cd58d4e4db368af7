//! ApiVersions (key 18): what this broker answers, in which versions, and the features of the cluster (KIP-35, KIP-511,
//! KIP-584).

use crate::{Broker, context::Context, dispatch};
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
    let named = [&request.client_software_name, &request.client_software_version];
    if context.version >= 3 && !named.iter().all(|name| catalogue::is_software_name(name)) {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.to_i16(),
            ..ApiVersionsResponse::default()
        };
    }
    let image = broker.image();
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
        api_keys: catalogue::rows(dispatch::APIS),
        supported_features: supported.collect(),
        finalized_features_epoch: image.position().offset,
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}
