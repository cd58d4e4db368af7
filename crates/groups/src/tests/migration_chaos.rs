//! Members of both protocols in one group, which changes its kind as they come and go, under any order of joining, leaving,
//! silence, restarts under the other protocol, lost answers, failed appends and crashes: no two members may read a partition at
//! once, what is replayed is what was there, and in calm every partition is read.

use super::{
    consumers::{beating, id, joining, know},
    desk::*,
    migration::{assigned, bytes_of, subscription},
};
use crate::*;
use model::PartitionIndex;
use std::collections::BTreeMap;

const TOPICS: [(&str, PartitionIndex); 2] = [("t", 5), ("u", 3)];
const SESSION_MS: u64 = 45 * SECOND;

/// Where a client stands.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// It is to join.
    Out,
    Joining(Token),
    /// It has joined, and says what everybody is assigned if it leads.
    Joined(Vec<(MemberId, bytes::Bytes)>),
    Syncing(Token),
    /// It has what it is assigned.
    In,
}

#[derive(Debug, Clone)]
struct Client {
    /// Whether it speaks the consumer protocol.
    is_consumer: bool,
    instance: Option<String>,
    member_id: String,
    epoch: i32,
    owned: Partitions,
    wants: Vec<&'static str>,
    phase: Phase,
    /// When it last heard that it may read on; who does not for a session reads no more.
    heard_at: u64,
}

impl Client {
    /// It is out of the group and reads nothing.
    fn lose(&mut self) {
        self.owned.clear();
        self.phase = Phase::Out;
    }
}

struct World {
    desk: Desk,
    clients: BTreeMap<String, Client>,
    names: usize,
    chance: Chance,
    /// Of four members that start, so many speak the consumer protocol: it changes as groups are rolled over and back.
    consumers: u64,
    /// Whether classic members keep their partitions while they join (KIP-429).
    is_cooperative: bool,
    is_calm: bool,
}

impl World {
    fn protocol(&self) -> &'static str {
        if self.is_cooperative { "cooperative-sticky" } else { "range" }
    }

    fn wants(&mut self) -> Vec<&'static str> {
        TOPICS.map(|(name, _)| name).into_iter().filter(|_| self.chance.below(4) > 0).collect()
    }

    fn new_client(&mut self, is_consumer: bool, instance: Option<String>) -> Client {
        self.names += 1;
        Client {
            is_consumer,
            instance,
            // Members of the consumer protocol choose their ids themselves.
            member_id: if is_consumer { format!("m{}", self.names) } else { String::new() },
            epoch: 0,
            owned: Partitions::new(),
            wants: self.wants(),
            phase: Phase::Out,
            heard_at: 0,
        }
    }

    /// Sends a request; an append that it orders may fail.
    fn send(&mut self, request: Request) -> Token {
        let token = self.desk.send(request);
        if self.desk.appends.len() == 1 && !self.is_calm && self.chance.below(12) == 0 {
            self.desk.fail(AppendFailure::Unavailable);
        }
        self.desk.commit();
        token
    }

    fn is_lost(&mut self) -> bool {
        !self.is_calm && self.chance.below(10) == 0
    }

    /// The next thing that a client does.
    fn go(&mut self, name: &str) {
        let Some(mut client) = self.clients.get(name).cloned() else { return };
        if client.is_consumer {
            self.beat(&mut client);
        } else {
            self.go_classic(&mut client);
        }
        self.clients.insert(name.to_owned(), client);
    }

    fn beat(&mut self, client: &mut Client) {
        let wants: Vec<&str> = client.wants.clone();
        let mut request = match client.phase {
            Phase::Out => joining(&client.member_id, &wants),
            _ => beating(&client.member_id, client.epoch, Some(client.owned.clone())),
        };
        request.instance_id = client.instance.as_deref().map(Into::into);
        if client.phase != Phase::Out {
            // It says everything, so that it is told everything, whatever it has missed.
            request.rebalance_timeout_ms = 60_000;
            request.topics = Some(wants.iter().map(|name| (*name).into()).collect());
        }
        let token = self.send(Request::ConsumerHeartbeat(request));
        let answer = self.desk.take(token).expect("an answer");
        if self.is_lost() {
            return;
        }
        match answer {
            Ok(Reply::ConsumerHeartbeat(reply)) => {
                client.phase = Phase::In;
                client.epoch = reply.epoch;
                client.heard_at = self.desk.now.monotonic;
                client.owned = reply.assignment.unwrap_or(client.owned.clone());
            }
            Err(Error::FencedMemberEpoch | Error::UnknownMemberId | Error::GroupIdNotFound) => client.lose(),
            Err(Error::UnreleasedInstanceId) => client.lose(),
            Err(Error::CoordinatorNotAvailable) => {}
            other => panic!("{other:?}"),
        }
    }

    fn go_classic(&mut self, client: &mut Client) {
        match std::mem::replace(&mut client.phase, Phase::Out) {
            Phase::Out => {
                if !self.is_cooperative {
                    client.owned.clear();
                }
                let metadata = subscription(&client.wants, &client.owned, &TOPICS);
                let join = JoinGroup {
                    member_id: client.member_id.as_str().into(),
                    instance_id: client.instance.as_deref().map(Into::into),
                    session_timeout_ms: SESSION_MS as i32,
                    require_known_member_id: true,
                    protocols: protocols(&[self.protocol()], &metadata),
                    fresh_id: self.desk.fresh_id(),
                    ..join("c")
                };
                client.phase = Phase::Joining(self.send(Request::JoinGroup(join)));
            }
            Phase::Joining(token) => match self.desk.joined(token) {
                None => client.phase = Phase::Joining(token),
                Some(_) if self.is_lost() => {}
                Some(Ok(joined)) => {
                    client.member_id = joined.member_id.to_string();
                    client.epoch = joined.generation;
                    client.phase = Phase::Joined(self.assign(&joined.members));
                }
                Some(Err(error)) => self.refused(client, error),
            },
            Phase::Joined(assignments) => {
                let sync = SyncGroup {
                    group: group(),
                    generation: client.epoch,
                    member_id: client.member_id.as_str().into(),
                    instance_id: client.instance.as_deref().map(Into::into),
                    protocol_type: Some("consumer".into()),
                    protocol: Some(self.protocol().into()),
                    assignments,
                };
                client.phase = Phase::Syncing(self.send(Request::SyncGroup(sync)));
            }
            Phase::Syncing(token) => match self.desk.synced(token) {
                None => client.phase = Phase::Syncing(token),
                Some(_) if self.is_lost() => {}
                Some(Ok(bytes)) => {
                    client.heard_at = self.desk.now.monotonic;
                    let assigned = assigned(&bytes, &TOPICS);
                    let keeps_all = client.owned.iter().all(|(topic, had)| {
                        had.iter().all(|index| assigned.get(topic).is_some_and(|now| now.contains(index)))
                    });
                    client.owned = assigned;
                    // It joins once more when it has given something up.
                    client.phase = if keeps_all { Phase::In } else { Phase::Out };
                }
                Some(Err(error)) => self.refused(client, error),
            },
            Phase::In => self.beat_classic(client),
        }
    }

    fn beat_classic(&mut self, client: &mut Client) {
        client.phase = Phase::In;
        let token = self.send(Request::Heartbeat(Heartbeat {
            group: group(),
            generation: client.epoch,
            member_id: client.member_id.as_str().into(),
            instance_id: client.instance.as_deref().map(Into::into),
        }));
        let answer = self.desk.take(token).expect("an answer");
        if self.is_lost() {
            return;
        }
        match answer {
            Ok(_) => client.heard_at = self.desk.now.monotonic,
            Err(error) => self.refused(client, error),
        }
    }

    fn refused(&mut self, client: &mut Client, error: Error) {
        match error {
            Error::MemberIdRequired(id) => client.member_id = id.to_string(),
            Error::RebalanceInProgress | Error::CoordinatorNotAvailable => {}
            Error::IllegalGeneration => client.owned.clear(),
            Error::UnknownMemberId | Error::FencedInstanceId => {
                client.member_id.clear();
                client.owned.clear();
            }
            other => panic!("{other:?}"),
        }
        client.phase = Phase::Out;
    }

    /// What the leader gives everybody: what one has and another is to get stays with nobody until it is given up.
    fn assign(&self, members: &[JoinedMember]) -> Vec<(MemberId, bytes::Bytes)> {
        let said: Vec<_> =
            members.iter().map(|m| crate::subscription::read(&m.metadata).expect("metadata")).collect();
        let owner = |topic: &str, index: i32| {
            said.iter().position(|said| said.owned.iter().any(|(t, own)| *t == topic && own.contains(&index)))
        };
        let mut all = vec![Partitions::new(); members.len()];
        for (place, (topic, count)) in TOPICS.iter().enumerate() {
            let wanting: Vec<usize> = (0..said.len()).filter(|at| said[*at].topics.contains(topic)).collect();
            for index in 0..if wanting.is_empty() { 0 } else { *count } {
                let wanted = wanting[index as usize % wanting.len()];
                if owner(topic, index).is_none_or(|owner| owner == wanted) {
                    all[wanted].entry(id(place)).or_default().insert(index);
                }
            }
        }
        let bytes =
            members.iter().zip(all).map(|(member, own)| (member.member_id.clone(), bytes_of(&own, &TOPICS)));
        bytes.collect()
    }

    fn leave(&mut self, client: Client) {
        let member_id: MemberId = client.member_id.as_str().into();
        let instance_id: Option<InstanceId> = client.instance.as_deref().map(Into::into);
        let request = match (client.is_consumer, client.instance.is_some()) {
            (true, is_static) => {
                let epoch = if is_static { -2 } else { -1 };
                let request = beating(&client.member_id, epoch, None);
                Request::ConsumerHeartbeat(ConsumerHeartbeat { instance_id, ..request })
            }
            // Static members of the classic protocol just go.
            (false, true) => return,
            (false, false) => {
                let members = vec![LeavingMember { member_id, instance_id, reason: None }];
                Request::LeaveGroup(LeaveGroup { group: group(), members })
            }
        };
        self.send(request);
    }

    fn act(&mut self) {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        let some = |world: &mut Self| {
            let at = world.chance.below(names.len().max(1) as u64);
            names.get(at as usize).cloned()
        };
        match self.chance.below(70) {
            0..=1 if names.len() < 5 => {
                let is_consumer = self.chance.below(4) < self.consumers;
                let name = format!("c{}", self.names);
                let instance = (self.chance.below(3) == 0).then(|| name.clone());
                let client = self.new_client(is_consumer, instance);
                self.clients.insert(name, client);
            }
            2 => {
                // It dies; its partitions are nobody's until the group notices.
                some(self).map(|name| self.clients.remove(&name));
            }
            3..=4 => {
                if let Some(client) = some(self).and_then(|name| self.clients.remove(&name)) {
                    self.leave(client);
                }
            }
            5..=8 => {
                // It is restarted, perhaps under the other protocol, in good order or not.
                let Some(name) = some(self) else { return };
                let Some(former) = self.clients.remove(&name) else { return };
                let (is_consumer, instance) =
                    (self.chance.below(4) < self.consumers, former.instance.clone());
                if self.chance.below(2) == 0 {
                    self.leave(former);
                }
                let client = self.new_client(is_consumer, instance);
                self.clients.insert(name, client);
            }
            9 => self.crash(),
            10..=15 => {
                self.desk.pass(5 * SECOND);
                self.desk.commit();
            }
            _ => {
                if let Some(name) = some(self) {
                    self.go(&name);
                }
            }
        }
    }

    /// Nobody hears what it waited for; of the consumer group nothing is lost.
    fn crash(&mut self) {
        let shown = |desk: &Desk| {
            let group = desk.coordinator.consumers.get(&group())?;
            Some(format!(
                "{:?} {:?} {:?} {:?}",
                group.epoch, group.target_epoch, group.members, group.targets
            ))
        };
        let before = shown(&self.desk);
        self.desk.crash();
        assert_eq!(shown(&self.desk), before);
        know(&mut self.desk, &TOPICS);
        self.desk.commit();
        for client in self.clients.values_mut() {
            if matches!(client.phase, Phase::Joining(_) | Phase::Syncing(_)) {
                client.phase = Phase::Out;
            }
        }
    }

    fn check(&self) {
        let mut readers = BTreeMap::new();
        let is_reading = |client: &Client| self.desk.now.monotonic < client.heard_at + SESSION_MS * 1_000_000;
        for (name, client) in self.clients.iter().filter(|(_, client)| is_reading(client)) {
            for (topic, partitions) in &client.owned {
                for index in partitions {
                    if let Some(other) = readers.insert((*topic, *index), name) {
                        panic!("{other} and {name} both read {topic:?}-{index}: {:#?}", self.clients);
                    }
                }
            }
        }
    }
}

/// Runs one seed; gives which kinds of group there were at some time with members of which protocols.
fn run(seed: u64) -> [bool; 3] {
    let mut desk = Desk::with(Config { rebalance_delay_ms_initial: 0, ..config() });
    desk.commits_at_once = false;
    know(&mut desk, &TOPICS);
    let mut world = World {
        desk,
        clients: BTreeMap::new(),
        names: 0,
        chance: Chance(seed),
        consumers: 0,
        is_cooperative: seed.is_multiple_of(2),
        is_calm: false,
    };
    let mut seen = [false; 3];
    for turn in 0..600 {
        world.consumers = [0, 2, 4, 2, 0][turn / 120];
        world.act();
        world.check();
        let coordinator = &world.desk.coordinator;
        let is_both = coordinator.consumers.values().any(|group| {
            let classic = group.members.values().filter(|m| m.subscription.classic.is_some()).count();
            classic > 0 && classic < group.members.len()
        });
        let mut classic = coordinator.groups.values();
        let is_stable = classic.clone().any(|group| group.state == State::Stable);
        let is_classic = classic.any(|group| group.generation > 0 && !group.members.is_empty());
        seen = [seen[0] || is_both, seen[1] || is_stable, seen[2] || seen[0] && is_classic];
    }
    world.is_calm = true;
    for _ in 0..60 {
        let names: Vec<String> = world.clients.keys().cloned().collect();
        for _ in 0..4 {
            names.iter().for_each(|name| world.go(name));
            world.check();
        }
        world.desk.pass(5 * SECOND);
        world.desk.commit();
    }
    for (place, (topic, count)) in TOPICS.iter().enumerate() {
        let is_wanted = world.clients.values().any(|client| client.wants.contains(topic));
        let owned = world.clients.values().filter_map(|client| client.owned.get(&id(place)));
        let read: usize = owned.map(|own| own.len()).sum();
        let expected = if is_wanted { *count as usize } else { 0 };
        assert_eq!(read, expected, "partitions of {topic} that are read in calm: {:#?}", world.clients);
    }
    let is_in = |client: &Client| client.phase == Phase::In;
    assert!(world.clients.values().all(is_in), "somebody is not settled: {:#?}", world.clients);
    let has_consumer = world.clients.values().any(|client| client.is_consumer);
    let is_consumer_group = world.desk.coordinator.consumers.contains_key(&group());
    assert!(world.clients.is_empty() || has_consumer == is_consumer_group, "the group is of the other kind");
    seen
}

#[test]
fn groups_of_both_protocols_never_read_a_partition_twice_and_settle() {
    let mut seen = [0; 3];
    for seed in 0..300 {
        let result = std::panic::catch_unwind(|| run(seed));
        let Ok(kinds) = result else { panic!("seed {seed}") };
        kinds.iter().zip(&mut seen).for_each(|(kind, count)| *count += usize::from(*kind));
    }
    assert!(
        seen.iter().all(|count| *count > 100),
        "mixed, stable classic, classic again after mixed: {seen:?}"
    );
}
