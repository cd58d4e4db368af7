//! What a move to another log directory asks of a partition: what to copy next, and the moment at which the copy takes the
//! log's place (KIP-113).
//!
//! It neither copies nor decides when; `moves` does. The log is exchanged under the partition's one lock, between two jobs of
//! its lane: whatever was appended and not yet written goes to the copy, whose directory gets the log's name in the next
//! job. Until that is durable nothing that was appended since is acknowledged, and what was lies in the old place.

use super::{Offline, Partition, ReadOf, State, on_lane};
use crate::{Broker, acks::Undone, log_dir::LogDir, upkeep};
use bytes::Bytes;
use log::{Effect, Files, FollowError, Kinship, Log, ReadPlan, names};
use model::{Offset, Timestamp};
use records::Batch;
use std::{
    io::{self, ErrorKind},
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::oneshot;

/// How long it waits until descriptors or room are there for the last step.
const RETRY_MS: i64 = 1000;

/// What a copy needs next.
pub(crate) enum Next {
    /// These batches; then the log begins here, and this much of it is known to be safe.
    Batches { bytes: Bytes, start_offset: Offset, high_watermark: Offset },
    /// It has all that is on stable storage.
    Nothing { start_offset: Offset, high_watermark: Offset },
    /// It is to be cut before this offset.
    Cut(Offset),
    /// It is to begin anew at this offset.
    Anew(Offset),
    /// The log cannot be read at this moment.
    Later,
    /// There is nothing to copy from any more.
    Over,
}

/// A log with its files that is a copy of another.
pub(crate) struct Copy {
    pub(crate) log: Log,
    pub(crate) files: Files,
}

/// What came of an attempt to put a copy in the log's place.
pub(crate) enum Promoted {
    /// It is there; it is known to be safe once this ends.
    Done(oneshot::Receiver<()>),
    /// Not at this moment.
    Later(Box<Copy>),
    /// There is no log any more to take the place of, or the copy is none.
    Over,
}

/// While it is there no job of the partition's lane is begun.
pub(crate) struct Held(Arc<Partition>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// The job that gives the copy the log's name, until it has come to its end. Before, nobody knows under which name it lies.
struct Renaming {
    partition: Arc<Partition>,
    files: Option<Files>,
    has_ended: bool,
    to: Arc<LogDir>,
    broker: Arc<Broker>,
    now: Timestamp,
    _ended: oneshot::Sender<()>,
    _told: oneshot::Sender<()>,
}

impl Renaming {
    /// Runs on a lane.
    fn run(mut self) {
        let Some(mut files) = self.files.take() else { return };
        let (partition, to) = (self.partition.clone(), self.to.clone());
        let at = to.path.join(names::dir_name(&partition.name()));
        match files.move_to(&*partition.shared.world.disk, &at) {
            Ok(()) => {
                partition.leave(&to, &self.broker);
                partition.resume(files, self.now);
                // It was neither here nor there while that was looked for.
                if to.is_offline() && !self.broker.dirs.are_offline() {
                    partition.on_dir_failed();
                }
            }
            Err(error) if log::is_scarcity(&error) && partition.is_wanted() => {
                tracing::warn!(%partition, to = %to.path.display(), %error, "the log cannot take its new place for now");
                self.files = Some(files);
                return self.run_again();
            }
            Err(error) => {
                partition.fall_between(&error.to_string());
                // What is in its way is no fault of the disk.
                let is_taken =
                    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists);
                if !is_taken && !log::is_scarcity(&error) {
                    to.fail();
                }
            }
        }
        self.has_ended = true;
    }

    fn run_again(self) {
        let world = self.partition.shared.world.clone();
        let on = world.clone();
        world.tasks.spawn(Box::pin(async move {
            on.clock.sleep_until(on.clock.after_millis(RETRY_MS)).await;
            on.tasks.run_on_lane(Box::new(move || self.run()));
        }));
    }
}

impl Drop for Renaming {
    fn drop(&mut self) {
        if !self.has_ended {
            self.partition.fall_between("the job did not come to its end");
        }
    }
}

impl Copy {
    /// Appends what was copied; gives what is to be done to the files.
    pub(crate) fn append(&mut self, now: Timestamp, mut bytes: Bytes) -> Result<Vec<Effect>, FollowError> {
        let mut effects = Vec::new();
        while let Some(batch) = Batch::split_off(&mut bytes) {
            self.log.append_as_follower(now, batch, &mut effects)?;
        }
        Ok(effects)
    }
}

impl Partition {
    /// What a copy needs next, at most so many bytes of it. Whatever it gets is as safe as the topic asks.
    pub(crate) async fn next_to_copy(self: &Arc<Self>, copy: &Log, bytes_max: usize) -> io::Result<Next> {
        let (plan, of, start_offset, high_watermark) = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return Ok(Next::Over) };
            if online.is_closed {
                return Ok(Next::Over);
            }
            if online.is_cutting {
                return Ok(Next::Later);
            }
            match copy.kinship(&online.log) {
                Kinship::Prefix => {}
                Kinship::PartsAt(offset) => return Ok(Next::Cut(offset)),
                Kinship::Apart(offset) => return Ok(Next::Anew(offset)),
            }
            let (start_offset, high_watermark) = (online.log.start_offset(), online.high_watermark);
            let (from, upto) = (copy.end_offset(), online.log.flushed_offset());
            if from >= upto {
                return Ok(Next::Nothing { start_offset, high_watermark });
            }
            let plan = online.log.read(from, upto, bytes_max, true);
            let segment = match &plan {
                ReadPlan::File(plan) => plan.segment(),
                ReadPlan::Memory(_) | ReadPlan::OutOfRange { .. } => None,
            };
            (plan, online.read_of(segment), start_offset, high_watermark)
        };
        let slice = match plan {
            ReadPlan::Memory(slice) => slice,
            ReadPlan::OutOfRange { .. } => return Ok(Next::Later),
            ReadPlan::File(plan) => {
                let disk = self.shared.world.disk.clone();
                match on_lane(&self.shared.world, move || plan.load(&*disk)).await {
                    Some(Ok(slice)) => slice,
                    Some(Err(error)) => return self.on_copy_error(error, of),
                    None => return Ok(Next::Over),
                }
            }
        };
        let bytes = slice.parts.to_bytes().unwrap_or_default();
        Ok(Next::Batches { bytes, start_offset, high_watermark })
    }

    fn on_copy_error(self: &Arc<Self>, error: io::Error, of: ReadOf) -> io::Result<Next> {
        if log::is_moved(&error) {
            return Ok(Next::Later);
        }
        self.on_read_error(&error, of);
        Err(error)
    }

    /// From now on it is not compacted, also if its log is opened again, so that what was compacted before stays so in its
    /// copy; `false` says that it may be.
    pub(crate) fn set_copied(&self, is_copied: bool) {
        self.is_copied.store(is_copied, Ordering::Release);
    }

    /// Why the log is offline, if it may be open again.
    pub(crate) fn why_away(&self) -> Option<Arc<str>> {
        match &*self.state.lock() {
            State::Offline(offline) if !offline.is_closed => Some(offline.why.clone()),
            State::Online(_) | State::Offline(_) | State::Deleted => None,
        }
    }

    /// Whether the broker stops and has closed the log, or will not open it any more.
    pub(crate) fn is_closed(&self) -> bool {
        match &*self.state.lock() {
            State::Online(online) => online.is_closed,
            State::Offline(offline) => offline.is_closed,
            State::Deleted => false,
        }
    }

    /// Whether compaction may have taken records out of the log.
    pub(crate) fn is_sparse(&self) -> bool {
        matches!(&*self.state.lock(), State::Online(online) if online.log.config().is_sparse())
    }

    /// No job is begun until what this gives is dropped, so that the log and its files can be exchanged; ends when none is
    /// at work.
    pub(crate) async fn hold(self: &Arc<Self>) -> Held {
        let held = Held(self.clone());
        let at_work = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return held };
            online.is_held = true;
            if online.files.is_some() {
                return held;
            }
            let (sender, receiver) = oneshot::channel();
            online.waiting.push((online.jobs, sender));
            receiver
        };
        let _ = at_work.await;
        held
    }

    /// Jobs are begun again.
    fn let_go(self: &Arc<Self>) {
        let job = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            online.is_held = false;
            if online.is_cutting { None } else { self.flush_soon(online, self.shared.world.clock.wall()) }
        };
        self.hand_over(job);
    }

    /// The checkpoints of that directory tell of it too, or not any more.
    pub(crate) fn set_moving_into(&self, dir: Option<Arc<LogDir>>) {
        self.moving_into.store(dir);
    }

    /// Puts a copy in the log's place if it has all that is safe of it and the rest, at most so many bytes, is at hand. To be
    /// called while the partition is held, by whoever has `maintenance`, and once the checkpoints of the new directory tell
    /// of it: as it was when it had been cut so often.
    pub(crate) fn promote(
        self: &Arc<Self>,
        mut copy: Copy,
        to: &Arc<LogDir>,
        broker: &Arc<Broker>,
        (cuts, rest_bytes_max): (Option<u64>, usize),
    ) -> Promoted {
        let now = self.shared.world.clock.wall();
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return Promoted::Over };
        if online.is_closed {
            return Promoted::Over;
        }
        let is_busy = online.is_cutting
            || cuts != Some(online.cuts)
            || online.recovery_point_max.is_some()
            || online.log.is_swapping()
            || online.upkeep.is_indexing()
            || online.files.is_none();
        let is_first_part = copy.log.kinship(&online.log) == Kinship::Prefix;
        if is_busy || !is_first_part || copy.log.recovery_point() < online.log.flushed_offset() {
            return Promoted::Later(Box::new(copy));
        }
        let (from, end) = (copy.log.end_offset(), online.log.end_offset());
        let rest = match online.log.read(from, end, rest_bytes_max, false) {
            ReadPlan::Memory(slice) if slice.next_offset == end => slice.parts.to_bytes().unwrap_or_default(),
            _ => return Promoted::Later(Box::new(copy)),
        };
        let Ok(mut effects) = copy.append(now, rest) else { return Promoted::Over };
        if !copy.log.succeed(&online.log, &mut effects) {
            return Promoted::Over;
        }
        copy.log.configure(self.config.load_full());
        let old_tail = online.log.tail_bytes();
        online.log = copy.log;
        let new_tail = online.log.tail_bytes();
        online.files = None;
        online.pending = effects;
        online.stuck = None;
        online.is_held = false;
        online.is_renamed = true;
        // Whoever read or synced the old files must not take these for theirs.
        online.cuts += 1;
        online.upkeep.uncleanable = None;
        self.set_copied(false);
        online.sync_wanted = true;
        let (ended, job) = oneshot::channel();
        let (told, done) = oneshot::channel();
        online.job = Some(job);
        drop(state);
        self.shared.tail.on_end(old_tail);
        if new_tail > 0 {
            self.shared.tail.on_append(self, new_tail);
        }
        let renaming = Renaming {
            partition: self.clone(),
            files: Some(copy.files),
            has_ended: false,
            to: to.clone(),
            broker: broker.clone(),
            now,
            _ended: ended,
            _told: told,
        };
        self.hand_over(Some(Box::new(move || renaming.run())));
        Promoted::Done(done)
    }

    /// How often its log was cut, or exchanged; `None` if there is none.
    pub(crate) fn cuts(&self) -> Option<u64> {
        match &*self.state.lock() {
            State::Online(online) => Some(online.cuts),
            State::Offline(_) | State::Deleted => None,
        }
    }

    /// Ends when its directory is not about to become another. Once a cut is announced no log is exchanged any more.
    pub(crate) async fn settled(&self) {
        let receiver = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            if !online.is_renamed {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            online.waiting.push((online.jobs, sender));
            receiver
        };
        let _ = receiver.await;
    }

    /// Whether there will be a use for the log: its topic is there, and the broker does not stop.
    fn is_wanted(&self) -> bool {
        matches!(&*self.state.lock(), State::Online(online) if !online.is_closed)
    }

    /// Runs on a lane: the copy has got the log's name, and the old log loses it.
    fn leave(self: &Arc<Self>, to: &Arc<LogDir>, broker: &Arc<Broker>) {
        let (disk, name, from) = (&*self.shared.world.disk, self.name(), self.dir());
        let at = names::dir_name(&name);
        self.dir.store(to.clone());
        self.moving_into.store(None);
        // What follows is about room only: were the old log there again after a crash, the other is the one that counts,
        // for the controller has heard of it.
        let gone = names::deleted_dir_name(&name, self.shared.world.random.uuid());
        let renamed = match disk.rename(&from.path.join(&at), &from.path.join(&gone)) {
            // Nothing was ever written there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.and_then(|()| disk.sync_dir(&from.path)).map(|()| true),
        };
        let written = match from.is_offline() {
            true => Ok(()),
            false => from.write_checkpoints(|| upkeep::checkpoints(broker, &from)),
        };
        for error in renamed.as_ref().err().into_iter().chain(written.as_ref().err()) {
            let dir = from.path.display();
            tracing::error!(partition = %self, %dir, %error, "what was moved could not be removed from where it was");
        }
        if let Ok(true) = renamed {
            let (disk, path) = (self.shared.world.disk.clone(), from.path.join(gone));
            self.shared.world.tasks.run_on_lane(Box::new(move || {
                if let Err(error) = disk.remove_dir_all(&path) {
                    tracing::warn!(dir = %path.display(), %error, "what was moved could not be removed from where it was");
                }
            }));
        }
    }

    /// Runs on a lane: the log is written again.
    fn resume(self: &Arc<Self>, files: Files, now: Timestamp) {
        let job = {
            let mut state = self.state.lock();
            // Deleted or failed meanwhile.
            let State::Online(online) = &mut *state else { return };
            online.files = Some(files);
            online.is_renamed = false;
            online.tell_waiting();
            self.flush_soon(online, now)
        };
        self.hand_over(job);
    }

    /// It goes offline between two places: the next start finds out which of the two counts.
    fn fall_between(&self, why: &str) {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return };
        let text =
            format!("{self} could not be put in its new place: {why}; restart to go on from where it was");
        tracing::error!(partition = %self, why, "the partition is offline: its copy could not be put in its place");
        let offline = Offline::after(online, text.into(), false);
        let before = std::mem::replace(&mut *state, State::Offline(Box::new(offline)));
        drop(state);
        self.end(before, Undone::Failed);
    }
}
