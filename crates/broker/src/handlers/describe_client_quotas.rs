//! DescribeClientQuotas (key 48): the quotas of the entities that a filter finds (KIP-546).

use crate::{Broker, context::Context, failure_code};
use metadata::{
    Error,
    client_quota::{ENTITY_CLIENT_ID, ENTITY_IP, ENTITY_USER, QuotaEntity, QuotaFilter, QuotaMatch, Quotas},
};
use std::sync::Arc;
use wire::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    describe_client_quotas_request::ComponentData,
    describe_client_quotas_response::{EntityData, EntryData, ValueData},
};

const MATCH_EXACT: i8 = 0;
const MATCH_DEFAULT: i8 = 1;
const MATCH_ANY: i8 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    match filter(request) {
        Ok(filter) => {
            let image = broker.image();
            let found = image.all_quotas().filter(|(entity, _)| filter.is_match(entity));
            let entries = Some(found.map(|(entity, quotas)| entry(entity, quotas)).collect());
            DescribeClientQuotasResponse { entries, ..DescribeClientQuotasResponse::default() }
        }
        Err(error) => {
            let (error_code, error_message) = failure_code::with_message(Err(error));
            DescribeClientQuotasResponse { error_code, error_message, entries: None, throttle_time_ms: 0 }
        }
    }
}

fn filter(request: DescribeClientQuotasRequest) -> Result<QuotaFilter, Error> {
    let mut filter = QuotaFilter { strict: request.strict, ..QuotaFilter::default() };
    let invalid = |why: String| Err(Error::InvalidRequest(why));
    for ComponentData { entity_type, match_type, match_ } in request.components {
        if entity_type.is_empty() {
            return invalid("An entity type cannot be empty.".to_owned());
        }
        if filter.components.contains_key(&entity_type) {
            return invalid(format!("The entity type {entity_type} is in the filter twice."));
        }
        if ![ENTITY_USER, ENTITY_CLIENT_ID, ENTITY_IP].contains(&entity_type.as_str()) {
            return Err(Error::UnsupportedVersion(format!(
                "'{entity_type}' is no entity type: it can be user, client-id or ip."
            )));
        }
        let wanted = match (match_type, match_) {
            (MATCH_EXACT, Some(name)) => QuotaMatch::Exact(name),
            (MATCH_DEFAULT, None) => QuotaMatch::Default,
            (MATCH_ANY, None) => QuotaMatch::Any,
            (MATCH_EXACT, None) => {
                return invalid(format!("Which {entity_type} is looked for? An exact match needs a name."));
            }
            (MATCH_DEFAULT | MATCH_ANY, Some(name)) => {
                return invalid(format!("Only an exact match of a {entity_type} has a name, not '{name}'."));
            }
            (other, _) => return invalid(format!("There is no match type {other}.")),
        };
        filter.components.insert(entity_type, wanted);
    }
    if filter.components.contains_key(ENTITY_IP) && filter.components.len() > 1 {
        return invalid("An ip cannot be looked for together with a user or a client id.".to_owned());
    }
    Ok(filter)
}

fn entry(entity: &QuotaEntity, quotas: &Quotas) -> EntryData {
    let parts = entity.iter().map(|(entity_type, entity_name)| EntityData {
        entity_type: entity_type.clone(),
        entity_name: entity_name.clone(),
    });
    let values = quotas.iter().map(|(key, value)| ValueData { key: key.clone(), value: value.get() });
    EntryData { entity: parts.collect(), values: values.collect() }
}
