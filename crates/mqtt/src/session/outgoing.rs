//! Records to the client (3.3.4, 4.3, 4.4, 4.9): as many at once as it takes, in their order, and again after the connection
//! was lost.
//!
//! A record is taken or it is not: there is no queue. What is taken moves the position of its subscription; of QoS 1 and
//! 2 it stays in flight until the client has it. A PUBLISH of QoS 2 and its PUBREL leave only when that is durable, so that
//! after a crash neither is sent for another message.

use std::num::NonZeroU16;

use model::{Offset, PartitionIndex};

use super::{Delivery, Effect, InFlight, Outcome, Phase, Record, Session, Skipped, Source, Subscription};
use crate::codec::{
    Ack, Packet, PacketId, Publish, PublishProperties, QoS, Reason, SubscriptionId, SubscriptionIds, Text,
    encoded_len,
};
use crate::topics::name_of;

impl Session {
    pub(super) fn on_delivery(&mut self, delivery: Delivery) {
        let Delivery { subscription: number, partition, offset, follows, is_retained, record } = delivery;
        let Some(subscription) = self.state.subscriptions.get(&number) else { return };
        if !matches!(self.link, super::Link::Open) {
            return; // the position says where to begin
        }
        let has_position = subscription.filter.group().is_none() && !is_retained;
        let next = subscription.positions.get(&partition).copied().filter(|_| has_position);
        if next.is_some_and(|next| offset < next) {
            return; // it was taken before
        }
        let from = next.unwrap_or(if is_retained { offset } else { follows });
        let is_gap = has_position && follows > from;
        let qos = record.qos.min(subscription.options.qos); // [MQTT-3.8.4-8]
        let source = Source { topic: subscription.topic.clone(), partition, offset };
        let publish = match self.publish_of(subscription, &record, is_retained, qos) {
            _ if is_gap => None,
            Ok(_) if !self.connection.rereads.is_empty() => None,
            Ok(_) if qos > QoS::AtMostOnce && self.room() == 0 => None,
            made => Some(made),
        };
        let Some(publish) = publish else {
            return self.effects.push(Effect::Again { subscription: number, partition, from, is_retained });
        };
        if has_position {
            self.pass(number, partition, offset + 1);
        }
        match publish {
            Err(skipped) => self.commit(number, source, Outcome::Skipped(skipped)),
            Ok(publish) if qos == QoS::AtMostOnce => {
                self.send(Packet::Publish(Box::new(publish)));
                self.commit(number, source, Outcome::Sent);
            }
            Ok(publish) => self.send_reliably(publish, number, source),
        }
    }

    fn send_reliably(&mut self, mut publish: Publish, subscription: u64, source: Source) {
        let Some(packet_id) = self.free_packet_id() else { return }; // room() is below the number of identifiers
        publish.packet_id = Some(packet_id);
        let phase = if publish.qos == QoS::ExactlyOnce { Phase::Qos2 } else { Phase::Qos1 };
        let subscription_id = publish.properties.subscription_ids.iter().next();
        let retain = publish.retain;
        let message =
            InFlight { packet_id, phase, retain, subscription_id, subscription, source, is_on_wire: true };
        self.state.in_flight.push_back(message);
        self.connection.on_wire += 1;
        let packet = Packet::Publish(Box::new(publish));
        match phase {
            Phase::Qos1 => {
                self.save_later();
                self.send(packet);
            }
            _ => self.send_saved(packet),
        }
    }

    /// The PUBLISH for a record, or why there is none.
    fn publish_of(
        &self,
        subscription: &Subscription,
        record: &Record,
        is_retained: bool,
        qos: QoS,
    ) -> Result<Publish, Skipped> {
        let name = name_of(&subscription.topic, record.key.as_deref()).ok_or(Skipped::Unnameable)?;
        if !subscription.filter.matches(name.bytes()) {
            return Err(Skipped::NotMatching);
        }
        if record.expires_at_ms.is_some_and(|at| at <= self.now.timestamp_ms) {
            return Err(Skipped::Expired);
        }
        let is_own = record.publisher.as_ref() == Some(&self.client_id);
        if subscription.options.no_local && is_own {
            return Err(Skipped::NoLocal);
        }
        // 3.3.1.3: 1 for what a new subscription brings, else as published or 0.
        let retain = is_retained || (subscription.options.retain_as_published && record.retain);
        self.checked(self.publish(name, record, qos, retain, subscription.id))
    }

    fn publish(
        &self,
        topic: Text,
        record: &Record,
        qos: QoS,
        retain: bool,
        id: Option<SubscriptionId>,
    ) -> Publish {
        let mut subscription_ids = SubscriptionIds::default();
        if let Some(id) = id {
            subscription_ids.push(id); // [MQTT-3.3.4-5]
        }
        let left = |at: i64| (at.saturating_sub(self.now.timestamp_ms).max(0) as u64).div_ceil(1000);
        let properties = PublishProperties {
            topic_alias: None,
            subscription_ids,
            // [MQTT-3.3.2-6]
            message_expiry_interval: record
                .expires_at_ms
                .map(|at| u32::try_from(left(at)).unwrap_or(u32::MAX)),
            ..record.properties.clone()
        };
        // A packet identifier that every size is counted with; the true one has the same two bytes.
        let packet_id = (qos > QoS::AtMostOnce).then_some(NonZeroU16::MIN);
        Publish { dup: false, qos, retain, topic, packet_id, properties, payload: record.payload.clone() }
    }

    /// \[MQTT-3.1.2-24\].
    fn checked(&self, publish: Publish) -> Result<Publish, Skipped> {
        let packet = Packet::Publish(Box::new(publish));
        let max = self.packet_bytes_max().min(crate::codec::REMAINING_LENGTH_MAX);
        match (encoded_len(&packet, self.version()), packet) {
            (bytes, Packet::Publish(publish)) if bytes <= max => Ok(*publish),
            _ => Err(Skipped::TooLarge),
        }
    }

    pub(super) fn on_passed(&mut self, number: u64, partition: PartitionIndex, from: Offset, to: Offset) {
        let Some(subscription) = self.state.subscriptions.get(&number) else { return };
        let next = subscription.positions.get(&partition).copied().unwrap_or(from);
        if subscription.filter.group().is_none() && from <= next && next < to {
            self.pass(number, partition, to);
        }
    }

    fn pass(&mut self, number: u64, partition: PartitionIndex, to: Offset) {
        if let Some(subscription) = self.state.subscriptions.get_mut(&number) {
            subscription.positions.insert(partition, to);
            self.save_later();
        }
    }

    pub(super) fn on_retained_sent(&mut self, number: u64) {
        if let Some(subscription) = self.state.subscriptions.get_mut(&number) {
            subscription.is_retained_due = false;
            self.save_later();
        }
    }

    fn commit(&mut self, subscription: u64, source: Source, outcome: Outcome) {
        self.effects.push(Effect::Commit { subscription, source, outcome });
    }

    /// The next identifier that no message in flight has (\[MQTT-2.2.1-4\]).
    fn free_packet_id(&mut self) -> Option<PacketId> {
        for _ in 0..=self.state.in_flight.len() + 1 {
            self.connection.packet_id = self.connection.packet_id.wrapping_add(1).max(1);
            let packet_id = PacketId::new(self.connection.packet_id)?;
            if self.place_of(packet_id).is_none() {
                return Some(packet_id);
            }
        }
        None
    }

    fn place_of(&self, packet_id: PacketId) -> Option<usize> {
        self.state.in_flight.iter().position(|message| message.packet_id == packet_id)
    }

    pub(super) fn on_puback(&mut self, ack: &Ack) {
        match self.place_of(ack.packet_id).and_then(|at| Some((at, self.state.in_flight.get(at)?.phase))) {
            None => {} // nothing waits for it
            Some((at, Phase::Qos1)) => self.finish(at, outcome_of(ack.reason)),
            Some(_) => self.close_for(Reason::ProtocolError, "PUBACK does not answer a PUBLISH of QoS 2"),
        }
    }

    pub(super) fn on_pubrec(&mut self, ack: &Ack) {
        let packet_id = ack.packet_id;
        let found = self.place_of(packet_id).and_then(|at| Some((at, self.state.in_flight.get_mut(at)?)));
        match found {
            None => self.send_ack(Packet::Pubrel, Ack::of(packet_id, Reason::PacketIdentifierNotFound)),
            Some((_, message)) if message.phase == Phase::Qos1 => {
                self.close_for(Reason::ProtocolError, "PUBREC does not answer a PUBLISH of QoS 1");
            }
            Some((at, message)) if ack.reason.is_failure() && message.phase == Phase::Qos2 => {
                self.finish(at, Outcome::Refused(ack.reason));
            }
            Some(_) => self.release(packet_id), // [MQTT-4.3.3-4]
        }
    }

    fn release(&mut self, packet_id: PacketId) {
        if let Some(message) = self.place_of(packet_id).and_then(|at| self.state.in_flight.get_mut(at)) {
            message.phase = Phase::Released;
            self.connection.rereads.retain(|reread| reread.packet_id != packet_id);
            self.send_saved(Packet::Pubrel(Ack::success(packet_id)));
        }
    }

    pub(super) fn on_pubcomp(&mut self, ack: &Ack) {
        match self.place_of(ack.packet_id).and_then(|at| Some((at, self.state.in_flight.get(at)?.phase))) {
            None => {}
            Some((at, Phase::Released)) => self.finish(at, Outcome::Acknowledged),
            Some(_) => self.close_for(Reason::ProtocolError, "PUBCOMP must wait for the PUBREL"),
        }
    }

    /// The client has the message, or will not have it.
    fn finish(&mut self, at: usize, outcome: Outcome) {
        let Some(message) = self.state.in_flight.remove(at) else { return };
        self.connection.on_wire -= usize::from(message.is_on_wire);
        self.connection.rereads.retain(|reread| reread.packet_id != message.packet_id);
        self.save_later();
        self.commit(message.subscription, message.source, outcome);
        self.send_again();
    }

    /// Asks for messages that are to be sent again, and sends those that are next (\[MQTT-4.6.0-1\]), as many as the client
    /// takes.
    pub(super) fn send_again(&mut self) {
        for reread in self.connection.rereads.iter_mut().take(self.config.rereads_max) {
            let in_flight = self.state.in_flight.iter().find(|message| message.packet_id == reread.packet_id);
            if let Some(message) = in_flight.filter(|_| !std::mem::replace(&mut reread.is_asked, true)) {
                let (packet_id, source) = (reread.packet_id, message.source.clone());
                self.effects.push(Effect::Reread { packet_id, source });
            }
        }
        while self.connection.on_wire < self.connection.receive_maximum
            && self.connection.rereads.front().is_some_and(|reread| reread.publish.is_some())
        {
            let Some(reread) = self.connection.rereads.pop_front() else { break };
            let message =
                self.state.in_flight.iter_mut().find(|message| message.packet_id == reread.packet_id);
            if let (Some(publish), Some(message)) = (reread.publish, message) {
                message.is_on_wire = true;
                self.connection.on_wire += 1;
                self.send(Packet::Publish(publish));
            }
        }
    }

    pub(super) fn on_reread(&mut self, packet_id: PacketId, record: Option<Record>) {
        let awaits =
            |reread: &super::connection::Reread| reread.packet_id == packet_id && reread.publish.is_none();
        if !self.connection.rereads.iter().any(awaits) {
            return;
        }
        let Some(at) = self.place_of(packet_id) else { return };
        let Some(message) = self.state.in_flight.get(at) else { return };
        let phase = message.phase;
        let publish =
            record.as_ref().ok_or(Skipped::Gone).and_then(|record| self.publish_again(message, record));
        match publish {
            Ok(publish) => {
                if let Some(reread) = self.connection.rereads.iter_mut().find(|reread| awaits(reread)) {
                    reread.publish = Some(Box::new(publish));
                }
            }
            // The client may hold the identifier since it was sent first, and must let go of it.
            Err(_) if phase == Phase::Qos2 => self.release(packet_id),
            Err(skipped) => self.finish(at, Outcome::Skipped(skipped)),
        }
        self.send_again();
    }

    /// \[MQTT-3.3.1-1\]. Its expiry is not looked at any more (\[MQTT-4.3.3-7\]).
    fn publish_again(&self, message: &InFlight, record: &Record) -> Result<Publish, Skipped> {
        let name = name_of(&message.source.topic, record.key.as_deref()).ok_or(Skipped::Unnameable)?;
        let qos = if message.phase == Phase::Qos1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let mut publish = self.publish(name, record, qos, message.retain, message.subscription_id);
        publish.packet_id = Some(message.packet_id);
        publish.dup = true;
        self.checked(publish)
    }
}

fn outcome_of(reason: Reason) -> Outcome {
    if reason.is_failure() { Outcome::Refused(reason) } else { Outcome::Acknowledged }
}
