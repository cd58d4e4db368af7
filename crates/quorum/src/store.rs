//! The Raft library's log storage over the metadata log, the file `raft-state` and the snapshots of one directory.
//!
//! It decides nothing about Raft: it keeps, and it says that something is kept when it is on stable storage. All writes
//! go through one queue to `writer`, in order. `raft_quorum` opens it, `state_machine` shares it.

mod opening;

pub(crate) use opening::Opened;
#[cfg(test)]
pub(crate) use opening::state_of_lone_replica;

use crate::{
    checkpoint::Checkpoint,
    member::Replica,
    metadata_log::MetadataLog,
    raft_state::RaftState,
    runtime::on_lane,
    type_config::{Entry, LogId, StoredMembership, TypeConfig, Vote},
    writer::Order,
};
use env::World;
use log::{Effect, LogConfig, ReadPlan};
use model::Offset;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use records::Batch;
use std::{
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot};

/// Entries that one message to another replica carries, in bytes; one entry goes whatever its size.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What is read from a file at once.
const READ_BYTES_MAX: usize = 1 << 20;
/// Orders that may wait for the disk; who orders more waits.
pub(crate) const ORDERS_MAX: usize = 64;

/// The log storage; its clones are one.
#[derive(Clone)]
pub(crate) struct Store(pub(crate) Arc<Shared>);

/// What the storage, its readers, the state machine and the writer share.
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) dir: PathBuf,
    pub(crate) replica: Replica,
    pub(crate) log_config: LogConfig,
    pub(crate) tail_bytes_max: usize,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) log: MetadataLog,
    /// What the file says.
    pub(crate) raft: RaftState,
    pub(crate) committed: Option<LogId>,
    /// The newest snapshot.
    pub(crate) checkpoint: Option<Arc<Checkpoint>>,
    /// What is to be done to the files.
    pub(crate) pending: Vec<Effect>,
    /// Who is told when that is done.
    pub(crate) waiting: Vec<IOFlushed<TypeConfig>>,
    /// Why nothing can be kept any more.
    pub(crate) failed: Option<String>,
    /// Why what is to be done waits: room is missing.
    pub(crate) stuck: Option<String>,
    /// Nothing waits for room any more.
    pub(crate) stopping: bool,
}

impl State {
    pub(crate) fn check(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why.clone())),
        }
    }

    /// The end of a snapshot that another replica has sent and that the log does not lead to: before it the log may have entries that
    /// nobody has committed, until it is begun anew behind the snapshot. 0: there is none.
    pub(crate) fn replaced_before(&self) -> Offset {
        let Some(checkpoint) = &self.checkpoint else { return 0 };
        let last = checkpoint.head().last;
        let is_known = self.log.purged() >= Some(last) || self.log.log_id(last.index) == Some(last);
        if is_known { 0 } else { checkpoint.id().end_offset }
    }

    /// Who takes part after the entry of `index`, as far as the log and the snapshot say it.
    pub(crate) fn membership_at(&self, index: u64) -> StoredMembership {
        let in_log = self.log.membership_at(index);
        let in_snapshot = || self.checkpoint.as_ref().map(|checkpoint| checkpoint.head().membership.clone());
        in_log.or_else(in_snapshot).unwrap_or_default()
    }
}

impl Shared {
    /// Hands an order to the writer and waits until it is carried out.
    pub(crate) async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Order,
    ) -> io::Result<()> {
        let (reply, done) = oneshot::channel();
        let stopped = || io::Error::other("the writer of the metadata log has stopped");
        self.orders.send(order(reply)).await.map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())?
    }

    /// Changes the file `raft-state`; when this returns, the change is on stable storage.
    async fn save(&self, change: impl FnOnce(&mut RaftState)) -> io::Result<()> {
        let state = {
            let state = self.state.lock();
            state.check()?;
            let mut next = state.raft.clone();
            next.committed = state.committed;
            next.recovery_point = state.log.log.recovery_point();
            change(&mut next);
            next
        };
        self.order(|reply| Order::Save { state, reply }).await
    }

    /// Whole batches from `from` to before `upto`; fewer if the log begins or ends between.
    pub(crate) async fn read(&self, mut from: Offset, upto: Offset) -> io::Result<Vec<Batch>> {
        let mut batches = Vec::new();
        while from < upto {
            let plan = self.state.lock().log.log.read(from, upto, READ_BYTES_MAX, true);
            let slice = match plan {
                ReadPlan::Memory(slice) => slice,
                ReadPlan::File(plan) => {
                    let disk = self.world.disk.clone();
                    match on_lane(&self.world, move || plan.load(&*disk)).await? {
                        // The segment was deleted since: what is left is found by another plan.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        other => other?,
                    }
                }
                ReadPlan::OutOfRange { .. } => break,
            };
            if slice.next_offset <= from {
                break;
            }
            let mut bytes = slice.parts.to_bytes().unwrap_or_default();
            while let Some(batch) = Batch::split_off(&mut bytes) {
                if !batch.is_intact() {
                    let at = batch.header.base_offset;
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("the metadata log is damaged at offset {at}"),
                    ));
                }
                batches.push(batch);
            }
            from = slice.next_offset;
        }
        Ok(batches)
    }

    async fn entries(&self, indexes: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (slots, first) = {
            let state = self.state.lock();
            let indexes = state.log.clamp(indexes, bytes_max);
            let slots: Vec<_> = indexes.clone().filter_map(|index| state.log.slot(index).cloned()).collect();
            (slots, indexes.start)
        };
        let (Some(head), Some(tail)) = (slots.first(), slots.last()) else { return Ok(Vec::new()) };
        let batches = self.read(head.base_offset, tail.next_offset).await?;
        let skipped = batches.iter().take_while(|batch| batch.header.base_offset < head.base_offset).count();
        let batches = batches.into_iter().skip(skipped);
        let pairs = (first..).zip(&slots).zip(batches);
        Ok(pairs
            .take_while(|((_, slot), batch)| {
                (slot.base_offset, slot.epoch) == (batch.header.base_offset, batch.header.leader_epoch)
            })
            .map(|((index, slot), batch)| MetadataLog::to_entry(index, slot, batch.bytes))
            .collect())
    }
}

impl RaftLogStorage<TypeConfig> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.0.state.lock();
        Ok(LogState { last_purged_log_id: state.log.purged(), last_log_id: state.log.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save(|state| state.vote = Some(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.state.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let state = self.0.state.lock();
        // An entry behind the end was cut off by a crash of the machine; a snapshot may have taken its place.
        Ok(state.raft.committed.min(state.log.last()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let now = self.0.world.clock.wall();
        {
            let mut state = self.0.state.lock();
            let state = &mut *state;
            state.check()?;
            for entry in entries {
                let placed = state.log.append(now, self.0.replica, entry, &mut state.pending);
                if let Err(error) = &placed {
                    state.failed = Some(error.to_string());
                }
                placed?;
            }
            state.waiting.push(callback);
        }
        self.0.orders.send(Order::Flush).await.map_err(|_| io::Error::other("the node stops"))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        // Who was told of a recovery point behind the cut would take the log for damaged.
        let end = {
            let mut state = self.0.state.lock();
            state.check()?;
            state.log.truncate_after(last)
        };
        self.0.save(|state| state.recovery_point = state.recovery_point.min(end)).await?;
        self.0.order(|reply| Order::Truncate { end, reply }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let (end, inside) = {
            let state = self.0.state.lock();
            state.check()?;
            if state.log.purged() >= Some(upto) {
                return Ok(());
            }
            let inside = state.log.log_id(upto.index) == Some(upto);
            let snapshot = state.checkpoint.as_ref().filter(|checkpoint| checkpoint.head().last == upto);
            let in_snapshot = snapshot.map(|checkpoint| checkpoint.id().end_offset);
            let in_log = state.log.offset_after(upto.index).filter(|_| inside);
            (in_log.or(in_snapshot), inside)
        };
        let end = end.ok_or_else(|| {
            io::Error::other(format!("{upto} is neither in the log nor the end of a snapshot"))
        })?;
        if inside {
            self.0
                .save(|state| {
                    (state.purged, state.start_offset) = (Some(upto), end);
                    state.recovery_point = state.recovery_point.max(end);
                })
                .await?;
            let now = self.0.world.clock.wall();
            {
                let mut state = self.0.state.lock();
                let state = &mut *state;
                state.log.purge(now, upto, end, &mut state.pending);
            }
            self.0.order(|reply| Order::Tidy { reply }).await
        } else {
            // Until the old segments are gone, the log ends before the recovery point that it will have.
            self.0
                .save(|state| {
                    (state.purged, state.start_offset, state.recovery_point) = (Some(upto), end, 0);
                })
                .await?;
            self.0.order(|reply| Order::Reset { upto, end, reply }).await?;
            self.0.save(|state| state.recovery_point = end).await?;
            self.0.order(|reply| Order::Tidy { reply }).await
        }
    }
}

impl RaftLogReader<TypeConfig> for Store {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.0.entries(start..end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.0.entries(start..end, MESSAGE_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.state.lock().raft.vote)
    }
}
