//! The Raft library's state machine: it counts what is committed, and hands out snapshots.
//!
//! It applies nothing: the metadata's image is the host's, which reads the committed log and loads snapshots by itself,
//! as every broker of the cluster does. So building a snapshot is taking the newest that the host has written.

use crate::{
    checkpoint::Checkpoint,
    entry::{Payload, Placed},
    runtime::on_lane,
    store::Store,
    type_config::{LogId, SnapshotMeta, StoredMembership, TypeConfig},
    watch::{Watched, Watching, watch},
};
use futures_util::{Stream, TryStreamExt};
use model::{LeaderEpoch, Offset};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
    type_config::alias::SnapshotOf,
};
use records::BatchHeader;
use std::{io, sync::Arc};

/// How far the log is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Committed {
    /// The offset after the last committed record.
    pub(crate) offset: Offset,
    /// The epoch of that record.
    pub(crate) epoch: LeaderEpoch,
}

/// See the head of the file.
pub(crate) struct StateMachine {
    store: Store,
    applied: Option<LogId>,
    membership: StoredMembership,
    committed: Watched<Committed>,
}

/// Takes the newest snapshot.
pub(crate) struct Newest(Store);

pub(crate) type Snapshot = SnapshotOf<TypeConfig, Arc<Checkpoint>>;

impl StateMachine {
    /// What the newest snapshot stands for counts as applied.
    pub(crate) fn new(store: Store) -> (Self, Watching<Committed>) {
        let checkpoint = store.0.state.lock().checkpoint.clone();
        let (applied, membership, committed) = match &checkpoint {
            None => (None, StoredMembership::default(), Committed::default()),
            Some(checkpoint) => {
                let (head, id) = (checkpoint.head(), checkpoint.id());
                let committed = Committed { offset: id.end_offset, epoch: id.epoch };
                (Some(head.last), head.membership.clone(), committed)
            }
        };
        let (committed, watching) = watch(committed);
        (Self { store, applied, membership, committed }, watching)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Arc<Checkpoint>;
    type SnapshotBuilder = Newest;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let Payload::Stored { batch, membership } = &entry.payload else {
                return Err(io::Error::other("an entry without a place in the log was committed"));
            };
            let header = BatchHeader::parse(batch)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an entry is no batch"))?;
            if let Some(membership) = membership {
                self.membership = StoredMembership::new(Some(entry.log_id), (**membership).clone());
            }
            self.applied = Some(entry.log_id);
            let epoch = header.leader_epoch;
            self.committed.send(Committed { offset: header.next_offset(), epoch });
            if let Some(responder) = responder {
                let last_offset = header.last_offset();
                responder.send(Placed { base_offset: header.base_offset, last_offset, epoch });
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Newest {
        Newest(self.store.clone())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Arc<Checkpoint>) -> io::Result<()> {
        let (disk, dir) = (self.store.0.world.disk.clone(), self.store.0.dir.clone());
        let received = snapshot.clone();
        on_lane(&self.store.0.world, move || received.publish(&*disk, &dir)).await??;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let id = snapshot.id();
        self.store.0.state.lock().checkpoint = Some(snapshot);
        self.committed.send(Committed { offset: id.end_offset, epoch: id.epoch });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(snapshot(&self.store))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Newest {
    type SnapshotData = Arc<Checkpoint>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        snapshot(&self.0).ok_or_else(|| io::Error::other("nobody has written a snapshot"))
    }
}

fn snapshot(store: &Store) -> Option<Snapshot> {
    let checkpoint = store.0.state.lock().checkpoint.clone()?;
    let head = checkpoint.head();
    let meta = SnapshotMeta { last_log_id: Some(head.last), last_membership: head.membership.clone() };
    Some(Snapshot { meta, snapshot: checkpoint })
}
