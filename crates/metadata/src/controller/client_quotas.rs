//! Client quotas are changed (KIP-546).
//!
//! It does not put them into force: whoever reads the next image does. The controller's dispatch calls it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use coordinator::Outcome;

use super::{Controller, Decision};
use crate::{
    Error, QuotaAlteration, Record, Reply,
    client_quota::{
        CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, ENTITY_CLIENT_ID, ENTITY_IP,
        ENTITY_USER, PRODUCER_BYTE_RATE, QuotaEntity, QuotaValue, REQUEST_PERCENTAGE,
    },
};

/// How many quotas one request may change, as in Kafka.
const CHANGES_MAX: usize = 10_000;
/// How far a whole number may be from one.
const FRACTION_MAX: f64 = 1e-6;

/// What a key can be set to.
#[derive(Clone, Copy)]
enum Bound {
    /// A whole number up to this one.
    Whole(f64),
    Any,
}

/// The keys of users and client ids.
const CLIENT_KEYS: &[(&str, Bound)] = &[
    (PRODUCER_BYTE_RATE, Bound::Whole(i64::MAX as f64)),
    (CONSUMER_BYTE_RATE, Bound::Whole(i64::MAX as f64)),
    (REQUEST_PERCENTAGE, Bound::Any),
    (CONTROLLER_MUTATION_RATE, Bound::Any),
];
/// The keys of addresses.
const IP_KEYS: &[(&str, Bound)] = &[(CONNECTION_CREATION_RATE, Bound::Whole(i32::MAX as f64))];

impl Controller {
    /// Each entity succeeds or fails by itself and is answered once. One that is in the request twice stays as it is.
    pub(super) fn alter_client_quotas(
        &self,
        alterations: Vec<QuotaAlteration>,
        validate_only: bool,
    ) -> Decision {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<QuotaEntity> = alterations
            .iter()
            .filter(|alteration| !seen.insert(&alteration.entity))
            .map(|alteration| alteration.entity.clone())
            .collect();
        let mut records = Vec::new();
        let mut answered = BTreeSet::new();
        let mut results = Vec::new();
        for QuotaAlteration { entity, changes } in alterations {
            if !answered.insert(entity.clone()) {
                continue;
            }
            let result = if twice.contains(&entity) {
                Err(Error::InvalidRequest("Each entity can be in a request only once.".to_owned()))
            } else {
                self.quota_records(&entity, changes).map(|new| records.extend(new))
            };
            results.push((entity, result));
        }
        if records.len() > CHANGES_MAX {
            return Err(Error::PolicyViolation(format!(
                "At most {CHANGES_MAX} quotas can be changed by one request; use several."
            )));
        }
        let records = if validate_only { Vec::new() } else { records };
        Ok(Outcome::new(records, Reply::AlterClientQuotas(results)))
    }

    fn quota_records(
        &self,
        entity: &QuotaEntity,
        changes: Vec<(String, Option<QuotaValue>)>,
    ) -> Result<Vec<Record>, Error> {
        let keys = keys_of(entity)?;
        let mut wanted = BTreeMap::new();
        for (key, value) in changes {
            if wanted.insert(key.clone(), value).is_some() {
                return Err(Error::InvalidRequest(format!(
                    "'{key}' is in the request twice for one entity."
                )));
            }
        }
        let set = self.image.quotas(entity);
        let mut records = Vec::new();
        for (key, value) in wanted {
            if let Some(value) = value {
                check_value(keys, &key, value.get())?;
            }
            if set.and_then(|set| set.get(&key)).copied() != value {
                records.push(Record::ClientQuota { entity: entity.clone(), key, value });
            }
        }
        Ok(records)
    }
}

/// The keys that an entity can have, if it is one.
fn keys_of(entity: &QuotaEntity) -> Result<&'static [(&'static str, Bound)], Error> {
    let refuse = |why: String| Err(Error::InvalidRequest(why));
    if entity.is_empty() {
        return refuse("A quota needs an entity: a user, a client id, both, or an ip.".to_owned());
    }
    for (kind, name) in entity {
        if ![ENTITY_USER, ENTITY_CLIENT_ID, ENTITY_IP].contains(&kind.as_str()) {
            return refuse(format!("'{kind}' is no entity type: it can be user, client-id or ip."));
        }
        if name.as_deref() == Some("") {
            return refuse(format!("The name of a {kind} cannot be empty; the default has none."));
        }
    }
    let Some(ip) = entity.get(ENTITY_IP) else { return Ok(CLIENT_KEYS) };
    if entity.len() > 1 {
        return refuse("An ip cannot be combined with a user or a client id.".to_owned());
    }
    match ip {
        Some(ip) if ip.parse::<IpAddr>().is_err() => refuse(format!("'{ip}' is no ip address.")),
        _ => Ok(IP_KEYS),
    }
}

fn check_value(keys: &[(&str, Bound)], key: &str, value: f64) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::InvalidRequest(why));
    let Some((_, bound)) = keys.iter().find(|(known, _)| *known == key) else {
        let names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        return refuse(format!("'{key}' is no quota of this entity; there are {}.", names.join(", ")));
    };
    // Not a number is not greater either.
    if value.is_nan() || value <= 0.0 {
        return refuse(format!("'{key}' cannot be {value}: it must be greater than 0."));
    }
    match bound {
        Bound::Whole(max) if value > *max => refuse(format!("'{key}' cannot be {value}: at most {max}.")),
        Bound::Whole(_) if (value % 1.0).abs() > FRACTION_MAX => {
            refuse(format!("'{key}' cannot be {value}: it must be a whole number."))
        }
        _ => Ok(()),
    }
}
