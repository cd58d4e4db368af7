//! The one who writes: takes orders from a queue and carries them out on disk lanes, one after the other.
//!
//! It owns the files of the log. After an error it carries out nothing more, and everybody who waits is told: what the
//! disk kept is unknown then, and the replica must not answer for it.

use crate::{
    checkpoint::Checkpoint,
    raft_state::RaftState,
    runtime::on_lane,
    store::{Shared, State},
    type_config::LogId,
};
use env::{Disk, Open, World};
use log::{Files, Log, LogConfig, OpenOptions, names};
use model::Offset;
use std::{io, path::Path, sync::Arc};
use stdx::Uuid;
use tokio::sync::{mpsc, oneshot};

/// How often a full disk is tried again.
const RETRY_MS: i64 = 500;

type Reply = oneshot::Sender<io::Result<()>>;

/// What is to be done.
pub(crate) enum Order {
    /// Write and sync what is pending.
    Flush,
    /// The same, then remove the snapshots before the newest.
    Tidy { reply: Reply },
    /// The same, so that the log opens quickly next time; it is the last order.
    Close { reply: Reply },
    /// Replace the file `raft-state`.
    Save { state: RaftState, reply: Reply },
    /// Cut the log at an offset.
    Truncate { end: Offset, reply: Reply },
    /// Remove all of the log: it begins at an offset behind its end, where a snapshot ends.
    Reset { upto: LogId, end: Offset, reply: Reply },
}

/// See the head of the file.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    files: Option<Files>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, files: Files) -> Self {
        Self { shared, files: Some(files) }
    }

    /// Works until nobody can give orders any more, or the node stops.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let flushed = self.flush().await;
            let (done, reply) = match order {
                Order::Flush => (flushed, None),
                Order::Tidy { reply } => (and_then(flushed, self.tidy()).await, Some(reply)),
                Order::Close { reply } => {
                    let _ = reply.send(and_then(flushed, self.close()).await);
                    return;
                }
                Order::Save { state, reply } => (and_then(flushed, self.save(state)).await, Some(reply)),
                Order::Truncate { end, reply } => (and_then(flushed, self.truncate(end)).await, Some(reply)),
                Order::Reset { upto, end, reply } => {
                    (and_then(flushed, self.reset(upto, end)).await, Some(reply))
                }
            };
            if let Err(error) = &done {
                tracing::error!(%error, dir = %self.shared.dir.display(), "the metadata log cannot be written; this replica stops");
                self.shared.state.lock().failed.get_or_insert(error.to_string());
            }
            if let Some(reply) = reply {
                // Who asked may have been dropped with the node.
                let _ = reply.send(done);
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let (effects, waiting) = {
            let mut state = self.shared.state.lock();
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.waiting))
        };
        if effects.is_empty() && waiting.is_empty() {
            return self.shared.state.lock().check();
        }
        let done = self.perform(effects).await;
        for callback in waiting {
            callback.io_completed(done.as_ref().map(|_| ()).map_err(copy_of));
        }
        done
    }

    async fn perform(&mut self, mut effects: Vec<log::Effect>) -> io::Result<()> {
        self.shared.state.lock().check()?;
        let performed = loop {
            let mut files = self.files.take().ok_or_else(|| io::Error::other("the files are closed"))?;
            let disk = self.shared.world.disk.clone();
            let performed = on_lane(&self.shared.world, move || {
                let performed = files.perform(&*disk, &effects, true);
                (files, effects, performed)
            });
            let (files, tried, performed) = performed.await?;
            self.files = Some(files);
            match performed {
                Ok(performed) => break performed,
                Err(error) => self.wait_for_room(error).await?,
            }
            effects = tried;
            log::removals_first(&mut effects);
        };
        self.shared.state.lock().stuck = None;
        let now = self.shared.world.clock.wall();
        let mut state = self.shared.state.lock();
        let log = &mut state.log.log;
        log.flushed(now, &performed);
        let excess = log.tail_bytes().saturating_sub(self.shared.tail_bytes_max);
        log.trim_tail(excess);
        Ok(())
    }

    async fn save(&mut self, next: RaftState) -> io::Result<()> {
        loop {
            let (disk, dir, written) =
                (self.shared.world.disk.clone(), self.shared.dir.clone(), next.clone());
            match on_lane(&self.shared.world, move || written.write(&*disk, &dir)).await? {
                Ok(()) => break,
                Err(error) => self.wait_for_room(error).await?,
            }
        }
        let mut state = self.shared.state.lock();
        (state.raft, state.stuck) = (next, None);
        Ok(())
    }

    /// Where only room or descriptors are missing, what is to be written waits for them: nobody was told that it is
    /// there. Any other error, and a stop meanwhile, are given back.
    async fn wait_for_room(&self, error: io::Error) -> io::Result<()> {
        {
            let mut state = self.shared.state.lock();
            if !log::is_scarcity(&error) || state.stopping {
                return Err(error);
            }
            if state.stuck.is_none() {
                tracing::error!(%error, dir = %self.shared.dir.display(), "the metadata log cannot be written for now");
            }
            state.stuck = Some(error.to_string());
        }
        let clock = &self.shared.world.clock;
        clock.sleep_until(clock.after_millis(RETRY_MS)).await;
        Ok(())
    }

    async fn tidy(&mut self) -> io::Result<()> {
        let Some(newest) = self.shared.state.lock().checkpoint.clone() else { return Ok(()) };
        let (disk, dir) = (self.shared.world.disk.clone(), self.shared.dir.clone());
        on_lane(&self.shared.world, move || Checkpoint::remove_before(&*disk, &dir, newest.id())).await?
    }

    async fn close(&mut self) -> io::Result<()> {
        let mut effects = Vec::new();
        self.shared.state.lock().log.log.close(&mut effects);
        self.perform(effects).await
    }

    async fn truncate(&mut self, end: Offset) -> io::Result<()> {
        let start = self.shared.state.lock().log.log.start_offset();
        let recovery_point = self.shared.state.lock().raft.recovery_point.min(end);
        self.files = None;
        let (disk, dir) = (self.shared.world.disk.clone(), self.shared.dir.clone());
        let options = options(&self.shared.world, &self.shared.log_config, start, recovery_point);
        let reopened = on_lane(&self.shared.world, move || {
            cut(&*disk, &dir, end)?;
            log::open(&*disk, &dir, options).map_err(io::Error::other)
        });
        let reopened = reopened.await??;
        self.files = Some(reopened.files);
        self.put_log(reopened.log, end, |_| {})
    }

    async fn reset(&mut self, upto: LogId, end: Offset) -> io::Result<()> {
        self.files = None;
        let (disk, dir) = (self.shared.world.disk.clone(), self.shared.dir.clone());
        let options = options(&self.shared.world, &self.shared.log_config, end, 0);
        let reopened = on_lane(&self.shared.world, move || {
            cut(&*disk, &dir, 0)?;
            log::open(&*disk, &dir, options).map_err(io::Error::other)
        });
        let reopened = reopened.await??;
        self.files = Some(reopened.files);
        self.put_log(reopened.log, end, |state| {
            let log = &mut state.log;
            log.purge(0, upto, end, &mut Vec::new());
        })
    }

    fn put_log(&self, log: Log, end: Offset, and: impl FnOnce(&mut State)) -> io::Result<()> {
        if log.end_offset() != end {
            let found = log.end_offset();
            return Err(io::Error::other(format!("the log should end at {end}, but ends at {found}")));
        }
        let mut state = self.shared.state.lock();
        state.log.log = log;
        and(&mut state);
        Ok(())
    }
}

/// How the metadata log is opened: nothing is believed that is not read.
pub(crate) fn options(
    world: &World,
    config: &LogConfig,
    start: Offset,
    recovery_point: Offset,
) -> OpenOptions {
    OpenOptions {
        topic_id: Uuid::METADATA_TOPIC,
        is_new: false,
        config: Arc::new(config.clone()),
        clean: false,
        recovery_point,
        start_offset: start,
        now: world.clock.wall(),
    }
}

/// Cuts the files of a log so that no batch begins at `end` or behind; the last first, so that a crash leaves no hole.
pub(crate) fn cut(disk: &dyn Disk, dir: &Path, end: Offset) -> io::Result<()> {
    let entries = disk.list(dir)?;
    let named = entries.iter().filter_map(|entry| names::parse_file_name(&entry.name));
    let mut files: Vec<_> = named.collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    for (base, kind) in &files {
        let path = dir.join(names::file_name(*base, kind));
        if *base >= end {
            disk.remove_file(&path)?;
        }
    }
    disk.sync_dir(dir)?;
    let Some((base, _)) = files.iter().find(|(base, kind)| *base < end && *kind == names::LOG) else {
        return Ok(());
    };
    for (_, kind) in
        files.iter().filter(|(of, kind)| of == base && *kind != names::LOG && *kind != names::SNAPSHOT)
    {
        disk.remove_file(&dir.join(names::file_name(*base, kind)))?;
    }
    let file = disk.open(&dir.join(names::file_name(*base, names::LOG)), Open::ReadWrite)?;
    let len = file.len()?;
    let mut position = 0;
    while position < len {
        let mut head = [0; 17];
        file.read_at(&mut head, position)?;
        let Some(entry) = records::Entry::peek(&head).filter(|entry| entry.offset < end) else { break };
        position += entry.bytes as u64;
    }
    file.set_len(position.min(len))?;
    file.sync_data()?;
    disk.sync_dir(dir)
}

async fn and_then(first: io::Result<()>, second: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    first?;
    second.await
}

fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
