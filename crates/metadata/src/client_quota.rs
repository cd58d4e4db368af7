//! Client quotas as the metadata keep them (KIP-546): how much the clients of an entity may do, by key.
//!
//! It enforces nothing; the broker does, with the crate `quotas`. The image keeps these, the controller checks changes,
//! and DescribeClientQuotas asks [`QuotaFilter`].

use std::collections::BTreeMap;

/// The entity type of users.
pub const ENTITY_USER: &str = "user";
/// The entity type of client ids.
pub const ENTITY_CLIENT_ID: &str = "client-id";
/// The entity type of addresses that connections come from.
pub const ENTITY_IP: &str = "ip";

/// Bytes of records that producers may send in a second.
pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// Bytes that consumers may fetch in a second.
pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
/// The part of one thread's time that requests may take, in percent.
pub const REQUEST_PERCENTAGE: &str = "request_percentage";
/// Partitions that may be created and deleted in a second (KIP-599).
pub const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
/// Connections that may be made in a second (KIP-612).
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// Whom quotas are for: the names by entity type; `None` is the default, for all names without a quota of their own.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// The quotas of one entity by key.
pub type Quotas = BTreeMap<String, QuotaValue>;

/// How much is allowed, in the unit of the key. Two are equal if their bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaValue(u64);

impl QuotaValue {
    /// So much.
    pub fn new(value: f64) -> Self {
        Self(value.to_bits())
    }

    /// So much.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// What an entity that is looked for has of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaMatch {
    /// This name.
    Exact(String),
    /// The default.
    Default,
    /// Any name, or the default.
    Any,
}

/// Which entities are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaFilter {
    /// By entity type; all must match.
    pub components: BTreeMap<String, QuotaMatch>,
    /// Whether entities that have other types besides are left out.
    pub strict: bool,
}

impl QuotaFilter {
    /// Whether that entity is looked for.
    pub fn is_match(&self, entity: &QuotaEntity) -> bool {
        let is_whole = !self.strict || entity.len() == self.components.len();
        is_whole
            && self.components.iter().all(|(kind, wanted)| match (entity.get(kind), wanted) {
                (None, _) => false,
                (Some(_), QuotaMatch::Any) => true,
                (Some(name), QuotaMatch::Default) => name.is_none(),
                (Some(name), QuotaMatch::Exact(exact)) => name.as_ref() == Some(exact),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
        parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect()
    }

    #[test]
    fn a_filter_finds_what_has_all_that_it_names() {
        let alice = entity(&[("user", Some("alice"))]);
        let both = entity(&[("user", Some("alice")), ("client-id", None)]);
        let default = entity(&[("user", None)]);
        let exact = QuotaMatch::Exact("alice".into());
        for (components, strict, expected) in [
            (vec![], false, [true, true, true]),
            (vec![], true, [false, false, false]),
            (vec![("user", exact.clone())], false, [true, true, false]),
            (vec![("user", exact.clone())], true, [true, false, false]),
            (vec![("user", QuotaMatch::Default)], false, [false, false, true]),
            (vec![("user", QuotaMatch::Any)], false, [true, true, true]),
            (vec![("user", exact), ("client-id", QuotaMatch::Default)], true, [false, true, false]),
            (vec![("client-id", QuotaMatch::Any)], true, [false, false, false]),
            (vec![("ip", QuotaMatch::Any)], false, [false, false, false]),
        ] {
            let components = components.into_iter().map(|(kind, wanted)| (kind.to_owned(), wanted)).collect();
            let filter = QuotaFilter { components, strict };
            let found = [&alice, &both, &default].map(|entity| filter.is_match(entity));
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}
