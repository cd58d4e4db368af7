//! The machine under test: a disk that outlives everything, and at most one running broker on it. It decides no faults;
//! `schedule` kills, cuts and starts it. Clients connect to it here.

use crate::{
    dice::Dice,
    note,
    plan::Plan,
    trace::Trace,
    world::{DiskHost, LaneSpeed, Network, SimClock, SimConnection, SimRandom, SimTasks},
};
use broker::{Broker, Config};
use env::{Incoming, Tasks, World};
use metadata::{Endpoint, config::Statics};
use parking_lot::Mutex;
use std::{path::PathBuf, sync::Arc};

/// One machine with one node.
pub struct Node {
    /// Its disk.
    pub disk: Arc<DiskHost>,
    /// How fast its disk lanes are.
    pub lanes: Arc<LaneSpeed>,
    /// Its connections.
    pub network: Arc<Network>,
    /// What its tasks have panicked with.
    pub panics: Arc<Mutex<Vec<String>>>,
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    dice: Mutex<Dice>,
    config: Config,
    running: Mutex<Option<Running>>,
    starts: Mutex<u64>,
}

#[derive(Clone)]
struct Running {
    broker: Arc<Broker>,
    tasks: Arc<SimTasks>,
}

const LISTENER: &str = "PLAINTEXT";
const LANE_DELAY_MS_MAX: u64 = 3;

impl Node {
    /// A machine with an empty disk, switched off.
    pub fn new(plan: &Plan, clock: Arc<SimClock>, trace: Arc<Trace>, dice: &Dice) -> Arc<Self> {
        let endpoint = Endpoint { name: LISTENER.into(), host: "node".into(), port: 9092, security: 0 };
        let statics = Arc::new(Statics::new(plan.statics.iter().cloned()));
        let mut config = Config::new(1, PathBuf::from("/data/log"), vec![endpoint], statics);
        config.tail_bytes_max = plan.tail_bytes_max;
        config.backlog_bytes_max = plan.backlog_bytes_max;
        Arc::new(Self {
            disk: DiskHost::new(trace.clone(), dice.fork("disk")),
            lanes: LaneSpeed::new(LANE_DELAY_MS_MAX),
            network: Network::new(clock.clone(), trace.clone(), dice.fork("network")),
            panics: Arc::default(),
            clock,
            trace,
            dice: Mutex::new(dice.fork("node")),
            config,
            running: Mutex::new(None),
            starts: Mutex::new(0),
        })
    }

    /// Starts the broker; an error says why it did not start.
    pub async fn start(&self) -> Result<(), String> {
        let start = {
            let mut starts = self.starts.lock();
            *starts += 1;
            *starts
        };
        note!(self.trace, "node start {start}");
        let (lanes, random) = {
            let dice = self.dice.lock();
            (dice.fork(&format!("lanes{start}")), dice.fork(&format!("random{start}")))
        };
        let disk = self.disk.begin_life();
        let tasks = SimTasks::new(
            self.clock.clone(),
            self.trace.clone(),
            self.lanes.clone(),
            lanes,
            self.panics.clone(),
        );
        let world = World {
            clock: self.clock.clone(),
            disk,
            random: Arc::new(SimRandom::new(random)),
            tasks: tasks.clone(),
        };
        match Broker::start(self.config.clone(), world, Arc::new(env::NoNetwork), &broker::Door::new()).await
        {
            Ok(broker) => {
                note!(self.trace, "node serves");
                *self.running.lock() = Some(Running { broker, tasks });
                Ok(())
            }
            Err(error) => {
                note!(self.trace, "node does not start: {error}");
                self.disk.kill();
                tasks.end().await;
                Err(error.to_string())
            }
        }
    }

    /// Ends a start that was given up half-way, and whatever runs: the process is killed.
    pub async fn kill(&self) {
        note!(self.trace, "node killed");
        self.disk.kill();
        self.end().await;
    }

    /// The machine loses its power.
    pub async fn cut_power(&self) {
        note!(self.trace, "node power cut");
        self.disk.cut_power();
        self.end().await;
    }

    /// After the disk has cut the power by itself, everything else goes too.
    pub async fn end(&self) {
        let running = self.running.lock().take();
        self.network.end_all();
        if let Some(running) = running {
            running.tasks.end().await;
        }
    }

    /// Stops the broker as an operator would.
    pub async fn stop(&self) {
        note!(self.trace, "node stops");
        let running = self.running.lock().clone();
        if let Some(running) = running {
            running.broker.stop().await;
        }
        self.disk.kill();
        self.end().await;
        note!(self.trace, "node stopped");
    }

    /// Connects a client; `None` while nobody listens.
    pub fn connect(&self) -> Option<SimConnection> {
        let running = self.running.lock().clone()?;
        let (client, server) = self.network.connect();
        let incoming = Incoming { listener: LISTENER.into(), connection: Box::new(server) };
        running.tasks.spawn(Box::pin(running.broker.serve(incoming)));
        Some(client)
    }
}
