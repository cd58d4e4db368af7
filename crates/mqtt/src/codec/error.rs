//! What can be wrong with a packet, and which reason code says so to the peer (4.13 of MQTT 5.0).
//!
//! It does not answer: the session makes a CONNACK or a DISCONNECT of it, or only closes, as the version allows.

use super::{PacketType, Reason, Version};
use crate::topics::InvalidTopic;

/// A packet that cannot be taken, and in which version its sender is to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{violation}")]
pub struct Error {
    /// What is wrong.
    pub violation: Violation,
    /// The version in which to answer. Of a CONNECT it is the one that it asks for; of a version that is not served, the
    /// nearest one whose CONNACK such a client can read.
    pub version: Version,
}

/// A rule of the standard that a packet breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// 2.1.2: type 0, and 15 in MQTT 3.1.1.
    #[error("there is no packet of type {0}")]
    PacketType(u8),
    /// \[MQTT-2.1.3-1\] and, of each packet, 3.x.1.
    #[error("the flags of {packet} must not be {flags:#06b}")]
    Flags {
        /// Which packet.
        packet: PacketType,
        /// Its low four bits.
        flags: u8,
    },
    /// \[MQTT-3.3.1-4\]: PUBLISH with both bits of its QoS.
    #[error("there is no QoS 3")]
    PublishQos,
    /// \[MQTT-3.3.1-2\].
    #[error("a PUBLISH of QoS 0 is never a re-delivery: its DUP flag must be 0")]
    DupAtQos0,
    /// 1.5.5: a Variable Byte Integer has at most four bytes.
    #[error("{0} has more than four bytes")]
    VarintTooLong(&'static str),
    /// \[MQTT-1.5.5-1\].
    #[error("{0} is written in more bytes than it needs")]
    VarintNotMinimal(&'static str),
    /// 3.1.2.11.4, 3.2.2.3.6: more than the receiver said it takes.
    #[error("the packet has {bytes} bytes, at most {max} are taken")]
    PacketTooLarge {
        /// The bytes of the packet, header included.
        bytes: usize,
        /// The receiver's Maximum Packet Size.
        max: usize,
    },
    /// The Remaining Length, or a length within the packet, ends before a field does.
    #[error("the packet ends within its {0}")]
    Short(&'static str),
    /// There are bytes behind the last field.
    #[error("{0} bytes stand behind the end of the packet")]
    Trailing(usize),
    /// \[MQTT-1.5.4-1\].
    #[error("{0} is not well-formed UTF-8")]
    NotUtf8(&'static str),
    /// \[MQTT-1.5.4-2\].
    #[error("{0} contains the null character U+0000")]
    NullCharacter(&'static str),
    /// 2.2.2.2.
    #[error("{packet} must not have a property {id:#04x}")]
    PropertyNotAllowed {
        /// Which packet.
        packet: &'static str,
        /// The property's identifier.
        id: u32,
    },
    /// 2.2.2.2, and each property's own section.
    #[error("property {0:#04x} stands in the packet more than once")]
    PropertyTwice(u32),
    /// Each property's own section: a value out of its range.
    #[error("property {id:#04x} must not be {value}")]
    PropertyValue {
        /// The property's identifier.
        id: u32,
        /// Its value.
        value: u32,
    },
    /// \[MQTT-2.2.1-3\], \[MQTT-2.2.1-4\].
    #[error("a packet identifier must not be 0")]
    PacketIdZero,
    /// \[MQTT-3.1.2-1\].
    #[error("the protocol name must be MQTT")]
    ProtocolName,
    /// \[MQTT-3.1.2-2\].
    #[error("protocol version {0} is not served, only 4 (MQTT 3.1.1) and 5")]
    ProtocolVersion(u8),
    /// \[MQTT-3.1.2-3\].
    #[error("bit 0 of the connect flags must be 0")]
    ConnectFlagReserved,
    /// \[MQTT-3.1.2-11\], \[MQTT-3.1.2-12\], \[MQTT-3.1.2-13\].
    #[error("the connect flags {0:#010b} say of a will what cannot be")]
    WillFlags(u8),
    /// \[MQTT-3.1.2-22\] of MQTT 3.1.1; 5.0 allows it.
    #[error("in MQTT 3.1.1 a password needs a user name")]
    PasswordWithoutUserName,
    /// \[MQTT-3.1.3-8\] of MQTT 3.1.1; 5.0 allows it.
    #[error("in MQTT 3.1.1 an empty client identifier needs CleanSession")]
    ClientIdEmpty,
    /// 3.1.2.11.10, 3.15.2.2.3.
    #[error("Authentication Data needs an Authentication Method")]
    AuthenticationDataAlone,
    /// 3.15.2.2.2.
    #[error("AUTH needs an Authentication Method")]
    AuthenticationMethodMissing,
    /// \[MQTT-3.2.2-1\].
    #[error("the connect acknowledge flags must not be {0:#010b}")]
    ConnackFlags(u8),
    /// \[MQTT-3.2.2-6\].
    #[error("a CONNACK that refuses must not say that there is a session")]
    SessionPresentWithRefusal,
    /// 2.4, and the table of each packet.
    #[error("{packet} must not have the reason code {code:#04x}")]
    ReasonCode {
        /// Which packet.
        packet: PacketType,
        /// The code.
        code: u8,
    },
    /// \[MQTT-3.8.3-2\], \[MQTT-3.10.3-2\].
    #[error("{0} must name at least one topic filter")]
    NoFilters(PacketType),
    /// 3.9.3, 3.11.3.
    #[error("{0} must have a reason code for each topic filter")]
    NoReasonCodes(PacketType),
    /// \[MQTT-3.8.3-5\].
    #[error("the reserved bits of the subscription options {0:#010b} must be 0")]
    OptionsReserved(u8),
    /// 3.8.3.1: QoS 3 or Retain Handling 3.
    #[error("the subscription options {0:#010b} have a QoS or a Retain Handling of 3")]
    OptionsValue(u8),
    /// \[MQTT-3.8.3-4\].
    #[error("a shared subscription must not have the No Local option")]
    NoLocalShared,
    /// \[MQTT-3.3.2-14\].
    #[error("a response topic must be a topic name: {0}")]
    ResponseTopic(InvalidTopic),
    /// 4.7 and 4.8: the name or filter breaks the syntax.
    #[error(transparent)]
    Topic(InvalidTopic),
}

impl Violation {
    /// The reason code for the CONNACK or DISCONNECT that answers (4.13.1).
    pub fn reason(&self) -> Reason {
        use Violation as V;
        match self {
            V::PacketTooLarge { .. } => Reason::PacketTooLarge,
            V::ProtocolName | V::ProtocolVersion(_) => Reason::UnsupportedProtocolVersion,
            V::ClientIdEmpty => Reason::ClientIdentifierNotValid,
            V::PropertyValue { id: 0x23, .. } => Reason::TopicAliasInvalid, // 3.3.2.3.4
            V::PropertyTwice(_)
            | V::PropertyValue { .. }
            | V::PacketIdZero
            | V::AuthenticationDataAlone
            | V::AuthenticationMethodMissing
            | V::SessionPresentWithRefusal
            | V::ReasonCode { .. }
            | V::NoFilters(_)
            | V::NoReasonCodes(_)
            | V::OptionsValue(_)
            | V::NoLocalShared
            | V::ResponseTopic(_)
            | V::Topic(InvalidTopic::EmptyName) => Reason::ProtocolError,
            _ => Reason::MalformedPacket,
        }
    }
}
