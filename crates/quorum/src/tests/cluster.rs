//! Several replicas, each on a disk of its own, that can be started, killed and cut off; and a client that proposes.

use crate::{
    Config, Endpoint, Member, Placed, ProposeError, Quorum, RaftQuorum, Replica,
    tests::{
        judge::Judge,
        net::{Net, Side},
        world::{Dice, TestClock, TestTasks, cut_power, world},
    },
};
use bytes::Bytes;
use env::Tasks;
use log::{Durability, LogConfig, testing::MemoryDisk};
use model::LeaderEpoch;
use parking_lot::Mutex;
use records::{BatchBuilder, TimestampType};
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};
use stdx::Uuid;

pub(super) struct Cluster {
    pub(super) clock: Arc<TestClock>,
    pub(super) net: Arc<Net>,
    pub(super) judge: Arc<Judge>,
    nodes: Mutex<BTreeMap<Replica, Node>>,
    dice: Mutex<Dice>,
    founders: BTreeMap<Replica, Member>,
}

struct Node {
    disk: Arc<MemoryDisk>,
    running: Option<(RaftQuorum, Arc<TestTasks>)>,
}

pub(crate) fn replica(node: i32) -> Replica {
    Replica { node, directory: Uuid([node as u8; 16]) }
}

pub(crate) fn member(node: i32) -> Member {
    let endpoint = Endpoint { name: "CONTROLLER".into(), host: format!("node{node}"), port: 9093 };
    Member::new(vec![endpoint])
}

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/data/__cluster_metadata-0")
}

pub(super) fn log_config(segment_bytes: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 300,
        index_bytes_max: 10 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        cleanup_compact: false,
        was_compacted: false,
        min_cleanable_dirty_ppm: 500_000,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        delete_retention_ms: 86_400_000,
        batch_bytes_max: 1 << 20,
        plain_bytes_max: 16 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: None,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        file_delete_delay_ms: 0,
        durability: Durability::Fsync,
        key_index: false,
        transactions_verified: false,
        producer_id_expiration_ms: i64::MAX,
    }
}

/// A batch of one record.
pub(super) fn batch_of(value: u64) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, Some(&value.to_be_bytes()), &[]);
    builder.build().unwrap().bytes
}

impl Cluster {
    /// `count` founding voters, none of them running.
    pub(super) fn new(seed: u64, count: i32) -> Self {
        let mut dice = Dice::new(seed);
        let clock = TestClock::new();
        let net = Net::new(clock.clone(), dice.fork());
        let founders = (1..=count).map(|node| (replica(node), member(node))).collect();
        let (nodes, dice) = (Mutex::default(), Mutex::new(dice));
        Self { clock, net, judge: Arc::default(), nodes, dice, founders }
    }

    /// The same, running, with a leader.
    pub(super) async fn started(seed: u64, count: i32) -> Self {
        let cluster = Self::new(seed, count);
        for node in 1..=count {
            cluster.start(replica(node)).await.unwrap();
        }
        cluster.leader().await;
        cluster
    }

    pub(super) fn config(replica: Replica) -> Config {
        Config {
            cluster_id: "a-cluster".into(),
            replica,
            member: member(replica.node),
            dir: dir(),
            plain_recovery_point: 0,
            acknowledged: None,
            log: log_config(4000),
            tail_bytes_max: 2000,
            heartbeat_interval_ms: 50,
            election_timeout_ms: 250,
            snapshot_timeout_ms: 500,
            entries_kept: 5,
        }
    }

    pub(super) fn disk(&self, replica: Replica) -> Arc<MemoryDisk> {
        let mut nodes = self.nodes.lock();
        let new = || Node { disk: Arc::new(MemoryDisk::new()), running: None };
        nodes.entry(replica).or_insert_with(new).disk.clone()
    }

    pub(super) fn set_disk(&self, replica: Replica, disk: MemoryDisk) {
        self.nodes.lock().insert(replica, Node { disk: Arc::new(disk), running: None });
    }

    /// Starts a replica on its disk; a founding voter founds the quorum if its disk is empty.
    pub(super) async fn start(&self, replica: Replica) -> io::Result<()> {
        let disk = self.disk(replica);
        let (world, tasks) = world(&self.clock, &disk, &mut self.dice.lock());
        let transport = Arc::new(Side { net: self.net.clone(), from: replica });
        let quorum = match RaftQuorum::open(Self::config(replica), world, transport).await {
            Ok(quorum) => quorum,
            Err(error) => {
                tasks.end().await;
                return Err(error);
            }
        };
        if self.founders.contains_key(&replica) && !quorum.is_founded() {
            quorum.found(self.founders.clone()).await.unwrap();
        }
        tasks.spawn(Box::pin(self.judge.clone().follow(quorum.clone())));
        self.net.set_running(replica, Some((quorum.clone(), tasks.clone())));
        if let Some(node) = self.nodes.lock().get_mut(&replica) {
            node.running = Some((quorum, tasks));
        }
        Ok(())
    }

    pub(super) fn running(&self, replica: Replica) -> Option<RaftQuorum> {
        self.nodes.lock().get(&replica)?.running.as_ref().map(|(quorum, _)| quorum.clone())
    }

    pub(super) fn all_running(&self) -> Vec<RaftQuorum> {
        let nodes = self.nodes.lock();
        nodes.values().filter_map(|node| node.running.as_ref().map(|(quorum, _)| quorum.clone())).collect()
    }

    pub(super) fn replicas(&self) -> Vec<Replica> {
        self.nodes.lock().keys().copied().collect()
    }

    async fn end(&self, replica: Replica) {
        self.net.set_running(replica, None);
        let running = self.nodes.lock().get_mut(&replica).and_then(|node| node.running.take());
        if let Some((_, tasks)) = running {
            tasks.end().await;
        }
    }

    /// The process dies; what was written is still there.
    pub(super) async fn kill(&self, replica: Replica) {
        let disk = self.disk(replica).after_kill();
        self.end(replica).await;
        self.set_disk(replica, disk);
    }

    /// The machine loses its power.
    pub(super) async fn cut_power(&self, replica: Replica) {
        let disk = cut_power(&self.disk(replica), &mut self.dice.lock());
        self.end(replica).await;
        self.set_disk(replica, disk);
    }

    /// An orderly end.
    pub(super) async fn stop(&self, replica: Replica) {
        let running = self.running(replica);
        if let Some(quorum) = running {
            quorum.stop().await;
        }
        self.end(replica).await;
    }

    /// Nothing comes from it to anybody, or to it, until the net is healed.
    pub(super) fn cut_off(&self, replica: Replica) {
        for other in self.replicas() {
            self.net.cut(replica, other);
            self.net.cut(other, replica);
        }
    }

    /// Waits for a replica that may decide, among those whom a client can reach.
    pub(super) async fn leader(&self) -> RaftQuorum {
        self.leader_within(20_000).await.expect("nobody leads")
    }

    pub(super) async fn leader_within(&self, millis: u64) -> Option<RaftQuorum> {
        let end = self.clock.elapsed_ms() + millis;
        while self.clock.elapsed_ms() < end {
            let active =
                self.all_running().into_iter().filter(|quorum| quorum.leadership().borrow().is_active);
            if let Some(leader) = active.max_by_key(|quorum| quorum.leadership().borrow().epoch) {
                return Some(leader);
            }
            self.clock.sleep_ms(10).await;
        }
        None
    }

    /// Proposes a new value there, and judges the outcome.
    pub(super) async fn propose_to(
        &self,
        quorum: &RaftQuorum,
        epoch: LeaderEpoch,
        patience_ms: u64,
    ) -> Result<Placed, ProposeError> {
        let (value, behind) = self.judge.next_value();
        let pending = quorum.propose(epoch, batch_of(value)).await?;
        tokio::select! {
            biased;
            outcome = pending => {
                let placed = outcome?;
                assert_eq!(placed.epoch, epoch);
                self.judge.acknowledged(value, behind, placed);
                Ok(placed)
            }
            () = self.clock.sleep_ms(patience_ms) => Err(ProposeError::Unknown { leader: None }),
        }
    }

    /// Proposes to whoever leads until one value is acknowledged.
    pub(super) async fn propose(&self) -> Placed {
        let mut last = None;
        for _ in 0..50 {
            let leader = self.leader().await;
            let epoch = leader.leadership().borrow().epoch;
            match self.propose_to(&leader, epoch, 2000).await {
                Ok(placed) => return placed,
                Err(error) => last = Some(error),
            }
            self.clock.sleep_ms(50).await;
        }
        panic!("nothing can be proposed: {last:?}");
    }

    /// Waits until all running replicas have committed up to the same offset, at least `offset`.
    pub(super) async fn settle(&self, offset: i64) {
        for _ in 0..3000 {
            let marks: Vec<_> =
                self.all_running().iter().map(|quorum| quorum.leadership().borrow().high_watermark).collect();
            if marks.iter().all(|mark| *mark >= offset && Some(mark) == marks.first()) {
                // The judge reads what was committed last.
                self.clock.sleep_ms(100).await;
                return;
            }
            self.clock.sleep_ms(10).await;
        }
        let states: Vec<_> = self.all_running().iter().map(|quorum| *quorum.leadership().borrow()).collect();
        panic!("the replicas do not agree: {states:?}");
    }
}

/// What a host might write as a snapshot: here one record with the offset.
pub(super) fn snapshot_batches(end_offset: i64) -> Vec<Bytes> {
    vec![batch_of(end_offset as u64), batch_of(7)]
}
