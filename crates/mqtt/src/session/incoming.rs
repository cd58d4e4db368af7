//! Messages from the client (3.3.4, 4.3): into the log, and acknowledged once they are durable there, in the order in
//! which they came.
//!
//! A PUBLISH of QoS 2 gets a sequence, which is saved with its packet identifier before it is stored: when it comes again, on
//! this connection or after a crash, it is stored under the same sequence, which the log takes once.

use super::connection::Incoming;
use super::{Effect, Publication, Received, Sequence, Session, Token};
use crate::codec::{Ack, Packet, PacketId, Publish, QoS, Reason, Text, Version};
use crate::topics::Place;

impl Session {
    pub(super) fn on_publish(&mut self, publish: Publish) {
        if !publish.properties.subscription_ids.is_empty() {
            // [MQTT-3.3.4-6]
            return self.close_for(Reason::ProtocolError, "a client must not send a Subscription Identifier");
        }
        if publish.qos > self.config.maximum_qos {
            return self.close_for(Reason::QosNotSupported, "the QoS is above the Maximum QoS"); // [MQTT-3.2.2-11]
        }
        if publish.retain && !self.config.has_retained {
            return self.close_for(Reason::RetainNotSupported, "there are no retained messages here"); // [MQTT-3.2.2-14]
        }
        let name = match self.connection.aliases_in.resolve(&publish, self.config.topic_alias_maximum) {
            Ok(name) => name,
            Err((reason, why)) => return self.close_for(reason, why),
        };
        let Some(packet_id) = publish.packet_id else { return self.take_qos0(publish, name) };
        let is_exactly_once = publish.qos == QoS::ExactlyOnce;
        if self.is_repeated(packet_id, is_exactly_once, publish.dup) {
            return;
        }
        if self.unfinished() >= self.unfinished_max() {
            return self.close(Reason::ReceiveMaximumExceeded, None); // 3.3.4
        }
        match Place::of(&name) {
            Ok(place) if is_exactly_once => self.take_qos2(publish, packet_id, name, place),
            Ok(place) => self.take_qos1(publish, packet_id, name, place),
            Err(_) if self.version() == Version::V311 => self.close(Reason::TopicNameInvalid, None),
            Err(_) => {
                let outcome = Some(Err(Reason::TopicNameInvalid));
                self.connection.incoming.push_back(Incoming { packet_id, is_exactly_once, outcome });
                self.answer();
            }
        }
    }

    fn take_qos0(&mut self, publish: Publish, name: Text) {
        match Place::of(&name) {
            Ok(place) => self.store(Token::Qos0, None, publish, name, place),
            Err(why) => self.close_for(Reason::TopicNameInvalid, &why.to_string()),
        }
    }

    fn take_qos1(&mut self, publish: Publish, packet_id: PacketId, name: Text, place: Place) {
        self.connection.incoming.push_back(Incoming { packet_id, is_exactly_once: false, outcome: None });
        let token = Token::Qos1 { connection: self.connection.number, packet_id };
        self.store(token, None, publish, name, place);
    }

    fn take_qos2(&mut self, publish: Publish, packet_id: PacketId, name: Text, place: Place) {
        let sequence = match self.state.received.get(&packet_id) {
            Some(received) => received.sequence, // it came before, and nobody knows whether it was stored
            None if self.state.received.len() >= self.config.received_max => {
                return self.close(Reason::ReceiveMaximumExceeded, None);
            }
            None => {
                let sequence = self.state.next_sequence;
                self.state.next_sequence += 1;
                self.state.received.insert(packet_id, Received { sequence, is_stored: false });
                self.save();
                sequence
            }
        };
        self.connection.received.insert(packet_id);
        self.connection.incoming.push_back(Incoming { packet_id, is_exactly_once: true, outcome: None });
        let known_by = Sequence { session: self.state.id, number: sequence };
        self.store(Token::Qos2(sequence), Some(known_by), publish, name, place);
    }

    /// Whether the packet identifier is known already; then what is to be done is done (\[MQTT-4.3.3-10\]).
    fn is_repeated(&mut self, packet_id: PacketId, is_exactly_once: bool, is_dup: bool) -> bool {
        let in_use = self.connection.incoming.iter().find(|incoming| incoming.packet_id == packet_id);
        if let Some(incoming) = in_use {
            // It is being stored, and will be answered. Clients may repeat it on a connection in MQTT 3.1.1 only.
            if incoming.is_exactly_once != is_exactly_once || !(is_dup || is_exactly_once) {
                self.close_for(Reason::ProtocolError, "the packet identifier is in use"); // [MQTT-2.2.1-3]
            }
            return true;
        }
        let received = self.state.received.get(&packet_id).copied();
        match received {
            None => false,
            Some(_) if !is_exactly_once => {
                self.close_for(
                    Reason::ProtocolError,
                    "the packet identifier is in use by a PUBLISH of QoS 2",
                );
                true
            }
            Some(received) if received.is_stored => {
                self.connection.received.insert(packet_id);
                self.send_ack(Packet::Pubrec, Ack::success(packet_id));
                true
            }
            Some(_) => false,
        }
    }

    /// PUBLISH of QoS 1 and 2 of this connection that are not complete.
    fn unfinished(&self) -> usize {
        let qos1 = self.connection.incoming.iter().filter(|incoming| !incoming.is_exactly_once).count();
        qos1 + self.connection.received.len()
    }

    fn unfinished_max(&self) -> usize {
        match self.version() {
            Version::V5 => usize::from(self.config.receive_maximum.get()),
            Version::V311 => self.config.received_max,
        }
    }

    fn store(
        &mut self,
        token: Token,
        sequence: Option<Sequence>,
        publish: Publish,
        name: Text,
        place: Place,
    ) {
        let mut properties = publish.properties;
        properties.topic_alias = None;
        let (qos, retain, payload) = (publish.qos, publish.retain, publish.payload);
        let publication = Publication { token, sequence, name, place, qos, retain, properties, payload };
        self.effects.push(Effect::Store(Box::new(publication)));
    }

    pub(super) fn on_stored(&mut self, token: Token, result: Result<(), Reason>) {
        let (packet_id, is_exactly_once, is_stored) = match token {
            Token::Qos0 | Token::Will => return,
            Token::Qos1 { connection, packet_id } if connection == self.connection.number => {
                (packet_id, false, result.is_ok())
            }
            Token::Qos1 { .. } => return, // of a connection that is gone: the client sends it again
            Token::Qos2(sequence) => {
                let found =
                    self.state.received.iter_mut().find(|(_, received)| received.sequence == sequence);
                let Some((packet_id, received)) = found else { return };
                received.is_stored |= result.is_ok();
                (*packet_id, true, received.is_stored)
            }
        };
        self.save_later();
        let waiting = self.connection.incoming.iter_mut().find(|incoming| {
            incoming.packet_id == packet_id
                && incoming.is_exactly_once == is_exactly_once
                && incoming.outcome.is_none()
        });
        match waiting {
            Some(incoming) => incoming.outcome = Some(result),
            None if is_exactly_once && !is_stored => {
                self.state.received.remove(&packet_id); // nobody was told of it: it may come again as a new one
            }
            None => {}
        }
        self.answer();
    }

    /// Acknowledges what is stored, up to the first that is not.
    fn answer(&mut self) {
        while let Some((packet_id, is_exactly_once, outcome)) = self.next_answer() {
            match outcome {
                Err(reason) if self.version() == Version::V311 => return self.close(reason, None), // no words for it
                Err(reason) if is_exactly_once => {
                    // [MQTT-4.3.3-9]: the identifier is free again, which must be durable before the client hears of it.
                    self.state.received.remove(&packet_id);
                    self.connection.received.remove(&packet_id);
                    self.send_saved(Packet::Pubrec(Ack::of(packet_id, reason)));
                }
                Err(reason) => self.send_ack(Packet::Puback, Ack::of(packet_id, reason)),
                Ok(()) if is_exactly_once => self.send_ack(Packet::Pubrec, Ack::success(packet_id)), // [MQTT-4.3.3-8]
                Ok(()) => self.send_ack(Packet::Puback, Ack::success(packet_id)), // [MQTT-4.3.2-4]
            }
        }
    }

    fn next_answer(&mut self) -> Option<(PacketId, bool, Result<(), Reason>)> {
        let outcome = self.connection.incoming.front()?.outcome?;
        let answered = self.connection.incoming.pop_front()?;
        Some((answered.packet_id, answered.is_exactly_once, outcome))
    }

    /// \[MQTT-4.3.3-11\]. The identifier is forgotten durably before the client may use it for something new.
    pub(super) fn on_pubrel(&mut self, ack: &Ack) {
        let packet_id = ack.packet_id;
        if self.connection.incoming.iter().any(|incoming| incoming.packet_id == packet_id) {
            return self.close_for(Reason::ProtocolError, "PUBREL must wait for the PUBREC");
        }
        match self.state.received.remove(&packet_id) {
            None => self.send_ack(Packet::Pubcomp, Ack::of(packet_id, Reason::PacketIdentifierNotFound)),
            Some(_) => {
                self.connection.received.remove(&packet_id);
                self.send_saved(Packet::Pubcomp(Ack::success(packet_id)));
            }
        }
    }
}
