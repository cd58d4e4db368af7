//! PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7), SUBACK and UNSUBACK (3.9, 3.11).
//!
//! In MQTT 3.1.1 only SUBACK has reason codes; the others say by coming that it was done.

use bytes::{Bytes, BytesMut};

use super::reader::Reader;
use super::sink::Sink;
use super::{AckProperties, PacketId, PacketType, Reason, Version, Violation};

/// A step in the delivery of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub packet_id: PacketId,
    /// Whether it was taken; of MQTT 3.1.1 `Success`.
    pub reason: Reason,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: AckProperties,
}

/// The answer to a SUBSCRIBE or an UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback {
    /// Which request.
    pub packet_id: PacketId,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: AckProperties,
    /// One reason for each topic filter, in their order (\[MQTT-3.9.3-1\], \[MQTT-3.11.3-1\]); of an UNSUBACK of MQTT 3.1.1
    /// none.
    pub codes: Codes,
}

/// Reason codes in a row, as they stand in the packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codes(Bytes);

impl Codes {
    /// Of these reasons.
    pub fn new(reasons: &[Reason]) -> Self {
        Self(reasons.iter().map(|reason| reason.code()).collect::<BytesMut>().freeze())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons.
    pub fn iter(&self) -> impl Iterator<Item = Reason> + '_ {
        let reason =
            |code: &u8| Reason::ALL.iter().map(|(reason, _)| *reason).find(|reason| reason.code() == *code);
        self.0.iter().filter_map(reason)
    }
}

impl Ack {
    /// That it was done.
    pub fn success(packet_id: PacketId) -> Self {
        Self::of(packet_id, Reason::Success)
    }

    /// With this reason, and nothing more.
    pub fn of(packet_id: PacketId, reason: Reason) -> Self {
        Self { packet_id, reason, properties: AckProperties::default() }
    }

    /// A packet that ends before its reason means `Success`; one that ends behind it has no properties (3.4.2.1).
    pub(super) fn read(
        reader: &mut Reader<'_>,
        packet: PacketType,
        version: Version,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        if version == Version::V311 || reader.is_empty() {
            return Ok(Self::success(packet_id));
        }
        let code = reader.u8("reason code")?;
        let reason = Reason::of(code, packet).ok_or(Violation::ReasonCode { packet, code })?;
        let properties =
            if reader.is_empty() { AckProperties::default() } else { AckProperties::read(reader)? };
        Ok(Self { packet_id, reason, properties })
    }

    pub(super) fn write(&self, sink: &mut impl Sink, version: Version) {
        sink.u16(self.packet_id.get());
        let plain = self.properties == AckProperties::default();
        if version == Version::V311 || (plain && self.reason == Reason::Success) {
            return;
        }
        sink.u8(self.reason.code());
        if !plain {
            self.properties.write(sink);
        }
    }
}

impl Suback {
    pub(super) fn read(
        reader: &mut Reader<'_>,
        packet: PacketType,
        version: Version,
    ) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        if (version, packet) == (Version::V311, PacketType::Unsuback) {
            return Ok(Self { packet_id, properties: AckProperties::default(), codes: Codes::default() });
        }
        let properties = match version {
            Version::V5 => AckProperties::read(reader)?,
            Version::V311 => AckProperties::default(),
        };
        let codes = reader.rest();
        if codes.is_empty() {
            return Err(Violation::NoReasonCodes(packet));
        }
        let in_version = |code: &u8| version == Version::V5 || matches!(code, 0..=2 | 0x80);
        match codes.iter().find(|code| !in_version(code) || Reason::of(**code, packet).is_none()) {
            Some(code) => Err(Violation::ReasonCode { packet, code: *code }),
            None => Ok(Self { packet_id, properties, codes: Codes(codes) }),
        }
    }

    /// Failures of MQTT 5.0 are all 0x80 in MQTT 3.1.1 (3.9.3 of that).
    pub(super) fn write(&self, sink: &mut impl Sink, packet: PacketType, version: Version) {
        sink.u16(self.packet_id.get());
        match (version, packet) {
            (Version::V5, _) => {
                self.properties.write(sink);
                sink.put(&self.codes.0);
            }
            (Version::V311, PacketType::Unsuback) => {}
            (Version::V311, _) => self.codes.0.iter().for_each(|code| sink.u8((*code).min(0x80))),
        }
    }
}
