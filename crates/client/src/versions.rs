//! Which version of each API to speak on one connection: the highest that both sides have.
//!
//! It does not ask the broker; `link` does once per connection.

use std::{collections::BTreeMap, ops::RangeInclusive};
use wire::{ApiKey, ApiVersionsResponse};

/// What one broker supports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions(BTreeMap<i16, RangeInclusive<i16>>);

impl Versions {
    /// The rows of the broker's answer. APIs that this client does not know are kept and never asked for.
    pub(crate) fn of(response: &ApiVersionsResponse) -> Self {
        Self(response.api_keys.iter().map(|row| (row.api_key, row.min_version..=row.max_version)).collect())
    }

    /// The version to speak; the error is the broker's range for a message.
    pub(crate) fn choose(&self, key: ApiKey) -> Result<i16, String> {
        let Some(theirs) = self.0.get(&key.to_i16()) else { return Err("none".into()) };
        let version = *theirs.end().min(ours(key).end());
        match version >= *theirs.start() && version >= *ours(key).start() {
            true => Ok(version),
            false => Err(format!("{} to {}", theirs.start(), theirs.end())),
        }
    }
}

/// The versions that this client speaks. Committed offsets are asked for by names of topics, because they may be left
/// from topics that are gone and have no id any more; ApiVersions 5 only adds a check that nobody asks for here.
pub(crate) fn ours(key: ApiKey) -> RangeInclusive<i16> {
    let highest = match key {
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => 9,
        ApiKey::ApiVersions => 4,
        _ => key.highest_stable(),
    };
    key.lowest()..=highest
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::api_versions_response::ApiVersion;

    fn broker(rows: &[(ApiKey, i16, i16)]) -> Versions {
        let api_keys = rows
            .iter()
            .map(|(key, min_version, max_version)| ApiVersion {
                api_key: key.to_i16(),
                min_version: *min_version,
                max_version: *max_version,
            })
            .collect();
        Versions::of(&ApiVersionsResponse { api_keys, ..Default::default() })
    }

    #[test]
    fn the_highest_version_that_both_have_is_chosen() {
        let versions =
            broker(&[(ApiKey::Produce, 0, 9), (ApiKey::Fetch, 4, 99), (ApiKey::OffsetFetch, 1, 10)]);
        assert_eq!(versions.choose(ApiKey::Produce), Ok(9));
        assert_eq!(versions.choose(ApiKey::Fetch), Ok(18));
        assert_eq!(versions.choose(ApiKey::OffsetFetch), Ok(9));
    }

    #[test]
    fn ranges_that_do_not_meet_are_an_error_that_tells_the_brokers() {
        let versions = broker(&[(ApiKey::Produce, 0, 2), (ApiKey::Fetch, 30, 40)]);
        assert_eq!(versions.choose(ApiKey::Produce), Err("0 to 2".into()));
        assert_eq!(versions.choose(ApiKey::Fetch), Err("30 to 40".into()));
        assert_eq!(versions.choose(ApiKey::Metadata), Err("none".into()));
    }
}
