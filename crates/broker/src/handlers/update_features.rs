//! UpdateFeatures (key 57): the levels of the cluster's features are raised or lowered, all that are named or none
//! (KIP-584, KIP-1022).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{Error, FeatureUpdate, FeatureUpgrade, Reply, Request};
use std::sync::Arc;
use wire::{
    ErrorCode, UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_request::FeatureUpdateKey,
    update_features_response::UpdatableFeatureResult,
};

/// Up to this version the answer names each feature, if all is well.
const VERSION_WITH_RESULTS: i16 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let names: Vec<_> = request.feature_updates.iter().map(|update| update.feature.clone()).collect();
    let updates: Result<Vec<_>, _> = request.feature_updates.into_iter().map(update).collect();
    let updated = match updates {
        Ok(updates) => {
            let order = Request::UpdateFeatures { updates, validate_only: request.validate_only };
            super::decide((broker, context), order).await
        }
        Err(error) => Err(error),
    };
    match updated {
        Ok(Reply::UpdateFeatures) => {
            let result = |feature| UpdatableFeatureResult {
                feature,
                error_code: failure_code::NONE,
                // Kafka's text of no error.
                error_message: Some("NONE".to_owned()),
            };
            let names = names.into_iter().filter(|_| context.version <= VERSION_WITH_RESULTS);
            let results = names.map(result).collect();
            UpdateFeaturesResponse { error_message: None, results, ..UpdateFeaturesResponse::default() }
        }
        other => {
            let error = controller_error(other);
            let error_code = failure_code::of_controller(&error);
            let error_message = match error_code {
                ErrorCode::InvalidUpdateVersion => {
                    failure_code::message(&format!("no feature was changed, because of one of them: {error}"))
                }
                _ => failure_code::message(&error),
            };
            UpdateFeaturesResponse {
                error_code: error_code.to_i16(),
                error_message,
                ..UpdateFeaturesResponse::default()
            }
        }
    }
}

/// Version 0 says by another field whether a level may go back, which Kafka's controllers do not look at.
fn update(asked: FeatureUpdateKey) -> Result<FeatureUpdate, Error> {
    let upgrade = match asked.upgrade_type {
        1 => FeatureUpgrade::Upgrade,
        2 => FeatureUpgrade::SafeDowngrade,
        3 => FeatureUpgrade::UnsafeDowngrade,
        other => {
            return Err(Error::InvalidUpdateVersion(format!(
                "{} cannot be changed in the way {other}: 1 is up, 2 a safe and 3 an unsafe way down.",
                asked.feature
            )));
        }
    };
    Ok(FeatureUpdate { name: asked.feature, level: asked.max_version_level, upgrade })
}
