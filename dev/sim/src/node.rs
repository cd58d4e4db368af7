//! One machine under test: a disk that outlives everything, and at most one running broker on it. It decides no faults;
//! the schedules kill, cut, pause and start it. Clients and other nodes connect to it through the simulated network.

use crate::{
    dice::Dice,
    note,
    plan::Plan,
    planted_link::Liars,
    planted_start,
    trace::Trace,
    world::{
        CLIENTS, DiskHost, Entrance, Gate, Host, LaneSpeed, Network, Plant, Side, SimClock, SimConnection,
        SimRandom, SimTasks, name_of,
    },
};
use broker::{Address, Broker, Config, Door};
use env::{Incoming, Tasks, World};
use metadata::{Endpoint, config::Statics};
use parking_lot::Mutex;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::oneshot;

/// One machine with one node.
pub struct Node {
    /// Its number, which is the number of its host too.
    pub id: Host,
    /// Its disk.
    pub disk: Arc<DiskHost>,
    /// How fast its disk lanes are.
    pub lanes: Arc<LaneSpeed>,
    /// Whether its process may run.
    pub gate: Arc<Gate>,
    /// The network that it shares with all.
    pub network: Arc<Network>,
    /// What its tasks have panicked with.
    pub panics: Arc<Mutex<Vec<String>>>,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// What lines of the trace begin with.
    label: String,
    trace: Arc<Trace>,
    dice: Mutex<Dice>,
    config: Config,
    running: Arc<Mutex<Option<Running>>>,
    starts: Mutex<u64>,
}

#[derive(Clone)]
struct Running {
    tasks: Arc<SimTasks>,
    door: Arc<Door>,
    /// Once it serves.
    broker: Option<Arc<Broker>>,
}

const LISTENER: &str = "PLAINTEXT";
const PORT: u16 = 9092;
/// The name of the listener of controllers.
pub const CONTROLLER: &str = "CONTROLLER";
const CONTROLLER_PORT: u16 = 9093;
const LANE_DELAY_MS_MAX: u64 = 3;
const LOG_DIR: &str = "/data/log";
/// The directories of a node that has two.
pub const LOG_DIRS: [&str; 2] = [LOG_DIR, "/data/more"];

/// The end of a start: it serves, or why it does not; dropped if it was killed on the way.
pub type Started = oneshot::Receiver<Result<(), String>>;

impl Node {
    /// A machine of its own with an empty disk, switched off.
    pub fn alone(plan: &Plan, clock: Arc<SimClock>, trace: Arc<Trace>, dice: &Dice) -> Arc<Self> {
        let network = Network::new(clock.clone(), trace.clone(), dice.fork("network"));
        let config = config(plan, 1, "node".into());
        Arc::new(Self::new(1, ["disk", "node"], (clock, network, config), trace, dice))
    }

    /// The machine of a member of a cluster, switched off.
    pub fn member(
        plan: &Plan,
        id: Host,
        (clock, network): (&SimClock, Arc<Network>),
        trace: Arc<Trace>,
        dice: &Dice,
    ) -> Arc<Self> {
        let mut config = config(plan, id, name_of(id));
        let address = |node| Address { host: name_of(node), port: CONTROLLER_PORT };
        config.controllers = (1..=plan.nodes).map(address).collect();
        config.controller_listeners = vec![CONTROLLER.into()];
        config.controller_endpoints =
            vec![quorum::Endpoint { name: CONTROLLER.into(), host: name_of(id), port: CONTROLLER_PORT }];
        (config.snapshot_bytes, config.snapshot_batches_kept) = plan.snapshots;
        config.joins_by_itself = plan.joins;
        let labels = [&*format!("n{id} disk"), &*format!("n{id}")];
        let dice = dice.fork(&format!("machine{id}"));
        Arc::new(Self::new(id, labels, (clock.beside(), network, config), trace, &dice))
    }

    fn new(
        id: Host,
        [disk, label]: [&str; 2],
        (clock, network, config): (Arc<SimClock>, Arc<Network>, Config),
        trace: Arc<Trace>,
        dice: &Dice,
    ) -> Self {
        Self {
            id,
            disk: DiskHost::new(disk.into(), trace.clone(), dice.fork("disk")),
            lanes: LaneSpeed::new(LANE_DELAY_MS_MAX),
            gate: Arc::default(),
            network,
            panics: Arc::default(),
            clock,
            label: label.into(),
            trace,
            dice: Mutex::new(dice.fork("node")),
            config,
            running: Arc::default(),
            starts: Mutex::new(0),
        }
    }

    /// Starts the broker; an error says why it did not start.
    pub async fn start(&self) -> Result<(), String> {
        self.launch().await.unwrap_or_else(|_| Err("it was killed".into()))
    }

    /// Switches the machine on; what is given tells once it serves.
    pub fn launch(&self) -> Started {
        let start = {
            let mut starts = self.starts.lock();
            *starts += 1;
            *starts
        };
        note!(self.trace, "{} start {start}", self.label);
        let (lanes, random) = {
            let dice = self.dice.lock();
            (dice.fork(&format!("lanes{start}")), dice.fork(&format!("random{start}")))
        };
        let disk = self.disk.begin_life();
        if self.is_clustered() {
            let plant = self.disk.plant();
            if let Err(error) = planted_start::before_start(plant, &*disk, Path::new(LOG_DIR)) {
                note!(self.trace, "{} the planted bug fails: {error}", self.label);
            }
        }
        let pace = (self.lanes.clone(), self.gate.clone());
        let tasks = SimTasks::new(self.clock.clone(), self.trace.clone(), pace, lanes, self.panics.clone());
        let world = World {
            clock: self.clock.clone(),
            disk,
            random: Arc::new(SimRandom::new(random)),
            tasks: tasks.clone(),
        };
        let door = Door::new();
        let running = Running { tasks: tasks.clone(), door: door.clone(), broker: None };
        *self.running.lock() = Some(running.clone());
        if self.is_clustered() {
            self.network.listen(self.id, Arc::new(running));
        }
        let (sender, started) = oneshot::channel();
        let mut network: Arc<dyn env::Network> = Side::new(self.network.clone(), self.id);
        if let Some(plant @ (Plant::IsrShrunkAlone | Plant::LossUntold)) = self.disk.plant() {
            network = Arc::new(Liars(network, plant));
        }
        let config = self.config.clone();
        let (slot, trace, label) = (self.running.clone(), self.trace.clone(), self.label.clone());
        tasks.spawn(Box::pin(async move {
            let outcome = match Broker::start(config, world, network, &door).await {
                Ok(broker) => {
                    note!(trace, "{label} serves");
                    if let Some(running) = &mut *slot.lock() {
                        running.broker = Some(broker);
                    }
                    Ok(())
                }
                Err(error) => {
                    note!(trace, "{label} does not start: {error}");
                    Err(error.to_string())
                }
            };
            let _ = sender.send(outcome);
        }));
        started
    }

    fn is_clustered(&self) -> bool {
        !self.config.controllers.is_empty()
    }

    /// Ends a start that was given up half-way, and whatever runs: the process is killed.
    pub async fn kill(&self) {
        note!(self.trace, "{} killed", self.label);
        self.disk.kill();
        self.end().await;
    }

    /// The machine loses its power.
    pub async fn cut_power(&self) {
        note!(self.trace, "{} power cut", self.label);
        self.disk.cut_power();
        self.end().await;
    }

    /// After the disk has cut the power by itself, everything else goes too.
    pub async fn end(&self) {
        let running = self.running.lock().take();
        self.network.end_all(self.id);
        self.end_tasks(running).await;
    }

    /// The same, but nobody hears of it before the machine is switched on again.
    pub async fn end_silently(&self) {
        let running = self.running.lock().take();
        self.network.fall_silent(self.id);
        self.end_tasks(running).await;
    }

    async fn end_tasks(&self, running: Option<Running>) {
        if let Some(running) = running {
            running.tasks.end().await;
        }
        self.gate.set_shut(false);
    }

    /// Stops the broker as an operator would.
    pub async fn stop(&self) {
        note!(self.trace, "{} stops", self.label);
        let running = self.running.lock().clone();
        if let Some(Running { broker: Some(broker), tasks, .. }) = running {
            let (sender, stopped) = oneshot::channel();
            tasks.spawn(Box::pin(async move {
                broker.stop().await;
                drop(broker);
                let _ = sender.send(());
            }));
            let _ = stopped.await;
        }
        self.disk.kill();
        self.end().await;
        note!(self.trace, "{} stopped", self.label);
    }

    /// Where its controller listens.
    pub fn controller(&self) -> (String, u16) {
        (name_of(self.id), CONTROLLER_PORT)
    }

    /// The broker, while it serves.
    pub fn broker(&self) -> Option<Arc<Broker>> {
        self.running.lock().as_ref()?.broker.clone()
    }

    /// Whether its process is there.
    pub fn is_on(&self) -> bool {
        self.running.lock().is_some()
    }

    /// Everything before is known to be on stable storage here, by the newest checkpoint.
    pub fn recovery_point(&self, topic: &str, partition: i32) -> i64 {
        self.disk.recovery_point(Path::new(LOG_DIR), &format!("{topic}-{partition}"))
    }

    /// The directory of a partition on its disk.
    pub fn dir_of(&self, topic: &str, partition: i32) -> PathBuf {
        Path::new(LOG_DIR).join(format!("{topic}-{partition}"))
    }

    /// Connects a client; `None` if that fails.
    pub async fn connect(&self) -> Option<SimConnection> {
        if self.is_clustered() {
            return self.network.call(CLIENTS, self.id, PORT).await.ok();
        }
        let running = self.running.lock().clone().filter(|running| running.broker.is_some())?;
        let (client, server) = self.network.connect(CLIENTS, self.id);
        running.accept(PORT, server);
        Some(client)
    }
}

impl Entrance for Running {
    fn accept(&self, port: u16, connection: SimConnection) {
        let listener = if port == CONTROLLER_PORT { CONTROLLER } else { LISTENER };
        let incoming = Incoming { listener: listener.into(), connection: Box::new(connection) };
        self.tasks.spawn(Box::pin(self.door.clone().serve(incoming)));
    }
}

fn config(plan: &Plan, id: Host, host: String) -> Config {
    let endpoint = Endpoint { name: LISTENER.into(), host, port: PORT, security: 0 };
    let statics = Arc::new(Statics::new(plan.statics.iter().cloned()));
    let mut config = Config::new(id, PathBuf::from(LOG_DIR), vec![endpoint], statics);
    if plan.has_two_dirs {
        config.log_dirs = LOG_DIRS.map(PathBuf::from).to_vec();
    }
    config.tail_bytes_max = plan.tail_bytes_max;
    config.backlog_bytes_max = plan.backlog_bytes_max;
    config
}
