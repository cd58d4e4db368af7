//! CONNECT to CONNACK (3.1.4, 3.2, 4.12): whether the client gets a connection, with which session, and what is sent again.
//!
//! Who the client is, and that it may have what it asks for, was found out before ([`super::Handshake`]).

use std::num::NonZeroU32;

use super::connection::{Connection, Reread};
use super::handshake::auth;
use super::{
    Authentication, Effect, Link, Phase, Session, State, StoredWill, Subscribing, disconnect, refusal,
};
use crate::codec::{
    Ack, Auth, Binary, Connack, ConnackProperties, Connect, Packet, PacketType, QoS, Reason, Text, Version,
    encoded_len, trim,
};
use crate::topics::Reach;

impl Session {
    pub(super) fn on_connect(&mut self, connect: &Connect, data: Option<Binary>, session_id: u64) {
        if !matches!(self.link, Link::Closed) {
            self.close(Reason::SessionTakenOver, None); // [MQTT-3.1.4-3]
        }
        self.connection = self.connection_of(connect);
        self.accept(connect, session_id, data);
    }

    fn connection_of(&self, connect: &Connect) -> Connection {
        let properties = &connect.properties;
        let keep_alive = self.server_keep_alive(connect).unwrap_or(connect.keep_alive);
        let mut connection = Connection {
            number: self.connection.number + 1,
            version: connect.version,
            receive_maximum: properties
                .receive_maximum
                .map_or(usize::from(u16::MAX), |max| usize::from(max.get())),
            packet_bytes_max: properties
                .maximum_packet_size
                .and_then(|max| usize::try_from(max.get()).ok())
                .unwrap_or(usize::MAX),
            wants_problems: properties.request_problem_information.unwrap_or(true),
            silence_ms_max: i64::from(keep_alive) * 1500,
            heard_at_ms: self.now.monotonic_ms,
            authentication_method: properties.authentication_method.as_ref().map(Text::detached),
            ..Connection::default()
        };
        connection.aliases_out.max =
            properties.topic_alias_maximum.unwrap_or(0).min(self.config.topic_aliases_out_max);
        connection
    }

    /// The keep alive that counts instead of the client's (\[MQTT-3.2.2-21\]).
    fn server_keep_alive(&self, connect: &Connect) -> Option<u16> {
        let max = self.config.keep_alive_max_s;
        let is_longer = connect.keep_alive == 0 || connect.keep_alive > max;
        (connect.version == Version::V5 && max > 0 && is_longer).then_some(max)
    }

    pub(super) fn refuse_opening(&mut self, reason: Reason, why: Option<&str>) {
        if let Some(connack) = refusal(reason, why, self.version()) {
            self.send(connack);
        }
    }

    /// The session of the connection: the old one or a new one (\[MQTT-3.1.2-4\] to \[MQTT-3.1.2-6\]).
    fn accept(&mut self, connect: &Connect, session_id: u64, authentication_data: Option<Binary>) {
        self.publish_due_will();
        let was_stored = self.exists;
        let has_ended = self.state.expires_at_ms().is_some_and(|at| at <= self.now.timestamp_ms);
        if self.exists && (connect.clean_start || has_ended) {
            self.end_session();
        }
        let session_present = self.exists;
        if !self.exists {
            self.state = State { id: session_id, ..State::default() };
        }
        self.exists = true;
        self.state.closed_at_ms = None;
        self.state.expiry_interval = self.expiry_of(connect);
        self.state.will = connect.will.as_ref().map(|will| {
            let sequence = self.state.next_sequence; // a will that was not due is not published [MQTT-3.1.3-9]
            self.state.next_sequence += 1;
            StoredWill { sequence, will: will.detached() }
        });
        let connack = self.connack(connect, session_present, authentication_data);
        // What was saved before must not come back, and what is promised must be there.
        if was_stored || self.is_durable() {
            self.saves.is_wanted = true;
            self.link = Link::Opening(Box::new(connack), self.saves.asked + 1);
        } else {
            self.link = Link::Opening(Box::new(connack), 0);
            self.open();
        }
    }

    fn expiry_of(&self, connect: &Connect) -> u32 {
        match connect.version {
            Version::V5 => {
                connect.properties.session_expiry_interval.unwrap_or(0).min(self.config.session_expiry_max_s)
            }
            Version::V311 if connect.clean_start => 0,
            Version::V311 => self.config.session_expiry_v311_s,
        }
    }

    fn connack(
        &self,
        connect: &Connect,
        session_present: bool,
        authentication_data: Option<Binary>,
    ) -> Connack {
        let config = &self.config;
        let asked = connect.properties.session_expiry_interval.unwrap_or(0);
        let unless = |offered: bool| (!offered).then_some(false);
        let properties = ConnackProperties {
            session_expiry_interval: Some(self.state.expiry_interval).filter(|expiry| *expiry != asked),
            receive_maximum: Some(config.receive_maximum),
            maximum_qos: Some(config.maximum_qos).filter(|qos| *qos < QoS::ExactlyOnce),
            retain_available: unless(config.has_retained),
            maximum_packet_size: NonZeroU32::new(config.packet_bytes_max),
            assigned_client_identifier: connect.client_id.is_empty().then(|| self.client_id.clone()), // [MQTT-3.2.2-16]
            topic_alias_maximum: Some(config.topic_alias_maximum).filter(|max| *max > 0),
            wildcard_subscription_available: unless(config.has_wildcards),
            subscription_identifiers_available: unless(config.has_subscription_ids),
            shared_subscription_available: unless(config.has_shared),
            server_keep_alive: self.server_keep_alive(connect),
            authentication_method: self.connection.authentication_method.clone(), // [MQTT-4.12.0-5]
            authentication_data,
            ..ConnackProperties::default()
        };
        Connack { session_present, reason: Reason::Success, properties }
    }

    /// Sends the CONNACK and goes on with the session (\[MQTT-4.4.0-1\]).
    pub(super) fn open(&mut self) {
        let Link::Opening(connack, _) = std::mem::replace(&mut self.link, Link::Open) else { return };
        let connack = Packet::Connack(connack);
        if encoded_len(&connack, self.version()) > self.packet_bytes_max() {
            // Nothing may be sent before it (MQTT-3.2.0-1), and nothing of it may be left out.
            self.effects.push(Effect::Close(Reason::PacketTooLarge));
            return self.on_lost();
        }
        self.send(connack);
        for at in 0..self.state.in_flight.len() {
            let Some(message) = self.state.in_flight.get(at) else { break };
            let packet_id = message.packet_id;
            match message.phase {
                Phase::Released => self.send_ack(Packet::Pubrel, Ack::success(packet_id)),
                Phase::Qos1 | Phase::Qos2 => {
                    self.connection.rereads.push_back(Reread { packet_id, is_asked: false, publish: None });
                }
            }
        }
        self.send_again();
        let known = self.state.subscriptions.iter().filter_map(|(number, subscription)| {
            let subscribing = Subscribing {
                number: *number,
                filter: subscription.filter.clone(),
                reach: Reach::of(&subscription.filter).ok()?,
                positions: subscription.positions.clone(),
                with_retained: subscription.is_retained_due,
                is_new: false,
                is_resumed: true,
            };
            Some(Effect::Subscribe(Box::new(subscribing)))
        });
        self.effects.extend(known);
    }

    /// AUTH on an open connection: the client authenticates anew (4.12.1).
    pub(super) fn on_auth(&mut self, auth: &Auth) {
        let is_allowed = matches!(auth.reason, Reason::ReAuthenticate | Reason::ContinueAuthentication);
        match self.connection.authentication_method {
            Some(_) if is_allowed => self.authenticate(auth),
            _ => self.close_for(Reason::ProtocolError, "there is nothing to authenticate"), // [MQTT-4.12.0-7]
        }
    }

    fn authenticate(&mut self, auth: &Auth) {
        let properties = &auth.properties;
        match (&properties.authentication_method, &self.connection.authentication_method) {
            (Some(method), Some(agreed)) if method == agreed => {
                let (method, data) = (method.clone(), properties.authentication_data.clone());
                self.effects.push(Effect::Authenticate { method, data });
            }
            // [MQTT-4.12.1-1]
            _ => self
                .close_for(Reason::ProtocolError, "the authentication method must stay that of the CONNECT"),
        }
    }

    pub(super) fn on_authenticated(&mut self, step: Authentication) {
        let method =
            self.connection.authentication_method.clone().filter(|_| matches!(self.link, Link::Open));
        let Some(method) = method else { return }; // [MQTT-4.12.0-6]
        match step {
            Authentication::Continue(data) => self.send(auth(Reason::ContinueAuthentication, method, data)),
            Authentication::Done(data) => self.send(auth(Reason::Success, method, data)),
            Authentication::Refused(reason) => self.close(reason, None), // [MQTT-4.12.1-2]
        }
    }

    /// The DISCONNECT of an open connection; MQTT 3.1.1 has none from a server.
    pub(super) fn send_disconnect(&mut self, reason: Reason, why: Option<&str>) {
        if self.version() == Version::V5 && Reason::of(reason.code(), PacketType::Disconnect).is_some() {
            let packet = disconnect(reason, why);
            let fits = encoded_len(&packet, Version::V5) <= self.packet_bytes_max();
            let shorter = || trim(&packet, Version::V5, self.packet_bytes_max());
            let packet = if fits { Some(packet) } else { shorter() };
            self.effects.extend(packet.map(Effect::Send));
        }
    }
}
