//! The host of one partition: its log behind one short lock, its disk work on a lane, and whoever waits for either.
//!
//! It decides nothing about offsets, producers or retention: [`log::Log`] does. The lock is never held across an await
//! or a call that may block; a lane job carries the file handles away and brings them back, so that what is appended
//! meanwhile is written by the next job together (group commit). What is done with the state stands in the modules
//! below: `append`, `flush`, `read`, `clean`, `find`, `keys`, `retain`, `end`, `open_again`,
//! `damage`, `keyed`, `own`, `relocate`.

mod append;
mod clean;
mod cut;
mod damage;
mod end;
mod find;
mod flush;
mod follow;
mod keyed;
mod keys;
#[cfg(test)]
pub(crate) mod kit;
mod open_again;
mod own;
mod read;
mod relocate;
mod retain;
mod role;

pub(crate) use append::Copies;
pub(crate) use cut::Cut;
pub(crate) use damage::{Condition, ReadOf, is_damage};
pub(crate) use find::{Found, Sought};
pub(crate) use follow::{Fetched, Place};
pub(crate) use keyed::Ends;
pub(crate) use own::{AppendRefused, Own, Part};
pub(crate) use read::{Cold, Isolation, READ_TRIES, Read, Reader, Records, Watch};
pub(crate) use relocate::{Copy, Held, Next, Promoted};
pub(crate) use role::{Assigned, Assignment};

use crate::{
    fetch_wait::FetchWait,
    log_dir::{LogDir, Shared},
};
use append::Ack;
use arc_swap::{ArcSwap, ArcSwapOption};
use env::World;
use log::{AppendError, Effect, Files, FollowError, Log, LogConfig, OpenOptions};
use model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use parking_lot::Mutex;
use records::Rules;
use role::Role;
use slab::Slab;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::sync::oneshot;

/// One partition of which this broker has a replica.
pub(crate) struct Partition {
    shared: Arc<Shared>,
    /// Where it lies.
    dir: ArcSwap<LogDir>,
    /// Where it is about to lie: its copy there is getting the log's name.
    moving_into: ArcSwapOption<LogDir>,
    topic: TopicName,
    topic_id: TopicId,
    index: PartitionIndex,
    config: ArcSwap<LogConfig>,
    /// What the metadata last said, for a log that opens later.
    assignment: ArcSwapOption<Assignment>,
    state: Mutex<State>,
    /// Held by whoever replaces files of sealed segments: compaction, or the scrub for an index.
    pub(crate) maintenance: tokio::sync::Mutex<()>,
    /// It is being copied to another log directory, and not compacted meanwhile, whatever log it has by then.
    is_copied: AtomicBool,
    /// Its log had a key index, or files of one, when that was last looked at.
    has_keys: AtomicBool,
}

enum State {
    Online(Box<Online>),
    Offline(Box<Offline>),
    /// The topic is gone; who still holds the partition is told so.
    Deleted,
}

struct Online {
    log: Log,
    /// Absent while a lane job has them.
    files: Option<Files>,
    pending: Vec<Effect>,
    pending_bytes: usize,
    role: Role,
    /// Who waits for the high watermark.
    acks: VecDeque<Ack>,
    /// Who waits for this broker's own copy only.
    own_acks: VecDeque<Ack>,
    /// What was appended and is not yet visible: the offset behind it and its bytes.
    invisible: VecDeque<(Offset, usize)>,
    watchers: Slab<(Arc<FetchWait>, Isolation)>,
    /// Who waits for whatever is appended: the replicas that follow.
    following: Slab<Arc<FetchWait>>,
    high_watermark: Offset,
    /// What a leader wants done, between its step and its being done.
    wanted: Vec<replica::Effect>,
    /// While the log is being cut off: the most that a checkpoint may say of its recovery point.
    recovery_point_max: Option<Offset>,
    /// The files are being cut. Nothing may be decided about the log meanwhile.
    is_cutting: bool,
    /// No job is begun: the log is about to be exchanged for its copy in another directory.
    is_held: bool,
    /// The log was exchanged for its copy, whose directory is getting the log's name.
    is_renamed: bool,
    /// How often the log was cut, or exchanged: what was heard of the files of an earlier one is void.
    cuts: u64,
    /// When the last job had something to write.
    written_at: Timestamp,
    /// When something was looked up in the key index last.
    looked_up_at: Timestamp,
    /// The next job must sync, whatever the configuration says.
    sync_wanted: bool,
    /// The log is being closed, or is: what was taken is written down, and nothing more is taken.
    is_closed: bool,
    /// How many jobs were handed to lanes.
    jobs: u64,
    /// Who waits for the end of the how many-th job.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    /// Room or descriptors are missing: what is pending is tried again now and then, and nothing more is taken.
    stuck: Option<Arc<str>>,
    /// Ends when the last job that was handed to a lane has ended.
    job: Option<oneshot::Receiver<()>>,
    /// What compaction knows of it.
    upkeep: clean::Upkeep,
}

/// A log that could not be opened, or has failed.
struct Offline {
    why: Arc<str>,
    /// What is on the disk is not what was written there: others must give it again.
    is_damaged: bool,
    /// Of the last time it was known to be well. They stay in the checkpoints: without them the next start would cut off
    /// what is damaged as if it had never been on stable storage. `None` once that is to be discarded.
    marks: Option<Offsets>,
    /// Those of the log that was there before, see [`Online::cuts`].
    cuts: u64,
    /// The last epoch in which it may have told a leader what it had.
    fetched_epoch: Option<LeaderEpoch>,
    /// How to open it, if that may still succeed.
    again: Option<Box<OpenOptions>>,
    /// They end when no lane is at work in its directory any more.
    jobs: Vec<oneshot::Receiver<()>>,
    /// The broker stops: it is not to be opened any more.
    is_closed: bool,
}

/// A log that was opened, or could not be.
pub(crate) type OpenedLog = Result<(Log, Files), Unopened>;

/// Why a log could not be opened, and how that was tried.
pub(crate) struct Unopened {
    pub(crate) why: String,
    /// Only room or descriptors were missing.
    pub(crate) is_scarcity: bool,
    /// What is there is not what was written.
    pub(crate) is_damaged: bool,
    pub(crate) options: OpenOptions,
}

/// Why a partition did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the partition is offline: {0}")]
    Offline(Arc<str>),
    #[error("the partition cannot be written for now: {0}")]
    Stuck(Arc<str>),
    #[error("the broker stops and has closed the partition")]
    Closed,
    #[error("the topic was deleted")]
    Deleted,
    #[error("the offset is outside of {start_offset} to {end_offset}")]
    OffsetOutOfRange { start_offset: Offset, end_offset: Offset },
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("something was appended since what is to be appended was decided")]
    Overtaken,
    #[error("fewer replicas are in sync than min.insync.replicas asks for")]
    TooFewInSync,
    #[error("the new leader does not know yet how far its predecessor's records are safe")]
    OffsetNotAvailable,
    #[error("the node that asks has no replica of the partition, as far as this broker knows")]
    UnknownReplica,
    #[error("the node that asks has registered anew since")]
    StaleReplica,
    #[error("the leader epoch is older than the partition's")]
    FencedLeaderEpoch,
    #[error("the leader epoch is newer than the partition's")]
    UnknownLeaderEpoch,
    #[error(
        "records of a compacted topic cannot be deleted; set cleanup.policy to delete or to compact,delete"
    )]
    Policy,
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the leader's records do not fit: {0}")]
    Follow(#[from] FollowError),
}

/// The marks of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) recovery_point: Offset,
    pub(crate) end: Offset,
    pub(crate) first_segment: Offset,
}

impl Partition {
    /// A partition whose log was opened, or could not be; the only replica until it is told otherwise.
    pub(crate) fn new(
        dir: Arc<LogDir>,
        (topic, topic_id, index): (TopicName, TopicId, PartitionIndex),
        leader_epoch: LeaderEpoch,
        config: Arc<LogConfig>,
        opened: OpenedLog,
    ) -> Arc<Self> {
        let shared = dir.shared.clone();
        let state = State::new(opened, &shared, leader_epoch);
        let dir = ArcSwap::new(dir);
        let config = ArcSwap::new(config);
        let assignment = ArcSwapOption::empty();
        Arc::new(Self {
            shared,
            dir,
            moving_into: ArcSwapOption::empty(),
            topic,
            topic_id,
            index,
            config,
            assignment,
            state: Mutex::new(state),
            maintenance: tokio::sync::Mutex::default(),
            is_copied: AtomicBool::new(false),
            has_keys: AtomicBool::new(false),
        })
    }

    pub(crate) fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub(crate) fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub(crate) fn index(&self) -> PartitionIndex {
        self.index
    }

    /// The log directory in which it lies.
    pub(crate) fn dir(&self) -> Arc<LogDir> {
        self.dir.load_full()
    }

    /// Whether it lies in that directory.
    pub(crate) fn is_in(&self, dir: &Arc<LogDir>) -> bool {
        Arc::ptr_eq(&self.dir.load(), dir)
    }

    /// Whether the checkpoints of that directory tell of it: of one that is just being moved both do.
    pub(crate) fn is_kept_in(&self, dir: &Arc<LogDir>) -> bool {
        self.is_in(dir) || self.moving_into.load().as_ref().is_some_and(|into| Arc::ptr_eq(into, dir))
    }

    /// Which partition of the cluster it is.
    pub(crate) fn key(&self) -> (TopicId, PartitionIndex) {
        (self.topic_id, self.index)
    }

    pub(crate) fn is_internal(&self) -> bool {
        self.topic.is_internal()
    }

    /// The rules that a client's batch must keep.
    pub(crate) fn rules(&self, now: Timestamp, zstd_allowed: bool) -> Rules {
        self.config.load().rules(now, zstd_allowed)
    }

    /// Takes a new configuration over at once. If acknowledgements are to be durable from now on, what was acknowledged
    /// before is synced now and not with the next record: others soon rely on it.
    pub(crate) fn configure(self: &Arc<Self>, config: Arc<LogConfig>) {
        let mut job = None;
        if let State::Online(online) = &mut *self.state.lock() {
            online.log.configure(config.clone());
            if !online.is_closed && !online.is_cutting && online.stuck.is_none() {
                job = self.flush_soon(online, self.shared.world.clock.wall());
            }
        }
        self.config.store(config);
        self.hand_over(job);
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    pub(crate) fn start_offset(&self) -> Offset {
        self.offsets().map_or(0, |offsets| offsets.start)
    }

    /// Where the log starts, is durable, was synced and ends; `None` if the partition is offline.
    pub(crate) fn offsets(&self) -> Option<Offsets> {
        match &*self.state.lock() {
            State::Online(online) => Some(online.offsets()),
            State::Offline(_) | State::Deleted => None,
        }
    }

    /// The same for checkpoints: of an offline partition what was last known.
    pub(crate) fn marks(&self) -> Option<Offsets> {
        match &*self.state.lock() {
            State::Online(online) => Some(online.offsets()),
            State::Offline(offline) => offline.marks,
            State::Deleted => None,
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match &*self.state.lock() {
            State::Online(online) => online.log.size_bytes(),
            State::Offline(_) | State::Deleted => 0,
        }
    }
}

impl State {
    /// A log that was opened is led alone, in this epoch.
    fn new(opened: OpenedLog, shared: &Shared, leader_epoch: LeaderEpoch) -> Self {
        match opened {
            Ok((log, files)) => Self::Online(Box::new(Online {
                role: Role::alone(shared.node_id, leader_epoch, &log, shared.world.clock.now()),
                high_watermark: log.flushed_offset(),
                log,
                files: Some(files),
                pending: Vec::new(),
                pending_bytes: 0,
                acks: VecDeque::new(),
                own_acks: VecDeque::new(),
                invisible: VecDeque::new(),
                watchers: Slab::new(),
                following: Slab::new(),
                wanted: Vec::new(),
                recovery_point_max: None,
                is_cutting: false,
                is_held: false,
                is_renamed: false,
                cuts: 0,
                written_at: shared.world.clock.wall(),
                looked_up_at: Timestamp::MAX,
                sync_wanted: false,
                is_closed: false,
                jobs: 0,
                waiting: Vec::new(),
                stuck: None,
                job: None,
                upkeep: clean::Upkeep::default(),
            })),
            Err(Unopened { why, is_scarcity, is_damaged, options }) => Self::Offline(Box::new(Offline {
                why: why.into(),
                is_damaged,
                fetched_epoch: None,
                marks: Some(Offsets {
                    start: options.start_offset,
                    high_watermark: options.recovery_point,
                    recovery_point: options.recovery_point,
                    end: options.recovery_point.max(options.start_offset),
                    first_segment: 0,
                }),
                cuts: 0,
                again: is_scarcity.then(|| Box::new(options)),
                jobs: Vec::new(),
                is_closed: false,
            })),
        }
    }

    fn online(&mut self) -> Result<&mut Online, Refused> {
        match self {
            State::Online(online) => Ok(online),
            State::Offline(offline) => Err(Refused::Offline(offline.why.clone())),
            State::Deleted => Err(Refused::Deleted),
        }
    }
}

impl Online {
    fn offsets(&self) -> Offsets {
        let recovery_point = self.log.recovery_point();
        Offsets {
            start: self.log.start_offset(),
            high_watermark: self.high_watermark,
            recovery_point: self.recovery_point_max.map_or(recovery_point, |max| recovery_point.min(max)),
            end: self.log.end_offset(),
            first_segment: self.log.first_segment(),
        }
    }

    /// Whether the reader knows the leader epoch; -1 says nothing.
    fn check_epoch(&self, current: LeaderEpoch) -> Result<(), Refused> {
        match current {
            -1 => Ok(()),
            epoch if epoch == self.role.epoch() => Ok(()),
            epoch if epoch < self.role.epoch() => Err(Refused::FencedLeaderEpoch),
            _ => Err(Refused::UnknownLeaderEpoch),
        }
    }

    /// Nothing may change a log that is closed: a clean start believes what it finds.
    fn check_not_closed(&self) -> Result<(), Refused> {
        if self.is_closed { Err(Refused::Closed) } else { Ok(()) }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// Runs blocking work on a lane; `None` if the node stopped before it ran.
pub(crate) async fn on_lane<T: Send + 'static>(
    world: &World,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    world.tasks.run_on_lane(Box::new(move || {
        let _ = sender.send(work());
    }));
    receiver.await.ok()
}

/// Runs a long computation on a worker; `None` if the node stopped before it ran.
pub(crate) async fn on_worker<T: Send + 'static>(
    world: &World,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    world.tasks.run_on_worker(Box::new(move || {
        let _ = sender.send(work());
    }));
    receiver.await.ok()
}

#[cfg(test)]
mod tests;
