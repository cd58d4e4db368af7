//! The host of one partition: its log behind one short lock, its disk work on a lane, and whoever waits for either.
//!
//! It decides nothing about offsets, producers or retention: [`log::Log`] does. The lock is never held across an await
//! or a call that may block; a lane job carries the file handles away and brings them back, so that what is appended
//! meanwhile is written by the next job together (group commit).

mod own;

pub(crate) use own::AppendRefused;

use crate::{acks::Settled, fetch_sessions::Wanted, fetch_wait::FetchWait, log_dir::LogDir};
use arc_swap::ArcSwap;
use env::World;
use log::{
    AppendError, Appended, Effect, Files, Log, LogConfig, OffsetAnswer, OffsetQuery, Origin, ReadPlan,
};
use model::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicId, TopicName};
use parking_lot::Mutex;
use records::{Checked, Rules};
use slab::Slab;
use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use stdx::Parts;
use tokio::sync::oneshot;

/// One partition that this broker has a replica of.
pub(crate) struct Partition {
    dir: Arc<LogDir>,
    topic: TopicName,
    topic_id: TopicId,
    index: PartitionIndex,
    /// In which epoch this broker leads it, and whether it does: another bit, so that both change at once.
    leads: AtomicU64,
    config: ArcSwap<LogConfig>,
    state: Mutex<State>,
}

enum State {
    Online(Box<Online>),
    Offline(Arc<str>),
    /// The topic is gone; who still holds the partition is told so.
    Deleted,
}

struct Online {
    log: Log,
    /// Absent while a lane job has them.
    files: Option<Files>,
    pending: Vec<Effect>,
    pending_bytes: usize,
    acks: VecDeque<Ack>,
    /// What was appended and is not yet visible: the offset behind it and its bytes.
    invisible: VecDeque<(Offset, usize)>,
    watchers: Slab<(Arc<FetchWait>, Isolation)>,
    high_watermark: Offset,
    /// When the last job had something to write.
    written_at: Timestamp,
    /// The next job must sync, whatever the configuration says: the log is being closed.
    sync_wanted: bool,
    /// Told when the files come back from a lane.
    idle: Vec<oneshot::Sender<()>>,
    /// Room or descriptors are missing: what is pending is tried again now and then, and nothing more is taken.
    stuck: Option<Arc<str>>,
    /// Ends when the last job that was handed to a lane has ended.
    job: Option<oneshot::Receiver<()>>,
}

struct Ack {
    upto: Offset,
    /// Whether to wait while the disk is full. A coordinator must: it cannot take back what will be written later.
    is_patient: bool,
    settled: Arc<dyn Settled>,
    slot: usize,
}

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Everything that was appended.
    LogEnd,
    /// What is durable (read_uncommitted).
    HighWatermark,
    /// What belongs to no open transaction (read_committed, KIP-98).
    LastStable,
}

/// What was read.
pub(crate) struct Read {
    pub(crate) records: Records,
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable_offset: Offset,
    pub(crate) start_offset: Offset,
    /// The end of what was visible: the reader may wait for more than this.
    pub(crate) upto: Offset,
    /// Aborted transactions among the records: producer and first offset; only for [`Isolation::LastStable`].
    pub(crate) aborted: Option<Vec<(ProducerId, Offset)>>,
    /// The reader's epoch and offset are not of this log's history: the epoch that it shares and where it ends.
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
}

/// Records in memory, or a plan to find them on the disk.
pub(crate) enum Records {
    Memory(Parts),
    File(Cold),
}

/// A read that must ask the disk; runs on a lane.
pub(crate) struct Cold {
    plan: log::FilePlan,
    world: World,
}

/// What ListOffsets looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought {
    Latest,
    Earliest,
    MaxTimestamp,
    Timestamp(Timestamp),
    /// Something that only tiered storage has.
    Nothing,
}

/// What was found; all -1 for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: Offset,
    pub(crate) timestamp: Timestamp,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// Why a partition did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the partition is offline: {0}")]
    Offline(Arc<str>),
    #[error("the partition cannot be written for now: {0}")]
    Stuck(Arc<str>),
    #[error("the topic was deleted")]
    Deleted,
    #[error("another broker leads the partition")]
    NotLeader,
    #[error("the offset is outside of {start_offset} to {end_offset}")]
    OffsetOutOfRange { start_offset: Offset, end_offset: Offset },
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
}

/// Descriptors are scarcer than reopening is dear.
const IDLE_FILES_MS: i64 = 10_000;
const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };
impl Isolation {
    /// The isolation level of a request: 1 is read_committed, everything else read_uncommitted.
    pub(crate) fn from_id(id: i8) -> Self {
        if id == 1 { Self::LastStable } else { Self::HighWatermark }
    }
}

impl Read {
    /// How many bytes of records there are in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.records {
            Records::Memory(parts) => parts.len(),
            Records::File(_) => 0,
        }
    }
}

impl Cold {
    /// Finds the records; blocks on the disk.
    pub(crate) fn locate(self) -> io::Result<Parts> {
        self.plan.locate(&*self.world.disk).map(|slice| slice.parts)
    }
}

impl Partition {
    /// A partition whose log was opened, or could not be.
    pub(crate) fn new(
        dir: Arc<LogDir>,
        (topic, topic_id, index): (TopicName, TopicId, PartitionIndex),
        leader_epoch: LeaderEpoch,
        config: Arc<LogConfig>,
        opened: Result<(Log, Files), String>,
    ) -> Arc<Self> {
        let state = match opened {
            Ok((log, files)) => State::Online(Box::new(Online {
                high_watermark: log.flushed_offset(),
                log,
                files: Some(files),
                pending: Vec::new(),
                pending_bytes: 0,
                acks: VecDeque::new(),
                invisible: VecDeque::new(),
                watchers: Slab::new(),
                written_at: dir.world.clock.wall(),
                sync_wanted: false,
                idle: Vec::new(),
                stuck: None,
                job: None,
            })),
            Err(why) => State::Offline(why.into()),
        };
        let config = ArcSwap::new(config);
        let leads = AtomicU64::new(packed(leader_epoch, true));
        Arc::new(Self { dir, topic, topic_id, index, leads, config, state: Mutex::new(state) })
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

    pub(crate) fn is_internal(&self) -> bool {
        self.topic.is_internal()
    }

    /// The rules that a client's batch must keep.
    pub(crate) fn rules(&self, now: Timestamp, zstd_allowed: bool) -> Rules {
        self.config.load().rules(now, zstd_allowed)
    }

    /// Appends a client's batch. `settled` is told when it is durable, unless this fails.
    pub(crate) fn produce(
        self: &Arc<Self>,
        now: Timestamp,
        batch: Checked,
        settled: Option<(Arc<dyn Settled>, usize)>,
    ) -> Result<Appended, Refused> {
        self.append(now, batch, Origin::Client, settled, false)
    }

    fn append(
        self: &Arc<Self>,
        now: Timestamp,
        batch: Checked,
        origin: Origin,
        settled: Option<(Arc<dyn Settled>, usize)>,
        is_patient: bool,
    ) -> Result<Appended, Refused> {
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        let online = state.online()?;
        if let Some(why) = &online.stuck {
            return Err(Refused::Stuck(why.clone()));
        }
        let before = online.log.tail_bytes();
        let leader_epoch = self.leader_epoch()?;
        let appended = online.log.append(now, leader_epoch, origin, batch, &mut online.pending)?;
        let upto = appended.last_offset + 1;
        let is_durable = upto <= online.high_watermark;
        if let (Some((settled, slot)), false) = (&settled, is_durable) {
            online.acks.push_back(Ack { upto, is_patient, settled: settled.clone(), slot: *slot });
        }
        let tail = online.log.tail_bytes().saturating_sub(before);
        if !appended.duplicate {
            online.pending_bytes += bytes;
            online.invisible.push_back((upto, bytes));
            self.dir.backlog.add(bytes);
        }
        self.flush_soon(online, now);
        drop(state);
        if let (Some((settled, slot)), true) = (settled, is_durable) {
            settled.settle(slot, true);
        }
        if tail > 0 {
            self.dir.tail.on_append(self, tail);
        }
        Ok(appended)
    }

    /// Hands what is pending to a lane, unless one is at work: then it goes with the next job.
    fn flush_soon(self: &Arc<Self>, online: &mut Online, now: Timestamp) {
        let must_sync = online.sync_wanted || online.log.must_sync(now);
        if online.pending.is_empty() && !must_sync {
            if online.files.is_some() {
                online.idle.clear();
            }
            return;
        }
        let Some(files) = online.files.take() else { return };
        let mut effects = std::mem::take(&mut online.pending);
        if online.stuck.is_some() {
            log::removals_first(&mut effects);
        }
        let bytes = std::mem::take(&mut online.pending_bytes);
        online.sync_wanted = false;
        online.written_at = now;
        let this = self.clone();
        let (ended, job) = oneshot::channel();
        online.job = Some(job);
        self.dir.world.tasks.run_on_lane(Box::new(move || {
            let _ended: oneshot::Sender<()> = ended;
            this.flush(files, effects, bytes, must_sync);
        }));
    }

    /// Runs on a lane.
    fn flush(self: Arc<Self>, mut files: Files, effects: Vec<Effect>, bytes: usize, must_sync: bool) {
        let mut result = files.perform(&*self.dir.world.disk, &effects, must_sync);
        self.dir.backlog.remove(bytes);
        let now = self.dir.world.clock.wall();
        let mut done = Vec::new();
        {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            if let Ok(performed) = &result {
                online.log.flushed(now, performed);
                online.advance(&mut done);
                if online.stuck.take().is_some() {
                    tracing::info!(partition = %self, "the partition can be written again");
                }
            }
        }
        match &result {
            Err(error) if log::is_scarcity(error) => return self.stick(error, files, effects),
            Err(error) => return self.fail(error),
            Ok(_) => {}
        }
        // Settled before the files are given back: the next job cannot overtake, so acks come in the order of offsets.
        for ack in done {
            ack.settled.settle(ack.slot, true);
        }
        if let Ok(Some(sealed)) = result.as_mut().map(|performed| performed.sealed.take()) {
            let this = self.clone();
            self.dir.world.tasks.run_on_lane(Box::new(move || this.sync_sealed(sealed)));
        }
        if let State::Online(online) = &mut *self.state.lock() {
            online.files = Some(files);
            self.flush_soon(online, now);
        }
    }

    /// Runs on a lane: a full segment goes to stable storage without holding up the next one.
    fn sync_sealed(&self, sealed: log::Sealed) {
        let result = sealed.sync(&*self.dir.world.disk);
        let now = self.dir.world.clock.wall();
        match result {
            Ok(upto) => {
                if let State::Online(online) = &mut *self.state.lock() {
                    online.log.synced(now, upto);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Room or descriptors are missing. Whoever can ask again is told so; what was taken stays pending, and
    /// [`Partition::sweep`] has it tried again. Readers notice nothing.
    fn stick(&self, error: &io::Error, files: Files, mut effects: Vec<Effect>) {
        let mut told = Vec::new();
        if let State::Online(online) = &mut *self.state.lock() {
            if online.stuck.is_none() {
                tracing::error!(partition = %self, %error, "the partition cannot be written for now");
            }
            let why = format!("{error}; free some, and it is written again without a restart");
            online.stuck = Some(why.into());
            effects.append(&mut online.pending);
            online.pending = effects;
            online.files = Some(files);
            // Whoever waits for the end of all work would wait long.
            online.idle.clear();
            let (patient, hasty) = online.acks.drain(..).partition::<Vec<_>, _>(|ack| ack.is_patient);
            (online.acks, told) = (patient.into(), hasty);
        }
        for ack in told {
            ack.settled.settle(ack.slot, false);
        }
    }

    /// The disk has failed under the log: what is not durable never will be. A deleted topic's files are nobody's any
    /// more: whatever fails there says nothing about the disk.
    fn fail(&self, error: &io::Error) {
        let why = format!("{self} could not be written: {error}; free or repair the disk and restart");
        let mut state = self.state.lock();
        if !matches!(&*state, State::Online(_)) {
            return;
        }
        tracing::error!(partition = %self, %error, "the partition is offline: it could not be written");
        self.dir.is_offline.store(true, Ordering::Release);
        let before = std::mem::replace(&mut *state, State::Offline(why.into()));
        drop(state);
        self.end(before, |ack| ack.settled.settle(ack.slot, false));
    }

    /// What can be read from `wanted.offset` on.
    pub(crate) fn read(
        &self,
        wanted: &Wanted,
        isolation: Isolation,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Read, Refused> {
        let mut state = self.state.lock();
        self.check_epoch(wanted.current_leader_epoch)?;
        let online = state.online()?;
        let upto = online.visible(isolation);
        let mut read = Read {
            records: Records::Memory(Parts::new()),
            high_watermark: online.high_watermark,
            last_stable_offset: online.log.last_stable_offset(online.high_watermark),
            start_offset: online.log.start_offset(),
            upto,
            aborted: None,
            diverging: None,
        };
        if wanted.last_fetched_epoch >= 0 {
            read.diverging = online.divergence(wanted)?;
            if read.diverging.is_some() {
                return Ok(read);
            }
        }
        read.records = match online.log.read(wanted.offset, upto, bytes_max, at_least_one) {
            ReadPlan::Memory(slice) => Records::Memory(slice.parts),
            ReadPlan::File(plan) => Records::File(Cold { plan, world: self.dir.world.clone() }),
            ReadPlan::OutOfRange { start_offset, end_offset } => {
                return Err(Refused::OffsetOutOfRange { start_offset, end_offset });
            }
        };
        if isolation == Isolation::LastStable {
            let aborted = online.log.aborted_transactions(wanted.offset, upto);
            read.aborted = Some(aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect());
        }
        Ok(read)
    }

    /// Puts a wait on the wake list; it counts what becomes visible beyond `seen`.
    pub(crate) fn watch(&self, wait: Arc<FetchWait>, isolation: Isolation, seen: Offset) -> usize {
        let mut state = self.state.lock();
        match &mut *state {
            State::Online(online) => {
                if online.visible(isolation) > seen {
                    wait.break_off();
                }
                online.watchers.insert((wait, isolation))
            }
            State::Offline(_) | State::Deleted => {
                wait.break_off();
                usize::MAX
            }
        }
    }

    /// Takes a wait off the wake list.
    pub(crate) fn unwatch(&self, place: usize) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.watchers.try_remove(place);
        }
    }

    /// The offset that ListOffsets looks for.
    pub(crate) async fn find(
        &self,
        sought: Sought,
        isolation: Isolation,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Found, Refused> {
        let plan = {
            let mut state = self.state.lock();
            self.check_epoch(current_leader_epoch)?;
            let online = state.online()?;
            let upto = online.visible(isolation);
            let query = match sought {
                Sought::Latest => {
                    return Ok(Found { offset: upto, timestamp: -1, leader_epoch: self.leader_epoch()? });
                }
                Sought::Nothing => return Ok(NOTHING),
                Sought::Earliest => OffsetQuery::Earliest,
                Sought::MaxTimestamp => OffsetQuery::MaxTimestamp,
                Sought::Timestamp(timestamp) => OffsetQuery::At(timestamp),
            };
            match online.log.offset_for(query, upto) {
                OffsetAnswer::Known(found) => return Ok(found.map_or(NOTHING, to_found)),
                OffsetAnswer::Plan(plan) => plan,
            }
        };
        let world = self.dir.world.clone();
        let found = on_lane(&self.dir.world, move || plan.find(&*world.disk)).await;
        match found {
            Some(Ok(found)) => Ok(found.map_or(NOTHING, to_found)),
            Some(Err(error)) => Err(Refused::Offline(format!("{self} could not be read: {error}").into())),
            None => Err(Refused::Offline("the broker stops".into())),
        }
    }

    /// Where a leader epoch ends: the largest epoch not above it, and the offset behind its last record.
    pub(crate) fn epoch_end(
        &self,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Refused> {
        let mut state = self.state.lock();
        self.check_epoch(current_leader_epoch)?;
        let online = state.online()?;
        let end_offset = online.log.end_offset();
        if epoch == self.leader_epoch()? {
            return Ok(Some((epoch, end_offset)));
        }
        let found = online.log.epochs().end_offset_for(epoch, end_offset);
        Ok((found.1 >= 0).then_some(found))
    }

    /// Moves the start of the log up to `before` (-1: the high watermark); gives the new start.
    pub(crate) async fn delete_records(self: &Arc<Self>, before: Offset) -> Result<Offset, Refused> {
        let start = {
            let mut state = self.state.lock();
            self.leader_epoch()?;
            let config = self.config.load();
            if config.cleanup_compact && !config.cleanup_delete {
                return Err(Refused::Policy);
            }
            let online = state.online()?;
            let (start_offset, end_offset) = (online.log.start_offset(), online.high_watermark);
            let before = if before == -1 { end_offset } else { before };
            if before < 0 {
                return Err(Refused::OffsetOutOfRange { start_offset, end_offset });
            }
            let high_watermark = online.high_watermark;
            let moved = online.log.delete_records_before(before, high_watermark, &mut online.pending);
            let start = moved.map_err(|_| Refused::OffsetOutOfRange { start_offset, end_offset })?;
            let now = self.dir.world.clock.wall();
            online.log.retain(now, high_watermark, &mut online.pending);
            self.flush_soon(online, now);
            start
        };
        self.idle().await;
        Ok(start)
    }

    /// Deletes what retention does not keep, forgets producers that are gone, syncs what `flush.ms` says.
    pub(crate) fn tick(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return };
        let high_watermark = online.high_watermark;
        let deleted = online.log.retain(now, high_watermark, &mut online.pending);
        if deleted > 0 {
            tracing::info!(partition = %self, segments = deleted, start = online.log.start_offset(), "retention deleted segments");
        }
        online.log.purge(now, &mut online.pending);
        online.log.expire_producers(now);
        self.flush_soon(online, now);
    }

    /// Syncs if `flush.ms` has passed; closes the files of a partition that nobody writes.
    pub(crate) fn sweep(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return };
        if online.files.is_none() {
            return;
        }
        self.flush_soon(online, now);
        if now.saturating_sub(online.written_at) > IDLE_FILES_MS
            && let Some(files) = &mut online.files
        {
            files.release();
            // Not again before the next write.
            online.written_at = Timestamp::MAX;
        }
    }

    /// Takes a new configuration over at once.
    pub(crate) fn configure(&self, config: Arc<LogConfig>) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.log.configure(config.clone());
        }
        self.config.store(config);
    }

    /// Gives tail bytes back to the budget.
    pub(crate) fn trim_tail(&self, bytes: usize) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.log.trim_tail(bytes);
        }
    }

    /// Ends when no lane works on the partition and nothing is pending.
    async fn idle(self: &Arc<Self>) {
        let receiver = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            if online.files.is_some() && online.pending.is_empty() {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            online.idle.push(sender);
            receiver
        };
        let _ = receiver.await;
    }

    /// Writes everything down for a clean stop; the partition is offline afterwards.
    pub(crate) async fn close(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            online.log.close(&mut online.pending);
            online.sync_wanted = true;
            self.flush_soon(online, self.dir.world.clock.wall());
        }
        self.idle().await;
    }

    /// The topic was deleted: whoever waits is told; the files stay for whoever deletes them. What it gives ends when no
    /// lane creates or opens anything in the directory any more: a new topic of the same name may have that path.
    pub(crate) fn remove(&self) -> Option<oneshot::Receiver<()>> {
        let before = std::mem::replace(&mut *self.state.lock(), State::Deleted);
        self.end(before, |ack| ack.settled.settle_deleted(ack.slot))
    }

    /// Tells whoever waits; gives what ends with the job at work. Must not be called under the lock.
    fn end(&self, before: State, settle: impl Fn(&Ack)) -> Option<oneshot::Receiver<()>> {
        let State::Online(online) = before else { return None };
        self.dir.backlog.remove(online.pending_bytes);
        for (_, (wait, _)) in &online.watchers {
            wait.break_off();
        }
        online.acks.iter().for_each(settle);
        online.job
    }

    /// Whether something was taken that could not be written yet.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(&*self.state.lock(), State::Online(online) if online.stuck.is_some())
    }

    pub(crate) fn start_offset(&self) -> Offset {
        self.offsets().map_or(0, |offsets| offsets.start)
    }

    /// Where the log starts, is durable, was synced and ends; `None` if the partition is offline.
    pub(crate) fn offsets(&self) -> Option<Offsets> {
        match &*self.state.lock() {
            State::Online(online) => Some(Offsets {
                start: online.log.start_offset(),
                high_watermark: online.high_watermark,
                recovery_point: online.log.recovery_point(),
                end: online.log.end_offset(),
                first_segment: online.log.first_segment(),
            }),
            State::Offline(_) | State::Deleted => None,
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match &*self.state.lock() {
            State::Online(online) => online.log.size_bytes(),
            State::Offline(_) | State::Deleted => 0,
        }
    }

    /// Whether this broker leads the partition, and in which epoch, from now on. Whoever waits as a reader looks again.
    pub(crate) fn set_leadership(&self, epoch: LeaderEpoch, leads: bool) {
        let next = packed(epoch, leads);
        if self.leads.swap(next, Ordering::AcqRel) == next {
            return;
        }
        if let State::Online(online) = &mut *self.state.lock() {
            for (_, (wait, _)) in &online.watchers {
                wait.break_off();
            }
        }
    }

    /// Whether this broker leads the partition.
    pub(crate) fn is_led_here(&self) -> bool {
        self.leader_epoch().is_ok()
    }

    fn leader_epoch(&self) -> Result<LeaderEpoch, Refused> {
        let packed = self.leads.load(Ordering::Acquire);
        if packed & 1 == 1 { Ok((packed >> 1) as LeaderEpoch) } else { Err(Refused::NotLeader) }
    }

    fn check_epoch(&self, current: LeaderEpoch) -> Result<(), Refused> {
        let known = self.leader_epoch()?;
        match current {
            epoch if epoch < 0 || epoch == known => Ok(()),
            epoch if epoch < known => Err(Refused::FencedLeaderEpoch),
            _ => Err(Refused::UnknownLeaderEpoch),
        }
    }
}

fn packed(epoch: LeaderEpoch, leads: bool) -> u64 {
    u64::from(epoch.max(0).unsigned_abs()) << 1 | u64::from(leads)
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

impl State {
    fn online(&mut self) -> Result<&mut Online, Refused> {
        match self {
            State::Online(online) => Ok(online),
            State::Offline(why) => Err(Refused::Offline(why.clone())),
            State::Deleted => Err(Refused::Deleted),
        }
    }
}

impl Online {
    fn visible(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::LogEnd => self.log.end_offset(),
            Isolation::HighWatermark => self.high_watermark,
            Isolation::LastStable => self.log.last_stable_offset(self.high_watermark),
        }
    }

    /// What was flushed is visible: moves the high watermark, wakes readers, gives the acks that are due.
    fn advance(&mut self, done: &mut Vec<Ack>) {
        let stable_before = self.log.last_stable_offset(self.high_watermark);
        let flushed = self.log.flushed_offset();
        if flushed > self.high_watermark {
            self.high_watermark = flushed;
            self.log.high_watermark_moved(flushed);
        }
        while self.acks.front().is_some_and(|ack| ack.upto <= self.high_watermark) {
            done.extend(self.acks.pop_front());
        }
        let mut bytes = 0;
        while let Some((upto, more)) = self.invisible.front().filter(|(upto, _)| *upto <= self.high_watermark)
        {
            debug_assert!(*upto <= flushed);
            bytes += more;
            self.invisible.pop_front();
        }
        let stable_moved = self.log.last_stable_offset(self.high_watermark) > stable_before;
        for (_, (wait, isolation)) in &self.watchers {
            match isolation {
                Isolation::LastStable if stable_moved => wait.break_off(),
                Isolation::LastStable => {}
                Isolation::HighWatermark | Isolation::LogEnd => wait.add(bytes),
            }
        }
    }

    /// Where the reader's history and this log's part (KIP-320), if they do.
    fn divergence(&self, wanted: &Wanted) -> Result<Option<(LeaderEpoch, Offset)>, Refused> {
        let end_offset = self.log.end_offset();
        let (epoch, end) = self.log.epochs().end_offset_for(wanted.last_fetched_epoch, end_offset);
        if end < 0 {
            return Err(Refused::OffsetOutOfRange { start_offset: self.log.start_offset(), end_offset });
        }
        Ok((epoch < wanted.last_fetched_epoch || end < wanted.offset).then_some((epoch, end)))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

fn to_found(found: log::FoundOffset) -> Found {
    Found { offset: found.offset, timestamp: found.timestamp, leader_epoch: found.leader_epoch }
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
