//! A session on a bench: inputs in, effects out.

mod connecting;
mod delivering;
mod ending;
mod publishing;
mod state;
mod subscribing;

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use model::TopicName;

use super::*;
use crate::codec::*;
use crate::topics::{Filter, Place};

struct Bench {
    session: Session,
    now: Now,
    /// Whether each `Save` is durable at once.
    saves: bool,
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn filter(filter: &str) -> Filter {
    Filter::new(text(filter)).unwrap()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

/// A CONNECT of 5.0 whose session lives for 100 s.
fn connect() -> Connect {
    Connect {
        version: Version::V5,
        clean_start: false,
        keep_alive: 0,
        properties: ConnectProperties { session_expiry_interval: Some(100), ..ConnectProperties::default() },
        client_id: text("c"),
        will: None,
        user_name: None,
        password: None,
    }
}

fn connect_v311(clean_start: bool) -> Connect {
    Connect { version: Version::V311, clean_start, properties: ConnectProperties::default(), ..connect() }
}

fn publish(qos: QoS, packet_id: u16, topic: &str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: text(topic),
        packet_id: PacketId::new(packet_id),
        properties: PublishProperties::default(),
        payload: Bytes::from_static(b"hello"),
    }
}

fn record(key: &str, qos: QoS) -> Record {
    Record {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        payload: Bytes::from_static(b"hello"),
        qos,
        retain: false,
        properties: PublishProperties::default(),
        expires_at_ms: None,
        publisher: None,
    }
}

fn delivery(offset: i64, record: Record) -> Delivery {
    Delivery { subscription: 1, partition: 0, offset, follows: offset, is_retained: false, record }
}

impl Bench {
    fn new(config: Config) -> Self {
        let now = Now { monotonic_ms: 1_000, timestamp_ms: 1_000_000 };
        let session = Session::new(Config { keep_alive_max_s: 0, ..config }, text("c"), None, now);
        Self { session, now, saves: true }
    }

    /// With a connection of this CONNECT.
    fn connected(config: Config, connect: Connect) -> Self {
        let mut bench = Self::new(config);
        bench.connect(connect);
        bench
    }

    /// ... and one subscription, number 1, that begins at offset 0 of partition 0.
    fn subscribed(connect: Connect, pattern: &str, options: Options) -> Self {
        let mut bench = Self::connected(Config::STANDARD, connect);
        bench.subscribe(7, pattern, options);
        bench.step(Input::Subscribed { subscription: 1, result: Ok(vec![(0, 0)]) });
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.session.step(self.now, input, &mut effects);
        let mut at = 0;
        while let Some(effect) = effects.get(at) {
            if let (Effect::Save(number), true) = (effect, self.saves) {
                let number = *number;
                self.session.step(self.now, Input::Saved(number), &mut effects);
            }
            at += 1;
        }
        effects
    }

    fn connect(&mut self, connect: Connect) -> Vec<Effect> {
        self.step(Input::Connect { connect: Box::new(connect), authentication_data: None, session_id: 9 })
    }

    fn packet(&mut self, packet: Packet) -> Vec<Effect> {
        self.step(Input::Packet(packet))
    }

    fn publish(&mut self, publish: Publish) -> Vec<Effect> {
        self.packet(Packet::Publish(Box::new(publish)))
    }

    fn subscribe(&mut self, packet_id: u16, pattern: &str, options: Options) -> Vec<Effect> {
        self.packet(Packet::Subscribe(Subscribe::new(id(packet_id), &[(filter(pattern), options)])))
    }

    fn deliver(&mut self, delivery: Delivery) -> Vec<Effect> {
        self.step(Input::Deliver(Box::new(delivery)))
    }

    fn stored(&mut self, token: Token) -> Vec<Effect> {
        self.step(Input::Stored { token, result: Ok(()) })
    }

    fn after(&mut self, ms: i64) -> Vec<Effect> {
        self.now.monotonic_ms += ms;
        self.now.timestamp_ms += ms;
        self.step(Input::Tick)
    }

    /// The core of a node that knows only what was saved.
    fn restarted(&self, saved: Option<State>) -> Self {
        let session = Session::new(self.session.config.clone(), text("c"), saved, self.now);
        Self { session, now: self.now, saves: true }
    }
}

fn sent(effects: &[Effect]) -> Vec<Packet> {
    let packet = |effect: &Effect| match effect {
        Effect::Send(packet) => Some(packet.clone()),
        _ => None,
    };
    effects.iter().filter_map(packet).collect()
}

fn stores(effects: &[Effect]) -> Vec<Publication> {
    let publication = |effect: &Effect| match effect {
        Effect::Store(publication) => Some((**publication).clone()),
        _ => None,
    };
    effects.iter().filter_map(publication).collect()
}

fn sent_publish(effects: &[Effect]) -> Publish {
    match sent(effects).as_slice() {
        [Packet::Publish(publish)] => (**publish).clone(),
        other => panic!("no PUBLISH but {other:?}"),
    }
}

fn sent_connack(effects: &[Effect]) -> Connack {
    match sent(effects).first() {
        Some(Packet::Connack(connack)) => (**connack).clone(),
        other => panic!("no CONNACK but {other:?}"),
    }
}

/// The connection was ended for this reason, and a client of 5.0 was told.
fn assert_ended(effects: &[Effect], reason: Reason) {
    let told = sent(effects).iter().any(|packet| match packet {
        Packet::Disconnect(disconnect) => disconnect.reason == reason,
        _ => false,
    });
    assert!(told && effects.contains(&Effect::Close(reason)), "{effects:?}");
}

fn commits(effects: &[Effect]) -> Vec<Outcome> {
    let outcome = |effect: &Effect| match effect {
        Effect::Commit { outcome, .. } => Some(*outcome),
        _ => None,
    };
    effects.iter().filter_map(outcome).collect()
}
