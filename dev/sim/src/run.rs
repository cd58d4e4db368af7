//! One run: a seed becomes a world, clients and trouble; at the end everything is read back, once more after a power
//! cut, and once more after an ordinary restart. Two runs of one seed are the same, byte for byte.

use crate::{
    client::{Admin, Committer, Ground, Member, Oracle, Producer, Reader, Rules},
    dice::Dice,
    history::{History, Place, Violation},
    node::Node,
    note,
    plan::Plan,
    schedule::Schedule,
    trace::{Keep, Trace},
    world::{Clocked, Plant, SimClock},
};
use std::{collections::BTreeMap, io, sync::Arc};
use stdx::Uuid;
use tokio::task::JoinSet;

/// How to run a seed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
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
}

struct Run {
    ground: Ground,
    oracle: Oracle,
    schedule: Schedule,
    places: Vec<(Place, Uuid)>,
    group: Arc<str>,
    committed: Vec<Arc<str>>,
    admin_topics: Vec<Arc<str>>,
}

/// How long clients may take to come to an end once the world is calm.
const END_MS_MAX: u64 = 90_000;
/// How long it may take to read everything back.
const READ_BACK_MS_MAX: u64 = 120_000;

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async {
        let dice = Dice::new(seed);
        let clock = SimClock::new();
        let trace = Trace::new(clock.clone(), options.keep);
        let history = History::new(trace.clone(), options.plant, options.only);
        let plan = Plan::new(&dice);
        note!(trace, "plan {plan:?}");
        let node = Node::new(&plan, clock.clone(), trace.clone(), &dice);
        node.disk.set_faults(|faults| faults.plant = options.plant);
        let ground = Ground {
            clock: clock.clone(),
            node,
            history: history.clone(),
            rules: Arc::new(Rules::default()),
        };
        tokio::select! {
            biased;
            () = history.until_violated() => {}
            () = live(ground, &plan, &trace, &dice) => {}
        }
        Report {
            seed,
            violations: history.violations(),
            digest: trace.digest(),
            counts: history.counts(),
            simulated_ms: clock.elapsed_ms(),
            lines: trace.lines(),
        }
    }))
}

async fn live(ground: Ground, plan: &Plan, trace: &Arc<Trace>, dice: &Dice) {
    let schedule = Schedule::new(
        ground.node.clone(),
        ground.clock.clone(),
        ground.history.clone(),
        trace.clone(),
        dice.fork("schedule"),
    );
    let mut run = Run {
        oracle: Oracle::new(ground.clone(), dice.fork("oracle")),
        schedule,
        places: Vec::new(),
        group: "members".into(),
        committed: (0..plan.committers).map(|number| format!("committer{number}").into()).collect(),
        admin_topics: (0..plan.admins * 2).map(|number| format!("admin{number}").into()).collect(),
        ground,
    };
    run.schedule.start().await;
    for topic in &plan.topics {
        let places = run.oracle.create(topic).within(&run.ground.clock, READ_BACK_MS_MAX).await;
        let Ok(places) = places else {
            return run.ground.history.violated("availability", format!("{} cannot be created", topic.name));
        };
        run.places.extend(places);
    }
    let mut clients = run.clients(plan, dice);
    run.schedule.run(plan.duration_ms).await;
    run.ground.clock.sleep_ms(2000).await;
    run.ground.rules.end();
    let ended = async { while clients.join_next().await.is_some() {} };
    if ended.within(&run.ground.clock, END_MS_MAX).await.is_err() {
        let what =
            "clients do not come to an end in a calm world: a batch is refused again and again".to_owned();
        return run.ground.history.violated("availability", what);
    }
    run.read_back("after the calm").await;
    run.schedule.cut_power().await;
    run.schedule.start().await;
    run.read_back("after a power cut in the calm").await;
    run.schedule.stop().await;
    run.schedule.start().await;
    run.read_back("after a restart in the calm").await;
}

impl Run {
    fn clients(&self, plan: &Plan, dice: &Dice) -> JoinSet<()> {
        let (mut clients, ground, places) = (JoinSet::new(), &self.ground, &self.places);
        for number in 0..plan.idempotent_producers {
            let dice = dice.fork(&format!("producer{number}"));
            clients.spawn(Producer::new(ground.clone(), dice, number, places.clone()).run_idempotent());
        }
        for number in 100..100 + plan.plain_producers {
            let dice = dice.fork(&format!("producer{number}"));
            clients.spawn(Producer::new(ground.clone(), dice, number, places.clone()).run_plain());
        }
        for number in 0..plan.readers {
            let dice = dice.fork(&format!("reader{number}"));
            clients.spawn(Reader::new(ground.clone(), dice, number, places.clone()).run());
        }
        // Where a power cut takes records away, offsets go back with them.
        let durable: Vec<_> = places.iter().filter(|(place, _)| !place.is_lossy()).cloned().collect();
        for number in 0..plan.members {
            let dice = dice.fork(&format!("member{number}"));
            let group = self.group.clone();
            clients.spawn(Member::new(ground.clone(), dice, number, group, durable.clone()).run());
        }
        let names: Vec<Place> = places.iter().map(|(place, _)| place.clone()).collect();
        for group in &self.committed {
            let dice = dice.fork(group);
            clients.spawn(Committer::new(ground.clone(), dice, group.clone(), names.clone()).run());
        }
        for (number, topics) in (0..).zip(self.admin_topics.chunks(2)) {
            let dice = dice.fork(&format!("admin{number}"));
            clients.spawn(Admin::new(ground.clone(), dice, number, topics.to_vec(), names.clone()).run());
        }
        clients
    }

    /// Asks for everything while nothing else happens.
    async fn read_back(&mut self, when: &str) {
        let Self { oracle, places, group, committed, admin_topics, ground, .. } = self;
        let all = async {
            for (place, id) in places.iter() {
                oracle.read_all(place, *id).await;
                for group in committed.iter().chain([&*group]) {
                    oracle.committed(group, place).await;
                }
            }
            for topic in admin_topics.iter() {
                oracle.look(topic).await;
            }
        };
        if all.within(&ground.clock, READ_BACK_MS_MAX).await.is_err() {
            ground.history.violated("availability", format!("{when} not everything can be read back"));
        }
        self.schedule.inspect();
    }
}
