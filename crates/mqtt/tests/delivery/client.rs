//! A client that keeps its session: publishes in order, resends after a reconnect, acknowledges when it likes to, and checks
//! that the server keeps to its Receive Maximum.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use mqtt::codec::*;

use crate::chance::Chance;

/// How many messages are unfinished at most; there is one identifier more.
const IDS: usize = 12;

/// A message that the server does not have, or has not let go of.
struct Unfinished {
    packet_id: PacketId,
    qos: QoS,
    number: u32,
    is_released: bool,
    is_on_wire: bool,
}

pub(crate) struct Client {
    name: &'static str,
    version: Version,
    receive_maximum: u16,
    topic: Text,
    // What a session is, on the client's side.
    unfinished: VecDeque<Unfinished>,
    received: BTreeSet<PacketId>,
    // What it wants.
    pub(crate) to_publish: VecDeque<(QoS, u32)>,
    pub(crate) filter: Option<mqtt::topics::Filter>,
    pub(crate) got: Vec<u32>,
    pub(crate) is_subscribed: bool,
    // The connection.
    pub(crate) is_connected: bool,
    has_asked: bool,
    server_maximum: usize,
    packet_id: u16,
    acks: VecDeque<Packet>,
    unacknowledged: BTreeSet<PacketId>,
    aliases: BTreeMap<NonZeroU16, Text>,
    alias_is_set: bool,
    takes_aliases: bool,
}

impl Client {
    pub(crate) fn new(name: &'static str, version: Version, receive_maximum: u16) -> Self {
        Self {
            name,
            version,
            receive_maximum,
            topic: Text::new("rides/eu/u42").unwrap(),
            unfinished: VecDeque::new(),
            received: BTreeSet::new(),
            to_publish: VecDeque::new(),
            filter: None,
            got: Vec::new(),
            is_subscribed: false,
            is_connected: false,
            has_asked: false,
            server_maximum: 0,
            packet_id: 0,
            acks: VecDeque::new(),
            unacknowledged: BTreeSet::new(),
            aliases: BTreeMap::new(),
            alias_is_set: false,
            takes_aliases: false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        let has_asked = self.filter.is_none() || self.is_subscribed;
        has_asked && self.unfinished.is_empty() && self.to_publish.is_empty() && self.acks.is_empty()
    }

    /// A new connection, and its first packet.
    pub(crate) fn connect(&mut self) -> Packet {
        self.is_connected = false;
        self.has_asked = false;
        self.acks.clear();
        self.unacknowledged.clear();
        self.aliases.clear();
        self.alias_is_set = false;
        self.unfinished.iter_mut().for_each(|message| message.is_on_wire = false);
        let properties = match self.version {
            Version::V311 => ConnectProperties::default(),
            Version::V5 => ConnectProperties {
                session_expiry_interval: Some(100_000),
                receive_maximum: NonZeroU16::new(self.receive_maximum),
                topic_alias_maximum: Some(1),
                ..ConnectProperties::default()
            },
        };
        Packet::Connect(Box::new(Connect {
            version: self.version,
            clean_start: false,
            keep_alive: 0,
            properties,
            client_id: Text::new(self.name).unwrap(),
            will: None,
            user_name: None,
            password: None,
        }))
    }

    /// What it sends of its own: an acknowledgement that is due, or the next message.
    pub(crate) fn speak(&mut self, chance: &mut Chance) -> Option<Packet> {
        if !self.is_connected {
            return None;
        }
        if let Some(filter) = self.filter.clone().filter(|_| !self.has_asked && chance.one_in(3)) {
            self.has_asked = true; // with each connection anew, as many clients do
            let options = Options { qos: QoS::ExactlyOnce, ..Options::default() };
            return Some(Packet::Subscribe(Subscribe::new(PacketId::MAX, &[(filter, options)])));
        }
        if chance.one_in(2) {
            return self.acknowledge();
        }
        let on_wire = self.unfinished.iter().filter(|message| message.is_on_wire).count();
        if on_wire >= self.server_maximum.min(5) || self.unfinished.len() >= IDS {
            return self.acknowledge();
        }
        let (qos, number) = self.to_publish.pop_front()?;
        if qos == QoS::AtMostOnce {
            return Some(self.publish(qos, number, None, false));
        }
        let packet_id = self.free_packet_id();
        self.unfinished.push_back(Unfinished {
            packet_id,
            qos,
            number,
            is_released: false,
            is_on_wire: true,
        });
        Some(self.publish(qos, number, Some(packet_id), false))
    }

    fn acknowledge(&mut self) -> Option<Packet> {
        let packet = self.acks.pop_front()?;
        if let Packet::Puback(ack) | Packet::Pubcomp(ack) = &packet {
            self.unacknowledged.remove(&ack.packet_id);
        }
        Some(packet)
    }

    fn free_packet_id(&mut self) -> PacketId {
        loop {
            // Few identifiers, so that they are soon used again.
            self.packet_id = self.packet_id % (IDS as u16 + 1) + 1;
            let packet_id = PacketId::new(self.packet_id).unwrap();
            if self.unfinished.iter().all(|message| message.packet_id != packet_id) {
                return packet_id;
            }
        }
    }

    fn publish(&mut self, qos: QoS, number: u32, packet_id: Option<PacketId>, dup: bool) -> Packet {
        let mut properties = PublishProperties::default();
        let mut topic = self.topic.clone();
        if self.takes_aliases {
            properties.topic_alias = Some(NonZeroU16::MIN);
            if std::mem::replace(&mut self.alias_is_set, true) {
                topic = Text::default();
            }
        }
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        Packet::Publish(Box::new(Publish { dup, qos, retain: false, topic, packet_id, properties, payload }))
    }

    /// Takes a packet and gives the answers that come at once.
    pub(crate) fn hear(&mut self, packet: Packet) -> Vec<Packet> {
        match packet {
            Packet::Connack(connack) => return self.on_connack(&connack),
            Packet::Suback(suback) => {
                assert_eq!(suback.codes.iter().collect::<Vec<_>>(), [Reason::GrantedQos2]);
                self.is_subscribed = true;
            }
            Packet::Publish(publish) => self.on_publish(*publish),
            Packet::Puback(ack) => {
                assert_eq!(ack.reason, Reason::Success);
                let is_it = |message: &Unfinished| message.packet_id == ack.packet_id;
                assert!(self.unfinished.iter().any(is_it), "{}: PUBACK of nothing", self.name);
                self.unfinished.retain(|message| !is_it(message));
            }
            Packet::Pubrec(ack) => {
                assert_eq!(ack.reason, Reason::Success);
                let message = self.unfinished.iter_mut().find(|message| message.packet_id == ack.packet_id);
                message.unwrap().is_released = true;
                self.acks.push_back(Packet::Pubrel(Ack::success(ack.packet_id)));
            }
            Packet::Pubrel(ack) => {
                self.received.remove(&ack.packet_id);
                self.acks.push_back(Packet::Pubcomp(Ack::success(ack.packet_id)));
            }
            Packet::Pubcomp(ack) => self.unfinished.retain(|message| message.packet_id != ack.packet_id),
            other => panic!("{}: the server sent {other:?}", self.name),
        }
        Vec::new()
    }

    fn on_connack(&mut self, connack: &Connack) -> Vec<Packet> {
        assert_eq!(connack.reason, Reason::Success);
        assert!(connack.session_present || !self.is_subscribed, "{}: the session is lost", self.name);
        self.is_connected = true;
        let maximum = connack.properties.receive_maximum;
        self.server_maximum = maximum.map_or(usize::from(u16::MAX), |max| usize::from(max.get()));
        self.takes_aliases = connack.properties.topic_alias_maximum.unwrap_or(0) > 0;
        let unfinished = std::mem::take(&mut self.unfinished);
        let mut again = Vec::new();
        for mut message in unfinished {
            again.push(if message.is_released {
                Packet::Pubrel(Ack::success(message.packet_id))
            } else {
                message.is_on_wire = true;
                self.publish(message.qos, message.number, Some(message.packet_id), true)
            });
            self.unfinished.push_back(message);
        }
        again
    }

    fn on_publish(&mut self, publish: Publish) {
        let topic = match publish.properties.topic_alias {
            None => publish.topic,
            Some(alias) => {
                if !publish.topic.is_empty() {
                    self.aliases.insert(alias, publish.topic);
                }
                self.aliases[&alias].clone()
            }
        };
        assert_eq!(topic, self.topic);
        let number = u32::from_be_bytes(publish.payload[..].try_into().unwrap());
        let Some(packet_id) = publish.packet_id else { return self.got.push(number) };
        self.unacknowledged.insert(packet_id);
        let allowed =
            if self.version == Version::V5 { usize::from(self.receive_maximum) } else { usize::MAX };
        assert!(self.unacknowledged.len() <= allowed, "{}: Receive Maximum exceeded", self.name);
        match publish.qos {
            QoS::ExactlyOnce => {
                if self.received.insert(packet_id) {
                    self.got.push(number);
                }
                self.acks.push_back(Packet::Pubrec(Ack::success(packet_id)));
            }
            _ => {
                self.got.push(number);
                self.acks.push_back(Packet::Puback(Ack::success(packet_id)));
            }
        }
    }

    /// Takes the packets that are whole off what came.
    pub(crate) fn decode(&self, buffer: &mut BytesMut) -> Option<Packet> {
        decode(buffer, usize::MAX, self.version).unwrap()
    }
}
