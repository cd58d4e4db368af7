//! A metadata log that was written before there were quorums: one controller, one LeaderChangeMessage per start, and
//! nowhere who votes.
//!
//! It is taken over by the replica that has its directory, which becomes the only voter. What a quorum has written is
//! none of these: it says who votes, and without its `raft-state` it is not opened. `opening` calls this.

use super::{holds_a_log, open_log};
use crate::{
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

/// The state to begin with, on stable storage already; `None` if the log there is not of that kind.
pub(crate) fn state_for(world: &World, config: &Config) -> io::Result<Option<RaftState>> {
    let (disk, dir) = (&*world.disk, &config.dir);
    if !holds_a_log(disk, dir)? {
        return Ok(None);
    }
    let mut raft = RaftState::new(config.replica);
    raft.recovery_point = config.plain_recovery_point;
    let (log, _) = open_log(world, dir, &config.log, &raft)?;
    let Some(last) = log.last().filter(|last| log.membership_at(last.index).is_none()) else {
        return Ok(None);
    };
    // Its leader has led in the newest epoch, so that it may not vote for another in it.
    raft.vote = Some(Vote::new(*last.leader_id, config.replica));
    raft.write(disk, dir)?;
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
