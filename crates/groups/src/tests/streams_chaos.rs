//! Streams groups under any order of joining, leaving, silence, lost answers, failed appends, changed topics and crashes: no
//! task runs twice at once, no process has one twice, and in calm every task runs.

use super::{
    consumers::know,
    desk::*,
    streams::{TOPICS, beating, config, joining},
};
use crate::*;
use model::PartitionIndex;
use std::{collections::BTreeMap, sync::Arc};

/// A thread of an application: it works on what it was given, and gives up before it says so.
#[derive(Debug, Clone, Default)]
struct Client {
    process: usize,
    epoch: i32,
    owned: Tasks,
    is_new: bool,
    /// It has missed an answer: it says everything until it hears one.
    is_unsaid: bool,
    /// When it last heard an answer; who hears none for a session works no more.
    heard_at: u64,
}

struct World {
    desk: Desk,
    clients: BTreeMap<String, Client>,
    names: usize,
    standby_replicas: i32,
    chance: Chance,
}

impl World {
    fn request(&self, name: &str, client: &Client) -> StreamsHeartbeat {
        let process_id = Some(format!("p{}", client.process).as_str().into());
        let config = StreamsConfig { standby_replicas: self.standby_replicas, ..config() };
        match client.is_new {
            true => StreamsHeartbeat { process_id, config, ..joining(name) },
            false => StreamsHeartbeat { config, ..beating(name, client.epoch, Some(client.owned.clone())) },
        }
    }

    /// One heartbeat of a client; its answer may be lost, its append may fail.
    fn beat(&mut self, name: &str, is_calm: bool) {
        let Some(mut client) = self.clients.get(name).cloned() else { return };
        let request = self.request(name, &client);
        let token = self.desk.send(Request::StreamsHeartbeat(Box::new(request)));
        if !self.desk.appends.is_empty() {
            match if is_calm { 9 } else { self.chance.below(10) } {
                0 => self.desk.fail(AppendFailure::Unavailable),
                _ => self.desk.commit(),
            }
        }
        let answer = self.desk.take(token).expect("an answer");
        if !is_calm && self.chance.below(8) == 0 {
            client.is_unsaid = true;
            self.clients.insert(name.to_owned(), client);
            return;
        }
        match answer {
            Ok(Reply::StreamsHeartbeat(reply)) => {
                (client.is_new, client.is_unsaid) = (false, false);
                client.epoch = reply.epoch;
                client.heard_at = self.desk.now.monotonic;
                client.owned = reply.assignment.unwrap_or(client.owned);
                self.clients.insert(name.to_owned(), client);
            }
            Err(Error::FencedMemberEpoch | Error::UnknownMemberId | Error::GroupIdNotFound) => {
                let process = client.process;
                self.clients.insert(name.to_owned(), Client { process, is_new: true, ..Client::default() });
            }
            // Dead ones still take its place.
            Err(Error::GroupMaxSizeReached) if client.is_new => {}
            Err(Error::CoordinatorNotAvailable) => self.clients.get_mut(name).unwrap().is_unsaid = true,
            other => panic!("{other:?}"),
        }
    }

    fn act(&mut self) {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        let some = |world: &mut Self| {
            let place = world.chance.below(names.len().max(1) as u64) as usize;
            names.get(place).cloned()
        };
        match self.chance.below(20) {
            0 if names.len() < 5 => {
                self.names += 1;
                let process = self.names / 2;
                let client = Client { process, is_new: true, ..Client::default() };
                self.clients.insert(format!("m{}", self.names), client);
            }
            1 => {
                // It dies; its tasks are nobody's until the group notices.
                some(self).map(|name| self.clients.remove(&name));
            }
            2 => {
                if let Some(name) = some(self) {
                    self.clients.remove(&name);
                    let leaving = Request::StreamsHeartbeat(Box::new(beating(&name, -1, None)));
                    self.desk.send(leaving);
                    self.desk.commit();
                }
            }
            3 => {
                self.desk.crash();
                know(&mut self.desk, &TOPICS);
            }
            4 => self.desk.pass(5 * SECOND),
            5 => self.standby_replicas = self.chance.below(3) as i32,
            _ => {
                if let Some(name) = some(self) {
                    self.beat(&name, false);
                }
            }
        }
    }

    /// Who works, of those that think they are members.
    fn workers(&self) -> impl Iterator<Item = (&String, &Client)> {
        let session = 45 * SECOND * 1_000_000;
        self.clients.iter().filter(move |(_, client)| self.desk.now.monotonic < client.heard_at + session)
    }

    fn check(&self, seed: u64) {
        let mut runs = BTreeMap::<(Arc<str>, PartitionIndex), &String>::new();
        let mut keeps = BTreeMap::<(usize, Arc<str>, PartitionIndex), &String>::new();
        for (name, client) in self.workers() {
            for (kind, tasks) in [&client.owned.active, &client.owned.standby].into_iter().enumerate() {
                for (id, index) in
                    tasks.iter().flat_map(|(id, all)| all.iter().map(move |index| (id, *index)))
                {
                    if kind == 0
                        && let Some(other) = runs.insert((id.clone(), index), name)
                    {
                        panic!("seed {seed}: {other} and {name} both run {id}_{index}");
                    }
                    if let Some(other) = keeps.insert((client.process, id.clone(), index), name) {
                        panic!("seed {seed}: {other} and {name} have {id}_{index} in one process");
                    }
                }
            }
        }
    }
}

/// All of the groups that the log holds.
fn written(coordinator: &Coordinator) -> String {
    let groups = coordinator.streams.values().map(|group| {
        let of_members = (&group.members, &group.static_members, &group.targets);
        format!("{:?}", (&group.id, &group.epoch, &group.topology, &group.target_epoch, of_members))
    });
    groups.collect()
}

fn run(seed: u64) {
    let mut desk = Desk::new();
    desk.commits_at_once = false;
    know(&mut desk, &TOPICS);
    let chance = Chance(seed);
    let mut world = World { desk, clients: BTreeMap::new(), names: 0, standby_replicas: 0, chance };
    for _ in 0..150 {
        world.act();
        world.check(seed);
    }
    for _ in 0..40 {
        let names: Vec<String> = world.clients.keys().cloned().collect();
        names.iter().for_each(|name| world.beat(name, true));
        world.check(seed);
        world.desk.pass(5 * SECOND);
        world.desk.commit();
    }
    assert_eq!(
        written(&world.desk.rebuilt()),
        written(&world.desk.coordinator),
        "seed {seed}: after a replay"
    );
    let running: usize =
        world.clients.values().flat_map(|c| c.owned.active.values()).map(|all| all.len()).sum();
    assert_eq!(running, if world.clients.is_empty() { 0 } else { 6 }, "seed {seed}: tasks that run in calm");
    let processes =
        world.clients.values().map(|client| client.process).collect::<std::collections::BTreeSet<_>>().len();
    let copies: usize =
        world.clients.values().flat_map(|c| c.owned.standby.values()).map(|all| all.len()).sum();
    let wanted = 3 * (world.standby_replicas as usize).min(processes.saturating_sub(1));
    assert_eq!(copies, wanted, "seed {seed}: copies in calm");
}

#[test]
fn no_task_runs_twice_and_in_calm_each_runs_once() {
    (0..300).for_each(run);
}
