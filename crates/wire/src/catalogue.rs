//! What a listener says that it answers: rows for the response to ApiVersions.
//!
//! It does not decide which APIs there are; the broker gives a list of those that have a handler, so that what is
//! advertised is what is implemented.

use crate::{
    ApiKey, ApiVersionsResponse, ErrorCode,
    api_versions_response::{ApiVersion, SupportedFeatureKey},
};

/// An API and the versions of it that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The API.
    pub key: ApiKey,
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

impl Api {
    /// The versions that Kafka 4.4.0 answers: all that exist and are stable. `None` for an API that Kafka took away.
    pub const fn new(key: ApiKey) -> Option<Self> {
        let (min, max) = (key.lowest(), key.highest_stable());
        if min <= max { Some(Self { key, min, max }) } else { None }
    }

    /// Whether a request of this version is answered.
    pub const fn contains(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The row of the response to ApiVersions. A broker claims Produce from version 0 on, although it closes the
    /// connection on versions below 3: librdkafka cannot produce compressed batches unless it sees version 0
    /// (KAFKA-18659).
    pub const fn to_row(&self) -> ApiVersion {
        let min_version = if matches!(self.key, ApiKey::Produce) { 0 } else { self.min };
        ApiVersion { api_key: self.key.to_i16(), min_version, max_version: self.max }
    }
}

/// The rows for a list of APIs, in the order of the list. Those that Kafka took away are left out.
pub fn rows(keys: &[ApiKey]) -> Vec<ApiVersion> {
    keys.iter().filter_map(|key| Api::new(*key)).map(|api| api.to_row()).collect()
}

/// Whether a request is answered: its API is in the list and its version is one that [`rows`] advertises and that
/// exists. ApiVersions is answered at every version.
pub fn is_answered(keys: &[ApiKey], key: ApiKey, version: i16) -> bool {
    keys.contains(&key)
        && (key == ApiKey::ApiVersions || Api::new(key).is_some_and(|api| api.contains(version)))
}

/// The answer to an ApiVersions request of a version that does not exist, which is to be encoded at version 0: the
/// error, and the versions of ApiVersions alone, so that the client can ask again (KIP-511).
pub fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.to_i16(),
        api_keys: rows(&[ApiKey::ApiVersions]),
        ..Default::default()
    }
}

/// The features to name in a response of this version: below 4, clients cannot read those whose lowest level is 0
/// (KAFKA-17492).
pub fn supported_features(features: &[SupportedFeatureKey], version: i16) -> Vec<SupportedFeatureKey> {
    features.iter().filter(|feature| version >= 4 || feature.min_version != 0).cloned().collect()
}

/// Whether a client's software name or version may be recorded (KIP-511); ApiVersions from version 3 on is refused
/// with INVALID_REQUEST otherwise. Letters and digits, with hyphens and dots between them.
pub fn is_software_name(name: &str) -> bool {
    let name = name.as_bytes();
    let [first, .., last] = name else {
        return name.first().is_some_and(u8::is_ascii_alphanumeric);
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && name.iter().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header;

    #[test]
    fn produce_is_advertised_from_zero_but_answered_from_three() {
        let keys = [ApiKey::Produce, ApiKey::LeaderAndIsr, ApiKey::InitProducerId];
        let rows: Vec<_> =
            rows(&keys).iter().map(|row| (row.api_key, row.min_version, row.max_version)).collect();
        assert_eq!(rows, [(0, 0, 13), (22, 0, 5)]);
        assert!(!is_answered(&keys, ApiKey::Produce, 2));
        assert!(is_answered(&keys, ApiKey::Produce, 3));
        assert!(!is_answered(&keys, ApiKey::InitProducerId, 6));
        assert!(!is_answered(&keys, ApiKey::Fetch, 4));
    }

    #[test]
    fn an_unknown_version_of_api_versions_is_answered_at_version_zero() {
        let frame = header::encode_response(1, ApiKey::ApiVersions, 0, &unsupported_version()).unwrap();
        assert_eq!(&frame.to_bytes().unwrap()[..], b"\0\0\0\x10\0\0\0\x01\0\x23\0\0\0\x01\0\x12\0\0\0\x05");
        assert!(is_answered(&[ApiKey::ApiVersions], ApiKey::ApiVersions, 127));
    }

    #[test]
    fn features_from_level_zero_are_named_from_version_four_on() {
        let feature =
            |name: &str, min_version| SupportedFeatureKey { name: name.into(), min_version, max_version: 9 };
        let features = [feature("group.version", 0), feature("metadata.version", 7)];
        assert_eq!(supported_features(&features, 3), features[1..]);
        assert_eq!(supported_features(&features, 4), features);
    }

    #[test]
    fn names_of_software_are_letters_and_digits_with_hyphens_and_dots_inside() {
        for name in ["a", "librdkafka", "v2.3.0", "apache-kafka-java", "4"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-", "a-", ".a", "a b", "a_b", "\u{e4}"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}
