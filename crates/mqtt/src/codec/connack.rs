//! CONNACK (3.2): whether the client is connected, with which session, and what the server can do.
//!
//! Whether it says the truth is the session's affair.

use super::reader::Reader;
use super::sink::Sink;
use super::{ConnackProperties, PacketType, Reason, Version, Violation};

/// The answer to a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server goes on with a session that it had.
    pub session_present: bool,
    /// `Success`, or why not.
    pub reason: Reason,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: ConnackProperties,
}

impl Connack {
    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Violation> {
        let flags = reader.u8("connect acknowledge flags")?;
        if flags > 1 {
            return Err(Violation::ConnackFlags(flags));
        }
        let code = reader.u8("reason code")?;
        let reason = match version {
            Version::V5 => Reason::of(code, PacketType::Connack),
            Version::V311 => Reason::from_return_code(code),
        };
        let reason = reason.ok_or(Violation::ReasonCode { packet: PacketType::Connack, code })?;
        if flags == 1 && reason != Reason::Success {
            return Err(Violation::SessionPresentWithRefusal);
        }
        let properties = match version {
            Version::V5 => ConnackProperties::read(reader)?,
            Version::V311 => ConnackProperties::default(),
        };
        Ok(Self { session_present: flags == 1, reason, properties })
    }

    /// A reason that MQTT 3.1.1 has no code for was refused before.
    pub(super) fn write(&self, sink: &mut impl Sink, version: Version) {
        sink.u8(u8::from(self.session_present));
        match version {
            Version::V5 => {
                sink.u8(self.reason.code());
                self.properties.write(sink);
            }
            Version::V311 => sink.u8(self.reason.to_return_code().unwrap_or(3)),
        }
    }
}
