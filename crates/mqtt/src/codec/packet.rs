//! A control packet, and cutting the first one off a buffer of received bytes.
//!
//! The fixed header is checked here (2.1), what follows it by each packet's own file.

use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

use super::reader::{Reader, varint};
use super::{
    Ack, Auth, Connack, Connect, Disconnect, Error, Publish, Suback, Subscribe, Unsubscribe, Violation,
};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol version 5.
    V5,
}

/// A quality of service (4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// Sent once, not acknowledged.
    #[default]
    AtMostOnce = 0,
    /// Sent until it is acknowledged.
    AtLeastOnce = 1,
    /// Sent until it is acknowledged, and known again by the receiver.
    ExactlyOnce = 2,
}

impl QoS {
    /// The quality of service with this number.
    pub fn of(number: u8) -> Option<QoS> {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].get(usize::from(number)).copied()
    }
}

macro_rules! packets {
    ($($name:ident = $number:literal $text:literal: $body:ty,)*) => {
        /// What kind of packet (2.1.2, table 2-1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PacketType {
            $(#[doc = $text] $name = $number,)*
        }

        impl PacketType {
            fn of(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for PacketType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)*
                })
            }
        }

        /// A control packet (chapter 3).
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Packet {
            $(#[doc = $text] $name($body),)*
        }

        impl Packet {
            /// Its kind.
            pub fn packet_type(&self) -> PacketType {
                match self {
                    $(Self::$name(_) => PacketType::$name,)*
                }
            }
        }
    };
}

packets! {
    Connect = 1 "CONNECT": Box<Connect>,
    Connack = 2 "CONNACK": Box<Connack>,
    Publish = 3 "PUBLISH": Box<Publish>,
    Puback = 4 "PUBACK": Ack,
    Pubrec = 5 "PUBREC": Ack,
    Pubrel = 6 "PUBREL": Ack,
    Pubcomp = 7 "PUBCOMP": Ack,
    Subscribe = 8 "SUBSCRIBE": Subscribe,
    Suback = 9 "SUBACK": Suback,
    Unsubscribe = 10 "UNSUBSCRIBE": Unsubscribe,
    Unsuback = 11 "UNSUBACK": Suback,
    Pingreq = 12 "PINGREQ": (),
    Pingresp = 13 "PINGRESP": (),
    Disconnect = 14 "DISCONNECT": Box<Disconnect>,
    Auth = 15 "AUTH": Box<Auth>,
}

/// Takes the first packet off the buffer. None: more bytes are needed, and the buffer is as it was.
///
/// `packet_bytes_max` is the Maximum Packet Size of whoever receives, header included: a larger packet is refused as soon
/// as its length is known. `version` is what the CONNECT asked for; a CONNECT itself says its version. After an error
/// the connection ends (\[MQTT-4.13.1-1\]); the buffer is of no use any more.
pub fn decode(
    buffer: &mut BytesMut,
    packet_bytes_max: usize,
    version: Version,
) -> Result<Option<Packet>, Error> {
    let in_version = |violation| Error { violation, version };
    let Some((header, rest)) = buffer.split_first() else { return Ok(None) };
    let (number, flags) = (header >> 4, header & 0x0f);
    let packet = PacketType::of(number)
        .filter(|packet| version == Version::V5 || *packet != PacketType::Auth)
        .ok_or_else(|| in_version(Violation::PacketType(number)))?;
    check_flags(packet, flags).map_err(in_version)?;
    let Some((length, used)) = varint(rest, "remaining length").map_err(in_version)? else { return Ok(None) };
    let bytes = 1 + used + length as usize;
    if bytes > packet_bytes_max {
        return Err(in_version(Violation::PacketTooLarge { bytes, max: packet_bytes_max }));
    }
    if buffer.len() < bytes {
        return Ok(None);
    }
    let mut whole = buffer.split_to(bytes).freeze();
    whole.advance(1 + used);
    decode_body(packet, flags, &whole, version).map(Some)
}

/// \[MQTT-2.1.3-1\], \[MQTT-3.6.1-1\], \[MQTT-3.8.1-1\], \[MQTT-3.10.1-1\], \[MQTT-3.14.1-1\], \[MQTT-3.15.1-1\].
fn check_flags(packet: PacketType, flags: u8) -> Result<(), Violation> {
    let required = match packet {
        PacketType::Publish if flags & 0b0110 == 0b0110 => return Err(Violation::PublishQos),
        PacketType::Publish if flags & 0b1110 == 0b1000 => return Err(Violation::DupAtQos0),
        PacketType::Publish => return Ok(()),
        PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    };
    if flags == required { Ok(()) } else { Err(Violation::Flags { packet, flags }) }
}

fn decode_body(packet: PacketType, flags: u8, body: &Bytes, version: Version) -> Result<Packet, Error> {
    let mut reader = Reader::new(body);
    let reader = &mut reader;
    if packet == PacketType::Connect {
        return Connect::read(reader).map(|connect| Packet::Connect(Box::new(connect)));
    }
    let read = match packet {
        PacketType::Connect => Err(Violation::PacketType(1)), // above
        PacketType::Connack => Connack::read(reader, version).map(|body| Packet::Connack(Box::new(body))),
        PacketType::Publish => {
            Publish::read(reader, flags, version).map(|body| Packet::Publish(Box::new(body)))
        }
        PacketType::Puback => Ack::read(reader, packet, version).map(Packet::Puback),
        PacketType::Pubrec => Ack::read(reader, packet, version).map(Packet::Pubrec),
        PacketType::Pubrel => Ack::read(reader, packet, version).map(Packet::Pubrel),
        PacketType::Pubcomp => Ack::read(reader, packet, version).map(Packet::Pubcomp),
        PacketType::Subscribe => Subscribe::read(reader, version).map(Packet::Subscribe),
        PacketType::Suback => Suback::read(reader, packet, version).map(Packet::Suback),
        PacketType::Unsubscribe => Unsubscribe::read(reader, version).map(Packet::Unsubscribe),
        PacketType::Unsuback => Suback::read(reader, packet, version).map(Packet::Unsuback),
        PacketType::Pingreq => Ok(Packet::Pingreq(())),
        PacketType::Pingresp => Ok(Packet::Pingresp(())),
        PacketType::Disconnect => {
            Disconnect::read(reader, version).map(|body| Packet::Disconnect(Box::new(body)))
        }
        PacketType::Auth => Auth::read(reader).map(|body| Packet::Auth(Box::new(body))),
    };
    read.and_then(|packet| reader.end().map(|()| packet)).map_err(|violation| Error { violation, version })
}
