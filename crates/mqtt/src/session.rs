//! The core of one client's session (chapter 4): what is sent, what is stored, what is kept, and when it ends.
//!
//! It is pure: `step` takes an [`Input`] and gives [`Effect`]s, in the order in which they are to be carried out. It holds
//! no payload that the log has, and nothing without a bound ([`Config`]). One core serves one client identifier, with a
//! connection or without; what comes before is a [`Handshake`]. The host holds the connection, decodes packets, checks who the
//! client is and what it may do, reads and writes the log, and keeps [`State`] as a record.
//!
//! What the host owes:
//! - Effects in order. `Save`, `Store` and `Discard` become durable in their order, or together; a `Stored` or a `Saved` is
//!   told only of what is durable.
//! - A `Store` with a sequence is done at most once for that client identifier and sequence, however often it is ordered.
//! - Packets only while [`Session::accepts`] says so; records from each partition in their order, each saying from
//!   where on it is the next ([`Delivery::follows`]).
//! - After `Close` no record is read for the session until it is subscribed again.

mod aliases;
mod closing;
mod config;
mod connecting;
mod connection;
mod effect;
mod handshake;
mod incoming;
mod input;
mod outgoing;
mod state;
mod state_bytes;
mod subscribing;

use std::collections::BTreeMap;

pub use config::Config;
pub use effect::{Effect, Outcome, Publication, Sequence, Skipped, Source, Subscribing, Token};
pub use handshake::{Greeting, Handshake, refusal};
pub use input::{Authentication, Delivery, Input, Now, Record};
pub use state::{InFlight, Phase, Received, State, StoredWill, Subscription};
pub use state_bytes::Unreadable;

use crate::codec::{
    Ack, Connack, Disconnect, Packet, QoS, Reason, Text, UserProperties, Version, encoded_len, trim,
};
use connection::Connection;

/// A client's session, with a connection or without.
#[derive(Debug)]
pub struct Session {
    config: Config,
    client_id: Text,
    /// Whether there is a session; else `state` is empty.
    exists: bool,
    state: State,
    /// The subscriptions' numbers by filter, those that are being made included.
    by_filter: BTreeMap<Text, u64>,
    link: Link,
    connection: Connection,
    saves: Saves,
    now: Now,
    /// What this step gives before its `Save`, and after it.
    before_save: Vec<Effect>,
    effects: Vec<Effect>,
}

/// How far the connection is.
#[derive(Debug)]
enum Link {
    /// There is none.
    Closed,
    /// This CONNACK is sent when this save is durable.
    Opening(Box<Connack>, u64),
    /// The CONNACK was sent.
    Open,
}

/// How often the state was saved, and whether it has changed since.
#[derive(Debug, Default)]
struct Saves {
    asked: u64,
    /// This step ends with a save.
    is_wanted: bool,
    /// Something changed that may be saved later.
    is_dirty: bool,
    asked_at_ms: i64,
}

impl Session {
    /// The core for a client, with the session that was kept of it, if any. A session whose connection nobody closed,
    /// because the node was lost that held it, counts as closed now.
    pub fn new(config: Config, client_id: Text, stored: Option<State>, now: Now) -> Self {
        let exists = stored.is_some();
        let mut state = stored.unwrap_or_default();
        let is_dirty = exists && state.closed_at_ms.is_none();
        state.closed_at_ms = state.closed_at_ms.or(Some(now.timestamp_ms));
        Self {
            config,
            client_id: client_id.detached(),
            exists,
            by_filter: state
                .subscriptions
                .iter()
                .map(|(number, s)| (s.filter.text().clone(), *number))
                .collect(),
            state,
            link: Link::Closed,
            connection: Connection::default(),
            saves: Saves { is_dirty, ..Saves::default() },
            now,
            before_save: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Takes an input and appends what is to be done. Nothing that a client sends makes it panic.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let room = self.room();
        self.now = now;
        self.on_input(input);
        effects.append(&mut self.before_save);
        if std::mem::take(&mut self.saves.is_wanted) && self.exists {
            self.saves.asked += 1;
            self.saves.is_dirty = false;
            self.saves.asked_at_ms = now.monotonic_ms;
            effects.push(Effect::Save(self.saves.asked));
        }
        effects.append(&mut self.effects);
        if room == 0 && self.room() > 0 {
            effects.push(Effect::Room);
        }
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Connect { connect, authentication_data, session_id } => {
                self.on_connect(&connect, authentication_data, session_id);
            }
            Input::Authenticated(step) => self.on_authenticated(step),
            Input::Packet(packet) => self.on_packet(packet),
            Input::Violation(error) => self.close(error.violation.reason(), Some(&error.to_string())),
            Input::Deliver(delivery) => self.on_delivery(*delivery),
            Input::Passed { subscription, partition, from, to } => {
                self.on_passed(subscription, partition, from, to)
            }
            Input::RetainedSent(subscription) => self.on_retained_sent(subscription),
            Input::Reread { packet_id, record } => self.on_reread(packet_id, record.map(|record| *record)),
            Input::Stored { token, result } => self.on_stored(token, result),
            Input::Saved(save) => self.on_saved(save),
            Input::Subscribed { subscription, result } => self.on_subscribed(subscription, result),
            Input::Tick => self.on_tick(),
            Input::Lost => self.on_lost(),
            Input::Close(reason) => self.close(reason, None),
        }
    }

    /// What is kept of the session; none if there is no session. `Save` means this, after the step that gave it.
    pub fn state(&self) -> Option<&State> {
        self.exists.then_some(&self.state)
    }

    /// The version that the connection speaks.
    pub fn version(&self) -> Version {
        self.connection.version
    }

    /// The largest packet that the client takes, for [`crate::codec::encode`].
    pub fn packet_bytes_max(&self) -> usize {
        self.connection.packet_bytes_max
    }

    /// Whether a packet may be fed now. While it is false the host reads nothing from the client.
    pub fn accepts(&self) -> bool {
        match self.link {
            Link::Closed | Link::Opening(..) => false,
            // A client of 5.0 knows the Receive Maximum and is held to it; one of 3.1.1 is held up by its socket.
            Link::Open => {
                self.connection.control.len() < self.config.requests_max
                    && self.connection.held.len() < self.held_max()
                    && (self.version() == Version::V5
                        || self.connection.incoming.len() < usize::from(self.config.receive_maximum.get()))
            }
        }
    }

    /// How many records of QoS 1 and 2 may be delivered now. When it rises from 0 there is an effect `Room`.
    pub fn room(&self) -> usize {
        if !matches!(self.link, Link::Open) || !self.connection.rereads.is_empty() {
            return 0;
        }
        let by_client = self.connection.receive_maximum.saturating_sub(self.connection.on_wire);
        by_client.min(self.config.in_flight_max.saturating_sub(self.state.in_flight.len()))
    }

    /// How many packets may wait for a save before nothing more is read: all that can be in flight, and some requests.
    fn held_max(&self) -> usize {
        2 * self.config.in_flight_max + self.config.received_max + self.config.requests_max
    }

    fn on_packet(&mut self, packet: Packet) {
        self.connection.heard_at_ms = self.now.monotonic_ms;
        match self.link {
            Link::Closed => {}
            Link::Opening(..) => self.close(Reason::ImplementationSpecificError, None), // `accepts` said no
            Link::Open => self.on_packet_while_open(packet),
        }
    }

    fn on_packet_while_open(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.on_publish(*publish),
            Packet::Puback(ack) => self.on_puback(&ack),
            Packet::Pubrec(ack) => self.on_pubrec(&ack),
            Packet::Pubrel(ack) => self.on_pubrel(&ack),
            Packet::Pubcomp(ack) => self.on_pubcomp(&ack),
            Packet::Subscribe(_) | Packet::Unsubscribe(_) => self.on_request(packet),
            Packet::Pingreq(()) => self.send(Packet::Pingresp(())), // [MQTT-3.12.4-1]
            Packet::Disconnect(disconnect) => self.on_disconnect(&disconnect),
            Packet::Auth(auth) => self.on_auth(&auth),
            // [MQTT-3.1.0-2], and what only a server sends.
            _ => self.close_for(
                Reason::ProtocolError,
                &format!("a client must not send {}", packet.packet_type()),
            ),
        }
    }

    fn on_saved(&mut self, save: u64) {
        if matches!(self.link, Link::Opening(_, needed) if needed <= save) {
            self.open();
        }
        while self.connection.held.front().is_some_and(|(needed, _)| *needed <= save) {
            if let Some((_, packet)) = self.connection.held.pop_front() {
                self.send(packet);
            }
        }
    }

    /// Whether the session outlives its connection, so that what is promised must be durable first.
    fn is_durable(&self) -> bool {
        self.state.expiry_interval > 0
    }

    fn save(&mut self) {
        self.saves.is_wanted |= self.is_durable();
    }

    fn save_later(&mut self) {
        self.saves.is_dirty |= self.is_durable();
    }

    /// Sends the packet once the state of now is durable.
    fn send_saved(&mut self, packet: Packet) {
        if self.is_durable() {
            self.save();
            self.connection.held.push_back((self.saves.asked + 1, packet));
        } else {
            self.send(packet);
        }
    }

    /// Sends a packet that the client takes: without what it does not want to hear, within its Maximum Packet Size.
    fn send(&mut self, packet: Packet) {
        let packet = match packet {
            Packet::Publish(publish) => Packet::Publish(Box::new(self.with_alias(*publish))),
            packet if self.connection.wants_problems => packet,
            packet => without_problems(packet),
        };
        let (version, max) = (self.version(), self.packet_bytes_max());
        if encoded_len(&packet, version) <= max {
            return self.effects.push(Effect::Send(packet));
        }
        match trim(&packet, version, max) {
            Some(packet) => self.effects.push(Effect::Send(packet)),
            None if matches!(self.link, Link::Closed) => {}
            None => self.close(Reason::PacketTooLarge, None),
        }
    }

    fn send_ack(&mut self, make: fn(Ack) -> Packet, ack: Ack) {
        self.send(make(ack));
    }

    fn close_for(&mut self, reason: Reason, why: &str) {
        self.close(reason, Some(why));
    }
}

/// \[MQTT-3.1.2-29\].
fn without_problems(mut packet: Packet) -> Packet {
    match &mut packet {
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.properties = Default::default();
        }
        Packet::Suback(ack) | Packet::Unsuback(ack) => ack.properties = Default::default(),
        Packet::Auth(auth) => {
            auth.properties.reason_string = None;
            auth.properties.user_properties = UserProperties::default();
        }
        _ => {}
    }
    packet
}

/// A DISCONNECT that says why.
fn disconnect(reason: Reason, why: Option<&str>) -> Packet {
    let mut disconnect = Disconnect::of(reason);
    disconnect.properties.reason_string = why.and_then(Text::new);
    Packet::Disconnect(Box::new(disconnect))
}

/// What a SUBACK says of a granted QoS.
fn granted(qos: QoS) -> Reason {
    match qos {
        QoS::AtMostOnce => Reason::Success,
        QoS::AtLeastOnce => Reason::GrantedQos1,
        QoS::ExactlyOnce => Reason::GrantedQos2,
    }
}

#[cfg(test)]
mod tests;
