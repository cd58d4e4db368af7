//! The quorum over the Raft library: opens the directory, runs the library in the node's world, and translates.
//!
//! It holds no image of the metadata and knows no brokers. A quorum of one is one with one voter; nothing here asks.

mod describing;
mod finishing;
mod leading;
mod serving;

use crate::{
    checkpoint::{Checkpoint, SnapshotId},
    compact::Malformed,
    config::Config,
    control_records::SnapshotHead,
    entry::Proposal,
    member::{Member, Replica},
    metadata_log::single_batch,
    peers::{Peers, Transport, Way},
    quorum::{ChangeError, Committed, Description, Leadership, Pending, ProposeError, Quorum},
    raft_quorum::{describing::CaughtUp, serving::Receiving},
    runtime::{in_world, on_lane},
    stale,
    state_machine::{self, StateMachine},
    store::{Opened, Store},
    type_config::{TypeConfig, log_id},
    watch::Watching,
    writer::Order,
};
use bytes::Bytes;
use env::{BoxFuture, World};
use model::{LeaderEpoch, Offset};
use openraft::{
    ChangeMembers, Raft, SnapshotPolicy,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, Fatal, ForwardToLeader, InitializeError, RaftError},
    impls::ProgressResponder,
    raft::{ClientWriteResult, TransferLeaderRequest},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

/// How long each voter waits for those before it when the leader is known to be gone.
const SUCCESSION_MS: i64 = 100;

/// A replica of the metadata log.
#[derive(Clone)]
pub struct RaftQuorum(Arc<Inner>);

struct Inner {
    world: World,
    config: Config,
    raft: Raft<TypeConfig, StateMachine>,
    store: Store,
    leadership: Watching<Leadership>,
    committed: Watching<state_machine::Committed>,
    receiving: tokio::sync::Mutex<Option<Receiving>>,
    caught_up: Mutex<CaughtUp>,
    fresh: bool,
}

impl RaftQuorum {
    /// Opens the replica's directory and lets it take part. One that is new waits to be founded or to be added.
    pub async fn open(config: Config, world: World, transport: Arc<dyn Transport>) -> io::Result<Self> {
        in_world(world.clone(), Self::open_inside(config, world, transport)).await
    }

    async fn open_inside(config: Config, world: World, transport: Arc<dyn Transport>) -> io::Result<Self> {
        let Opened { store, fresh } = Store::open(&world, &config).await?;
        // Before it can vote.
        stale::check(&config, &store.0.state.lock()).map_err(io::Error::other)?;
        let is_alone = {
            let state = store.0.state.lock();
            let last = state.log.last().map(|last| state.membership_at(last.index));
            last.is_some_and(|last| last.membership().voter_ids().eq([config.replica]))
        };
        let (machine, committed) = StateMachine::new(store.clone());
        let way = Arc::new(Way {
            world: world.clone(),
            transport,
            cluster_id: config.cluster_id.clone(),
            replica: config.replica,
            members: Mutex::default(),
        });
        let raft_config = Arc::new(raft_config(&config)?);
        let raft = Raft::new(config.replica, raft_config, Peers(way.clone()), store.clone(), machine);
        let raft = raft.await.map_err(|error| io::Error::other(error.to_string()))?;
        let leadership = leading::follow(&world, &raft, &way, config.election_timeout_ms, committed.clone());
        finishing::follow(&world, &raft);
        if is_alone {
            // Nobody else can lead, so that there is nobody to wait for.
            raft.trigger().elect(false).await.map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(Self(Arc::new(Inner {
            world,
            config,
            raft,
            store,
            leadership,
            committed,
            receiving: tokio::sync::Mutex::default(),
            caught_up: Mutex::default(),
            fresh,
        })))
    }

    /// Whether the directory was empty: such a replica founds a quorum or joins one.
    pub fn is_fresh(&self) -> bool {
        self.0.fresh
    }

    /// Founds the quorum. Every founding voter may do so, with the same voters; whoever holds a log already does
    /// nothing.
    pub async fn found(&self, voters: BTreeMap<Replica, Member>) -> Result<(), ChangeError> {
        match self.inside(self.0.raft.initialize(voters)).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(ChangeError::Refused(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(ChangeError::Stopped(fatal.to_string())),
        }
    }

    /// Why nothing can be written for now: room is missing. It goes on by itself when there is some.
    pub fn stuck(&self) -> Option<String> {
        self.0.store.0.state.lock().stuck.clone()
    }

    /// Why this replica has stopped, if it has.
    pub fn failed(&self) -> Option<String> {
        self.0.store.0.state.lock().failed.clone()
    }

    /// Whether both the old and the new voters of a change must agree to everything.
    #[cfg(test)]
    pub(crate) fn is_half_changed(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().len() > 1
    }

    /// Whether the log holds anything.
    pub fn is_founded(&self) -> bool {
        self.0.store.0.state.lock().log.last().is_some()
    }

    fn inside<'a, F: Future + Send + 'a>(&self, future: F) -> BoxFuture<'a, F::Output> {
        Box::pin(in_world(self.0.world.clone(), future))
    }

    async fn propose_inside(&self, epoch: LeaderEpoch, batch: Bytes) -> Result<Pending, ProposeError> {
        let refused = |why: &str| ProposeError::Refused(why.into());
        let parsed = single_batch(batch.clone()).map_err(|error| refused(&error.to_string()))?;
        if parsed.header.attributes.is_control() {
            return Err(refused("control records are the quorum's own"));
        }
        if batch.len() > self.0.config.log.batch_bytes_max {
            return Err(refused("the batch is larger than the metadata log allows"));
        }
        let leader_id = log_id(epoch, 0).leader_id;
        let (responder, committed, receiver) =
            ProgressResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::new();
        let write = self.0.raft.write(Proposal { batch }).with_leader(leader_id).responder(responder);
        write.await.map_err(|fatal| stopped(&fatal))?;
        let pending = async move {
            // Nobody waits for the commit before the state machine, but the library complains if nobody could.
            let _committed = committed;
            match receiver.await {
                Ok(Ok(response)) => Ok(*response.response()),
                Ok(Err(error)) => Err(to_propose_error(error)),
                Err(_) => Err(ProposeError::Unknown { leader: None }),
            }
        };
        Ok(Box::pin(in_world(self.0.world.clone(), pending)))
    }

    async fn read_inside(&self, from: Offset, bytes_max: usize) -> io::Result<Committed> {
        let upto = self.0.committed.borrow().offset;
        let end = {
            let state = self.0.store.0.state.lock();
            // What the log has in the place of a snapshot of another replica need not be what was committed.
            let start = state.log.log.start_offset().max(state.replaced_before());
            if from < start {
                let snapshot =
                    state.checkpoint.as_ref().filter(|checkpoint| checkpoint.id().end_offset > from);
                let snapshot =
                    snapshot.ok_or_else(|| Malformed(format!("offset {from} is in no snapshot")))?;
                return Ok(Committed::InSnapshot(snapshot.id()));
            }
            state.log.end_of_read(from, upto.min(state.log.log.end_offset()), bytes_max)
        };
        self.0.store.0.read(from, end).await.map(Committed::Batches)
    }

    async fn write_snapshot_inside(&self, end_offset: Offset, batches: Vec<Bytes>) -> io::Result<SnapshotId> {
        let refused = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let shared = &self.0.store.0;
        let (id, head) = {
            let state = shared.state.lock();
            if end_offset > self.0.committed.borrow().offset {
                return Err(refused(format!("offset {end_offset} is not committed")));
            }
            let Some((index, slot)) = state.log.entry_before(end_offset) else {
                return Err(refused(format!("no batch of the log ends before offset {end_offset}")));
            };
            let id = SnapshotId { end_offset, epoch: slot.epoch };
            let (last, timestamp) = (log_id(slot.epoch, index), slot.max_timestamp);
            (id, SnapshotHead { timestamp, last, membership: state.membership_at(index) })
        };
        let (disk, dir) = (self.0.world.disk.clone(), self.0.config.dir.clone());
        let written = on_lane(&self.0.world, move || Checkpoint::write(&*disk, &dir, id, &head, &batches));
        let written = Arc::new(written.await??);
        {
            let mut state = shared.state.lock();
            if state.checkpoint.as_ref().is_none_or(|newest| newest.id() < id) {
                state.checkpoint = Some(written);
            }
        }
        let fatal = |fatal: Fatal<TypeConfig>| io::Error::other(fatal.to_string());
        self.0.raft.trigger().snapshot().await.map_err(fatal)?;
        // Before the log lets go of anything: the snapshots before this one serve nobody any more.
        shared.order(|reply| Order::Tidy { reply }).await?;
        Ok(id)
    }

    async fn add_voter_inside(&self, replica: Replica, member: Member) -> Result<(), ChangeError> {
        let voters: BTreeSet<_> = self.0.raft.voter_ids().collect();
        if voters.iter().any(|voter| voter.node == replica.node) {
            return Err(ChangeError::DuplicateVoter(replica));
        }
        let known = {
            let metrics = self.0.raft.metrics().borrow_watched().clone();
            metrics
                .membership_config
                .nodes()
                .find(|(known, _)| **known == replica)
                .map(|(_, known)| known.clone())
        };
        match known {
            // It was about to become a voter before, or was one.
            Some(known) if known == member => {}
            // Adding it again would leave it where it listened then.
            Some(_) => {
                let moved = ChangeMembers::SetNodes(BTreeMap::from([(replica, member)]));
                self.0.raft.change_membership(moved, true).await.map_err(to_change_error)?;
            }
            None => drop(self.0.raft.add_learner(replica, member, true).await.map_err(to_change_error)?),
        }
        self.until_caught_up(replica).await?;
        let added = ChangeMembers::AddVoterIds(BTreeSet::from([replica]));
        self.0.raft.change_membership(added, true).await.map(drop).map_err(to_change_error)
    }

    /// Waits until a replica has what is in the log now: with a vote before that it could take the quorum away.
    async fn until_caught_up(&self, replica: Replica) -> Result<(), ChangeError> {
        let target = self.0.store.0.state.lock().log.last().map_or(0, |last| last.index);
        let mut metrics = self.0.raft.metrics();
        loop {
            {
                let known = metrics.borrow_and_update();
                let matching =
                    known.replication.as_ref().and_then(|all| all.get(&replica).copied().flatten());
                if matching.is_some_and(|matching| matching.index >= target) {
                    return Ok(());
                }
                if known.current_leader != Some(self.0.config.replica) {
                    return Err(ChangeError::NotLeader { leader: known.current_leader });
                }
            }
            let stopped = |_| ChangeError::Stopped("the consensus has stopped".into());
            metrics.changed().await.map_err(stopped)?;
        }
    }

    /// The process of this leader has ended, as the host has found out: nobody waits out its lease. The voter of the lowest
    /// id asks for votes at once, the others a little later if that did not succeed.
    ///
    /// Nothing rests on it being true: who still leads goes on if a quorum hears it, else somebody else is elected, as after any
    /// election timeout.
    pub async fn on_leader_gone(&self, leader: Replica) {
        self.inside(self.on_leader_gone_inside(leader)).await;
    }

    async fn on_leader_gone_inside(&self, leader: Replica) {
        let me = self.0.config.replica;
        let voters: BTreeSet<_> = self.0.raft.voter_ids().filter(|voter| *voter != leader).collect();
        let Some(rank) = voters.iter().position(|voter| *voter == me) else { return };
        // As if the leader had said who shall lead: for who does not, it only ends the lease.
        let transfer = |to: Replica| {
            let metrics = self.0.raft.metrics().borrow_watched().clone();
            let is_it = leader != me && metrics.current_leader == Some(leader);
            is_it.then(|| TransferLeaderRequest::new(metrics.vote, to, None))
        };
        let Some(request) = transfer(if rank == 0 { me } else { leader }) else { return };
        if self.0.raft.handle_transfer_leader(request).await.is_err() || rank == 0 {
            return;
        }
        let clock = &self.0.world.clock;
        clock.sleep_until(clock.after_millis(SUCCESSION_MS.saturating_mul(rank as i64))).await;
        if let Some(request) = transfer(me) {
            // The library has stopped: there is nobody who could lead here.
            let _ = self.0.raft.handle_transfer_leader(request).await;
        }
    }

    async fn remove_voter_inside(&self, replica: Replica) -> Result<(), ChangeError> {
        let voters: BTreeSet<_> = self.0.raft.voter_ids().collect();
        if !voters.contains(&replica) {
            return Err(ChangeError::NoVoter(replica));
        }
        if voters.len() == 1 {
            return Err(ChangeError::Refused("the last voter cannot be removed".into()));
        }
        let removed = ChangeMembers::RemoveVoters(BTreeSet::from([replica]));
        // It goes on as an observer: its node may have a broker, which would hear of no metadata any more.
        self.0.raft.change_membership(removed, true).await.map(drop).map_err(to_change_error)
    }

    async fn update_voter_inside(&self, replica: Replica, member: Member) -> Result<(), ChangeError> {
        if !self.0.raft.voter_ids().any(|voter| voter == replica) {
            return Err(ChangeError::NoVoter(replica));
        }
        let changed = ChangeMembers::SetNodes(BTreeMap::from([(replica, member)]));
        self.0.raft.change_membership(changed, true).await.map(drop).map_err(to_change_error)
    }
}

impl Quorum for RaftQuorum {
    fn replica(&self) -> Replica {
        self.0.config.replica
    }

    fn leadership(&self) -> Watching<Leadership> {
        self.0.leadership.clone()
    }

    fn propose(&self, epoch: LeaderEpoch, batch: Bytes) -> BoxFuture<'_, Result<Pending, ProposeError>> {
        self.inside(self.propose_inside(epoch, batch))
    }

    fn read(&self, from: Offset, bytes_max: usize) -> BoxFuture<'_, io::Result<Committed>> {
        self.inside(self.read_inside(from, bytes_max))
    }

    fn snapshot(&self) -> Option<Arc<Checkpoint>> {
        self.0.store.0.state.lock().checkpoint.clone()
    }

    fn write_snapshot(
        &self,
        end_offset: Offset,
        batches: Vec<Bytes>,
    ) -> BoxFuture<'_, io::Result<SnapshotId>> {
        self.inside(self.write_snapshot_inside(end_offset, batches))
    }

    fn describe(&self) -> Description {
        describing::describe(&self.0)
    }

    fn add_voter(&self, replica: Replica, member: Member) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.inside(self.add_voter_inside(replica, member))
    }

    fn remove_voter(&self, replica: Replica) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.inside(self.remove_voter_inside(replica))
    }

    fn update_voter(&self, replica: Replica, member: Member) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.inside(self.update_voter_inside(replica, member))
    }

    fn transfer_leadership(&self, to: Replica) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.inside(async move {
            if !self.0.raft.voter_ids().any(|voter| voter == to) {
                return Err(ChangeError::NoVoter(to));
            }
            // The library would wait for somebody else to lead.
            if to == self.0.config.replica {
                return Ok(());
            }
            let transferred = self.0.raft.trigger().transfer_leader(to).await;
            transferred.map_err(|fatal| ChangeError::Stopped(fatal.to_string()))
        })
    }

    fn serve(&self, request: Bytes) -> BoxFuture<'_, Bytes> {
        self.inside(serving::serve(&self.0, request))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.0.store.0.state.lock().stopping = true;
        self.inside(async move {
            if let Err(error) = self.0.raft.shutdown().await {
                tracing::error!(%error, "the consensus of the metadata log did not stop in order");
            }
            if let Err(error) = self.0.store.0.order(|reply| Order::Close { reply }).await {
                tracing::error!(%error, "the metadata log was not closed in order; the next start will check it");
            }
        })
    }
}

fn raft_config(config: &Config) -> io::Result<openraft::Config> {
    let raft = openraft::Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: config.heartbeat_interval_ms,
        election_timeout_min: config.election_timeout_ms,
        election_timeout_max: config.election_timeout_ms.saturating_mul(2),
        install_snapshot_timeout: config.snapshot_timeout_ms,
        // The host writes snapshots when it wants to.
        snapshot_policy: SnapshotPolicy::Never,
        // Who is behind gets entries as long as the log has them.
        replication_lag_threshold: u64::MAX,
        max_in_snapshot_log_to_keep: config.entries_kept,
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        enable_pre_vote: Some(true),
        // A leader that comes back after a crash asks for votes like everybody.
        enable_leader_restore: Some(false),
        // A voter may come back with less than it has acknowledged: an older copy of its directory, whose start could ask no
        // leader. It counts for nothing until it has everything again, and `peers` tells of it.
        allow_log_reversion: Some(true),
        ..openraft::Config::default()
    };
    raft.validate().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
}

fn stopped(fatal: &Fatal<TypeConfig>) -> ProposeError {
    ProposeError::Stopped(fatal.to_string())
}

fn to_propose_error(error: ClientWriteError<TypeConfig>) -> ProposeError {
    let leader = |forward: ForwardToLeader<TypeConfig>| forward.leader_id;
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposeError::NotLeader { leader: leader(forward) },
        ClientWriteError::LogEntryDiscarded(forward) => ProposeError::Unknown { leader: leader(forward) },
        other => ProposeError::Refused(other.to_string()),
    }
}

fn to_change_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ChangeError {
    match error {
        RaftError::APIError(
            ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward),
        ) => ChangeError::NotLeader { leader: forward.leader_id },
        RaftError::APIError(other) => ChangeError::Refused(other.to_string()),
        RaftError::Fatal(fatal) => ChangeError::Stopped(fatal.to_string()),
    }
}
