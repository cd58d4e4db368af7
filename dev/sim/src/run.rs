//! One run: a seed becomes a world, clients and trouble; at the end everything is read back, once more after a power
//! cut, and once more after an ordinary restart. Two runs of one seed are the same, byte for byte.

use crate::{
    client::{
        Admin, CommittedReader, Committer, Ground, Kind, Member, Mover, Operator, Oracle, Producer, Reader,
        Reconciler, Rules, SUBTOPOLOGY, Sharer, Transactor,
    },
    cluster::Cluster,
    cluster_run,
    dice::Dice,
    drawing::Drawing,
    history::{Event, History, Place, Unit, Violation},
    node::Node,
    note,
    plan::{Plan, TopicPlan},
    schedule::Schedule,
    trace::{Keep, Trace},
    world::{Clocked, Plant, SimClock},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, atomic::AtomicU32},
};
use stdx::Uuid;
use tokio::task::JoinSet;

/// How to run a seed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many nodes there are.
    pub nodes: i32,
    /// Whether the run is drawn.
    pub draw: bool,
    /// How much of the trace is kept.
    pub keep: Keep,
    /// The bug that is planted.
    pub plant: Option<Plant>,
    /// The only check that counts: a planted bug is often found by others first.
    pub only: Option<&'static str>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Lines of the trace, and their hash.
    pub digest: (u64, u64),
    /// How often each kind of event happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long the simulated world lived.
    pub simulated_ms: u64,
    /// The lines of the trace that were kept.
    pub lines: Vec<String>,
    /// The run as it is drawn: a line for each moment at which something changed.
    pub drawing: Vec<String>,
}

/// The clients of a run, and what they work on.
pub struct Run {
    /// What clients need.
    pub ground: Ground,
    /// Asks when nothing else happens.
    pub oracle: Oracle,
    /// The partitions that exist for the whole run, and the ids of their topics.
    pub places: Vec<(Place, Uuid)>,
    /// The partitions that transactions write to.
    transactional: Vec<(Place, Uuid)>,
    group: Arc<str>,
    /// The groups whose coordinator shares things out.
    reconciled: Vec<(Arc<str>, Kind)>,
    /// The share group, and its limits, if there is one.
    shares: Option<(Arc<str>, (u64, i16))>,
    /// The dead-letter topic of it, if it has one.
    dead_letters: Option<&'static str>,
    committed: Vec<Arc<str>>,
    admin_topics: Vec<Arc<str>>,
}

/// How long clients may take to come to an end once the world is calm.
const END_MS_MAX: u64 = 90_000;
/// How long it may take to read everything back.
const READ_BACK_MS_MAX: u64 = 120_000;
/// How long it may take until each partition of a group has an owner: whoever fell silent has to be missed first.
const GROUPS_SETTLE_MS_MAX: u64 = 30_000;
const LOOK_MS: u64 = 100;
/// How long a client waits for an answer of the only node.
const PATIENCE_MS: u64 = 10_000;

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async {
        let dice = Dice::new(seed);
        let clock = SimClock::new();
        let trace = Trace::new(clock.clone(), options.keep);
        let history = History::new(trace.clone(), options.plant, options.only);
        let drawing = Drawing::new(options.draw);
        let live = async {
            if options.nodes > 1 {
                let world = (clock.clone(), trace.clone(), history.clone());
                cluster_run::live(world, options, &dice, drawing.clone()).await;
            } else {
                live(clock.clone(), trace.clone(), history.clone(), options.plant, &dice).await;
            }
        };
        tokio::select! {
            biased;
            () = history.until_violated() => {}
            () = live => {}
        }
        Report {
            seed,
            violations: history.violations(),
            digest: trace.digest(),
            counts: history.counts(),
            simulated_ms: clock.elapsed_ms(),
            lines: trace.lines(),
            drawing: drawing.lines(),
        }
    }))
}

/// The life of a node that is alone.
async fn live(
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    history: Arc<History>,
    plant: Option<Plant>,
    dice: &Dice,
) {
    let plan = Plan::new(dice);
    note!(trace, "plan {plan:?}");
    let node = Node::alone(&plan, clock.clone(), trace.clone(), dice);
    node.disk.set_faults(|faults| faults.plant = plant);
    let mut schedule =
        Schedule::new(node.clone(), clock.clone(), history.clone(), trace.clone(), dice.fork("schedule"));
    let ground = Ground {
        clock,
        cluster: Cluster::new(vec![node], history.clone()),
        history: history.clone(),
        rules: Arc::new(Rules::default()),
        patience_ms: PATIENCE_MS,
        epochs: Arc::default(),
    };
    let mut run = Run::new(ground, &plan, dice);
    schedule.start().await;
    if !run.create_topics(&plan).await {
        return;
    }
    let clients = run.clients(&plan, dice);
    schedule.run(plan.duration_ms).await;
    run.ground.clock.sleep_ms(2000).await;
    if !run.groups_settle().await || !run.end(clients, END_MS_MAX).await {
        return;
    }
    run.read_back("after the calm").await;
    schedule.inspect();
    schedule.cut_power().await;
    schedule.start().await;
    run.read_back("after a power cut in the calm").await;
    schedule.inspect();
    schedule.stop().await;
    schedule.start().await;
    run.read_back("after a restart in the calm").await;
    schedule.inspect();
}

impl Run {
    /// Nobody works yet.
    pub fn new(ground: Ground, plan: &Plan, dice: &Dice) -> Self {
        Self {
            oracle: Oracle::new(ground.clone(), dice.fork("oracle")),
            places: Vec::new(),
            transactional: Vec::new(),
            group: "members".into(),
            reconciled: [
                (plan.consumers, "consumers", Kind::Consumer),
                (plan.instances, "streams", Kind::Streams),
            ]
            .into_iter()
            .filter(|(members, ..)| *members > 0)
            .map(|(_, name, kind)| (name.into(), kind))
            .collect(),
            dead_letters: plan.dead_letters.then_some("dlq.sharers"),
            shares: (plan.sharers > 0).then(|| ("sharers".into(), plan.share_limits)),
            committed: (0..plan.committers).map(|number| format!("committer{number}").into()).collect(),
            admin_topics: (0..plan.admins * 2).map(|number| format!("admin{number}").into()).collect(),
            ground,
        }
    }

    /// Creates the topics that exist for the whole run; false if that takes for ever.
    pub async fn create_topics(&mut self, plan: &Plan) -> bool {
        let of_transactions = (plan.transactional_ids > 0).then(TopicPlan::of_transactions);
        for topic in plan.topics.iter().chain(&of_transactions) {
            let places = self.oracle.create(topic, plan.replication);
            let Ok(places) = places.within(&self.ground.clock, READ_BACK_MS_MAX).await else {
                self.ground.history.violated("availability", format!("{} cannot be created", topic.name));
                return false;
            };
            match plan.topics.iter().any(|known| known.name == topic.name) {
                true => self.places.extend(places),
                false => self.transactional.extend(places),
            }
        }
        if let Some((group, _)) = &self.shares {
            let begun = self
                .oracle
                .begin_shares(group, self.dead_letters)
                .within(&self.ground.clock, READ_BACK_MS_MAX)
                .await;
            if begun.is_err() {
                self.ground.history.violated("availability", format!("{group} cannot be configured"));
                return false;
            }
        }
        true
    }

    /// Members of groups stay where they are from now on: soon each partition and each task has one owner. False if not.
    pub async fn groups_settle(&self) -> bool {
        self.ground.rules.calm_down();
        let begun = self.ground.clock.elapsed_ms();
        for (group, kind) in &self.reconciled {
            let expected = self.units(*kind);
            loop {
                let owned = self.ground.history.owned(group);
                if owned.keys().eq(&expected) && owned.values().all(|owners| *owners == 1) {
                    break;
                }
                if self.ground.clock.elapsed_ms() > begun + GROUPS_SETTLE_MS_MAX {
                    let what = format!(
                        "group {group}: {GROUPS_SETTLE_MS_MAX} ms after the last member came or went {owned:?} of \
                         {expected:?} have owners"
                    );
                    self.ground.history.violated("availability", what);
                    return false;
                }
                self.ground.clock.sleep_ms(LOOK_MS).await;
            }
        }
        true
    }

    /// What there is to be shared out.
    fn units(&self, kind: Kind) -> BTreeSet<Unit> {
        let durable = self.places.iter().map(|(place, _)| place).filter(|place| !place.is_lossy());
        match kind {
            Kind::Consumer => durable.map(|place| (place.topic.clone(), place.partition)).collect(),
            Kind::Streams => durable.map(|place| (SUBTOPOLOGY.into(), place.partition)).collect(),
        }
    }

    /// Lets all clients come to an end; false if they do not.
    pub async fn end(&self, mut clients: JoinSet<()>, within_ms: u64) -> bool {
        self.ground.rules.end();
        let ended = async { while clients.join_next().await.is_some() {} };
        let is_over = ended.within(&self.ground.clock, within_ms).await.is_ok();
        if !is_over {
            let what = "clients do not come to an end in a calm world: a batch is refused again and again"
                .to_owned();
            self.ground.history.violated("availability", what);
        }
        is_over
    }

    /// The partitions for a client with this number: all that there are, or in a cluster one, since each has a leader of
    /// its own.
    fn places_of(&self, number: u32) -> Vec<(Place, Uuid)> {
        if !self.ground.cluster.is_several() {
            return self.places.clone();
        }
        let index = (number as usize).checked_rem(self.places.len()).unwrap_or(0);
        self.places.get(index).cloned().into_iter().collect()
    }

    /// Sends the clients to work.
    pub fn clients(&self, plan: &Plan, dice: &Dice) -> JoinSet<()> {
        let (mut clients, ground, places) = (JoinSet::new(), &self.ground, &self.places);
        for number in 0..plan.idempotent_producers {
            let dice = dice.fork(&format!("producer{number}"));
            let places = self.places_of(number);
            clients.spawn(Producer::new(ground.for_another(), dice, number, places).run_idempotent());
        }
        for number in 100..100 + plan.plain_producers {
            let dice = dice.fork(&format!("producer{number}"));
            let places = self.places_of(number);
            clients.spawn(Producer::new(ground.for_another(), dice, number, places).run_plain());
        }
        for number in 0..plan.readers {
            let dice = dice.fork(&format!("reader{number}"));
            let places = self.places_of(number);
            clients.spawn(Reader::new(ground.for_another(), dice, number, places).run());
        }
        // Where a power cut takes records away, offsets go back with them.
        let durable: Vec<_> = places.iter().filter(|(place, _)| !place.is_lossy()).cloned().collect();
        for number in 0..plan.members {
            let dice = dice.fork(&format!("member{number}"));
            let group = self.group.clone();
            clients.spawn(Member::new(ground.for_another(), dice, number, group, durable.clone()).run());
        }
        for (group, kind) in &self.reconciled {
            let members = if *kind == Kind::Consumer { plan.consumers } else { plan.instances };
            for number in 0..members {
                let dice = dice.fork(&format!("{group}{number}"));
                let (of, places) = ((group.clone(), *kind), durable.clone());
                clients.spawn(Reconciler::new(ground.for_another(), dice, number, of, places).run());
            }
        }
        for number in 0..plan.sharers {
            let dice = dice.fork(&format!("sharer{number}"));
            let Some((group, (lock_ms, _))) = self.shares.clone() else { break };
            let places = (durable.clone(), lock_ms);
            clients.spawn(Sharer::new(ground.for_another(), dice, number, group, places).run());
        }
        let names: Vec<Place> = places.iter().map(|(place, _)| place.clone()).collect();
        for group in &self.committed {
            let dice = dice.fork(group);
            clients.spawn(Committer::new(ground.for_another(), dice, group.clone(), names.clone()).run());
        }
        for (number, topics) in (0..).zip(self.admin_topics.chunks(2)) {
            let dice = dice.fork(&format!("admin{number}"));
            clients
                .spawn(Admin::new(ground.for_another(), dice, number, topics.to_vec(), names.clone()).run());
        }
        let incarnations = Arc::<AtomicU32>::default();
        for number in 0..plan.transactional_ids {
            for rival in 0..2 {
                let dice = dice.fork(&format!("transactor{number}/{rival}"));
                let (places, id) = (self.transactional.clone(), format!("txn{number}").into());
                let ground = ground.for_another();
                clients.spawn(Transactor::new(ground, dice, id, places, incarnations.clone()).run());
            }
            let dice = dice.fork(&format!("committed{number}"));
            let places = self.transactional.clone();
            clients.spawn(CommittedReader::new(ground.for_another(), dice, number, places).run());
        }
        if plan.has_two_dirs {
            let moved: Vec<_> =
                places.iter().chain(&self.transactional).map(|(place, _)| place.clone()).collect();
            clients.spawn(Mover::new(ground.for_another(), dice.fork("mover"), &moved).run());
        }
        if plan.operator {
            clients.spawn(Operator::new(ground.for_another(), dice.fork("operator"), names).run());
        }
        clients
    }

    /// Asks for everything while nothing else happens.
    pub async fn read_back(&mut self, when: &str) {
        let Self { oracle, places, transactional, group, shares, committed, admin_topics, ground, .. } = self;
        let reconciled = self.reconciled.iter().map(|(group, _)| group);
        let groups: Vec<&Arc<str>> = committed.iter().chain([&*group]).chain(reconciled).collect();
        let dead_letters = self.dead_letters;
        let all = async {
            for (place, id) in places.iter() {
                oracle.read_all(place, *id).await;
                oracle.read_keys(place, *id).await;
                for group in &groups {
                    oracle.committed(group, place).await;
                }
            }
            for topic in admin_topics.iter() {
                oracle.look(topic).await;
            }
            for (place, id) in transactional.iter() {
                oracle.read_committed(place, *id).await;
            }
            ground.history.tell(Event::TxnAllRead);
            if let Some((group, limits)) = shares {
                let durable = places.iter().filter(|(place, _)| !place.is_lossy());
                let durable: Vec<_> = durable.cloned().collect();
                oracle.drain(group, &durable, *limits).await;
                if let Some(topic) = dead_letters {
                    oracle.read_letters(group, topic).await;
                }
            }
        };
        if all.within(&ground.clock, READ_BACK_MS_MAX).await.is_err() {
            ground.history.violated("availability", format!("{when} not everything can be read back"));
        }
    }
}
