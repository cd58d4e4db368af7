//! Opening the directory of the metadata log: the file `raft-state`, the newest snapshot, then the log, of which every
//! batch is read.
//!
//! What is damaged is an error with its place and its remedy; nothing is forgotten so that a start succeeds.

mod alone;

#[cfg(test)]
pub(crate) use alone::state_for as state_of_lone_replica;

use crate::{
    checkpoint::{Checkpoint, SnapshotId},
    config::Config,
    metadata_log::MetadataLog,
    raft_state::{RAFT_STATE, RaftState},
    runtime::on_lane,
    store::{ORDERS_MAX, READ_BYTES_MAX, Shared, State, Store},
    writer::{self, Writer, options},
};
use env::{Disk, World};
use log::{LogConfig, ReadPlan};
use parking_lot::Mutex;
use records::Batch;
use std::{io, path::Path, sync::Arc};
use tokio::sync::mpsc;

/// An open directory.
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// Whether it held nothing before.
    pub(crate) fresh: bool,
}

struct Found {
    log: MetadataLog,
    files: log::Files,
    raft: RaftState,
    checkpoint: Option<Arc<Checkpoint>>,
    fresh: bool,
}

impl Store {
    /// Opens `dir`, or creates what is missing there, and starts the writer.
    pub(crate) async fn open(world: &World, config: &Config) -> io::Result<Opened> {
        let (on, its) = (world.clone(), config.clone());
        let found = on_lane(world, move || find(&on, &its)).await??;
        let (orders, queue) = mpsc::channel(ORDERS_MAX);
        let state = State {
            log: found.log,
            committed: found.raft.committed,
            raft: found.raft,
            checkpoint: found.checkpoint,
            pending: Vec::new(),
            waiting: Vec::new(),
            failed: None,
            stuck: None,
            stopping: false,
        };
        let shared = Arc::new(Shared {
            world: world.clone(),
            dir: config.dir.clone(),
            replica: config.replica,
            log_config: config.log.clone(),
            tail_bytes_max: config.tail_bytes_max,
            orders,
            state: Mutex::new(state),
        });
        world.tasks.spawn(Box::pin(Writer::new(shared.clone(), found.files).run(queue)));
        Ok(Opened { store: Store(shared), fresh: found.fresh })
    }
}

fn find(world: &World, config: &Config) -> io::Result<Found> {
    let (disk, dir, replica) = (&*world.disk, config.dir.clone(), config.replica);
    disk.create_dir_all(&dir)?;
    let snapshots = Checkpoint::list(disk, &dir)?;
    let state = match RaftState::read(disk, &dir) {
        Ok(Some(raft)) => Some(raft),
        Ok(None) => alone::state_for(world, config, &snapshots)?,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Some(alone::state_for(world, config, &snapshots)?.ok_or(error)?)
        }
        Err(error) => return Err(error),
    };
    let (raft, fresh) = match state {
        Some(raft) => (raft, false),
        None if holds_a_log(disk, &dir)? || !snapshots.is_empty() => {
            return Err(refused(format!(
                "{} holds metadata but no {RAFT_STATE}: whom this replica has voted for is lost, and it may not vote \
                 again; remove it from the quorum and let it join with an empty directory",
                dir.display()
            )));
        }
        None => {
            let raft = RaftState::new(replica);
            raft.write(disk, &dir)?;
            if let Some(parent) = dir.parent() {
                disk.sync_dir(parent)?;
            }
            (raft, true)
        }
    };
    if raft.replica != replica {
        return Err(refused(format!(
            "{} belongs to replica {}, but this is {replica}: it was copied or node.id was changed; start with the \
             directory of this node, or with an empty one",
            dir.display(),
            raft.replica
        )));
    }
    let mut raft = raft;
    let checkpoint = newest(disk, &dir, &snapshots, &raft)?;
    if raft.recovery_point < raft.start_offset {
        // A crash came between the decision to begin anew behind a snapshot and its end.
        writer::cut(disk, &dir, 0)?;
    }
    let (mut log, mut files) = open_log(world, &dir, &config.log, &raft)?;
    if let Some(checkpoint) = checkpoint.as_ref()
        && log.log_id(checkpoint.head().last.index) != Some(checkpoint.head().last)
    {
        // A crash came after the snapshot had its name: the log is older than it, or contradicts what it committed.
        raft.purged = Some(checkpoint.head().last);
        (raft.start_offset, raft.recovery_point) = (checkpoint.id().end_offset, 0);
        raft.write(disk, &dir)?;
        drop((log, files));
        writer::cut(disk, &dir, 0)?;
        (log, files) = open_log(world, &dir, &config.log, &raft)?;
    }
    if raft.recovery_point < raft.start_offset {
        raft.recovery_point = raft.start_offset;
        raft.write(disk, &dir)?;
    }
    alone::add_voter(world, config, &mut log, &mut files)?;
    Ok(Found { log, files, raft, checkpoint, fresh })
}

fn open_log(
    world: &World,
    dir: &Path,
    config: &LogConfig,
    raft: &RaftState,
) -> io::Result<(MetadataLog, log::Files)> {
    let disk = &*world.disk;
    let opened = log::open(disk, dir, options(world, config, raft.start_offset, raft.recovery_point));
    let opened = opened.map_err(|error| refused(error.to_string()))?;
    let mut log = MetadataLog::new(opened.log, raft.purged, raft.start_offset);
    read_all(disk, &mut log).map_err(|error| refused(format!("{}: {error}", dir.display())))?;
    Ok((log, opened.files))
}

fn holds_a_log(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    Ok(disk.list(dir)?.iter().any(|entry| entry.name.ends_with(".log") && entry.len > 0))
}

/// The newest whole snapshot that reaches to where the log begins.
fn newest(
    disk: &dyn Disk,
    dir: &Path,
    ids: &[SnapshotId],
    raft: &RaftState,
) -> io::Result<Option<Arc<Checkpoint>>> {
    let mut last_error = None;
    for id in ids.iter().filter(|id| id.end_offset >= raft.start_offset) {
        match Checkpoint::open(disk, dir, *id) {
            Ok(checkpoint) => return Ok(Some(Arc::new(checkpoint))),
            Err(error) => {
                tracing::error!(%error, "a snapshot of the metadata is not used");
                last_error = Some(error);
            }
        }
    }
    match (raft.purged, last_error) {
        (None, _) => Ok(None),
        (Some(_), Some(error)) => Err(error),
        (Some(_), None) => Err(refused(format!(
            "{}: the log begins at offset {}, and no snapshot reaches there; let this replica join the quorum again \
             with an empty directory",
            dir.display(),
            raft.start_offset
        ))),
    }
}

fn read_all(disk: &dyn Disk, log: &mut MetadataLog) -> io::Result<()> {
    let (mut from, end) = (log.log.start_offset(), log.log.end_offset());
    while from < end {
        let slice = match log.log.read(from, end, READ_BYTES_MAX, true) {
            ReadPlan::Memory(slice) => slice,
            ReadPlan::File(plan) => plan.load(disk)?,
            ReadPlan::OutOfRange { .. } => return Err(refused(format!("offset {from} cannot be read"))),
        };
        if slice.next_offset <= from {
            return Err(refused(format!("the batch at offset {from} cannot be read")));
        }
        let mut bytes = slice.parts.to_bytes().unwrap_or_default();
        while let Some(batch) = Batch::split_off(&mut bytes) {
            log.found(&batch)?;
        }
        from = slice.next_offset;
    }
    Ok(())
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
