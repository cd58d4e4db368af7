//! Why a replica of the metadata log is not opened: its directory is an older copy of itself. What it lacks it has promised to
//! keep, and it may have voted since, so that with its vote the quorum could forget what was committed.
//!
//! `raft_quorum` finds it out from what the leader in office says; docs/decisions/0019-a-voter-that-comes-back-with-less.md
//! has what can be known and what cannot.

use crate::{config::Config, member::Replica, store::State};
use model::Offset;

/// See the head of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this log directory is an older copy of itself: replica {replica} has acknowledged the metadata log up to offset \
     {acknowledged} to the leader in office, and the directory holds it up to {held}; take its vote away \
     (kafka-metadata-quorum.sh remove-controller --controller-id {} --controller-directory-id {}) and start with an empty \
     directory, without its meta.properties, too",
    .replica.node, .replica.directory
)]
pub struct Stale {
    /// Whose directory it is.
    pub replica: Replica,
    /// The offset behind the last record that the leader has its acknowledgement of.
    pub acknowledged: Offset,
    /// The offset behind the last record that it holds.
    pub held: Offset,
}

/// Compares what the leader says with what is there. A later leader may have cut off what an earlier one had the acknowledgement
/// of; then this replica has heard of the later one, and what the earlier one says counts for nothing.
pub(crate) fn check(config: &Config, state: &State) -> Result<(), Stale> {
    // Terms are leader epochs.
    let known = state.raft.vote.map_or(0, |vote| i64::try_from(vote.leader_id.term).unwrap_or(i64::MAX));
    let held = state.log.log.end_offset();
    match config.acknowledged {
        Some((epoch, acknowledged)) if i64::from(epoch) >= known && held < acknowledged => {
            Err(Stale { replica: config.replica, acknowledged, held })
        }
        _ => Ok(()),
    }
}
