//! What is kept of a session (4.1): subscriptions with their positions, deliveries that are not complete, the will, and for
//! how long.
//!
//! Payloads of records are not in it: the log has them, and their positions are here. Its bytes are in `state_bytes.rs`.

use std::collections::{BTreeMap, VecDeque};

use model::{Offset, PartitionIndex, Timestamp, TopicName};

use super::Source;
use crate::codec::{Options, PacketId, SubscriptionId, Will};
use crate::topics::Filter;

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// No other session of the client identifier ever had it.
    pub id: u64,
    /// Seconds for which it outlives its connection; `u32::MAX`: for ever.
    pub expiry_interval: u32,
    /// When its connection was closed; none: it is open, or its node was lost.
    pub closed_at_ms: Option<Timestamp>,
    /// The sequence of the next publication that is stored at most once.
    pub next_sequence: u64,
    /// The number of the next subscription.
    pub next_subscription: u64,
    /// The will of the connection, until it is published or not needed.
    pub will: Option<StoredWill>,
    /// Subscriptions by number.
    pub subscriptions: BTreeMap<u64, Subscription>,
    /// PUBLISH of QoS 2 that the client sent and has not released.
    pub received: BTreeMap<PacketId, Received>,
    /// PUBLISH of QoS 1 and 2 that were sent to the client and are not complete, in the order in which they were sent.
    pub in_flight: VecDeque<InFlight>,
}

/// A will that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWill {
    /// With this sequence it is stored at most once.
    pub sequence: u64,
    /// The will.
    pub will: Will,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its filter.
    pub filter: Filter,
    /// The Kafka topic of the filter.
    pub topic: TopicName,
    /// Its options; the QoS is the granted one.
    pub options: Options,
    /// Its identifier.
    pub id: Option<SubscriptionId>,
    /// Whether retained messages are still to be sent because of it.
    pub is_retained_due: bool,
    /// By partition, the offset of the next record to be sent. Empty for a shared subscription.
    pub positions: BTreeMap<PartitionIndex, Offset>,
}

/// A PUBLISH of QoS 2 from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// With this sequence it is stored at most once.
    pub sequence: u64,
    /// Whether it is known to be stored.
    pub is_stored: bool,
}

/// A PUBLISH to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Its packet identifier.
    pub packet_id: PacketId,
    /// How far its delivery is.
    pub phase: Phase,
    /// The RETAIN flag that it was sent with.
    pub retain: bool,
    /// The subscription identifier that it was sent with.
    pub subscription_id: Option<SubscriptionId>,
    /// The number of its subscription, which may be gone (\[MQTT-3.10.4-3\]).
    pub subscription: u64,
    /// The record.
    pub source: Source,
    /// Whether it was sent on this connection; it is not kept.
    pub(super) is_on_wire: bool,
}

/// How far a delivery to the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// QoS 1: the PUBACK is missing.
    Qos1 = 1,
    /// QoS 2: the PUBREC is missing.
    Qos2 = 2,
    /// QoS 2: the PUBCOMP is missing.
    Released = 3,
}

/// An expiry that never comes (3.1.2.11.2).
const NEVER: u32 = u32::MAX;

impl State {
    /// When the session ends if the client does not come back (\[MQTT-4.1.0-2\]). None: not while things stay as they are.
    pub fn expires_at_ms(&self) -> Option<Timestamp> {
        let after = Some(self.expiry_interval).filter(|seconds| *seconds != NEVER)?;
        Some(self.closed_at_ms?.saturating_add(i64::from(after) * 1000))
    }

    /// When the will is to be published if the client does not come back: after its delay, or when the session ends
    /// (3.1.3.2.2).
    pub fn will_due_at_ms(&self) -> Option<Timestamp> {
        let delay = self.will.as_ref()?.will.properties.will_delay_interval.unwrap_or(0);
        let due = self.closed_at_ms?.saturating_add(i64::from(delay) * 1000);
        Some(self.expires_at_ms().map_or(due, |expires| due.min(expires)))
    }
}
