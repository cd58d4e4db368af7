//! A replica that nobody votes with, and whose file `raft-state` is missing or damaged: it may be made anew, because
//! nobody can have been elected without its log saying so.
//!
//! Such a log says that this replica is the only voter, or it was written before there were quorums (one controller,
//! one LeaderChangeMessage per start) and says nothing of voters; then its replica becomes the only one. Every other
//! replica without its state is not opened. `opening` calls this.

use super::{holds_a_log, newest, open_log};
use crate::{
    checkpoint::SnapshotId,
    config::Config,
    entry::Payload,
    metadata_log::MetadataLog,
    raft_state::RaftState,
    type_config::{Entry, Membership, Vote, log_id},
};
use env::World;
use log::Files;
use openraft::entry::RaftEntry;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

/// The state to begin with, on stable storage already; `None` if others may have votes of this replica.
pub(crate) fn state_for(
    world: &World,
    config: &Config,
    snapshots: &[SnapshotId],
) -> io::Result<Option<RaftState>> {
    let (disk, dir) = (&*world.disk, &config.dir);
    if !holds_a_log(disk, dir)? {
        return Ok(None);
    }
    let mut raft = RaftState::new(config.replica);
    let checkpoint = newest(disk, dir, snapshots, &raft)?;
    raft.recovery_point = config.plain_recovery_point;
    if let Some(checkpoint) = &checkpoint {
        (raft.purged, raft.start_offset) = (Some(checkpoint.head().last), checkpoint.id().end_offset);
        raft.recovery_point = raft.recovery_point.max(raft.start_offset);
    }
    let (log, _) = open_log(world, dir, &config.log, &raft)?;
    let Some(last) = log.last() else { return Ok(None) };
    let in_snapshot = checkpoint.as_ref().map(|checkpoint| checkpoint.head().membership.clone());
    let known = log.membership_at(last.index).or(in_snapshot);
    if known.is_some_and(|known| !known.membership().voter_ids().eq([config.replica])) {
        return Ok(None);
    }
    // It has led in the newest epoch itself, so that it may not vote for another in it.
    raft.vote = Some(Vote::new(*last.leader_id, config.replica));
    raft.write(disk, dir)?;
    tracing::warn!(dir = %dir.display(), "the quorum's state was made anew: this replica is the only voter");
    Ok(Some(raft))
}

/// Writes who votes, if the log does not say it: a crash may have come after its state was written.
pub(super) fn add_voter(
    world: &World,
    config: &Config,
    log: &mut MetadataLog,
    files: &mut Files,
) -> io::Result<()> {
    let Some(last) =
        log.last().filter(|last| log.purged().is_none() && log.membership_at(last.index).is_none())
    else {
        return Ok(());
    };
    let voters = vec![BTreeSet::from([config.replica])];
    let members = BTreeMap::from([(config.replica, config.member.clone())]);
    let membership = Membership::new(voters, members).map_err(io::Error::other)?;
    let id = log_id(i32::try_from(*last.leader_id).unwrap_or(i32::MAX), last.index + 1);
    let entry = Entry::new(id, Payload::Membership(Arc::new(membership)));
    let (mut effects, now) = (Vec::new(), world.clock.wall());
    log.append(now, config.replica, entry, &mut effects)?;
    let performed = files.perform(&*world.disk, &effects, true)?;
    log.log.flushed(now, &performed);
    tracing::info!(dir = %config.dir.display(), "took over a metadata log that was written without a quorum");
    Ok(())
}
