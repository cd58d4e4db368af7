//! A server of two sessions and one log, the links to its two clients, and what goes wrong between them.
//!
//! What is to be durable waits in one queue and becomes durable in its order; a crash takes what still waits. Bytes in a
//! link that breaks are lost, those of both directions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use mqtt::codec::*;
use mqtt::session::*;
use mqtt::topics::{Filter, Place};

use crate::chance::Chance;
use crate::client::Client;

#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) loses_link: bool,
    pub(crate) crashes: bool,
    /// The log stores a publication again that it has.
    pub(crate) forgets_sequences: bool,
}

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;
const NAMES: [&str; 2] = ["publisher", "subscriber"];
/// Steps in which things go wrong; then they must come to an end.
const STEPS_OF_FAULTS: usize = 6_000;
const STEPS_MAX: usize = 60_000;

#[derive(Default)]
struct Link {
    is_up: bool,
    /// Whether the server's session knows of this link: its CONNECT came.
    is_served: bool,
    to_server: BytesMut,
    to_client: BytesMut,
    /// What the server received and has not decoded.
    received: BytesMut,
    /// What the client received and has not decoded.
    heard: BytesMut,
}

enum Durable {
    Save { client: usize, number: u64, bytes: Bytes },
    Store { client: usize, publication: Box<Publication> },
    Discard { client: usize },
}

pub(crate) struct World {
    chance: Chance,
    faults: Faults,
    version: Version,
    /// How slowly things become durable.
    lag: usize,
    now: Now,
    clients: [Client; 2],
    links: [Link; 2],
    sessions: [Session; 2],
    saved: [Option<Bytes>; 2],
    session_ids: u64,
    log: Vec<(Place, Bytes, QoS)>,
    stored: BTreeSet<(usize, Sequence)>,
    /// Where the server reads for the subscriber, by subscription.
    readers: BTreeMap<u64, i64>,
    durable: VecDeque<Durable>,
    replies: VecDeque<(usize, Input)>,
    pub(crate) trace: Vec<String>,
}

fn config() -> Config {
    Config {
        receive_maximum: NonZeroU16::new(3).unwrap(),
        in_flight_max: 6,
        rereads_max: 2,
        topic_alias_maximum: 1,
        save_interval_ms: 20,
        ..Config::STANDARD
    }
}

fn session(client: usize, saved: Option<&Bytes>, now: Now) -> Session {
    let state = saved.map(|bytes| State::decode(bytes).unwrap());
    Session::new(config(), Text::new(NAMES[client]).unwrap(), state, now)
}

impl World {
    pub(crate) fn new(seed: u64, version: Version, faults: Faults) -> Self {
        let mut chance = Chance::new(seed);
        let now = Now { monotonic_ms: 5, timestamp_ms: 1_000_000 };
        let (maximum, lag) = (1 + chance.below(4) as u16, 1 + chance.below(8));
        let mut subscriber = Client::new(NAMES[SUBSCRIBER], version, maximum);
        subscriber.filter = Some(Filter::new(Text::new("rides/eu/+").unwrap()).unwrap());
        Self {
            chance,
            faults,
            version,
            lag,
            now,
            clients: [Client::new(NAMES[PUBLISHER], version, maximum), subscriber],
            links: Default::default(),
            sessions: [session(PUBLISHER, None, now), session(SUBSCRIBER, None, now)],
            saved: [None, None],
            session_ids: 0,
            log: Vec::new(),
            stored: BTreeSet::new(),
            readers: BTreeMap::new(),
            durable: VecDeque::new(),
            replies: VecDeque::new(),
            trace: Vec::new(),
        }
    }

    pub(crate) fn publish(&mut self, messages: impl Iterator<Item = (QoS, u32)>) {
        self.clients[PUBLISHER].to_publish.extend(messages);
    }

    pub(crate) fn logged(&self) -> Vec<u32> {
        self.log.iter().map(|(_, payload, _)| u32::from_be_bytes(payload[..].try_into().unwrap())).collect()
    }

    pub(crate) fn got(&self) -> Vec<u32> {
        self.clients[SUBSCRIBER].got.clone()
    }

    pub(crate) fn run_until_done(&mut self) {
        for step in 0..STEPS_MAX {
            if step < STEPS_OF_FAULTS {
                self.go_wrong();
            } else if self.is_done() {
                return;
            } else {
                self.lag = 1;
            }
            self.step();
        }
        let tail = self.trace.iter().rev().take(25).rev().collect::<Vec<_>>();
        panic!(
            "it does not come to an end: {tail:#?} {:#?}",
            self.sessions.each_ref().map(|session| session.state())
        );
    }

    fn is_done(&self) -> bool {
        let nothing_in_flight =
            |session: &Session| session.state().is_some_and(|state| state.in_flight.is_empty());
        let links_are_empty = |link: &Link| link.to_server.is_empty() && link.to_client.is_empty();
        self.clients.iter().all(Client::is_done)
            && self.sessions.iter().all(nothing_in_flight)
            && self.links.iter().all(links_are_empty)
            && self.durable.is_empty()
            && self.replies.is_empty()
            && self.readers.values().all(|at| *at == self.log.len() as i64)
    }

    fn go_wrong(&mut self) {
        if self.faults.loses_link && self.chance.one_in(60) {
            let client = self.chance.below(2);
            self.trace.push(format!("link {client} breaks"));
            self.links[client] = Link::default();
            // The server may hear of it only when the client is there again.
            if self.chance.one_in(2) {
                self.input(client, Input::Lost);
            }
        }
        if self.faults.crashes && self.chance.one_in(150) {
            self.trace.push("crash".to_owned());
            self.durable.clear();
            self.replies.clear();
            self.readers.clear();
            self.links = Default::default();
            for client in [PUBLISHER, SUBSCRIBER] {
                self.sessions[client] = session(client, self.saved[client].as_ref(), self.now);
            }
        }
    }

    fn step(&mut self) {
        let client = self.chance.below(2);
        match self.chance.below(8) {
            0 => self.connect(client),
            1 | 2 => self.speak(client),
            3 => self.carry_to_server(client),
            4 => self.carry_to_client(client),
            5 => self.become_durable(),
            6 => self.reply(),
            _ => {
                self.read();
                self.now.monotonic_ms += 7;
                self.now.timestamp_ms += 7;
                self.input(client, Input::Tick);
            }
        }
    }

    fn connect(&mut self, client: usize) {
        if self.links[client].is_up {
            return;
        }
        self.links[client] = Link { is_up: true, ..Link::default() };
        let packet = self.clients[client].connect();
        self.send_to_server(client, &packet);
    }

    fn speak(&mut self, client: usize) {
        if self.links[client].is_up
            && let Some(packet) = self.clients[client].speak(&mut self.chance)
        {
            self.send_to_server(client, &packet);
        }
    }

    fn send_to_server(&mut self, client: usize, packet: &Packet) {
        self.trace.push(format!("{} > {packet:?}", NAMES[client]));
        encode(packet, self.version, usize::MAX, &mut self.links[client].to_server).unwrap();
    }

    fn carry_to_server(&mut self, client: usize) {
        let link = &mut self.links[client];
        let count = self.chance.below(link.to_server.len() + 1);
        let bytes = link.to_server.split_to(count);
        link.received.extend_from_slice(&bytes);
        self.decode_at_server(client);
    }

    fn decode_at_server(&mut self, client: usize) {
        loop {
            let is_first =
                !self.links[client].received.is_empty() && self.links[client].received[0] >> 4 == 1;
            if !is_first && !self.sessions[client].accepts() {
                return;
            }
            let limit = config().packet_bytes_max as usize;
            let Some(packet) = decode(&mut self.links[client].received, limit, self.version).unwrap() else {
                return;
            };
            self.session_ids += 1;
            let session_id = self.session_ids;
            self.input(
                client,
                match packet {
                    Packet::Connect(connect) => {
                        Input::Connect { connect, authentication_data: None, session_id }
                    }
                    packet => Input::Packet(packet),
                },
            );
        }
    }

    fn carry_to_client(&mut self, client: usize) {
        let link = &mut self.links[client];
        let count = self.chance.below(link.to_client.len() + 1);
        let bytes = link.to_client.split_to(count);
        link.heard.extend_from_slice(&bytes);
        while let Some(packet) = self.clients[client].decode(&mut self.links[client].heard) {
            for answer in self.clients[client].hear(packet) {
                self.send_to_server(client, &answer);
            }
        }
    }

    fn become_durable(&mut self) {
        if !self.chance.one_in(self.lag) {
            return;
        }
        match self.durable.pop_front() {
            None => {}
            Some(Durable::Save { client, number, bytes }) => {
                self.saved[client] = Some(bytes);
                self.input(client, Input::Saved(number));
            }
            Some(Durable::Discard { client }) => self.saved[client] = None,
            Some(Durable::Store { client, publication }) => {
                let is_known = publication.sequence.is_some_and(|sequence| {
                    !self.stored.insert((client, sequence)) && !self.faults.forgets_sequences
                });
                if !is_known {
                    self.log.push((publication.place, publication.payload, publication.qos));
                }
                self.replies.push_back((client, Input::Stored { token: publication.token, result: Ok(()) }));
            }
        }
    }

    fn reply(&mut self) {
        if let Some((client, input)) = self.replies.pop_front() {
            self.input(client, input);
        }
    }

    /// Reads for the subscriber, now and then more than there is room for.
    fn read(&mut self) {
        for number in self.readers.keys().copied().collect::<Vec<_>>() {
            for _ in 0..self.chance.below(5) {
                let Some(at) = self.readers.get(&number).copied().filter(|at| *at < self.log.len() as i64)
                else {
                    break;
                };
                if self.sessions[SUBSCRIBER].room() == 0 && !self.chance.one_in(8) {
                    break;
                }
                self.readers.insert(number, at + 1);
                let record = self.record(at);
                let delivery = Delivery {
                    subscription: number,
                    partition: 0,
                    offset: at,
                    follows: at,
                    is_retained: false,
                    record,
                };
                self.input(SUBSCRIBER, Input::Deliver(Box::new(delivery)));
            }
        }
    }

    fn record(&self, offset: i64) -> Record {
        let (place, payload, qos) = self.log[offset as usize].clone();
        Record {
            key: place.key.map(|key| key.bytes().clone()),
            payload,
            qos,
            retain: false,
            properties: PublishProperties::default(),
            expires_at_ms: None,
            publisher: Text::new(NAMES[PUBLISHER]),
        }
    }

    fn input(&mut self, client: usize, input: Input) {
        let mut effects = Vec::new();
        let is_connect = matches!(input, Input::Connect { .. });
        self.sessions[client].step(self.now, input, &mut effects);
        // What comes before the end of a connection that is taken over is not for this link.
        let taken_over = |effect: &Effect| *effect == Effect::Close(Reason::SessionTakenOver);
        self.links[client].is_served |= is_connect && !effects.iter().any(taken_over);
        for effect in effects {
            self.trace.push(format!("{} < {effect:?}", NAMES[client]));
            self.links[client].is_served |= is_connect && taken_over(&effect);
            self.carry_out(client, effect);
        }
    }

    fn carry_out(&mut self, client: usize, effect: Effect) {
        match effect {
            Effect::Send(packet) => {
                let (version, max) =
                    (self.sessions[client].version(), self.sessions[client].packet_bytes_max());
                if self.links[client].is_served {
                    encode(&packet, version, max, &mut self.links[client].to_client).unwrap();
                }
            }
            Effect::Save(number) => {
                let bytes = self.sessions[client].state().unwrap().encode();
                self.durable.push_back(Durable::Save { client, number, bytes });
            }
            Effect::Discard => self.durable.push_back(Durable::Discard { client }),
            Effect::Store(publication) => self.durable.push_back(Durable::Store { client, publication }),
            Effect::Subscribe(subscribing) => {
                let known = subscribing.positions.get(&0).copied();
                self.readers.insert(subscribing.number, known.unwrap_or(0));
                if !subscribing.is_resumed {
                    let (subscription, result) = (subscribing.number, Ok(vec![(0, 0)]));
                    self.replies.push_back((client, Input::Subscribed { subscription, result }));
                }
            }
            Effect::Unsubscribe(number) => drop(self.readers.remove(&number)),
            Effect::Reread { packet_id, source } => {
                let record = Some(Box::new(self.record(source.offset)));
                // They may come in any order.
                let at = self.chance.below(self.replies.len() + 1);
                self.replies.insert(at, (client, Input::Reread { packet_id, record }));
            }
            Effect::Again { subscription, from, .. } => drop(self.readers.insert(subscription, from)),
            Effect::Close(reason) => {
                assert_eq!(
                    reason,
                    Reason::SessionTakenOver,
                    "the server ended the connection: {:?}",
                    self.trace
                );
                if client == SUBSCRIBER {
                    self.readers.clear();
                }
            }
            Effect::Commit { .. } | Effect::Room | Effect::Authenticate { .. } => {}
        }
    }
}
