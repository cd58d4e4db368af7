//! What is known of a session's connection and forgotten with it.
//!
//! Plain data; the other files of the session decide.

use std::collections::{BTreeSet, VecDeque};

use super::aliases::{AliasesIn, AliasesOut};
use super::subscribing::Request;
use crate::codec::{Packet, PacketId, Publish, Reason, Text, Version};

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Which one of this core's: what was stored for an earlier one is not acknowledged on this one.
    pub(super) number: u64,
    pub(super) version: Version,
    /// The client's Receive Maximum.
    pub(super) receive_maximum: usize,
    /// The client's Maximum Packet Size.
    pub(super) packet_bytes_max: usize,
    /// The client's Request Problem Information.
    pub(super) wants_problems: bool,
    /// One and a half times the keep alive (\[MQTT-3.1.2-22\]); 0: none.
    pub(super) silence_ms_max: i64,
    /// When the client was last heard.
    pub(super) heard_at_ms: i64,
    /// The method of its enhanced authentication.
    pub(super) authentication_method: Option<Text>,
    pub(super) aliases_in: AliasesIn,
    pub(super) aliases_out: AliasesOut,
    /// PUBLISH of QoS 1 and 2 from the client that are not answered, in the order in which they came.
    pub(super) incoming: VecDeque<Incoming>,
    /// Those of QoS 2 that came on this connection and are not released: they count to the Receive Maximum.
    pub(super) received: BTreeSet<PacketId>,
    /// PUBLISH of QoS 1 and 2 that were sent on this connection and are not complete.
    pub(super) on_wire: usize,
    /// The packet identifier that was used last.
    pub(super) packet_id: u16,
    /// Messages of earlier connections that are to be sent again, in their order.
    pub(super) rereads: VecDeque<Reread>,
    /// SUBSCRIBE and UNSUBSCRIBE; the first one is at work.
    pub(super) control: VecDeque<Request>,
    /// Packets that wait for a save.
    pub(super) held: VecDeque<(u64, Packet)>,
}

/// A PUBLISH of QoS 1 or 2 from the client.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) packet_id: PacketId,
    /// Of QoS 2.
    pub(super) is_exactly_once: bool,
    /// What came of it; none: it is being stored.
    pub(super) outcome: Option<Result<(), Reason>>,
}

/// A message to be sent again.
#[derive(Debug)]
pub(super) struct Reread {
    pub(super) packet_id: PacketId,
    pub(super) is_asked: bool,
    pub(super) publish: Option<Box<Publish>>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            number: 0,
            version: Version::V5,
            receive_maximum: usize::from(u16::MAX),
            packet_bytes_max: usize::MAX,
            wants_problems: true,
            silence_ms_max: 0,
            heard_at_ms: 0,
            authentication_method: None,
            aliases_in: AliasesIn::default(),
            aliases_out: AliasesOut::default(),
            incoming: VecDeque::new(),
            received: BTreeSet::new(),
            on_wire: 0,
            packet_id: 0,
            rereads: VecDeque::new(),
            control: VecDeque::new(),
            held: VecDeque::new(),
        }
    }
}
