//! AlterClientQuotas (key 49): quotas of users, client ids and addresses are set and removed (KIP-546).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{
    Error, QuotaAlteration, Reply, Request,
    client_quota::{QuotaEntity, QuotaValue},
};
use std::sync::Arc;
use wire::{
    AlterClientQuotasRequest, AlterClientQuotasResponse,
    alter_client_quotas_request::OpData,
    alter_client_quotas_response::{EntityData, EntryData},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let alterations: Vec<_> = request
        .entries
        .into_iter()
        .map(|entry| QuotaAlteration {
            entity: entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name)).collect(),
            changes: entry.ops.into_iter().map(change).collect(),
        })
        .collect();
    let entities: Vec<_> = alterations.iter().map(|alteration| alteration.entity.clone()).collect();
    let order = Request::AlterClientQuotas { alterations, validate_only: request.validate_only };
    let results = match super::decide((broker, context), order).await {
        Ok(Reply::AlterClientQuotas(results)) => results,
        other => {
            let error = controller_error(other);
            entities.into_iter().map(|entity| (entity, Err(error.clone()))).collect()
        }
    };
    let entries = results.into_iter().map(|(entity, result)| answer(entity, result)).collect();
    AlterClientQuotasResponse { entries, ..AlterClientQuotasResponse::default() }
}

fn change(op: OpData) -> (String, Option<QuotaValue>) {
    (op.key, (!op.remove).then(|| QuotaValue::new(op.value)))
}

fn answer(entity: QuotaEntity, result: Result<(), Error>) -> EntryData {
    let (error_code, error_message) = failure_code::with_message(result);
    let entity = entity
        .into_iter()
        .map(|(entity_type, entity_name)| EntityData { entity_type, entity_name })
        .collect();
    EntryData { error_code, error_message, entity }
}
