//! A packet to bytes, within what the receiver takes.
//!
//! User Properties and Reason Strings of answers are left out where they would not fit (\[MQTT-3.2.2-19\],
//! \[MQTT-3.4.2-2\] and the like); what still does not fit is not sent (\[MQTT-3.1.2-24\]).

use bytes::BytesMut;

use super::sink::{Count, Sink};
use super::{Packet, PacketType, REMAINING_LENGTH_MAX, Text, UserProperties, Version};

/// A packet that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// It is larger than its receiver takes, also without what may be left out.
    #[error("{packet} has {bytes} bytes, its receiver takes {max}")]
    TooLarge {
        /// Which packet.
        packet: PacketType,
        /// Its bytes, header included.
        bytes: usize,
        /// What the receiver takes.
        max: usize,
    },
    /// MQTT 3.1.1 has no such packet, or no way to say this with it.
    #[error("MQTT 3.1.1 has no way to say this {0}")]
    NotInVersion(PacketType),
}

/// Appends the packet to `out`, or leaves `out` as it was. A CONNECT is written in its own version.
pub fn encode(
    packet: &Packet,
    version: Version,
    packet_bytes_max: usize,
    out: &mut BytesMut,
) -> Result<(), Unencodable> {
    let mut trimmed = None;
    let length = match fits(packet, version, packet_bytes_max) {
        Ok(length) => length,
        Err(error) => {
            let shorter = trimmed.insert(trim(packet, version, packet_bytes_max).ok_or(error)?);
            fits(shorter, version, packet_bytes_max)?
        }
    };
    let packet = trimmed.as_ref().unwrap_or(packet);
    out.reserve(header_len(length) + length);
    out.u8((packet.packet_type() as u8) << 4 | flags(packet));
    out.varint(length as u32); // at most REMAINING_LENGTH_MAX
    write(packet, out, version);
    if let Packet::Publish(publish) = packet {
        out.extend_from_slice(&publish.payload);
    }
    Ok(())
}

/// The packet without what may be left out of it so that it fits: first its User Properties go, then its Reason String.
/// None: it would not fit even so.
pub fn trim(packet: &Packet, version: Version, packet_bytes_max: usize) -> Option<Packet> {
    let mut packet = packet.clone();
    let (user_properties, _) = optional(&mut packet)?;
    *user_properties = UserProperties::default();
    if fits(&packet, version, packet_bytes_max).is_err()
        && let (_, Some(reason_string)) = optional(&mut packet)?
    {
        *reason_string = None;
    }
    fits(&packet, version, packet_bytes_max).ok().map(|_| packet)
}

/// How many bytes the packet has, header included, with all that may be left out.
pub fn encoded_len(packet: &Packet, version: Version) -> usize {
    let length = body_len(packet, version);
    header_len(length) + length
}

/// The Remaining Length, if the packet may be sent.
fn fits(packet: &Packet, version: Version, packet_bytes_max: usize) -> Result<usize, Unencodable> {
    let kind = packet.packet_type();
    let sayable = match packet {
        Packet::Auth(_) => false,
        Packet::Connack(connack) => connack.reason.to_return_code().is_some(),
        _ => true,
    };
    if version == Version::V311 && !sayable {
        return Err(Unencodable::NotInVersion(kind));
    }
    let length = body_len(packet, version);
    let bytes = header_len(length) + length;
    let max = packet_bytes_max.min(REMAINING_LENGTH_MAX + 5);
    if bytes > max { Err(Unencodable::TooLarge { packet: kind, bytes, max }) } else { Ok(length) }
}

fn body_len(packet: &Packet, version: Version) -> usize {
    let mut count = Count::default();
    write(packet, &mut count, version);
    match packet {
        Packet::Publish(publish) => count.0.saturating_add(publish.payload.len()),
        _ => count.0,
    }
}

fn header_len(length: usize) -> usize {
    match length {
        0..=0x7f => 2,
        0x80..=0x3fff => 3,
        0x4000..=0x1f_ffff => 4,
        _ => 5,
    }
}

fn flags(packet: &Packet) -> u8 {
    match packet {
        Packet::Publish(publish) => publish.flags(),
        Packet::Pubrel(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) => 0b0010,
        _ => 0,
    }
}

/// Variable header and payload, except the payload of PUBLISH.
fn write(packet: &Packet, sink: &mut impl Sink, version: Version) {
    match packet {
        Packet::Connect(connect) => connect.write(sink),
        Packet::Connack(connack) => connack.write(sink, version),
        Packet::Publish(publish) => publish.write_head(sink, version),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.write(sink, version);
        }
        Packet::Subscribe(subscribe) => subscribe.write(sink, version),
        Packet::Suback(ack) | Packet::Unsuback(ack) => ack.write(sink, packet.packet_type(), version),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write(sink, version),
        Packet::Pingreq(()) | Packet::Pingresp(()) => {}
        Packet::Disconnect(disconnect) => disconnect.write(sink, version),
        Packet::Auth(auth) => auth.write(sink),
    }
}

/// What of a packet may be left out. Of a PUBLISH nothing may (\[MQTT-3.3.2-17\]), nor of what only a client sends.
fn optional(packet: &mut Packet) -> Option<(&mut UserProperties, Option<&mut Option<Text>>)> {
    macro_rules! both {
        ($body:expr) => {
            Some((&mut $body.properties.user_properties, Some(&mut $body.properties.reason_string)))
        };
    }
    match packet {
        Packet::Connack(body) => both!(body),
        Packet::Puback(body) | Packet::Pubrec(body) | Packet::Pubrel(body) | Packet::Pubcomp(body) => {
            both!(body)
        }
        Packet::Suback(body) | Packet::Unsuback(body) => both!(body),
        Packet::Disconnect(body) => both!(body),
        Packet::Auth(body) => both!(body),
        _ => None,
    }
}
