//! A cluster of memory, hosts on it, and phones.

use crate::{Appending, Chunk, Config, Everybody, Failure, Host, Log};
use bytes::{Bytes, BytesMut};
use env::{BoxFuture, Clock, Random, Tasks, World};
use gateway::NewRecord;
use model::{Offset, PartitionIndex, TopicName, TopicPartition};
use mqtt::{codec::*, topics::Filter};
use parking_lot::Mutex;
use records::Record;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
    task::AbortHandle,
    time::Instant,
};

/// Virtual time, and the tasks of one node, which end when it is killed.
struct Node {
    begin: Instant,
    wall_ms: i64,
    random: AtomicU64,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Clock for Node {
    fn wall(&self) -> i64 {
        self.wall_ms + self.begin.elapsed().as_millis() as i64
    }
    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }
    fn sleep_until(&self, deadline: u64) -> BoxFuture<'static, ()> {
        let at = self.begin.checked_add(Duration::from_nanos(deadline.min(1 << 60)));
        Box::pin(async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        })
    }
}

impl Random for Node {
    fn next_u64(&self) -> u64 {
        self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
    }
}

impl Tasks for Node {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        let task = tokio::runtime::Handle::current().spawn(future);
        self.tasks.lock().push(task.abort_handle());
    }
    fn run_on_lane(&self, job: env::Job) {
        job();
    }
    fn run_on_worker(&self, job: env::Job) {
        job();
    }
}

struct NoDisk;

fn none<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl env::Disk for NoDisk {
    fn open(&self, _: &Path, _: env::Open) -> io::Result<Arc<dyn env::File>> {
        none()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<env::Entry>> {
        none()
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        none()
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        none()
    }
    fn lock(&self, _: &Path) -> io::Result<Box<dyn env::Lock>> {
        none()
    }
    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        none()
    }
}

#[derive(Default)]
struct Partition {
    records: Vec<Record>,
}

/// Logs of memory.
pub(super) struct Cluster {
    topics: Mutex<BTreeMap<TopicName, Vec<Partition>>>,
    changes: watch::Sender<u64>,
    nodes: Mutex<BTreeMap<i32, usize>>,
    boots: AtomicI32,
}

#[derive(Clone)]
struct Logs(Arc<Cluster>);

impl Cluster {
    /// With a topic `rides` of two partitions.
    pub(super) fn new() -> Arc<Self> {
        let rides = (TopicName::new("rides").unwrap(), vec![Partition::default(), Partition::default()]);
        Arc::new(Self {
            topics: Mutex::new([rides].into()),
            changes: watch::Sender::new(0),
            nodes: Mutex::default(),
            boots: AtomicI32::new(0),
        })
    }

    /// A node that serves.
    pub(super) async fn host(self: &Arc<Self>, node: i32) -> Served {
        let boot = self.boots.fetch_add(1, Ordering::Relaxed);
        let world = Arc::new(Node {
            begin: Instant::now(),
            wall_ms: 1_800_000_000_000 + i64::from(boot) * 10_000,
            random: AtomicU64::new(boot as u64 + 1),
            tasks: Mutex::default(),
        });
        *self.nodes.lock().entry(node).or_default() += 1;
        let config = Config {
            node,
            session: mqtt::session::Config { has_shared: false, ..mqtt::session::Config::STANDARD },
            connections_max: 100,
            address_connections_max: 0,
            sessions_max: 100,
        };
        let env = World {
            clock: world.clone(),
            disk: Arc::new(NoDisk),
            random: world.clone(),
            tasks: world.clone(),
        };
        let host = Host::new(config, env, Arc::new(Logs(self.clone())), Arc::new(Everybody)).unwrap();
        host.start();
        pass(2_000).await;
        Served { host, world, cluster: self.clone(), node }
    }

    /// All records of a topic.
    pub(super) fn records(&self, topic: &str) -> Vec<Record> {
        let topics = self.topics.lock();
        let partitions = topics.get(&TopicName::new(topic).unwrap()).unwrap();
        partitions.iter().flat_map(|partition| partition.records.clone()).collect()
    }

    /// A power cut takes what was saved of a session last, if that said that something is stored.
    pub(super) fn forget_last_save(&self, client: &str) {
        let mut topics = self.topics.lock();
        for partition in topics.get_mut(&TopicName::new(crate::directory::TOPIC).unwrap()).unwrap() {
            let is_last = |record: &&Record| {
                record.key.as_deref() == Some(client.as_bytes())
                    && record.value.as_ref().is_some_and(|value| {
                        mqtt::session::State::decode(value)
                            .is_ok_and(|state| state.received.values().any(|received| received.is_stored))
                    })
            };
            if let Some(offset) = partition.records.iter().find(is_last).map(|record| record.offset) {
                partition.records.truncate(offset as usize);
            }
        }
    }
}

impl Log for Logs {
    fn partitions<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<usize, Failure>> {
        let found = self.0.topics.lock().get(topic).map(Vec::len).ok_or(Failure::UnknownTopic);
        Box::pin(async move { found })
    }

    fn append<'a>(
        &'a self,
        at: &'a TopicPartition,
        new: NewRecord,
    ) -> BoxFuture<'a, Result<Appending, Failure>> {
        Box::pin(async move {
            let mut topics = self.0.topics.lock();
            let partition = topics
                .get_mut(&at.topic)
                .and_then(|topic| topic.get_mut(at.partition as usize))
                .ok_or(Failure::UnknownTopic)?;
            let offset = partition.records.len() as Offset;
            let NewRecord { key, value, headers } = new;
            partition.records.push(Record { offset, timestamp: 0, key, value, headers });
            self.0.changes.send_modify(|changes| *changes += 1);
            Ok(Box::pin(async move {
                pass(3).await;
                Ok(offset)
            }) as Appending)
        })
    }

    fn end(&self, at: TopicPartition) -> BoxFuture<'static, Result<Offset, Failure>> {
        let topics = self.0.topics.lock();
        let found = topics.get(&at.topic).and_then(|topic| topic.get(at.partition as usize));
        let end = found.map(|partition| partition.records.len() as Offset).ok_or(Failure::UnknownTopic);
        Box::pin(async move { end })
    }

    fn read(
        &self,
        at: TopicPartition,
        from: Offset,
        max: usize,
    ) -> BoxFuture<'static, Result<Chunk, Failure>> {
        let topics = self.0.topics.lock();
        let found = topics.get(&at.topic).and_then(|topic| topic.get(at.partition as usize));
        let read = found.ok_or(Failure::UnknownTopic).map(|partition| {
            let mut bytes = 0;
            let records: Vec<Record> = partition
                .records
                .iter()
                .skip(from as usize)
                .take_while(|record| {
                    let may = bytes == 0 || bytes < max;
                    bytes += 10 + record.value.as_ref().map_or(0, Bytes::len);
                    may
                })
                .cloned()
                .collect();
            Chunk { next: from + records.len() as Offset, records }
        });
        Box::pin(async move { read })
    }

    fn changed(&self, at: TopicPartition, seen: Offset) -> BoxFuture<'static, ()> {
        let this = self.clone();
        Box::pin(async move {
            let mut changes = this.0.changes.subscribe();
            while this.end(at.clone()).await.is_ok_and(|end| end <= seen) {
                changes.changed().await.ok();
            }
        })
    }

    fn latest(&self, at: TopicPartition, key: Bytes) -> BoxFuture<'static, Result<Option<Offset>, Failure>> {
        let topics = self.0.topics.lock();
        let found = topics.get(&at.topic).and_then(|topic| topic.get(at.partition as usize));
        let of_key = |partition: &Partition| {
            let newest = partition.records.iter().rev().find(|record| record.key.as_ref() == Some(&key));
            newest.filter(|record| record.value.is_some()).map(|record| record.offset)
        };
        let latest = found.map(of_key).ok_or(Failure::UnknownTopic);
        Box::pin(async move { latest })
    }

    fn create_compacted<'a>(
        &'a self,
        topic: &'a TopicName,
        partitions: PartitionIndex,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let new = || (0..partitions).map(|_| Partition::default()).collect();
        self.0.topics.lock().entry(topic.clone()).or_insert_with(new);
        Box::pin(async { Ok(()) })
    }

    fn nodes<'a>(&'a self) -> BoxFuture<'a, Result<Vec<i32>, Failure>> {
        let nodes =
            self.0.nodes.lock().iter().filter(|(_, count)| **count > 0).map(|(node, _)| *node).collect();
        Box::pin(async move { Ok(nodes) })
    }
}

/// A node that serves.
pub(super) struct Served {
    pub(super) host: Arc<Host>,
    world: Arc<Node>,
    cluster: Arc<Cluster>,
    node: i32,
}

impl Served {
    /// Its process ends at once.
    pub(super) fn kill(self) {
        self.world.tasks.lock().iter().for_each(AbortHandle::abort);
        if let Some(count) = self.cluster.nodes.lock().get_mut(&self.node) {
            *count -= 1;
        }
    }

    /// It stops in order.
    pub(super) async fn stop(self) {
        self.host.stop().await;
        self.kill();
    }
}

/// A client that speaks packets.
pub(super) struct Phone {
    pipe: DuplexStream,
    input: BytesMut,
    pub(super) session_present: bool,
    packet_id: u16,
}

impl Phone {
    /// Nothing is said yet.
    pub(super) fn new(served: &Served) -> Self {
        let (pipe, theirs) = tokio::io::duplex(64 * 1024);
        let serving = served.host.clone().serve(Box::new(theirs), [127, 0, 0, 1].into());
        served.world.spawn(Box::pin(serving));
        Self { pipe, input: BytesMut::new(), session_present: false, packet_id: 0 }
    }

    pub(super) async fn connected(served: &Served, connect: Connect) -> Self {
        let mut phone = Self::new(served);
        phone.send(Packet::Connect(Box::new(connect))).await;
        match phone.next().await {
            Some(Packet::Connack(connack)) if connack.reason == Reason::Success => {
                phone.session_present = connack.session_present;
                phone
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn send(&mut self, packet: impl Sendable) {
        let mut out = BytesMut::new();
        encode(&packet.packet(), Version::V5, usize::MAX, &mut out).unwrap();
        self.send_bytes(&out).await;
    }

    /// Whoever listens may have gone.
    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.ok();
    }

    /// None: the connection is closed.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = decode(&mut self.input, usize::MAX, Version::V5).unwrap() {
                return Some(packet);
            }
            self.pipe.read_buf(&mut self.input).await.ok().filter(|count| *count > 0)?;
        }
    }

    /// The next message, acknowledged.
    pub(super) async fn receive(&mut self) -> Publish {
        let publish = match self.next().await {
            Some(Packet::Publish(publish)) => *publish,
            other => panic!("{other:?}"),
        };
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => self.send(Packet::Puback(Ack::success(id))).await,
            (QoS::ExactlyOnce, Some(id)) => {
                self.send(Packet::Pubrec(Ack::success(id))).await;
                assert!(matches!(self.next().await, Some(Packet::Pubrel(_))));
                self.send(Packet::Pubcomp(Ack::success(id))).await;
            }
            _ => {}
        }
        publish
    }

    /// Whether nothing comes for a while.
    pub(super) async fn is_silent(&mut self) -> bool {
        tokio::select! {
            packet = self.next() => panic!("{packet:?}"),
            () = pass(2_000) => true,
        }
    }

    pub(super) async fn publish(&mut self, topic: &str, qos: QoS, payload: &[u8]) {
        self.publish_with(topic, qos, payload, false).await;
    }

    pub(super) async fn publish_with(&mut self, topic: &str, qos: QoS, payload: &[u8], retain: bool) {
        self.packet_id += 1;
        let publish = Publish { retain, ..publish(topic, qos, self.packet_id, payload) };
        let id = publish.packet_id;
        self.send(publish).await;
        match (qos, id) {
            (QoS::AtLeastOnce, Some(_)) => match self.next().await {
                Some(Packet::Puback(ack)) => assert_eq!(ack.reason, Reason::Success),
                other => panic!("{other:?}"),
            },
            (QoS::ExactlyOnce, Some(id)) => {
                assert!(matches!(self.next().await, Some(Packet::Pubrec(_))));
                self.send(Packet::Pubrel(Ack::success(id))).await;
                assert!(matches!(self.next().await, Some(Packet::Pubcomp(_))));
            }
            _ => {}
        }
    }

    pub(super) async fn subscribe(&mut self, pattern: &str, options: Options) {
        let id = PacketId::new(1000).unwrap();
        self.send(Packet::Subscribe(Subscribe::new(id, &[(filter(pattern), options)]))).await;
        match self.next().await {
            Some(Packet::Suback(ack)) => assert!(!ack.codes.iter().next().unwrap().is_failure()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn disconnect(mut self) {
        self.send(Packet::Disconnect(Box::new(Disconnect::of(Reason::Success)))).await;
        assert!(self.next().await.is_none());
    }
}

/// What a phone can send.
pub(super) trait Sendable {
    fn packet(self) -> Packet;
}

impl Sendable for Packet {
    fn packet(self) -> Packet {
        self
    }
}

impl Sendable for Publish {
    fn packet(self) -> Packet {
        Packet::Publish(Box::new(self))
    }
}

pub(super) fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub(super) fn filter(filter: &str) -> Filter {
    Filter::new(text(filter)).unwrap()
}

/// A CONNECT whose session ends with its connection.
pub(super) fn connect(client: &str) -> Connect {
    connect_for(client, 0)
}

/// ... or outlives it for so many seconds.
pub(super) fn connect_for(client: &str, expiry_s: u32) -> Connect {
    Connect {
        version: Version::V5,
        clean_start: expiry_s == 0,
        keep_alive: 0,
        properties: ConnectProperties {
            session_expiry_interval: Some(expiry_s),
            ..ConnectProperties::default()
        },
        client_id: text(client),
        will: None,
        user_name: None,
        password: None,
    }
}

pub(super) fn publish(topic: &str, qos: QoS, packet_id: u16, payload: &[u8]) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: text(topic),
        packet_id: PacketId::new(packet_id).filter(|_| qos > QoS::AtMostOnce),
        properties: PublishProperties::default(),
        payload: Bytes::copy_from_slice(payload),
    }
}

/// Lets time pass.
pub(super) async fn pass(millis: u64) {
    tokio::time::sleep_until(Instant::now() + Duration::from_millis(millis)).await;
}
