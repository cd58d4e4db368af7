//! What is to be done for a session.
//!
//! Orders to the host, to be carried out as they stand; `session.rs` says in which order they must become durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{Offset, PartitionIndex, TopicName};

use crate::codec::{Binary, Packet, PacketId, PublishProperties, QoS, Reason, Text};
use crate::topics::{Filter, Place, Reach};

/// An order to the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this packet, encoded with the session's version and Maximum Packet Size.
    Send(Packet),
    /// Make the state durable as it is after this step, and tell the number with `Saved`. A later one makes it needless.
    Save(u64),
    /// There is no session any more: remove what was saved of it.
    Discard,
    /// Append a message to the log, and tell with `Stored`.
    Store(Box<Publication>),
    /// Read the records of a subscription and tell with `Subscribed` where it begins, or why it must not be. What was read for
    /// a subscription of this number before, as it was before, is read no more.
    Subscribe(Box<Subscribing>),
    /// Read nothing more for this subscription; it is gone.
    Unsubscribe(u64),
    /// Read this record again and tell it with `Reread`.
    Reread {
        /// The message that it is.
        packet_id: PacketId,
        /// Where it lies.
        source: Source,
    },
    /// The session is done with a record. Of a shared subscription, the group's offset follows from these.
    Commit {
        /// The subscription's number; it may be gone.
        subscription: u64,
        /// The record.
        source: Source,
        /// What became of it.
        outcome: Outcome,
    },
    /// A record was not taken: read on from this offset once there is `Room`, or now if there is.
    Again {
        /// The subscription's number.
        subscription: u64,
        /// The partition.
        partition: PartitionIndex,
        /// The next offset; of a retained message, its own.
        from: Offset,
        /// Whether it was a retained message.
        is_retained: bool,
    },
    /// There is room for records of QoS 1 and 2 again.
    Room,
    /// Carry out a step of the enhanced authentication and tell with `Authenticated`.
    Authenticate {
        /// The method.
        method: Text,
        /// What the client said.
        data: Option<Binary>,
    },
    /// Close the connection once all before it is sent.
    Close(Reason),
}

/// A message for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Comes back with `Stored`.
    pub token: Token,
    /// With it: it is stored at most once for this client identifier and sequence.
    pub sequence: Option<Sequence>,
    /// The topic name.
    pub name: Text,
    /// The topic and key that it stands for.
    pub place: Place,
    /// With which QoS it was published.
    pub qos: QoS,
    /// Whether it becomes the retained message of its name; with an empty payload, whether that one is removed
    /// (\[MQTT-3.3.1-5\], \[MQTT-3.3.1-6\]).
    pub retain: bool,
    /// Properties, without an alias. The expiry interval counts from now.
    pub properties: PublishProperties,
    /// What it says.
    pub payload: Bytes,
}

/// By which a publication is known again, among those of one client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence {
    /// The session's id.
    pub session: u64,
    /// The number of the publication within the session.
    pub number: u64,
}

/// For what a publication is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    /// A PUBLISH of QoS 0: nobody waits.
    Qos0,
    /// A PUBLISH of QoS 1 on the session's connection with this number.
    Qos1 {
        /// Which connection.
        connection: u64,
        /// Which packet.
        packet_id: PacketId,
    },
    /// A PUBLISH of QoS 2, by the number of its sequence.
    Qos2(u64),
    /// The will: nobody waits.
    Will,
}

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: Offset,
}

/// A subscription whose records are to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribing {
    /// Its number within the session.
    pub number: u64,
    /// Its filter; the group of a shared one is a consumer group.
    pub filter: Filter,
    /// Where its records lie.
    pub reach: Reach,
    /// From where on, by partition. Of other partitions: from their end if the subscription is new, else from their beginning.
    /// Of a shared subscription: where the group is.
    pub positions: BTreeMap<PartitionIndex, Offset>,
    /// Whether the retained messages that match are to be delivered first, and `RetainedSent` told.
    pub with_retained: bool,
    /// Whether the session did not have it before.
    pub is_new: bool,
    /// Whether it is only begun again because the session goes on: the client has not asked, and no `Subscribed` is awaited.
    pub is_resumed: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Sent with QoS 0.
    Sent,
    /// Acknowledged by the client.
    Acknowledged,
    /// Refused by the client (\[MQTT-4.4.0-2\]).
    Refused(Reason),
    /// Not sent.
    Skipped(Skipped),
}

/// Why a record was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Its expiry had passed (\[MQTT-3.3.2-5\]).
    Expired,
    /// The client published it itself and does not want it back (\[MQTT-3.8.3-3\]).
    NoLocal,
    /// It is larger than the client takes (\[MQTT-3.1.2-25\]).
    TooLarge,
    /// Its key is nothing that a topic name can carry.
    Unnameable,
    /// Its topic name does not match the filter (\[MQTT-3.3.2-3\]).
    NotMatching,
    /// It was sent and not acknowledged, and the log has it no more.
    Gone,
}
