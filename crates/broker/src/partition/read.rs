//! What readers see of a partition, and how they wait for more.
//!
//! Under the lock a read is only planned; what must come from the disk is found on a lane.

use super::{
    Online, Partition, ReadOf, Refused, State,
    role::{Outcome, Role},
};
use crate::{fetch_sessions::Wanted, fetch_wait::FetchWait};
use bytes::Bytes;
use env::World;
use log::ReadPlan;
use model::{LeaderEpoch, NodeId, Offset, ProducerId};
use replica::Event;
use std::{io, sync::Arc};
use stdx::Parts;

/// How often a read is planned that compaction has overtaken.
pub(crate) const READ_TRIES: usize = 8;

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

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A client.
    Consumer {
        isolation: Isolation,
        /// Whether it takes answers of a leader only: it knows nothing of reading from followers (KIP-392).
        leader_only: bool,
    },
    /// A replica that follows.
    Follower {
        node: NodeId,
        /// Of its registration; -1 if it does not say (KIP-903).
        broker_epoch: i64,
        /// Whether it may join the in-sync replicas, as the metadata have it.
        is_eligible: bool,
        /// It has registered anew since it said that.
        is_stale: bool,
        /// So many bytes it gets of a partition in which it is not in sync.
        behind_max: usize,
    },
}

/// A place on a wake list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Reader(usize),
    Follower(usize),
    /// The partition has no list any more.
    Nowhere,
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
    /// Nothing is read here: the reader is to ask this replica (KIP-392).
    pub(crate) preferred: Option<NodeId>,
    /// The reader is a replica that is not in sync.
    pub(crate) is_behind: bool,
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
    /// Its checksums are verified: a replica that copies damage could not go on, and its leader would not know why.
    is_verified: bool,
    pub(crate) of: ReadOf,
}

impl Isolation {
    /// The isolation level of a request, if there is such a level: 0 is read_uncommitted, 1 read_committed.
    pub(crate) fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::HighWatermark),
            1 => Some(Self::LastStable),
            _ => None,
        }
    }
}

impl Reader {
    /// How far it sees.
    pub(crate) fn isolation(&self) -> Isolation {
        match self {
            Self::Consumer { isolation, .. } => *isolation,
            Self::Follower { .. } => Isolation::LogEnd,
        }
    }

    /// The same reader, with so much for what it is not in sync with if it is a follower.
    pub(crate) fn with_credit(self, credit: impl FnOnce() -> usize) -> Self {
        match self {
            Self::Consumer { .. } => self,
            Self::Follower { node, broker_epoch, is_eligible, is_stale, .. } => {
                Self::Follower { node, broker_epoch, is_eligible, is_stale, behind_max: credit() }
            }
        }
    }

    /// So much of the credit is used up.
    pub(crate) fn spend(&mut self, bytes: usize) {
        if let Self::Follower { behind_max, .. } = self {
            *behind_max = behind_max.saturating_sub(bytes);
        }
    }

    /// Whether it is a follower without credit.
    pub(crate) fn is_broke(&self) -> bool {
        matches!(self, Self::Follower { behind_max: 0, .. })
    }

    fn leader_only(&self) -> bool {
        match self {
            Self::Consumer { leader_only, .. } => *leader_only,
            Self::Follower { .. } => true,
        }
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
        let disk = &*self.world.disk;
        let slice = match self.is_verified {
            true => self.plan.locate_verified(disk),
            false => self.plan.locate(disk),
        };
        slice.map(|slice| slice.parts)
    }
}

impl Cold {
    /// Reads the records into memory; blocks on the disk.
    pub(crate) fn load(self) -> io::Result<Bytes> {
        self.plan.load(&*self.world.disk).map(|slice| slice.parts.to_bytes().unwrap_or_default())
    }
}

impl Partition {
    /// What can be read from `wanted.offset` on.
    pub(crate) fn read(
        &self,
        wanted: &Wanted,
        reader: &Reader,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Read, Refused> {
        let isolation = reader.isolation();
        let mut state = self.state.lock();
        let online = state.online()?;
        // In a fetch all that is negative is no epoch, elsewhere only -1.
        online.check_epoch(wanted.current_leader_epoch.max(-1))?;
        online.check_reader(wanted, reader)?;
        let mut read = online.nothing(isolation);
        let upto = read.upto;
        if wanted.last_fetched_epoch >= 0 {
            read.diverging = online.divergence(wanted)?;
            if read.diverging.is_some() {
                return Ok(read);
            }
        }
        let (mut bytes_max, mut at_least_one) = (bytes_max, at_least_one);
        if let Reader::Follower { node, behind_max, .. } = *reader
            && !online.role.has_in_sync(node)
        {
            read.is_behind = true;
            (bytes_max, at_least_one) = (bytes_max.min(behind_max), at_least_one && behind_max > 0);
        }
        read.records = match online.log.read(wanted.offset, upto, bytes_max, at_least_one) {
            ReadPlan::Memory(slice) => Records::Memory(slice.parts),
            ReadPlan::File(plan) => Records::File(Cold {
                of: online.read_of(plan.segment()),
                plan,
                world: self.shared.world.clone(),
                is_verified: matches!(reader, Reader::Follower { .. }),
            }),
            ReadPlan::OutOfRange { start_offset, end_offset } => {
                return Err(Refused::OffsetOutOfRange { start_offset, end_offset });
            }
        };
        if isolation == Isolation::LastStable {
            let aborted = online.log.aborted_transactions(wanted.offset, upto);
            read.aborted = Some(aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect());
        }
        if let Reader::Follower { node, broker_epoch, is_eligible, .. } = *reader {
            let (start_offset, end_offset) = (wanted.start_offset, wanted.offset);
            let event = Event::Fetched { node, broker_epoch, start_offset, end_offset, is_eligible };
            let mut outcome = Outcome::default();
            online.step(self.monotonic(), event, &mut outcome);
            read.high_watermark = online.high_watermark;
            drop(state);
            self.carry_out(outcome);
        }
        Ok(read)
    }

    /// The answer for a client in `rack` that should read from another replica; `None` if it is to read here. A
    /// leader's choice is [`replica::Leader::preferred_replica`], which explains `rack_of`.
    pub(crate) fn read_elsewhere<'a>(
        &self,
        wanted: &Wanted,
        (rack, isolation): (&str, Isolation),
        rack_of: impl Fn(NodeId) -> Option<&'a str>,
    ) -> Result<Option<Read>, Refused> {
        let mut state = self.state.lock();
        let online = state.online()?;
        let Role::Leader(leader) = &online.role else { return Ok(None) };
        let Some(node) = leader.preferred_replica(wanted.offset, rack, rack_of) else { return Ok(None) };
        online.check_epoch(wanted.current_leader_epoch.max(-1))?;
        Ok(Some(Read { preferred: Some(node), ..online.nothing(isolation) }))
    }

    /// Puts a wait on the wake list; it counts what becomes visible beyond `seen`.
    pub(crate) fn watch(&self, wait: Arc<FetchWait>, reader: &Reader, seen: Offset) -> Watch {
        let isolation = reader.isolation();
        let mut state = self.state.lock();
        match &mut *state {
            State::Online(online) => {
                if online.visible(isolation) > seen {
                    wait.break_off();
                }
                match reader {
                    Reader::Consumer { .. } => Watch::Reader(online.watchers.insert((wait, isolation))),
                    Reader::Follower { .. } => Watch::Follower(online.following.insert(wait)),
                }
            }
            State::Offline(_) | State::Deleted => {
                wait.break_off();
                Watch::Nowhere
            }
        }
    }

    /// Takes a wait off the wake list.
    pub(crate) fn unwatch(&self, place: Watch) {
        if let State::Online(online) = &mut *self.state.lock() {
            match place {
                Watch::Reader(place) => drop(online.watchers.try_remove(place)),
                Watch::Follower(place) => drop(online.following.try_remove(place)),
                Watch::Nowhere => {}
            }
        }
    }
}

impl Online {
    pub(super) fn visible(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::LogEnd => self.log.end_offset(),
            Isolation::HighWatermark => self.high_watermark,
            Isolation::LastStable => self.log.last_stable_offset(self.high_watermark),
        }
    }

    /// An answer without records.
    fn nothing(&self, isolation: Isolation) -> Read {
        Read {
            records: Records::Memory(Parts::new()),
            high_watermark: self.high_watermark,
            last_stable_offset: self.log.last_stable_offset(self.high_watermark),
            start_offset: self.log.start_offset(),
            upto: self.visible(isolation),
            aborted: None,
            diverging: None,
            preferred: None,
            is_behind: false,
        }
    }

    fn check_reader(&self, wanted: &Wanted, reader: &Reader) -> Result<(), Refused> {
        let Role::Leader(leader) = &self.role else {
            return if reader.leader_only() { Err(Refused::NotLeader) } else { Ok(()) };
        };
        match reader {
            Reader::Follower { is_stale: true, .. } => Err(Refused::StaleReplica),
            // The request's epoch is right, so the replica may be one that this broker has not heard of yet.
            Reader::Follower { node, .. } if leader.remote(*node).is_none() => {
                match wanted.current_leader_epoch {
                    epoch if epoch < 0 => Err(Refused::NotLeader),
                    _ => Err(Refused::UnknownReplica),
                }
            }
            _ => Ok(()),
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
