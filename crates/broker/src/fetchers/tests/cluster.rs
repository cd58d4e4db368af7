//! Brokers on disks in memory, connected by pipes, and the one controller that they all obey.

use super::{
    batch,
    client::{Client, Topic, bytes_of, produce},
    pipe::{self, Wire},
    values,
    world::{LocalTasks, PausedClock, SeededRandom},
};
use crate::{Broker, Config, controller::Order, partition::Offsets, replicas};
use bytes::{Bytes, BytesMut};
use coordinator::{Now, Shard};
use env::{BoxFuture, Connection, Incoming, Network, Tasks, World};
use log::testing::MemoryDisk;
use metadata::{
    AlterPartition, Controller, Endpoint, Error, Image, NewTopic, RegisterBroker, Reply, Request, Settings,
    config::Statics,
};
use model::NodeId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};
use stdx::{Parts, Uuid};
use tokio::sync::{mpsc, watch};
use wire::{ErrorCode, FetchRequest, produce_response::PartitionProduceResponse};

/// The brokers, running or not.
pub(super) struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    brain: Arc<Brain>,
    net: Arc<Net>,
    clock: Arc<PausedClock>,
    statics: Arc<Statics>,
}

struct Node {
    disk: Arc<MemoryDisk>,
    running: Option<Running>,
}

struct Running {
    broker: Arc<Broker>,
    tasks: Arc<LocalTasks>,
}

/// The controller, and who follows its image.
struct Brain {
    controller: Mutex<Controller>,
    images: watch::Sender<Arc<Image>>,
    /// Changes of the ISR that it was asked for.
    alterations: Mutex<Vec<AlterPartition>>,
}

type Reachable = (Arc<Broker>, Arc<LocalTasks>);

/// Who can be reached.
#[derive(Default)]
struct Net {
    nodes: Mutex<BTreeMap<String, Reachable>>,
    /// How often all connections were reset.
    resets: watch::Sender<u32>,
}

struct End {
    wire: Wire,
    rest: Bytes,
    resets: watch::Receiver<u32>,
}

pub(super) fn code(error: ErrorCode) -> i16 {
    error.to_i16()
}

impl Brain {
    fn ask(&self, request: Request) -> Result<Reply, Error> {
        if let Request::AlterPartition(altered) = &request {
            self.alterations.lock().push(altered.clone());
        }
        let mut controller = self.controller.lock();
        let outcome = controller.handle(Now { wall: 0, monotonic: 0 }, request)?;
        if !outcome.records.is_empty() {
            outcome.records.into_iter().for_each(|record| controller.replay(record));
            self.images.send_replace(Arc::new(controller.image().clone()));
        }
        Ok(outcome.reply)
    }
}

impl Cluster {
    /// Nodes 1 to `count`.
    pub(super) async fn start(count: NodeId, statics: &[(&str, &str)]) -> Self {
        let small = [
            ("offsets.topic.num.partitions", "3"),
            ("offsets.topic.replication.factor", "3"),
            ("replica.lag.time.max.ms", "5000"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let all = small.iter().chain(statics).map(|(key, value)| (key.to_string(), value.to_string()));
        let statics = Arc::new(Statics::new(all));
        assert_eq!(statics.problems(), Vec::<String>::new());
        let settings = Settings { cluster_id: "cluster".into(), node: 1, statics: statics.clone() };
        let controller = Controller::new(settings);
        let images = watch::Sender::new(Arc::new(controller.image().clone()));
        let brain = Brain { controller: Mutex::new(controller), images, alterations: Mutex::default() };
        brain.ask(Request::Bootstrap).unwrap();
        let clock = Arc::new(PausedClock::new());
        let (net, nodes) = (Arc::default(), BTreeMap::new());
        let mut cluster = Self { nodes, brain: Arc::new(brain), net, clock, statics };
        for id in 1..=count {
            let disk = Arc::new(MemoryDisk::new());
            cluster.nodes.insert(id, Node { disk, running: None });
            cluster.run(id).await;
        }
        cluster
    }

    /// Starts a node that does not run, and lets it lead again.
    pub(super) async fn run(&mut self, id: NodeId) {
        let register = RegisterBroker {
            broker: id,
            cluster_id: "cluster".into(),
            incarnation: Uuid([self.brain.images.borrow().position().offset as u8; 16]),
            endpoints: vec![endpoint(id)],
            features: metadata::features::supported(),
            rack: None,
            directories: vec![Uuid([id as u8 + 100; 16])],
            fenced: false,
            previous_epoch: -1,
            synced: true,
        };
        self.brain.ask(Request::RegisterBroker(register)).unwrap();
        self.run_unregistered(id).await;
    }

    /// Starts a node without telling the controller: it was away too shortly.
    pub(super) async fn run_unregistered(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let tasks = Arc::new(LocalTasks::default());
        let world = World {
            clock: self.clock.clone(),
            disk: node.disk.clone(),
            random: Arc::new(SeededRandom::default()),
            tasks: tasks.clone(),
        };
        let mut config = Config::new(id, "/data".into(), vec![endpoint(id)], self.statics.clone());
        config.cluster_id = Some("cluster".into());
        let image = Image::clone(&self.brain.images.borrow());
        let (broker, orders) = Broker::start_led(config, world, self.net.clone(), image).await.unwrap();
        obey(&broker, &tasks, self.brain.clone(), orders);
        self.net.nodes.lock().insert(format!("node{id}"), (broker.clone(), tasks.clone()));
        node.running = Some(Running { broker, tasks });
    }

    /// Ends a node at once. What it wrote is there when it runs again; if the power was cut, only what it synced.
    pub(super) fn kill(&mut self, id: NodeId, is_power_cut: bool) {
        self.net.nodes.lock().remove(&format!("node{id}"));
        let node = self.nodes.get_mut(&id).unwrap();
        let running = node.running.take().unwrap();
        running.tasks.kill();
        node.disk = Arc::new(if is_power_cut { node.disk.after_power_cut() } else { node.disk.after_kill() });
    }

    /// Resets every connection between nodes.
    pub(super) fn reset_connections(&self) {
        self.net.resets.send_modify(|resets| *resets += 1);
    }

    /// The controller has not heard of a node for too long.
    pub(super) fn fence(&self, id: NodeId) {
        let broker_epoch = self.brain.images.borrow().broker(id).unwrap().epoch;
        self.brain.ask(Request::FenceBroker { broker: id, broker_epoch }).unwrap();
    }

    /// Creates a topic with one partition on these nodes; the first leads.
    pub(super) async fn create(&self, name: &str, replicas: &[NodeId], configs: &[(&str, &str)]) -> Topic {
        let configs = configs.iter().map(|(key, value)| (key.to_string(), Some(value.to_string())));
        let topic = NewTopic {
            name: name.into(),
            id: Uuid([name.len() as u8; 16]),
            partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, replicas.to_vec())],
            configs: configs.collect(),
        };
        let request = Request::CreateTopics {
            topics: vec![topic],
            validate_only: false,
            seed: 1,
            permits: metadata::Permits::Unbounded,
        };
        let Ok(Reply::CreateTopics(created)) = self.brain.ask(request) else { panic!() };
        let id = created[0].1.as_ref().unwrap().id;
        self.pass(100).await;
        Topic { name: name.into(), id }
    }

    pub(super) async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        for node in self.nodes.values() {
            if let Some(running) = &node.running {
                running.tasks.assert_none_panicked();
            }
        }
    }

    /// Moves partition 0 of a topic to these nodes.
    pub(super) fn reassign(&self, topic: &str, replicas: &[NodeId]) {
        let reassignment =
            metadata::Reassignment { topic: topic.into(), index: 0, replicas: Some(replicas.to_vec()) };
        let request = Request::AlterPartitionReassignments {
            reassignments: vec![reassignment],
            allow_replication_factor_change: true,
        };
        let Ok(Reply::AlterPartitionReassignments(results)) = self.brain.ask(request) else { panic!() };
        results.into_iter().for_each(|(_, _, result)| result.unwrap());
    }

    /// Whether a node has a directory of this name.
    pub(super) fn has_files(&self, id: NodeId, dir: &str) -> bool {
        let dir = std::path::Path::new("/data").join(dir);
        self.nodes[&id].disk.paths().iter().any(|path| path.starts_with(&dir))
    }

    /// A client of one node.
    pub(super) fn client(&self, id: NodeId) -> Client {
        let running = self.nodes[&id].running.as_ref().unwrap();
        let (wire, pipe) = pipe::connect();
        let incoming = Incoming { listener: "PLAINTEXT".into(), connection: Box::new(pipe) };
        running.tasks.spawn(Box::pin(running.broker.clone().serve(incoming)));
        Client::new(wire)
    }

    pub(super) fn is_running(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.running.is_some())
    }

    pub(super) fn tasks(&self, id: NodeId) -> Arc<LocalTasks> {
        self.nodes[&id].running.as_ref().unwrap().tasks.clone()
    }

    /// How many requests a node has had, and how many of them from clients.
    pub(super) fn requests(&self, id: NodeId) -> (u64, u64) {
        let metrics = &self.nodes[&id].running.as_ref().unwrap().broker.metrics;
        (metrics.requests().map(|(_, count)| count).sum(), metrics.requests_of_clients.get())
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.brain.images.borrow().clone()
    }

    /// How often the controller was asked for another ISR.
    pub(super) fn alterations(&self) -> usize {
        self.brain.alterations.lock().len()
    }

    /// Leader, and who is in sync, sorted.
    pub(super) fn partition(&self, topic: &str) -> (NodeId, Vec<NodeId>) {
        let image = self.image();
        let partition = image.partition(topic, 0).unwrap();
        let mut isr = partition.isr.clone();
        isr.sort_unstable();
        (partition.leader, isr)
    }

    /// The marks of a node's log.
    pub(super) fn offsets(&self, id: NodeId, topic: &Topic) -> Offsets {
        let running = self.nodes[&id].running.as_ref().unwrap();
        running.broker.partitions.get(&topic.name, 0).unwrap().offsets().unwrap()
    }

    /// Produces one record.
    pub(super) async fn produce(
        &self,
        id: NodeId,
        topic: &Topic,
        acks: i16,
        value: &str,
    ) -> PartitionProduceResponse {
        let mut client = self.client(id);
        let response = client.call(13, &produce(topic, 0, acks, batch(&[value]))).await;
        response.responses[0].partition_responses[0].clone()
    }

    /// Produces records that must be acknowledged.
    pub(super) async fn produce_all(&self, id: NodeId, topic: &Topic, acks: i16, values: &[&str]) {
        for value in values {
            let answer = self.produce(id, topic, acks, value).await;
            assert_eq!(answer.error_code, 0, "{value}: {:?}", answer.error_message);
        }
    }

    /// All bytes of a node's log before its high watermark, as a consumer reads them there (KIP-392).
    pub(super) async fn bytes(&self, id: NodeId, topic: &Topic) -> Bytes {
        let request = FetchRequest {
            max_bytes: 50 << 20,
            ..super::client::fetch(topic, 0, self.offsets(id, topic).start)
        };
        let mut client = self.client(id);
        let mut response = client.call(18, &request).await;
        let data = response.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0);
        bytes_of(&data)
    }

    /// The values before a node's high watermark.
    pub(super) async fn read(&self, id: NodeId, topic: &Topic) -> Vec<String> {
        values(self.bytes(id, topic).await).into_iter().map(|(_, value)| value).collect()
    }

    /// All running replicas have the same log, and all of it is known to be safe.
    pub(super) async fn assert_equal(&self, topic: &Topic) {
        let image = self.image();
        let replicas = image.partition(&topic.name, 0).unwrap().replicas.clone();
        let running = replicas.into_iter().filter(|id| self.nodes[id].running.is_some());
        let mut seen: Option<(NodeId, Offsets, Bytes)> = None;
        for id in running {
            let (offsets, bytes) = (self.offsets(id, topic), self.bytes(id, topic).await);
            assert_eq!(offsets.high_watermark, offsets.end, "node {id}");
            if let Some((other, known, expected)) = &seen {
                assert_eq!((offsets.start, offsets.end), (known.start, known.end), "nodes {id} and {other}");
                assert_eq!(&bytes, expected, "nodes {id} and {other}");
            }
            seen = Some((id, offsets, bytes));
        }
    }
}

fn endpoint(id: NodeId) -> Endpoint {
    Endpoint { name: "PLAINTEXT".into(), host: format!("node{id}"), port: 9092, security: 0 }
}

/// Lets a broker follow the image, and carries its questions to the controller.
fn obey(broker: &Arc<Broker>, tasks: &Arc<LocalTasks>, brain: Arc<Brain>, mut orders: mpsc::Receiver<Order>) {
    let mut images = brain.images.subscribe();
    let following = broker.clone();
    tasks.spawn(Box::pin(async move {
        loop {
            let image = images.borrow_and_update().clone();
            if image.position() > following.image().position() {
                following.images.publish(Image::clone(&image), &[]);
                replicas::follow_newest(&following).await;
            }
            if images.changed().await.is_err() {
                return;
            }
        }
    }));
    tasks.spawn(Box::pin(async move {
        while let Some(order) = orders.recv().await {
            let decided = brain.ask(order.request).map(|reply| (reply, -1));
            let _ = order.reply.send(decided);
        }
    }));
}

impl Network for Net {
    fn connect(&self, host: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let node = self.nodes.lock().get(host).cloned();
        let resets = self.resets.subscribe();
        Box::pin(async move {
            let (broker, tasks) = node.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (wire, pipe) = pipe::connect();
            let incoming = Incoming { listener: "PLAINTEXT".into(), connection: Box::new(pipe) };
            tasks.spawn(Box::pin(broker.serve(incoming)));
            Ok(Box::new(End { wire, rest: Bytes::new(), resets }) as Box<dyn Connection>)
        })
    }
}

impl Connection for End {
    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 9092).into()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                let received = tokio::select! {
                    biased;
                    _ = self.resets.changed() => return Err(io::ErrorKind::ConnectionReset.into()),
                    received = self.wire.from_broker.recv() => received,
                };
                match received {
                    Some(bytes) => self.rest = bytes,
                    None => return Ok(0),
                }
            }
            let taken = self.rest.split_to((buffer.capacity() - buffer.len()).min(self.rest.len()));
            buffer.extend_from_slice(&taken);
            Ok(taken.len())
        })
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let bytes = log::testing::bytes_of(&parts);
            let to_broker = self.wire.to_broker.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
            to_broker.send(bytes.into()).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}
