//! Simulated members, eager and cooperative, dynamic and static, under random scheduling, lost appends and crashes of
//! the coordinator. What must hold is checked at every answer; that everything comes to rest, at the end.
//!
//! A member that is cooperative differs only in that it joins once more after each assignment that moved something;
//! the coordinator knows nothing of it.

use super::desk::*;
use crate::*;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const CLIENTS: usize = 5;

#[derive(Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Out,
    Joining(Token),
    Syncing(Token),
    In,
}

#[derive(Debug, Default)]
struct Client {
    name: String,
    instance: Option<InstanceId>,
    is_cooperative: bool,
    id: MemberId,
    generation: i32,
    /// The last generation heard of since the last crash.
    newest: i32,
    protocol: Option<Arc<str>>,
    phase: Phase,
    /// The members to assign to, if it leads, with the names that they gave in their metadata.
    to_assign: Option<Vec<(MemberId, String)>>,
    beating: Option<Token>,
    committing: Option<(Token, i64)>,
    is_running: bool,
    topics: u64,
}

/// What was seen of a generation.
#[derive(Debug, Default)]
struct Seen {
    assigners: BTreeSet<MemberId>,
    protocols: BTreeSet<Option<Arc<str>>>,
}

struct World {
    desk: Desk,
    chance: Chance,
    clients: Vec<Client>,
    /// By generation, since the last crash: only what was assigned is written down, so a crash may repeat a number.
    seen: BTreeMap<i32, Seen>,
    offset_asked: i64,
    offset_acked: i64,
    offset_shown: i64,
    stable_checks: usize,
    checks: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = |n: usize| Client {
            name: format!("c{n}"),
            instance: (n % 3 == 1).then(|| format!("i{n}").into()),
            is_cooperative: n.is_multiple_of(2),
            ..Client::default()
        };
        let mut desk = Desk::new();
        desk.commits_at_once = false;
        Self {
            desk,
            chance: Chance(seed),
            clients: (0..CLIENTS).map(client).collect(),
            seen: BTreeMap::new(),
            offset_asked: 0,
            offset_acked: -1,
            offset_shown: -1,
            stable_checks: 0,
            checks: 0,
        }
    }

    // ---- what clients do

    fn act(&mut self, n: usize) {
        self.hear(n);
        let client = &self.clients[n];
        match client.phase {
            _ if !client.is_running => {}
            Phase::Out => self.join(n),
            Phase::In if client.beating.is_none() => {
                let request = Heartbeat {
                    group: group(),
                    generation: client.generation,
                    member_id: client.id.clone(),
                    instance_id: client.instance.clone(),
                };
                self.clients[n].beating = Some(self.desk.send(Request::Heartbeat(request)));
                self.commit_offset(n);
            }
            Phase::In | Phase::Joining(_) | Phase::Syncing(_) => {}
        }
        self.hear(n);
    }

    fn join(&mut self, n: usize) {
        let client = &self.clients[n];
        let topic = format!("t{}", client.topics);
        let mut metadata = subscribed(&[&topic]).to_vec();
        metadata.extend(client.name.as_bytes());
        let names: &[&str] = if client.is_cooperative { &["sticky", "range"] } else { &["range", "sticky"] };
        let request = JoinGroup {
            member_id: client.id.clone(),
            instance_id: client.instance.clone(),
            require_known_member_id: n != 0,
            rebalance_timeout_ms: 20_000,
            protocols: protocols(names, &metadata.into()),
            ..join(&client.name)
        };
        self.clients[n].phase = Phase::Joining(self.desk.send_join(request));
    }

    fn sync(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let assigned = client.to_assign.take().into_iter().flatten();
        let assignments = assigned.map(|(id, name)| (id, assignment(client.generation, &name))).collect();
        let mut request = sync(&client.id, client.generation, assignments);
        if let Request::SyncGroup(sync) = &mut request {
            sync.instance_id = client.instance.clone();
            sync.protocol = client.protocol.clone();
        }
        client.phase = Phase::Syncing(self.desk.send(request));
    }

    fn commit_offset(&mut self, n: usize) {
        let client = &mut self.clients[n];
        if client.committing.is_none() {
            self.offset_asked += 1;
            let mut request = commit(client.generation, &client.id, "t", self.offset_asked);
            request.instance_id = client.instance.clone();
            client.committing = Some((self.desk.send(Request::OffsetCommit(request)), self.offset_asked));
        }
    }

    fn leave(&mut self, n: usize) {
        let client = &mut self.clients[n];
        client.is_running = false;
        // A static member that stops says nothing: it means to come back.
        if client.instance.is_none() && !client.id.is_empty() {
            let member =
                LeavingMember { member_id: client.id.clone(), instance_id: None, reason: Some("bye".into()) };
            self.desk.send(Request::LeaveGroup(LeaveGroup { group: group(), members: vec![member] }));
        }
        self.forget(n);
    }

    /// The process is gone, with everything it knew.
    fn forget(&mut self, n: usize) {
        let client = &mut self.clients[n];
        client.phase = Phase::Out;
        client.id = "".into();
        (client.beating, client.committing, client.to_assign) = (None, None, None);
    }

    fn read_offset(&mut self, require_stable: bool) {
        let token = self.desk.send(fetch("t", require_stable));
        if let Some(reply) = self.desk.take(token) {
            let offset = fetched(reply);
            assert!(offset >= self.offset_shown, "{offset} after {}", self.offset_shown);
            assert!(offset >= self.offset_acked && offset <= self.offset_asked);
            self.offset_shown = offset;
        }
    }

    // ---- what clients hear

    fn hear(&mut self, n: usize) {
        if let Some((token, offset)) = self.clients[n].committing
            && let Some(reply) = self.desk.take(token)
        {
            self.clients[n].committing = None;
            if reply.is_ok() {
                self.offset_acked = self.offset_acked.max(offset);
            }
        }
        if let Some(token) = self.clients[n].beating
            && let Some(reply) = self.desk.take(token)
        {
            self.clients[n].beating = None;
            if let Err(error) = reply {
                self.stumble(n, error);
            }
        }
        match self.clients[n].phase {
            Phase::Joining(token) => match self.desk.joined(token) {
                Some(Ok(joined)) => self.on_joined(n, joined),
                Some(Err(error)) => self.stumble(n, error),
                None => {}
            },
            Phase::Syncing(token) => match self.desk.synced(token) {
                Some(Ok(assigned)) => self.on_synced(n, assigned),
                Some(Err(error)) => self.stumble(n, error),
                None => {}
            },
            Phase::Out | Phase::In => {}
        }
    }

    fn on_joined(&mut self, n: usize, joined: Joined) {
        let newest = std::mem::replace(&mut self.clients[n].newest, joined.generation);
        assert!(joined.generation >= newest, "generations only rise: {} after {newest}", joined.generation);
        let seen = self.seen.entry(joined.generation).or_default();
        seen.protocols.insert(joined.protocol.clone());
        assert_eq!(seen.protocols.len(), 1, "one protocol per generation");
        let client = &mut self.clients[n];
        (client.id, client.generation) = (joined.member_id, joined.generation);
        client.protocol = joined.protocol;
        client.to_assign = None;
        if !joined.members.is_empty() && !joined.skip_assignment {
            assert_eq!(joined.leader, client.id);
            seen.assigners.insert(client.id.clone());
            assert_eq!(seen.assigners.len(), 1, "one leader per generation");
            let name = |metadata: &Bytes| String::from_utf8(metadata[metadata.len() - 2..].to_vec()).unwrap();
            let members = joined.members.iter().map(|m| (m.member_id.clone(), name(&m.metadata)));
            client.to_assign = Some(members.collect());
        }
        self.sync(n);
    }

    fn on_synced(&mut self, n: usize, assigned: Bytes) {
        let client = &mut self.clients[n];
        assert_eq!(assigned, assignment(client.generation, &client.name), "{client:?}");
        client.phase = Phase::In;
        if client.is_cooperative && self.chance.below(8) == 0 {
            client.topics += 1;
            self.join(n);
        }
    }

    fn stumble(&mut self, n: usize, error: Error) {
        let client = &mut self.clients[n];
        client.phase = Phase::Out;
        match error {
            Error::MemberIdRequired(id) => client.id = id,
            Error::UnknownMemberId | Error::FencedInstanceId => client.id = "".into(),
            Error::IllegalGeneration
            | Error::RebalanceInProgress
            | Error::CoordinatorNotAvailable
            | Error::NotCoordinator => {}
            other => panic!("{other:?} is no answer to a decent client"),
        }
    }

    // ---- what happens to the coordinator

    fn crash(&mut self) {
        for _ in 0..self.chance.below(3) {
            self.desk.commit_one();
        }
        self.desk.crash();
        self.seen.clear();
        for client in &mut self.clients {
            (client.beating, client.committing, client.newest) = (None, None, 0);
            if client.phase != Phase::In {
                client.phase = Phase::Out;
            }
        }
    }

    fn stir(&mut self) {
        let n = self.chance.below(CLIENTS as u64) as usize;
        match self.chance.below(100) {
            0..3 => self.clients[n].is_running = true,
            3 => self.leave(n),
            4 => {
                self.clients[n].is_running = false;
                self.forget(n);
            }
            5 => self.clients[n].topics += 1,
            6 if !self.desk.appends.is_empty() => self.desk.fail(AppendFailure::Unavailable),
            7 if self.chance.below(5) == 0 => self.crash(),
            8 => self.read_offset(false),
            9 => self.read_offset(true),
            10..60 => self.act(n),
            60..80 => self.desk.commit_one(),
            _ => {
                let ms = 1 << self.chance.below(14);
                self.desk.pass(ms);
            }
        }
        self.check();
    }

    /// What must hold at any time between the coordinator and its log.
    fn check(&mut self) {
        assert_consistent(&self.desk.coordinator);
        self.checks += 1;
        if !self.checks.is_multiple_of(20) {
            return;
        }
        let rebuilt = self.desk.rebuilt();
        assert_eq!(rebuilt.offsets, self.desk.coordinator.offsets);
        if self.desk.appends.is_empty() && self.desk.state() == Some(State::Stable) {
            self.stable_checks += 1;
            let [live, built] = [&self.desk.coordinator, &rebuilt].map(|coordinator| {
                let group = coordinator.groups.get(&group()).unwrap();
                let mut record = group.to_record(|member| member.assignment.clone());
                if let Record::GroupMetadata(metadata) = &mut record {
                    metadata.state_timestamp = 0;
                }
                record
            });
            assert_eq!(live, built);
        }
    }

    /// Nothing fails any more and everybody acts in time.
    fn calm(&mut self) {
        self.clients.iter_mut().for_each(|client| client.is_running = true);
        for _ in 0..300 {
            (0..CLIENTS).for_each(|n| self.act(n));
            self.desk.commit();
            self.desk.pass(SECOND);
            self.check();
        }
        (0..CLIENTS).for_each(|n| self.hear(n));
        let generations = self.clients.iter().map(|client| client.generation).collect::<BTreeSet<_>>();
        assert_eq!(self.desk.state(), Some(State::Stable));
        assert_eq!(generations.len(), 1, "everybody is in one generation");
        assert!(self.clients.iter().all(|client| client.phase == Phase::In));
        assert_eq!(self.desk.coordinator.groups().next().unwrap().members, CLIENTS);
    }

    /// Everybody is gone: the group must notice, and nobody may be left waiting.
    fn silence(&mut self) {
        for _ in 0..10 {
            self.desk.pass(MINUTE);
            self.desk.commit();
        }
        assert!(self.desk.unanswered.is_empty(), "{:?}", self.desk.unanswered);
        assert_eq!(self.desk.state(), Some(State::Empty));
        assert_eq!(self.desk.coordinator.groups().next().unwrap().members, 0);
        self.read_offset(true);
    }
}

fn assignment(generation: i32, name: &str) -> Bytes {
    format!("{generation}/{name}").into()
}

#[test]
fn members_come_to_rest_whatever_happens_and_nobody_waits_for_ever() {
    let mut stable_checks = 0;
    let mut shown = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.stir();
        }
        // Cooperative members would go on rejoining.
        world.clients.iter_mut().for_each(|client| client.is_cooperative = false);
        world.calm();
        world.silence();
        stable_checks += world.stable_checks;
        shown += world.offset_shown;
    }
    assert!(stable_checks > 500 && shown > 1000, "chaos must not be all: {stable_checks}, {shown}");
}

#[test]
fn one_seed_is_one_history() {
    let run = || {
        let mut world = World::new(7);
        (0..1500).for_each(|_| world.stir());
        world.desk.log
    };
    assert!(run() == run());
}
