//! Consumer groups under any order of joining, leaving, silence, lost answers, failed appends and crashes: no two members
//! may read a partition at once, and in calm every partition is read.

use super::{
    consumers::{beating, id, joining, know},
    desk::*,
};
use crate::*;
use model::PartitionIndex;
use std::collections::BTreeMap;

const TOPICS: [(&str, PartitionIndex); 3] = [("t", 5), ("u", 3), ("v", 1)];

/// A client as KIP-848 has it: it reads what it was given, and gives up before it says so.
#[derive(Debug, Clone, Default)]
struct Client {
    epoch: i32,
    owned: Partitions,
    wants: Vec<&'static str>,
    is_new: bool,
    /// It has changed what it wants, or missed an answer: it says everything until it hears one.
    is_unsaid: bool,
    /// When it last heard an answer; who hears none for a session reads no more.
    heard_at: u64,
}

struct World {
    desk: Desk,
    clients: BTreeMap<String, Client>,
    names: usize,
    state: u64,
}

impl World {
    fn chance(&mut self, n: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % n
    }

    fn wants(&mut self) -> Vec<&'static str> {
        let all = TOPICS.map(|(name, _)| name);
        all.into_iter().filter(|_| self.chance(4) > 0).collect()
    }

    /// One heartbeat of a client; its answer may be lost, its append may fail.
    fn beat(&mut self, name: &str, is_calm: bool) {
        let Some(mut client) = self.clients.get(name).cloned() else { return };
        let mut request = match client.is_new {
            true => joining(name, &client.wants),
            false => beating(name, client.epoch, Some(client.owned.clone())),
        };
        if !client.is_new && !is_calm && self.chance(6) == 0 {
            client.wants = self.wants();
            client.is_unsaid = true;
            self.clients.insert(name.to_owned(), client.clone());
        }
        if client.is_unsaid && !client.is_new {
            request.rebalance_timeout_ms = 60_000;
            request.topics = Some(client.wants.iter().map(|name| (*name).into()).collect());
        }
        let token = self.desk.send(Request::ConsumerHeartbeat(request));
        if !self.desk.appends.is_empty() {
            match if is_calm { 9 } else { self.chance(10) } {
                0 => self.desk.fail(AppendFailure::Unavailable),
                _ => self.desk.commit(),
            }
        }
        let answer = self.desk.take(token).expect("an answer");
        if !is_calm && self.chance(8) == 0 {
            client.is_unsaid = true;
            self.clients.insert(name.to_owned(), client);
            return;
        }
        match answer {
            Ok(Reply::ConsumerHeartbeat(reply)) => {
                (client.is_new, client.is_unsaid) = (false, false);
                client.epoch = reply.epoch;
                client.heard_at = self.desk.now.monotonic;
                client.owned = reply.assignment.unwrap_or(client.owned);
                self.clients.insert(name.to_owned(), client);
            }
            Err(Error::FencedMemberEpoch | Error::UnknownMemberId | Error::GroupIdNotFound) => {
                let wants = client.wants;
                self.clients.insert(name.to_owned(), Client { wants, is_new: true, ..Client::default() });
            }
            Err(Error::CoordinatorNotAvailable) => self.clients.get_mut(name).unwrap().is_unsaid = true,
            other => panic!("{other:?}"),
        }
    }

    fn act(&mut self) {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        let some = |world: &mut Self| names.get(world.chance(names.len().max(1) as u64) as usize).cloned();
        match self.chance(20) {
            0 if names.len() < 5 => {
                self.names += 1;
                let wants = self.wants();
                let client = Client { wants, is_new: true, ..Client::default() };
                self.clients.insert(format!("m{}", self.names), client);
            }
            1 => {
                // It dies; its partitions are nobody's until the group notices.
                some(self).map(|name| self.clients.remove(&name));
            }
            2 => {
                if let Some(name) = some(self) {
                    self.clients.remove(&name);
                    self.desk.send(Request::ConsumerHeartbeat(beating(&name, -1, None)));
                    self.desk.commit();
                }
            }
            3 => {
                self.desk.crash();
                know(&mut self.desk, &TOPICS);
            }
            4 => self.desk.pass(5 * SECOND),
            _ => {
                if let Some(name) = some(self) {
                    self.beat(&name, false);
                }
            }
        }
    }

    fn check(&self, seed: u64) {
        let mut readers = BTreeMap::new();
        let session = 45 * SECOND * 1_000_000;
        let is_reading = |client: &Client| self.desk.now.monotonic < client.heard_at + session;
        for (name, client) in self.clients.iter().filter(|(_, client)| is_reading(client)) {
            for (topic, partitions) in &client.owned {
                for index in partitions {
                    if let Some(other) = readers.insert((*topic, *index), name) {
                        panic!("seed {seed}: {other} and {name} both read {topic:?}-{index}");
                    }
                }
            }
        }
    }
}

fn run(seed: u64) {
    let mut desk = Desk::new();
    desk.commits_at_once = false;
    know(&mut desk, &TOPICS);
    let mut world = World { desk, clients: BTreeMap::new(), names: 0, state: seed };
    for _ in 0..150 {
        world.act();
        world.check(seed);
    }
    for _ in 0..30 {
        let names: Vec<String> = world.clients.keys().cloned().collect();
        names.iter().for_each(|name| world.beat(name, true));
        world.check(seed);
        world.desk.pass(5 * SECOND);
        world.desk.commit();
    }
    for (place, (topic, count)) in TOPICS.iter().enumerate() {
        let subscribers: Vec<&Client> =
            world.clients.values().filter(|client| client.wants.contains(topic)).collect();
        let read: usize = world
            .clients
            .values()
            .filter_map(|client| client.owned.get(&id(place)))
            .map(|own| own.len())
            .sum();
        let expected = if subscribers.is_empty() { 0 } else { *count as usize };
        assert_eq!(read, expected, "seed {seed}: partitions of {topic} that are read in calm");
    }
}

#[test]
fn no_partition_has_two_readers_and_in_calm_each_has_one() {
    (0..1000).for_each(run);
}
