//! The control packets of MQTT 3.1.1 and 5.0, from bytes and to bytes (chapters 2 and 3 of both standards).
//!
//! A packet is checked in full when it is decoded: what a packet says by itself is right or it is a [`Violation`] with
//! the reason code to answer; what depends on the session (who may send it, which ids are in use) is judged by
//! [`crate::session`]. Decoding copies no payload and reserves nothing because a length says so: texts, payloads and
//! lists are slices of what was received. Optional checks of the standards that are not made: disallowed code
//! points other than U+0000 (1.5.4) and payloads against their Payload Format Indicator (3.3.2.3.2).

mod ack;
mod binary;
mod connack;
mod connect;
mod disconnect;
mod encode;
mod error;
mod packet;
mod properties;
mod publish;
pub(crate) mod reader;
mod reason;
mod repeated;
pub(crate) mod sink;
mod subscribe;

pub use ack::{Ack, Codes, Suback};
pub use binary::{Binary, Text};
pub use connack::Connack;
pub use connect::{Connect, Will};
pub use disconnect::{Auth, Disconnect};
pub use encode::{Unencodable, encode, encoded_len, trim};
pub use error::{Error, Violation};
pub use packet::{Packet, PacketType, QoS, Version, decode};
pub use properties::{
    AckProperties, AuthProperties, ConnackProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UnsubscribeProperties, WillProperties,
};
pub use publish::Publish;
pub use reason::Reason;
pub use repeated::{SubscriptionId, SubscriptionIds, UserProperties};
pub use subscribe::{Filters, Options, RetainHandling, Subscribe, Unsubscribe};

/// A Packet Identifier (2.2.1); it is never 0.
pub type PacketId = std::num::NonZeroU16;

/// The largest Remaining Length that four bytes can say (2.1.4).
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

#[cfg(test)]
mod tests;
