//! What Kafka's schemas say about every API, as methods of [`ApiKey`].
//!
//! It does not say which APIs Odradek answers; the broker does, through `catalogue`.

use crate::ApiKey;
use std::{fmt, ops::RangeInclusive};

/// One row of the generated list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    pub(crate) lowest: i16,
    pub(crate) highest: i16,
    pub(crate) highest_stable: i16,
    pub(crate) request_flexible: i16,
    pub(crate) response_flexible: i16,
    pub(crate) broker: bool,
    pub(crate) controller: bool,
}

impl ApiKey {
    /// The number on the wire.
    pub const fn to_i16(self) -> i16 {
        self as i16
    }

    /// Kafka's name, such as `OffsetForLeaderEpoch`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The lowest version that exists.
    pub const fn lowest(self) -> i16 {
        self.facts().lowest
    }

    /// The highest version that exists, stable or not; below [`Self::lowest`] for an API that Kafka took away.
    pub const fn highest(self) -> i16 {
        self.facts().highest
    }

    /// The highest version that Kafka calls stable, which is the highest that a broker advertises.
    pub const fn highest_stable(self) -> i16 {
        self.facts().highest_stable
    }

    /// The versions that exist; empty for an API that Kafka took away.
    pub const fn versions(self) -> RangeInclusive<i16> {
        self.lowest()..=self.highest()
    }

    /// The first version whose requests are flexible (KIP-482), `i16::MAX` if there is none.
    pub const fn flexible(self) -> i16 {
        self.facts().request_flexible
    }

    /// Whether Kafka answers it on a broker's listeners.
    pub const fn is_on_broker(self) -> bool {
        self.facts().broker
    }

    /// Whether Kafka answers it on a controller's listeners.
    pub const fn is_on_controller(self) -> bool {
        self.facts().controller
    }

    /// The version of the header of a request: 2 with tagged fields, 1 before. Also defined for versions that do not
    /// exist, because a header is read before its version is judged.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if version >= self.facts().request_flexible { 2 } else { 1 }
    }

    /// The version of the header of a response: 1 with tagged fields, 0 before. Always 0 for ApiVersions, so that a
    /// client can read the answer before it knows what the broker can say (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        if !matches!(self, Self::ApiVersions) && version >= self.facts().response_flexible { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_read_back() {
        for (index, key) in ApiKey::ALL.iter().enumerate() {
            assert_eq!(key.to_i16() as usize, index);
            assert_eq!(ApiKey::from_i16(index as i16), Some(*key));
        }
        assert_eq!((ApiKey::from_i16(-1), ApiKey::from_i16(95)), (None, None));
    }

    #[test]
    fn headers_become_flexible_with_their_bodies() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(8), 0);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(i16::MAX), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(5), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
