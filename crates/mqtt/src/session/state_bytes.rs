//! A session's state as bytes, the value of its record; docs/formats/mqtt-session.md is the table.
//!
//! What is read was written here, and is checked all the same: nothing is reserved because a count says so, and what is
//! out of place is [`Unreadable`].

use bytes::{Bytes, BytesMut};
use model::TopicName;

use super::{InFlight, Phase, Received, Source, State, StoredWill, Subscription};
use crate::codec::reader::Reader;
use crate::codec::sink::Sink;
use crate::codec::{Options, SubscriptionId, Text, Violation, Will};
use crate::topics::{Filter, Reach};

/// The version that is written.
const VERSION: u8 = 1;

const IS_CLOSED: u8 = 1;
const HAS_WILL: u8 = 2;

/// Bytes that are no state of a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A later version of this server wrote them.
    #[error("the session was written in format {0}, this server reads up to {VERSION}: update it")]
    Version(u8),
    /// They end too early, or go on behind the end, or break a rule of what stands in them.
    #[error("the session's record is damaged: {0}")]
    Damaged(#[from] Violation),
    /// A value that cannot be.
    #[error("the session's record is damaged: there is no such {0}")]
    Value(&'static str),
}

impl State {
    /// The bytes to be kept.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        let flags = if self.closed_at_ms.is_some() { IS_CLOSED } else { 0 }
            | if self.will.is_some() { HAS_WILL } else { 0 };
        out.u8(VERSION);
        out.u8(flags);
        out.u64(self.id);
        out.u32(self.expiry_interval);
        out.u64(self.next_sequence);
        out.u64(self.next_subscription);
        if let Some(at) = self.closed_at_ms {
            out.u64(at as u64);
        }
        if let Some(stored) = &self.will {
            out.u64(stored.sequence);
            stored.will.write(&mut out);
        }
        out.u32(self.subscriptions.len() as u32);
        for (number, subscription) in &self.subscriptions {
            out.u64(*number);
            write_subscription(subscription, &mut out);
        }
        out.u32(self.received.len() as u32);
        for (packet_id, received) in &self.received {
            out.u16(packet_id.get());
            out.u64(received.sequence);
            out.u8(u8::from(received.is_stored));
        }
        out.u32(self.in_flight.len() as u32);
        self.in_flight.iter().for_each(|message| write_in_flight(message, &mut out));
        out.freeze()
    }

    /// The state that was kept.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut reader = Reader::new(&bytes);
        let reader = &mut reader;
        match reader.u8("version")? {
            VERSION => {}
            version => return Err(Unreadable::Version(version)),
        }
        let flags = reader.u8("flags")?;
        if flags & !(IS_CLOSED | HAS_WILL) != 0 {
            return Err(Unreadable::Value("flag"));
        }
        let mut state = State {
            id: reader.u64("id")?,
            expiry_interval: reader.u32("expiry interval")?,
            next_sequence: reader.u64("next sequence")?,
            next_subscription: reader.u64("next subscription")?,
            ..State::default()
        };
        if flags & IS_CLOSED != 0 {
            state.closed_at_ms = Some(reader.u64("time of closing")? as i64);
        }
        if flags & HAS_WILL != 0 {
            let sequence = reader.u64("sequence of the will")?;
            state.will = Some(StoredWill { sequence, will: Will::restored(reader)? });
        }
        for _ in 0..reader.u32("count of subscriptions")? {
            let number = reader.u64("number of a subscription")?;
            state.subscriptions.insert(number, read_subscription(reader)?);
        }
        for _ in 0..reader.u32("count of received messages")? {
            let packet_id = reader.packet_id()?;
            let received = Received { sequence: reader.u64("sequence")?, is_stored: read_flag(reader)? };
            state.received.insert(packet_id, received);
        }
        for _ in 0..reader.u32("count of messages in flight")? {
            state.in_flight.push_back(read_in_flight(reader)?);
        }
        reader.end()?;
        Ok(state)
    }
}

fn write_subscription(subscription: &Subscription, out: &mut BytesMut) {
    out.text(subscription.filter.text());
    out.u8(subscription.options.byte());
    out.u32(subscription.id.map_or(0, SubscriptionId::get));
    out.u8(u8::from(subscription.is_retained_due));
    out.u32(subscription.positions.len() as u32);
    for (partition, offset) in &subscription.positions {
        out.u32(*partition as u32);
        out.u64(*offset as u64);
    }
}

fn read_subscription(reader: &mut Reader<'_>) -> Result<Subscription, Unreadable> {
    let filter = Filter::new(reader.text("filter")?).map_err(Violation::Topic)?;
    let reach = Reach::of(&filter).map_err(|_| Unreadable::Value("filter"))?;
    let mut subscription = Subscription {
        topic: reach.topic().clone(),
        filter,
        options: Options::of(reader.u8("options")?)?,
        id: read_subscription_id(reader)?,
        is_retained_due: read_flag(reader)?,
        positions: Default::default(),
    };
    for _ in 0..reader.u32("count of positions")? {
        let partition = reader.u32("partition")? as i32;
        subscription.positions.insert(partition, reader.u64("offset")? as i64);
    }
    Ok(subscription)
}

fn write_in_flight(message: &InFlight, out: &mut BytesMut) {
    out.u16(message.packet_id.get());
    out.u8(message.phase as u8);
    out.u8(u8::from(message.retain));
    out.u32(message.subscription_id.map_or(0, SubscriptionId::get));
    out.u64(message.subscription);
    out.text(&Text::new(&message.source.topic).unwrap_or_default());
    out.u32(message.source.partition as u32);
    out.u64(message.source.offset as u64);
}

fn read_in_flight(reader: &mut Reader<'_>) -> Result<InFlight, Unreadable> {
    Ok(InFlight {
        packet_id: reader.packet_id()?,
        phase: match reader.u8("phase")? {
            1 => Phase::Qos1,
            2 => Phase::Qos2,
            3 => Phase::Released,
            _ => return Err(Unreadable::Value("phase")),
        },
        retain: read_flag(reader)?,
        subscription_id: read_subscription_id(reader)?,
        subscription: reader.u64("number of a subscription")?,
        source: Source {
            topic: TopicName::new(reader.text("topic")?.as_str()).map_err(|_| Unreadable::Value("topic"))?,
            partition: reader.u32("partition")? as i32,
            offset: reader.u64("offset")? as i64,
        },
        is_on_wire: false,
    })
}

/// 0 stands for none.
fn read_subscription_id(reader: &mut Reader<'_>) -> Result<Option<SubscriptionId>, Unreadable> {
    match reader.u32("subscription identifier")? {
        0 => Ok(None),
        id => SubscriptionId::new(id).map(Some).ok_or(Unreadable::Value("subscription identifier")),
    }
}

fn read_flag(reader: &mut Reader<'_>) -> Result<bool, Unreadable> {
    match reader.u8("flag")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Unreadable::Value("flag")),
    }
}
