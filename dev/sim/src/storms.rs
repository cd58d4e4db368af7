//! What goes wrong in a cluster and when: calm, then a storm in which one fault follows the other before the first is
//! healed, then everything is healed, until the time is over. It knows nothing of what clients do; it switches machines,
//! disks, clocks and the ways between them.

use crate::{
    cluster::Cluster,
    dice::Dice,
    drawing::Drawing,
    history::{Event, Fault, History},
    node::{Node, Started},
    note,
    trace::Trace,
    world::{CLIENTS, Clocked, Host, Network, SimClock},
};
use futures_util::future::select_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::oneshot::error::TryRecvError;

/// What the schedule holds in its hands.
pub struct World {
    /// The machines.
    pub cluster: Arc<Cluster>,
    /// The ways between them.
    pub network: Arc<Network>,
    /// The time that passes for all.
    pub clock: Arc<SimClock>,
    /// Whom to tell.
    pub history: Arc<History>,
    /// Where it is written down.
    pub trace: Arc<Trace>,
    /// Where it is drawn.
    pub drawing: Arc<Drawing>,
}

/// Makes trouble.
pub struct Storms {
    world: World,
    dice: Dice,
    /// What is to be undone, and when.
    pending: Vec<(u64, Heal)>,
    /// Ways that are cut, by the fault that has cut them.
    cuts: BTreeMap<u64, BTreeSet<(Host, Host)>>,
    cuts_made: u64,
    /// Starts that have not ended.
    starting: BTreeMap<Host, Started>,
    /// Nodes whose media may damage what they keep, until all of that is repaired.
    damaged_nodes: BTreeSet<Host>,
    /// Nodes whose disk has failed since they were started.
    troubled: BTreeSet<Host>,
    /// Nothing more shall go wrong for now.
    is_calm: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Heal {
    Start(Host),
    Resume(Host),
    /// The ways of this cut are open again.
    Open(u64),
    /// They flap: cut again or open, so many times more.
    Flap(u64, BTreeSet<(Host, Host)>, u64),
    Lanes(Host),
    /// A disk works again; what has failed for good is back after a restart.
    Repair(Host),
    /// The power that was to be cut soon stays.
    KeepPower(Host),
}

/// How long an ordinary stop may take.
const STOP_MS_MAX: u64 = 20_000;
/// A node that has not started so long after everything was healed never will.
const START_MS_MAX: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
/// How often somebody looks at what nodes know.
const LOOK_MS: u64 = 25;
/// The pause before a node is started again that could not start because of its disk.
const AGAIN_MS: u64 = 300;

impl Storms {
    /// No trouble yet; all machines are off.
    pub fn new(world: World, dice: Dice) -> Self {
        Self {
            world,
            dice,
            pending: Vec::new(),
            cuts: BTreeMap::new(),
            cuts_made: 0,
            starting: BTreeMap::new(),
            damaged_nodes: BTreeSet::new(),
            troubled: BTreeSet::new(),
            is_calm: true,
        }
    }

    /// What it holds in its hands.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Makes trouble for so long, then heals everything.
    pub async fn run(&mut self, duration_ms: u64) {
        let end = self.now() + duration_ms;
        while self.now() < end {
            let calm = self.dice.range(500..=4000);
            self.wait(calm).await;
            let storm = self.now() + self.dice.range(500..=7000);
            self.is_calm = false;
            while self.now() < storm {
                self.trouble().await;
                let pause = self.dice.range(20..=1200);
                self.wait(pause).await;
            }
            self.heal().await;
        }
    }

    /// Time passes; what is due is healed, and what happens to machines is noticed.
    pub async fn wait(&mut self, millis: u64) {
        let until = self.now() + millis;
        loop {
            self.notice().await;
            self.undo_what_is_due().await;
            self.world.cluster.look();
            let now = self.now();
            self.world.drawing.sample(now, &self.world.cluster, &self.world.history);
            if now >= until {
                return;
            }
            let nodes = self.world.cluster.nodes().to_vec();
            let cuts = nodes.iter().map(|node| Box::pin(node.disk.until_power_cut()));
            let clock = self.world.clock.clone();
            let cut = tokio::select! {
                biased;
                ((), index, _) = select_all(cuts) => Some(index),
                () = clock.sleep_ms(LOOK_MS.min(until - now)) => None,
            };
            if let Some(node) = cut.and_then(|index| nodes.get(index)) {
                self.after_power_cut(node, "between two operations").await;
            }
        }
    }

    /// Switches every machine on and waits until all serve.
    pub async fn start_all(&mut self) {
        let off: Vec<_> = self.nodes().filter(|node| !node.is_on()).cloned().collect();
        off.iter().for_each(|node| self.launch(node));
        let deadline = self.now() + START_MS_MAX;
        while self.nodes().any(|node| node.broker().is_none()) && self.now() < deadline {
            self.wait(LOOK_MS).await;
        }
        for node in self.world.cluster.nodes().iter().filter(|node| node.broker().is_none()) {
            self.world.history.violated("availability", format!("node {} hangs while it starts", node.id));
        }
    }

    /// All lose their power at once.
    pub async fn black_out(&mut self) {
        for node in self.world.cluster.nodes().to_vec() {
            if node.is_on() {
                node.disk.cut_power();
                self.after_power_cut(&node, "with all others").await;
            }
        }
    }

    /// One node after the other is stopped and started, as in an upgrade.
    pub async fn roll(&mut self) {
        for node in self.world.cluster.nodes().to_vec() {
            self.stop(&node).await;
            self.start_all().await;
        }
    }

    /// One node loses its disk and gets an empty one.
    pub async fn replace_disk(&mut self) {
        let Some(node) = self.victim() else { return };
        self.tell(format!("the disk of node {} is replaced", node.id));
        self.kill(&node).await;
        node.disk.replace();
        self.start_all().await;
    }

    /// Nothing is wrong any more; all nodes are on.
    pub async fn heal(&mut self) {
        self.draw("everything is healed");
        note!(self.world.trace, "storms heal");
        self.is_calm = true;
        let broken: BTreeSet<Host> = std::mem::take(&mut self.troubled);
        self.pending.clear();
        self.cuts.clear();
        self.world.network.set_cut(BTreeSet::new());
        self.world.network.set_delay(2);
        for node in self.world.cluster.nodes().to_vec() {
            node.disk.set_faults(|faults| {
                (faults.full, faults.sync_errors, faults.power_cut_after) = (false, 0, None);
            });
            node.lanes.set(2);
            node.gate.set_shut(false);
            if node.is_on() && broken.contains(&node.id) {
                self.end_somehow(&node).await;
            }
            if !node.is_on() {
                self.launch(&node);
            }
        }
    }

    async fn trouble(&mut self) {
        let Some(node) = self.victim() else { return };
        match self.dice.below(26) {
            0 | 1 => {
                self.kill(&node).await;
                self.start_later(&node, 3000);
            }
            2 => {
                node.disk.cut_power();
                self.after_power_cut(&node, "now").await;
            }
            3 | 4 => self.cut_power_soon(&node),
            5 | 6 => self.pause(&node),
            7 => {
                self.stop(&node).await;
                self.start_later(&node, 2000);
            }
            8 | 9 => self.isolate(&node),
            10 | 11 => self.cut_one_way(&node),
            12 => self.cut_pair(&node),
            13 => self.flap(&node),
            14 => self.fail_syncs(&node),
            15 => self.fill_disk(&node),
            16 => {
                let ms = self.dice.range(30..=400);
                self.tell(format!("node {} has a slow disk, {ms} ms", node.id));
                node.lanes.set(ms);
                self.later(5000, Heal::Lanes(node.id));
            }
            17 => {
                let ms = self.dice.pick(&[2_000, 60_000, HOUR_MS], 2000) as i64;
                let ms = if self.dice.chance(50) { ms } else { -ms };
                self.tell(format!("the clock of node {} jumps {ms} ms", node.id));
                node.clock.jump(ms);
            }
            18 => {
                let percent = self.dice.pick(&[20, 50, 100], 50);
                self.tell(format!("{percent} % of all connections are reset"));
                self.world.network.reset_some(percent);
            }
            19 | 20 => {
                let ms = self.dice.pick(&[0, 3, 30, 150], 3);
                self.tell(format!("the network takes up to {ms} ms"));
                self.world.network.set_delay(ms);
            }
            21 => self.black_out().await,
            _ => self.damage(),
        }
    }

    /// The medium of one of the damaged nodes changes what it should keep, where another replica is in sync and sound. Who
    /// is damaged is drawn anew once everything is repaired: a minority at a time.
    fn damage(&mut self) {
        let cluster = self.world.cluster.clone();
        let (Some(image), damaged) = (cluster.newest(), cluster.damaged()) else { return };
        if damaged.is_empty() {
            let mut all: Vec<_> = self.nodes().map(|node| node.id).collect();
            let minority = (all.len().saturating_sub(1)) / 2;
            self.damaged_nodes.clear();
            for _ in 0..minority {
                let place = self.dice.below(all.len() as u64) as usize;
                self.damaged_nodes.insert(all.swap_remove(place));
            }
        }
        let nodes: Vec<_> = self.damaged_nodes.iter().copied().collect();
        let victim = self.dice.pick(&nodes, 0);
        let Some(node) = cluster.node(victim).cloned() else { return };
        let mut places = Vec::new();
        for topic in image.topics() {
            for (index, partition) in topic.indexed() {
                let is_damaged =
                    damaged.iter().any(|(_, (name, other))| *name == *topic.name && *other == index);
                let others = partition.isr.iter().filter(|id| **id != victim).count();
                if partition.replicas.contains(&victim) && others > 0 && !is_damaged {
                    places.push((topic.name.to_string(), index));
                }
            }
        }
        let place = self.dice.pick(&places, (String::new(), 0));
        let point = node.recovery_point(&place.0, place.1);
        let dir = node.dir_of(&place.0, place.1);
        let policy = image
            .overrides(metadata::config::ResourceKind::Topic, &place.0)
            .and_then(|own| own.get("cleanup.policy").cloned());
        // Between the batches of a log that may be compacted there are holes: nobody can tell what is gone.
        let may_lose = !place.0.starts_with("__") && policy.is_none_or(|policy| !policy.contains("compact"));
        if let Some(damage) = node.disk.damage(&dir, point, may_lose, &mut self.dice) {
            self.tell(format!("the disk of node {victim} is damaged: {}", damage.what));
            self.world.history.tell(Event::Faulted(Fault::Damage));
            cluster.on_damage(&node, place, damage);
        }
    }

    /// Waits until every damaged replica is in sync again; `false` if that takes too long.
    pub async fn until_repaired(&mut self, within_ms: u64) -> bool {
        let deadline = self.now() + within_ms;
        loop {
            let damaged = self.world.cluster.damaged();
            let Some((node, place)) = damaged.first() else { return true };
            if self.now() > deadline {
                let what =
                    format!("{within_ms} ms after all was healed {place:?} on node {node} is not repaired");
                self.world.history.violated("repair", what);
                return false;
            }
            self.wait(LOOK_MS).await;
        }
    }

    /// Whom it hits: anyone, or who leads something.
    fn victim(&mut self) -> Option<Arc<Node>> {
        let on: Vec<_> = self.nodes().filter(|node| node.is_on()).cloned().collect();
        let leader = self.dice.chance(50).then(|| self.world.cluster.leader("t0", 0)).flatten();
        let leads = on.iter().find(|node| leader.is_some_and(|(leader, _)| leader == node.id));
        let any = self.dice.below(on.len() as u64) as usize;
        leads.or(on.get(any)).cloned()
    }

    async fn kill(&mut self, node: &Arc<Node>) {
        self.world.cluster.look();
        self.tell(format!("node {} is killed", node.id));
        node.kill().await;
        self.forget(node);
        self.world.history.tell(Event::Faulted(Fault::Kill));
    }

    async fn stop(&mut self, node: &Arc<Node>) {
        self.tell(format!("node {} is stopped", node.id));
        let clock = self.world.clock.clone();
        if node.stop().within(&clock, STOP_MS_MAX).await.is_err() {
            note!(self.world.trace, "node {} is killed because it does not stop", node.id);
            node.kill().await;
        }
        self.forget(node);
        self.world.history.tell(Event::Faulted(Fault::Stop));
    }

    /// The disk has lost its power: so has everything else of the machine.
    async fn after_power_cut(&mut self, node: &Arc<Node>, when: &str) {
        self.world.cluster.look();
        let is_silent = self.dice.chance(50);
        let how = if is_silent { ", silently" } else { "" };
        self.tell(format!("the power of node {} is cut {when}{how}", node.id));
        if is_silent {
            node.end_silently().await;
        } else {
            node.end().await;
        }
        node.disk.take_power_cut();
        self.forget(node);
        self.world.history.tell(Event::Faulted(Fault::PowerCut));
        // Now and then once more while it recovers.
        if !self.is_calm && self.dice.chance(25) {
            let operations = self.dice.range(0..=150);
            node.disk.set_faults(|faults| faults.power_cut_after = Some(operations));
            self.troubled.insert(node.id);
            self.later(4000, Heal::KeepPower(node.id));
        }
        self.start_later(node, 3000);
    }

    fn cut_power_soon(&mut self, node: &Node) {
        let operations = self.dice.range(0..=80);
        self.tell(format!("the power of node {} is cut after {operations} operations", node.id));
        node.disk.set_faults(|faults| faults.power_cut_after = Some(operations));
        self.troubled.insert(node.id);
        self.later(3000, Heal::KeepPower(node.id));
    }

    fn pause(&mut self, node: &Node) {
        self.tell(format!("node {} pauses", node.id));
        node.gate.set_shut(true);
        self.later(5000, Heal::Resume(node.id));
    }

    /// Nobody reaches it and it reaches nobody; clients do or do not.
    fn isolate(&mut self, node: &Node) {
        let with_clients = self.dice.chance(60);
        let others = self.others(node.id, with_clients);
        let cut = others.iter().flat_map(|other| [(node.id, *other), (*other, node.id)]).collect();
        self.tell(format!("node {} is cut off{}", node.id, if with_clients { "" } else { " from nodes" }));
        self.cut(cut, 6000);
    }

    fn cut_one_way(&mut self, node: &Node) {
        let with_clients = self.dice.chance(40);
        let (others, is_deaf) = (self.others(node.id, with_clients), self.dice.chance(50));
        let way = |other: &Host| if is_deaf { (*other, node.id) } else { (node.id, *other) };
        self.tell(format!(
            "node {} {}",
            node.id,
            if is_deaf { "hears nobody" } else { "is heard by nobody" }
        ));
        self.cut(others.iter().map(way).collect(), 6000);
    }

    fn cut_pair(&mut self, node: &Node) {
        let others = self.others(node.id, false);
        let other = self.dice.pick(&others, node.id);
        self.tell(format!("nodes {} and {other} are cut from each other", node.id));
        self.cut(BTreeSet::from([(node.id, other), (other, node.id)]), 6000);
    }

    fn flap(&mut self, node: &Node) {
        let others = self.others(node.id, true);
        let cut: BTreeSet<_> =
            others.iter().flat_map(|other| [(node.id, *other), (*other, node.id)]).collect();
        let times = self.dice.range(3..=12);
        self.tell(format!("the ways of node {} flap", node.id));
        self.cuts_made += 1;
        self.later(100, Heal::Flap(self.cuts_made, cut, times));
    }

    fn fail_syncs(&mut self, node: &Node) {
        let count = self.dice.range(1..=2) as u32;
        self.tell(format!("{count} syncs of node {} fail", node.id));
        node.disk.set_faults(|faults| faults.sync_errors = count);
        self.troubled.insert(node.id);
        self.later(2000, Heal::Repair(node.id));
    }

    fn fill_disk(&mut self, node: &Node) {
        self.tell(format!("the disk of node {} is full", node.id));
        node.disk.set_faults(|faults| faults.full = true);
        self.troubled.insert(node.id);
        self.later(3000, Heal::Repair(node.id));
    }

    fn cut(&mut self, cut: BTreeSet<(Host, Host)>, ms_max: u64) {
        self.cuts_made += 1;
        self.cuts.insert(self.cuts_made, cut);
        self.apply_cuts();
        self.later(ms_max, Heal::Open(self.cuts_made));
    }

    fn apply_cuts(&self) {
        self.world.network.set_cut(self.cuts.values().flatten().copied().collect());
    }

    async fn undo_what_is_due(&mut self) {
        let now = self.now();
        let (due, rest) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = rest;
        let due: Vec<(u64, Heal)> = due;
        for (_, heal) in due {
            self.undo(heal).await;
        }
    }

    async fn undo(&mut self, heal: Heal) {
        let node = |id: &Host| self.world.cluster.node(*id).cloned();
        match &heal {
            Heal::Start(id) => {
                if let Some(node) = node(id).filter(|node| !node.is_on()) {
                    self.launch(&node);
                }
            }
            Heal::Resume(id) => {
                if let Some(node) = node(id) {
                    self.tell(format!("node {id} goes on"));
                    node.gate.set_shut(false);
                }
            }
            Heal::Open(cut) => {
                self.cuts.remove(cut);
                self.tell("a cut is healed".into());
                self.apply_cuts();
            }
            Heal::Flap(cut, ways, times) => {
                if self.cuts.remove(cut).is_none() && *times > 0 {
                    self.cuts.insert(*cut, ways.clone());
                }
                self.apply_cuts();
                if *times > 0 {
                    self.later(700, Heal::Flap(*cut, ways.clone(), times - 1));
                }
            }
            Heal::Lanes(id) => {
                if let Some(node) = node(id) {
                    node.lanes.set(self.dice.range(0..=3));
                }
            }
            Heal::KeepPower(id) => {
                if let Some(node) = node(id) {
                    node.disk.set_faults(|faults| faults.power_cut_after = None);
                }
            }
            Heal::Repair(id) => {
                if let Some(node) = node(id) {
                    node.disk.set_faults(|faults| (faults.full, faults.sync_errors) = (false, 0));
                    if node.is_on() {
                        self.end_somehow(&node).await;
                        self.start_later(&node, 1500);
                    }
                }
            }
        }
    }

    async fn end_somehow(&mut self, node: &Arc<Node>) {
        match self.dice.below(3) {
            0 => self.kill(node).await,
            1 => {
                node.disk.cut_power();
                self.after_power_cut(node, "to repair it").await;
            }
            _ => self.stop(node).await,
        }
    }

    fn launch(&mut self, node: &Arc<Node>) {
        self.tell(format!("node {} is started", node.id));
        let is_troubled = {
            let mut active = false;
            node.disk.set_faults(|faults| {
                active = faults.full || faults.sync_errors > 0 || faults.power_cut_after.is_some();
            });
            active
        };
        if !is_troubled {
            self.troubled.remove(&node.id);
        }
        self.starting.insert(node.id, node.launch());
    }

    fn start_later(&mut self, node: &Node, ms_max: u64) {
        self.later(ms_max, Heal::Start(node.id));
    }

    fn later(&mut self, ms_max: u64, heal: Heal) {
        let at = self.now() + self.dice.range(0..=ms_max);
        self.pending.push((at, heal));
    }

    /// Its process is gone, and with it what it was about.
    fn forget(&mut self, node: &Node) {
        self.starting.remove(&node.id);
        self.pending.retain(|(_, heal)| *heal != Heal::Resume(node.id));
    }

    /// Looks at what has become of starts, and tells what nodes must never have done.
    async fn notice(&mut self) {
        let ids: Vec<Host> = self.starting.keys().copied().collect();
        for id in ids {
            let Some(ended) = self.starting.get_mut(&id).map(|start| start.try_recv()) else { continue };
            let Some(node) = self.world.cluster.node(id).cloned() else { continue };
            match ended {
                Err(TryRecvError::Empty) => continue,
                Ok(Ok(())) => self.tell(format!("node {id} serves")),
                Err(TryRecvError::Closed) => {}
                Ok(Err(why)) => {
                    node.kill().await;
                    if self.troubled.contains(&id) {
                        self.tell(format!("node {id} does not start: {why}"));
                        self.pending.push((self.now() + AGAIN_MS, Heal::Start(id)));
                    } else if !node.disk.take_power_cut() {
                        let what = format!("node {id} does not start: {why}");
                        self.world.history.violated("availability", what);
                    }
                }
            }
            self.starting.remove(&id);
        }
        for node in self.world.cluster.nodes() {
            for panic in node.panics.lock().drain(..) {
                self.world.history.violated("panic", format!("node {}: {panic}", node.id));
            }
            for misdeed in node.disk.take_misdeeds() {
                self.world.history.violated("failed_syncs", format!("node {}: {misdeed}", node.id));
            }
        }
    }

    fn others(&self, id: Host, with_clients: bool) -> Vec<Host> {
        let clients = with_clients.then_some(CLIENTS);
        self.nodes().map(|node| node.id).filter(|other| *other != id).chain(clients).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.world.cluster.nodes().iter()
    }

    fn now(&self) -> u64 {
        self.world.clock.elapsed_ms()
    }

    fn tell(&self, what: String) {
        note!(self.world.trace, "storm: {what}");
        self.draw(&what);
    }

    fn draw(&self, what: &str) {
        let now = self.now();
        self.world.drawing.tell(now, &self.world.cluster, &self.world.history, what);
    }
}
