//! Several nodes in one world: a clock, a network in memory whose links can be cut, a disk for each.

use super::{
    client::Client,
    pipe::{self, Wire},
    world::{LocalTasks, PausedClock, SeededRandom},
};
use broker::{Address, Broker, Config, Door, StartError};
use bytes::{Bytes, BytesMut};
use env::{BoxFuture, Connection, Incoming, Network, Random, Tasks, World};
use log::testing::MemoryDisk;
use metadata::{Endpoint, config::Statics};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use stdx::Parts;
use tokio::task::JoinHandle;

pub(crate) const CONTROLLER_PORT: u16 = 9093;

/// All nodes, running or not.
pub(crate) struct Cluster {
    clock: Arc<PausedClock>,
    net: Arc<TestNet>,
    disks: Mutex<BTreeMap<i32, Arc<MemoryDisk>>>,
    running: Mutex<BTreeMap<i32, Running>>,
    started: Arc<Mutex<BTreeMap<i32, Arc<Broker>>>>,
    starts: Mutex<u64>,
    statics: Vec<(String, String)>,
}

#[derive(Clone)]
struct Running {
    tasks: Arc<LocalTasks>,
    door: Arc<Door>,
}

/// Where a node's connections come in, and who runs them.
type Entrance = (Arc<Door>, Arc<LocalTasks>);

/// Who listens, by the number of the node.
#[derive(Default)]
struct TestNet {
    doors: Mutex<BTreeMap<i32, Entrance>>,
    cut: Mutex<BTreeSet<i32>>,
    /// Pairs that do not reach each other, the lower number first.
    cut_pairs: Mutex<BTreeSet<[i32; 2]>>,
    /// From whom nothing arrives at whom.
    deaf: Mutex<BTreeSet<[i32; 2]>>,
    /// Who listens in the place of a node, and answers whatever it hears with these bytes.
    strangers: Mutex<BTreeMap<i32, Bytes>>,
    /// Whose listeners of clients take connections and close them at once.
    closing: Mutex<BTreeSet<i32>>,
}

/// The network as one node sees it.
struct Side(Arc<TestNet>, i32);

/// The client's end of a connection.
struct End {
    net: Arc<TestNet>,
    /// Who has connected, and to whom.
    between: [i32; 2],
    /// To the listener of controllers, or to that of clients.
    port: u16,
    wire: Wire,
    rest: Bytes,
}

fn host(node: i32) -> String {
    format!("node{node}")
}

/// Where the controllers of these nodes listen.
pub(crate) fn controllers(nodes: &[i32]) -> Vec<Address> {
    nodes.iter().map(|node| Address { host: host(*node), port: CONTROLLER_PORT }).collect()
}

impl TestNet {
    fn is_closing(&self, to: i32, port: u16) -> bool {
        port != CONTROLLER_PORT && self.closing.lock().unwrap().contains(&to)
    }

    /// For ever while what the first sends does not arrive at the second.
    async fn way(&self, between: [i32; 2]) {
        let is_cut =
            |cut: &BTreeSet<i32>| between[0] != between[1] && between.iter().any(|one| cut.contains(one));
        let [one, other] = between;
        let is_pair_cut = self.cut_pairs.lock().unwrap().contains(&[one.min(other), one.max(other)]);
        let is_deaf = self.deaf.lock().unwrap().contains(&between);
        if is_pair_cut || is_deaf || is_cut(&self.cut.lock().unwrap()) {
            std::future::pending::<()>().await;
        }
    }
}

/// One who takes whatever is said and answers with the same bytes, whether they mean anything or not.
fn stranger(answer: Bytes) -> Wire {
    let (to_broker, mut heard) = tokio::sync::mpsc::channel::<Bytes>(64);
    let (says, from_broker) = tokio::sync::mpsc::channel(64);
    tokio::spawn(
        async move { while heard.recv().await.is_some() && says.send(answer.clone()).await.is_ok() {} },
    );
    Wire { to_broker: Some(to_broker), from_broker }
}

impl Network for Side {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let (net, from) = (self.0.clone(), self.1);
        let to = host.trim_start_matches("node").parse::<i32>();
        Box::pin(async move {
            // A name that nobody resolves.
            let to = to.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
            net.way([from, to]).await;
            // A connection is there when the other side has said so.
            net.way([to, from]).await;
            let answer = net.strangers.lock().unwrap().get(&to).cloned();
            if let Some(answer) = answer {
                let (between, wire) = ([from, to], stranger(answer));
                return Ok(
                    Box::new(End { net, between, port, wire, rest: Bytes::new() }) as Box<dyn Connection>
                );
            }
            if net.is_closing(to, port) {
                let (wire, _) = pipe::connect();
                let between = [from, to];
                return Ok(Box::new(End { net, between, port, wire, rest: Bytes::new() }));
            }
            let door = net.doors.lock().unwrap().get(&to).cloned();
            let (door, tasks) = door.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (wire, pipe) = pipe::connect();
            let listener = if port == CONTROLLER_PORT { "CONTROLLER" } else { "PLAINTEXT" };
            let incoming = Incoming { listener: listener.into(), connection: Box::new(pipe) };
            tasks.spawn(Box::pin(door.serve(incoming)));
            let between = [from, to];
            Ok(Box::new(End { net, between, port, wire, rest: Bytes::new() }) as Box<dyn Connection>)
        })
    }
}

impl Connection for End {
    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 9093).into()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            while self.rest.is_empty() {
                match self.wire.from_broker.recv().await {
                    Some(bytes) => {
                        let [asking, asked] = self.between;
                        self.net.way([asked, asking]).await;
                        self.rest = bytes;
                    }
                    None => return Ok(0),
                }
            }
            let room = buffer.capacity() - buffer.len();
            let taken = self.rest.split_to(room.min(self.rest.len()));
            buffer.extend_from_slice(&taken);
            Ok(taken.len())
        })
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.net.way(self.between).await;
            if self.net.is_closing(self.between[1], self.port) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let bytes = log::testing::bytes_of(&parts);
            let to_broker = self.wire.to_broker.clone().ok_or(io::ErrorKind::BrokenPipe)?;
            to_broker.send(bytes.into()).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}

impl Cluster {
    /// Nobody runs yet.
    pub(crate) fn new(statics: &[(&str, &str)]) -> Self {
        let small = [("offsets.topic.num.partitions", "3"), ("offsets.topic.replication.factor", "1")];
        let all = small.iter().chain(statics).map(|(key, value)| (key.to_string(), value.to_string()));
        Self {
            clock: Arc::new(PausedClock::new()),
            net: Arc::default(),
            disks: Mutex::default(),
            running: Mutex::default(),
            started: Arc::default(),
            starts: Mutex::default(),
            statics: all.collect(),
        }
    }

    /// Three nodes that have formed a cluster.
    pub(crate) async fn of_three() -> Self {
        Self::of_three_with(&[]).await
    }

    /// ... with configurations beside those that keep tests small.
    pub(crate) async fn of_three_with(statics: &[(&str, &str)]) -> Self {
        let cluster = Self::new(statics);
        let starting: Vec<_> = [1, 2, 3].map(|node| cluster.start(node, &[1, 2, 3])).into_iter().collect();
        for start in starting {
            start.await.unwrap().unwrap();
        }
        cluster
    }

    pub(crate) fn disk(&self, node: i32) -> Arc<MemoryDisk> {
        self.disks.lock().unwrap().entry(node).or_default().clone()
    }

    pub(crate) fn set_disk(&self, node: i32, disk: MemoryDisk) {
        self.disks.lock().unwrap().insert(node, Arc::new(disk));
    }

    pub(crate) fn start(&self, node: i32, listed: &[i32]) -> JoinHandle<Result<Arc<Broker>, StartError>> {
        self.start_as(node, node, listed, |_| {})
    }

    /// Starts a node at the place `place` of the network; ends when it serves.
    pub(crate) fn start_as(
        &self,
        place: i32,
        node: i32,
        listed: &[i32],
        change: impl FnOnce(&mut Config),
    ) -> JoinHandle<Result<Arc<Broker>, StartError>> {
        let statics = Arc::new(Statics::new(self.statics.iter().cloned()));
        assert_eq!(statics.problems(), Vec::<String>::new());
        let endpoint = Endpoint { name: "PLAINTEXT".into(), host: host(place), port: 9092, security: 0 };
        let mut config = Config::new(node, PathBuf::from("/data"), vec![endpoint], statics);
        config.controllers = controllers(listed);
        config.controller_listeners = vec!["CONTROLLER".into()];
        let controller =
            quorum::Endpoint { name: "CONTROLLER".into(), host: host(place), port: CONTROLLER_PORT };
        config.controller_endpoints = vec![controller];
        change(&mut config);
        let random = {
            let mut starts = self.starts.lock().unwrap();
            *starts += 1;
            SeededRandom::new(*starts * 1000 + place as u64)
        };
        let (tasks, door) = (Arc::new(LocalTasks::default()), Door::new());
        let world = World {
            clock: self.clock.clone(),
            disk: self.disk(place),
            random: Arc::new(random) as Arc<dyn Random>,
            tasks: tasks.clone(),
        };
        self.net.doors.lock().unwrap().insert(place, (door.clone(), tasks.clone()));
        let running = Running { tasks, door: door.clone() };
        self.running.lock().unwrap().insert(place, running);
        let network = Arc::new(Side(self.net.clone(), place));
        let started = self.started.clone();
        tokio::spawn(async move {
            let broker = Broker::start(config, world, network, &door).await?;
            started.lock().unwrap().insert(place, broker.clone());
            Ok(broker)
        })
    }

    /// Stops a node as an operator would.
    pub(crate) async fn stop(&self, node: i32) {
        let broker = self.started.lock().unwrap().remove(&node).unwrap();
        broker.stop().await;
        self.kill(node);
    }

    /// Kills a node's process; what it wrote is there.
    pub(crate) fn kill(&self, node: i32) {
        let running = self.running.lock().unwrap().remove(&node).unwrap();
        self.net.doors.lock().unwrap().remove(&node);
        self.started.lock().unwrap().remove(&node);
        running.tasks.kill();
        let disk = self.disk(node).after_kill();
        self.set_disk(node, disk);
    }

    pub(crate) fn is_running(&self, node: i32) -> bool {
        self.running.lock().unwrap().contains_key(&node)
    }

    /// A node's broker, which must be running.
    pub(crate) fn broker(&self, node: i32) -> Arc<Broker> {
        self.started.lock().unwrap()[&node].clone()
    }

    /// Whether a node takes records, as its `/healthz` tells.
    pub(crate) fn health(&self, node: i32) -> Result<(), broker::view::Unhealthy> {
        self.started.lock().unwrap()[&node].health()
    }

    /// The epoch under which a node's broker is registered, as it knows itself.
    pub(crate) fn broker_epoch(&self, node: i32) -> i64 {
        let started = self.started.lock().unwrap();
        started[&node].image().broker(node).unwrap().epoch
    }

    /// Cuts a node's power; only what it has synced is there.
    pub(crate) fn cut_power(&self, node: i32) {
        let synced = self.disk(node).after_power_cut();
        self.kill(node);
        self.set_disk(node, synced);
    }

    /// Cuts a node off from all others, or heals that.
    pub(crate) fn set_cut(&self, node: i32, is_cut: bool) {
        let mut cut = self.net.cut.lock().unwrap();
        if is_cut {
            cut.insert(node)
        } else {
            cut.remove(&node)
        };
    }

    /// Cuts two nodes off from each other, or heals that.
    pub(crate) fn set_pair_cut(&self, one: i32, other: i32, is_cut: bool) {
        let mut pairs = self.net.cut_pairs.lock().unwrap();
        let pair = [one.min(other), one.max(other)];
        if is_cut {
            pairs.insert(pair)
        } else {
            pairs.remove(&pair)
        };
    }

    /// Lets nothing that `from` sends arrive at `to`, which is still heard, or heals that.
    pub(crate) fn set_deaf(&self, to: i32, from: i32, is_deaf: bool) {
        let mut deaf = self.net.deaf.lock().unwrap();
        if is_deaf {
            deaf.insert([from, to])
        } else {
            deaf.remove(&[from, to])
        };
    }

    /// In the place of that node listens something else, or nothing any more.
    pub(crate) fn set_stranger(&self, node: i32, answer: Option<&'static [u8]>) {
        let mut strangers = self.net.strangers.lock().unwrap();
        match answer {
            Some(answer) => drop(strangers.insert(node, Bytes::from_static(answer))),
            None => drop(strangers.remove(&node)),
        }
    }

    /// From now on a node closes connections to its listener of clients, those that it has and those that come, or serves them
    /// again.
    pub(crate) fn set_closing(&self, node: i32, is_closing: bool) {
        let mut closing = self.net.closing.lock().unwrap();
        match is_closing {
            true => closing.insert(node),
            false => closing.remove(&node),
        };
    }

    /// A connection to one of a node's listeners, for bytes of any kind.
    pub(crate) fn wire(&self, node: i32, listener: &str) -> Wire {
        let running = self.running.lock().unwrap()[&node].clone();
        let (wire, pipe) = pipe::connect();
        let incoming = Incoming { listener: listener.into(), connection: Box::new(pipe) };
        running.tasks.spawn(Box::pin(running.door.serve(incoming)));
        wire
    }

    /// A client of a node.
    pub(crate) fn client(&self, node: i32) -> Client {
        self.client_at(node, "PLAINTEXT")
    }

    /// A client of one of a node's listeners.
    pub(crate) fn client_at(&self, node: i32, listener: &str) -> Client {
        Client::new(self.wire(node, listener))
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        env::Clock::now(&*self.clock) / 1_000_000
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub(crate) fn assert_sound(&self) {
        let running = self.running.lock().unwrap();
        running.values().for_each(|running| running.tasks.assert_none_panicked());
    }
}
