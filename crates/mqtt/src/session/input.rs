//! What happens to a session.
//!
//! Facts, told by the host; what is to be done about them is in `effect.rs`.

use bytes::Bytes;
use model::{Offset, PartitionIndex, Timestamp};

use super::Token;
use crate::codec::{Binary, Connect, Error, Packet, PacketId, PublishProperties, QoS, Reason, Text};

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back: keep alive counts by it.
    pub monotonic_ms: i64,
    /// Milliseconds since 1970: what outlives a process counts by it, as expiry and the will's delay.
    pub timestamp_ms: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A client whose handshake was accepted, and that the host knows, has a connection. Where the client identifier in the
    /// CONNECT is empty, the core was made with one that the host assigned. A connection that was there before is taken over:
    /// effects up to `Close` are its.
    Connect {
        /// The packet.
        connect: Box<Connect>,
        /// What the enhanced authentication has to say in the CONNACK.
        authentication_data: Option<Binary>,
        /// A number that no other session of this client identifier ever had; a session that is new takes it.
        session_id: u64,
    },
    /// What came of an `Authenticate`.
    Authenticated(Authentication),
    /// The client sent a packet.
    Packet(Packet),
    /// The client sent something that is no packet.
    Violation(Error),
    /// A record for a subscription was read.
    Deliver(Box<Delivery>),
    /// The records of a partition from one offset up to another, exclusively, are none of the subscription's.
    Passed {
        /// The subscription's number.
        subscription: u64,
        /// The partition.
        partition: PartitionIndex,
        /// The first of these offsets.
        from: Offset,
        /// The one behind the last.
        to: Offset,
    },
    /// All retained messages that a `Subscribing` asked for were delivered.
    RetainedSent(u64),
    /// What came of a `Reread`: the record with its key, or none if the log has it no more.
    Reread {
        /// Of which message.
        packet_id: PacketId,
        /// The record.
        record: Option<Box<Record>>,
    },
    /// What came of a `Store`: it is durable, or it was refused with a reason that a PUBACK may have.
    Stored {
        /// The token of the publication.
        token: Token,
        /// Whether it was stored.
        result: Result<(), Reason>,
    },
    /// The state is durable as it was at the `Save` with this number, or at a later one.
    Saved(u64),
    /// What came of a `Subscribe`: by partition, the offset of the first record to be sent, for a subscription that is new and
    /// not shared; or a refusal with a reason that a SUBACK may have.
    Subscribed {
        /// The subscription's number.
        subscription: u64,
        /// Where it begins.
        result: Result<Vec<(PartitionIndex, Offset)>, Reason>,
    },
    /// Time has passed ([`super::Session::tick_in_ms`]).
    Tick,
    /// The connection is gone, without a DISCONNECT.
    Lost,
    /// The server wants the connection to end, for this reason. With `SessionTakenOver`: the client identifier has a new
    /// connection (\[MQTT-3.1.4-3\]).
    Close(Reason),
}

/// A step of the enhanced authentication (4.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// The client is asked for more.
    Continue(Option<Binary>),
    /// The client is who it says.
    Done(Option<Binary>),
    /// It is not.
    Refused(Reason),
}

/// A record for a subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The subscription's number.
    pub subscription: u64,
    /// Where the record lies.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
    /// From this offset on it is the subscription's next record: what it got last plus one, or where it began. Of a shared
    /// subscription, or a retained message, without meaning.
    pub follows: Offset,
    /// Whether it is sent as the retained message of its topic, because of the subscription.
    pub is_retained: bool,
    /// The record.
    pub record: Record,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub payload: Bytes,
    /// The QoS with which it was published; of a record that no client of MQTT wrote, what the host chooses.
    pub qos: QoS,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// Its properties; alias, subscription identifiers and expiry interval are not read.
    pub properties: PublishProperties,
    /// When it is of no use any more.
    pub expires_at_ms: Option<Timestamp>,
    /// The client identifier that published it.
    pub publisher: Option<Text>,
}
