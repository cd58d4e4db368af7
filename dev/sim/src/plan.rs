//! What a seed decides before anything runs: the configuration, the topics, who the clients are, how long it takes.
//!
//! It holds no state of a run. Small limits make the rare things common: segments of a few kilobytes, a memory tail
//! that is soon too small, checkpoints every few seconds.

use crate::{client::SESSION_MS, dice::Dice};

/// When a topic's records are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// On stable storage: they survive a power cut.
    Fsync,
    /// In the page cache: they survive the end of the process.
    PageCache,
}

/// A topic that exists for the whole run.
#[derive(Debug, Clone)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// What its acknowledgements promise.
    pub durability: Durability,
    /// Whether of each key only the last record stays, besides what is deleted.
    pub is_compacted: bool,
    /// Its other configuration.
    pub configs: Vec<(String, String)>,
}

/// Everything that is fixed for a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many nodes there are.
    pub nodes: i32,
    /// How many replicas topics have.
    pub replication: i16,
    /// After how many bytes of metadata a snapshot is written, and how many batches stay in the log beside it.
    pub snapshots: (u64, u64),
    /// The configuration of every node.
    pub statics: Vec<(String, String)>,
    /// Memory for the ends of all logs.
    pub tail_bytes_max: usize,
    /// Bytes received and not yet written at which connections wait.
    pub backlog_bytes_max: usize,
    /// The topics.
    pub topics: Vec<TopicPlan>,
    /// How many idempotent producers there are.
    pub idempotent_producers: u32,
    /// How many producers without idempotence.
    pub plain_producers: u32,
    /// How many consumers without a group.
    pub readers: u32,
    /// How many members the group has.
    pub members: u32,
    /// How many members the group of KIP-848 has.
    pub consumers: u32,
    /// How many members the group of Kafka Streams has.
    pub instances: u32,
    /// How many members the share group has.
    pub sharers: u32,
    /// `group.share.record.lock.duration.ms` and `group.share.delivery.count.limit`.
    pub share_limits: (u64, i16),
    /// Whether the share group has a dead-letter topic.
    pub dead_letters: bool,
    /// How many clients commit offsets without being members.
    pub committers: u32,
    /// How many transactional ids there are, and the topic that they write to; each is shared by two producers.
    pub transactional_ids: u32,
    /// Whether the node has two log directories, and somebody who moves replicas between them.
    pub has_two_dirs: bool,
    /// How many clients create and delete topics.
    pub admins: u32,
    /// Whether somebody moves partitions and votes about.
    pub operator: bool,
    /// Whether controllers become voters by themselves (`controller.quorum.auto.join.enable`). Only then all of them vote
    /// in the end, so that one can lose its disk.
    pub joins: bool,
    /// How long faults happen.
    pub duration_ms: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(dice: &Dice) -> Self {
        let (all, mut dice) = (dice, dice.fork("plan"));
        let dice = &mut dice;
        let segment_bytes = dice.pick(&["1048576", "16384", "6000"], "16384").to_owned();
        let statics = [
            ("num.partitions", dice.range(1..=3).to_string()),
            ("log.segment.bytes", segment_bytes),
            ("log.index.interval.bytes", dice.pick(&["4096", "512", "0"], "512").to_owned()),
            ("offsets.topic.num.partitions", dice.range(1..=3).to_string()),
            ("offsets.retention.minutes", "10000000".to_owned()),
            ("group.initial.rebalance.delay.ms", dice.pick(&["0", "200"], "0").to_owned()),
            ("log.retention.check.interval.ms", dice.range(500..=5000).to_string()),
            ("log.retention.ms", "-1".to_owned()),
            // The clock jumps by hours: a record that is sent again may then come from the future.
            ("log.message.timestamp.after.max.ms", "604800000".to_owned()),
            ("log.flush.offset.checkpoint.interval.ms", dice.range(500..=8000).to_string()),
            ("transaction.state.log.num.partitions", "2".to_owned()),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500".to_owned()),
            ("odradek.scrub.interval.ms", dice.range(200..=4000).to_string()),
            ("odradek.scrub.bytes.per.second", dice.pick(&["1048576", "16777216"], "1048576").to_owned()),
        ];
        Self {
            nodes: 1,
            replication: 1,
            snapshots: SNAPSHOTS_OF_ONE,
            statics: all_statics(all, statics),
            tail_bytes_max: dice.pick(&[0, 4 << 10, 64 << 10, 16 << 20], 64 << 10),
            backlog_bytes_max: dice.pick(&[1 << 10, 64 << 10, 32 << 20], 64 << 10),
            topics: (0..dice.range(1..=3))
                .map(|number| TopicPlan::new(number, dice).compacted(all).indexed(all))
                .collect(),
            idempotent_producers: dice.range(1..=3) as u32,
            plain_producers: dice.range(0..=2) as u32,
            readers: dice.range(1..=2) as u32,
            members: dice.range(1..=3) as u32,
            committers: dice.range(1..=2) as u32,
            transactional_ids: transactional_ids(all),
            consumers: reconcilers(all, "consumers"),
            instances: reconcilers(all, "instances"),
            sharers: sharers(all),
            share_limits: share_limits(all),
            dead_letters: dead_letters(all),
            has_two_dirs: has_two_dirs(all),
            admins: dice.range(0..=2) as u32,
            operator: false,
            joins: false,
            duration_ms: dice.range(8..=25) * 1000,
        }
    }

    /// The plan of a seed for a cluster of so many nodes.
    pub fn of_cluster(dice: &Dice, nodes: i32) -> Self {
        let (all, mut dice) = (dice, dice.fork("cluster plan"));
        let dice = &mut dice;
        let statics = [
            ("num.partitions", "2".to_owned()),
            ("default.replication.factor", "3".to_owned()),
            ("min.insync.replicas", "2".to_owned()),
            ("log.segment.bytes", dice.pick(&["1048576", "16384", "6000"], "16384").to_owned()),
            ("log.index.interval.bytes", dice.pick(&["4096", "512", "0"], "512").to_owned()),
            ("offsets.topic.num.partitions", dice.range(1..=3).to_string()),
            ("offsets.topic.replication.factor", "3".to_owned()),
            ("offsets.retention.minutes", "10000000".to_owned()),
            ("group.initial.rebalance.delay.ms", dice.pick(&["0", "200"], "0").to_owned()),
            ("log.retention.check.interval.ms", dice.range(500..=5000).to_string()),
            ("log.retention.ms", "-1".to_owned()),
            ("log.message.timestamp.after.max.ms", "604800000".to_owned()),
            ("log.flush.offset.checkpoint.interval.ms", dice.range(500..=8000).to_string()),
            ("odradek.scrub.interval.ms", dice.range(200..=4000).to_string()),
            ("odradek.scrub.bytes.per.second", dice.pick(&["1048576", "16777216"], "1048576").to_owned()),
            ("replica.high.watermark.checkpoint.interval.ms", dice.range(200..=5000).to_string()),
            ("replica.lag.time.max.ms", dice.pick(&["1000", "3000", "30000"], "3000").to_owned()),
            ("transaction.state.log.num.partitions", "2".to_owned()),
            ("transaction.state.log.replication.factor", "3".to_owned()),
            ("transaction.state.log.min.isr", "2".to_owned()),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500".to_owned()),
        ];
        Self {
            nodes,
            replication: 3,
            snapshots: (dice.pick(&[2_000, 20_000, 1 << 24], 20_000), dice.range(1..=20)),
            statics: all_statics(all, statics),
            tail_bytes_max: dice.pick(&[0, 4 << 10, 64 << 10, 16 << 20], 64 << 10),
            backlog_bytes_max: dice.pick(&[1 << 10, 64 << 10, 32 << 20], 64 << 10),
            topics: (0..dice.range(1..=2))
                .map(|number| TopicPlan::replicated(number, dice).compacted(all).indexed(all))
                .collect(),
            // One for each partition at least.
            idempotent_producers: dice.range(4..=5) as u32,
            plain_producers: dice.range(0..=1) as u32,
            readers: dice.range(2..=4) as u32,
            members: dice.range(1..=2) as u32,
            committers: dice.range(1..=2) as u32,
            transactional_ids: transactional_ids(all),
            consumers: reconcilers(all, "consumers"),
            instances: reconcilers(all, "instances"),
            sharers: sharers(all),
            share_limits: share_limits(all),
            dead_letters: dead_letters(all),
            has_two_dirs: false,
            admins: dice.range(0..=1) as u32,
            operator: dice.chance(60),
            duration_ms: dice.range(15..=30) * 1000,
            joins: dice.chance(50),
        }
    }
}

/// What is common to all, and what compaction does: logs of coordinators are compacted in every run.
fn all_statics<const N: usize>(dice: &Dice, statics: [(&str, String); N]) -> Vec<(String, String)> {
    let all_dice = dice;
    let mut dice = dice.fork("compaction");
    let compaction = [
        ("log.cleaner.backoff.ms", dice.range(50..=3000).to_string()),
        ("log.cleaner.threads", dice.range(1..=2).to_string()),
        ("log.cleaner.min.cleanable.ratio", dice.pick(&["0", "0.3"], "0").to_owned()),
        ("log.cleaner.delete.retention.ms", dice.pick(&["0", "2000", "86400000"], "2000").to_owned()),
        ("log.segment.delete.delay.ms", dice.pick(&["500", "60000"], "500").to_owned()),
        ("log.roll.ms", dice.pick(&["500", "3000", "604800000"], "3000").to_owned()),
    ];
    let mut moves = all_dice.fork("moves");
    let rate = moves.pick(&["3000", "30000", "9223372036854775807"], "30000").to_owned();
    let moves = [("replica.alter.log.dirs.io.max.bytes.per.second", rate)];
    let (lock_ms, count_max) = share_limits(all_dice);
    let shares = [
        ("group.share.min.record.lock.duration.ms", "1000".to_owned()),
        ("group.share.record.lock.duration.ms", lock_ms.to_string()),
        ("group.share.delivery.count.limit", count_max.to_string()),
        ("errors.deadletterqueue.auto.create.topics.enable", "true".to_owned()),
        ("share.coordinator.state.topic.num.partitions", "2".to_owned()),
        ("share.coordinator.snapshot.update.records.per.snapshot", "20".to_owned()),
        ("share.coordinator.state.topic.prune.interval.ms", "2000".to_owned()),
    ];
    let mut dice = all_dice.fork("groups");
    let groups = ["consumer", "streams"].into_iter().flat_map(|kind| {
        let session = (format!("group.{kind}.session.timeout.ms"), SESSION_MS.to_string());
        let delay = dice.pick(&["0", "300"], "0").to_owned();
        [session, (format!("group.{kind}.assignment.interval.ms"), delay)]
    });
    let delay = ("group.streams.initial.rebalance.delay.ms".to_owned(), "200".to_owned());
    let groups: Vec<_> = groups.chain([delay]).collect();
    let groups = groups.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let all = statics.into_iter().chain(compaction).chain(shares).chain(groups).chain(moves);
    all.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// In most runs there is a share group.
fn sharers(dice: &Dice) -> u32 {
    let mut dice = dice.fork("sharers");
    if dice.chance(60) { dice.range(1..=3) as u32 } else { 0 }
}

/// Of each kind of group whose coordinator shares things out there is one in half of the runs.
fn reconcilers(dice: &Dice, kind: &str) -> u32 {
    let mut dice = dice.fork(kind);
    if dice.chance(50) { dice.range(1..=4) as u32 } else { 0 }
}

fn dead_letters(dice: &Dice) -> bool {
    let mut dice = dice.fork("dead letters");
    dice.chance(60)
}

fn share_limits(dice: &Dice) -> (u64, i16) {
    let mut dice = dice.fork("share limits");
    (dice.range(1000..=4000), dice.pick(&[2, 5, 10], 5))
}

/// In half of the runs on one node.
fn has_two_dirs(dice: &Dice) -> bool {
    let mut dice = dice.fork("log directories");
    dice.chance(50)
}

/// In half of the runs there are transactions.
fn transactional_ids(dice: &Dice) -> u32 {
    let mut dice = dice.fork("transactional ids");
    if dice.chance(50) { dice.range(1..=2) as u32 } else { 0 }
}

/// Kafka's own distance between snapshots.
const SNAPSHOTS_OF_ONE: (u64, u64) = (20 << 20, 1000);

impl TopicPlan {
    /// Every topic of a cluster is durable: what `page-cache` promises there depends on how many lose their power.
    fn replicated(number: u64, dice: &mut Dice) -> Self {
        let partitions = dice.range(1..=2) as i32;
        Self { partitions, durability: Durability::Fsync, ..Self::new(number, dice) }
    }

    fn new(number: u64, dice: &mut Dice) -> Self {
        // The first one is durable, so that group members have something to follow whose offsets never go back.
        let is_durable = number == 0 || dice.chance(60);
        let mut configs = Vec::new();
        if dice.chance(30) {
            configs.push(("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()));
        }
        if dice.chance(30) {
            configs.push(("segment.ms".to_owned(), dice.range(500..=5000).to_string()));
        }
        if dice.chance(20) {
            configs.push(("flush.messages".to_owned(), dice.range(1..=5).to_string()));
        }
        if dice.chance(20) {
            configs.push(("flush.ms".to_owned(), dice.range(1..=2000).to_string()));
        }
        Self {
            name: format!("t{number}"),
            partitions: dice.range(1..=3) as i32,
            durability: if is_durable { Durability::Fsync } else { Durability::PageCache },
            is_compacted: false,
            configs,
        }
    }

    /// Of some the keys are indexed.
    fn indexed(mut self, dice: &Dice) -> Self {
        if dice.fork("key index").fork(&self.name).chance(60) {
            self.configs.push(("odradek.key.index".to_owned(), "true".to_owned()));
        }
        self
    }

    /// Some are compacted.
    fn compacted(mut self, dice: &Dice) -> Self {
        let mut dice = dice.fork("compacted").fork(&self.name);
        self.is_compacted = dice.chance(40);
        if self.is_compacted {
            self.configs.push(("cleanup.policy".to_owned(), "compact,delete".to_owned()));
            if dice.chance(30) {
                self.configs.push(("min.compaction.lag.ms".to_owned(), dice.range(1..=3000).to_string()));
            }
        }
        self
    }

    /// The topic that transactions write to.
    pub fn of_transactions() -> Self {
        let (name, durability) = ("transactional".to_owned(), Durability::Fsync);
        Self { name, partitions: 2, durability, is_compacted: false, configs: Vec::new() }
    }

    /// Every configuration of its own.
    pub fn all_configs(&self) -> Vec<(String, String)> {
        let durability = match self.durability {
            Durability::Fsync => "fsync",
            Durability::PageCache => "page-cache",
        };
        let own = [("odradek.ack.durability".to_owned(), durability.to_owned())];
        self.configs.iter().cloned().chain(own).collect()
    }
}
