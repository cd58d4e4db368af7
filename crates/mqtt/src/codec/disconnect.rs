//! DISCONNECT (3.14) and AUTH (3.15).
//!
//! A DISCONNECT of MQTT 3.1.1 says nothing but that it is one; there is no AUTH in that version.

use super::reader::Reader;
use super::sink::Sink;
use super::{AuthProperties, DisconnectProperties, PacketType, Reason, Version, Violation};

/// The last packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; of MQTT 3.1.1 `Success`.
    pub reason: Reason,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: DisconnectProperties,
}

/// A step of the enhanced authentication (4.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate`.
    pub reason: Reason,
    /// Method and data.
    pub properties: AuthProperties,
}

impl Disconnect {
    /// With this reason, and nothing more.
    pub fn of(reason: Reason) -> Self {
        Self { reason, properties: DisconnectProperties::default() }
    }

    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Violation> {
        if version == Version::V311 || reader.is_empty() {
            return Ok(Self::of(Reason::Success));
        }
        let reason = read_reason(reader, PacketType::Disconnect)?;
        let properties = if reader.is_empty() {
            DisconnectProperties::default()
        } else {
            DisconnectProperties::read(reader)?
        };
        Ok(Self { reason, properties })
    }

    pub(super) fn write(&self, sink: &mut impl Sink, version: Version) {
        let plain = self.properties == DisconnectProperties::default();
        if version == Version::V311 || (plain && self.reason == Reason::Success) {
            return;
        }
        sink.u8(self.reason.code());
        if !plain {
            self.properties.write(sink);
        }
    }
}

impl Auth {
    /// An empty packet means `Success` (3.15.2.1); any other needs a method (3.15.2.2.2).
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        if reader.is_empty() {
            return Ok(Self { reason: Reason::Success, properties: AuthProperties::default() });
        }
        let reason = read_reason(reader, PacketType::Auth)?;
        let properties = AuthProperties::read(reader)?;
        if properties.authentication_method.is_none() {
            return Err(Violation::AuthenticationMethodMissing);
        }
        Ok(Self { reason, properties })
    }

    pub(super) fn write(&self, sink: &mut impl Sink) {
        if self.reason == Reason::Success && self.properties == AuthProperties::default() {
            return;
        }
        sink.u8(self.reason.code());
        self.properties.write(sink);
    }
}

fn read_reason(reader: &mut Reader<'_>, packet: PacketType) -> Result<Reason, Violation> {
    let code = reader.u8("reason code")?;
    Reason::of(code, packet).ok_or(Violation::ReasonCode { packet, code })
}
