//! Writing down what was appended: one lane job at a time per partition, which takes all that waits (group commit).
//!
//! It decides neither what is written nor when to sync; [`log::Log`] does. What the disk answers becomes the high
//! watermark, acks and wakened readers here, or the partition is stuck or offline.

use super::{Offline, Online, Partition, State, append::settle, role::Outcome};
use crate::acks::Undone;
use env::Job;
use log::{Effect, Files};
use model::Timestamp;
use std::{io, sync::Arc};
use tokio::sync::oneshot;

/// A job that has not come to its end. If it unwinds, or is dropped before it ran, nobody knows what has reached the
/// disk: the partition fails, and whoever waits for it is told.
struct Unended {
    partition: Arc<Partition>,
    /// What it counts for in the backlog.
    bytes: usize,
    has_ended: bool,
    /// Told when all of this is over.
    _ended: oneshot::Sender<()>,
}

impl Unended {
    /// Runs on a lane.
    fn run(mut self, files: Files, effects: Vec<Effect>, must_sync: bool) {
        let partition = self.partition.clone();
        partition.flush(&mut self, files, effects, must_sync);
        self.has_ended = true;
    }

    fn give_room_back(&mut self) {
        self.partition.shared.backlog.remove(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        if !self.has_ended {
            self.give_room_back();
            self.partition.fail(&io::Error::other("the job that writes it did not come to its end"));
        }
    }
}

impl Partition {
    /// A job that writes what is pending, unless one is at work: then it goes with the next one. It is to be given to
    /// [`Partition::hand_over`] once the lock is released.
    #[must_use]
    pub(super) fn flush_soon(self: &Arc<Self>, online: &mut Online, now: Timestamp) -> Option<Job> {
        let must_sync = online.sync_wanted || online.log.must_sync(now);
        if online.is_held || online.pending.is_empty() && !must_sync {
            return None;
        }
        let files = online.files.take()?;
        let mut effects = std::mem::take(&mut online.pending);
        if online.stuck.is_some() {
            log::removals_first(&mut effects);
        }
        let bytes = std::mem::take(&mut online.pending_bytes);
        online.sync_wanted = false;
        online.written_at = now;
        online.jobs += 1;
        let (ended, job) = oneshot::channel();
        online.job = Some(job);
        let unended = Unended { partition: self.clone(), bytes, has_ended: false, _ended: ended };
        Some(Box::new(move || unended.run(files, effects, must_sync)))
    }

    /// Gives a job to a lane. Not under the lock: a node that stops may drop the job at once, and that takes the lock.
    pub(super) fn hand_over(&self, job: Option<Job>) {
        if let Some(job) = job {
            self.shared.world.tasks.run_on_lane(job);
        }
    }

    /// Runs on a lane.
    fn flush(
        self: &Arc<Self>,
        unended: &mut Unended,
        mut files: Files,
        effects: Vec<Effect>,
        must_sync: bool,
    ) {
        let mut result = files.perform(&*self.shared.world.disk, &effects, must_sync);
        unended.give_room_back();
        let now = self.shared.world.clock.wall();
        let mut outcome = Outcome::default();
        let (cuts, untailed) = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            let tail_bytes = online.log.tail_bytes();
            if let Ok(performed) = &result {
                online.log.flushed(now, performed);
                online.on_flushed(self.monotonic(), &mut outcome);
                if online.stuck.take().is_some() {
                    tracing::info!(partition = %self, "the partition can be written again");
                }
            }
            (online.cuts, tail_bytes - online.log.tail_bytes())
        };
        self.shared.tail.on_end(untailed);
        match &result {
            Err(error) if log::is_scarcity(error) => return self.stick(error, files, effects, must_sync),
            Err(error) => return self.fail(error),
            Ok(_) => {}
        }
        // Settled before the files are given back: the next job cannot overtake, so acks come in the order of offsets.
        self.carry_out(outcome);
        if let Ok(Some(sealed)) = result.as_mut().map(|performed| performed.sealed.take()) {
            let this = self.clone();
            self.shared.world.tasks.run_on_lane(Box::new(move || this.sync_sealed(sealed, cuts)));
        }
        let job = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            online.files = Some(files);
            online.tell_waiting();
            self.flush_soon(online, now)
        };
        self.hand_over(job);
    }

    /// Runs on a lane: a full segment goes to stable storage without holding up the next one.
    fn sync_sealed(&self, sealed: log::Sealed, cuts: u64) {
        let result = sealed.sync(&*self.shared.world.disk);
        let now = self.shared.world.clock.wall();
        match result {
            Ok(upto) => {
                if let State::Online(online) = &mut *self.state.lock()
                    && online.cuts == cuts
                {
                    online.log.synced(now, upto);
                }
            }
            // The files are another log's, or nobody's any more.
            Err(_) if !self.has_cuts(cuts) => {}
            // Nothing is lost: the next sync does what is left of it, and is asked for at the latest by a sweep.
            Err(error) if log::is_scarcity(&error) => {
                tracing::warn!(partition = %self, %error, "a full segment could not be synced for now");
                if let State::Online(online) = &mut *self.state.lock() {
                    online.sync_wanted = true;
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Room or descriptors are missing. Whoever can ask again is told so; what was taken stays pending, and
    /// [`Partition::sweep`] has it tried again. Readers notice nothing.
    fn stick(&self, error: &io::Error, mut files: Files, mut effects: Vec<Effect>, must_sync: bool) {
        let (mut told, mut untailed) = (Vec::new(), 0);
        let now = self.shared.world.clock.wall();
        if let State::Online(online) = &mut *self.state.lock() {
            if online.stuck.is_none() {
                tracing::error!(partition = %self, %error, "the partition cannot be written for now");
            }
            let why = format!("{error}; free some, and it is written again without a restart");
            online.stuck = Some(why.into());
            effects.append(&mut online.pending);
            let tail_bytes = online.log.tail_bytes();
            online.log.on_scarcity(now, &mut files, &mut effects);
            untailed = tail_bytes - online.log.tail_bytes();
            online.pending = effects;
            online.files = Some(files);
            // Without anything to write there would be no next try.
            online.sync_wanted |= must_sync;
            // Whoever waits for what was pending would wait long.
            online.waiting.clear();
            let (patient, hasty) = online.acks.drain(..).partition::<Vec<_>, _>(|ack| ack.is_patient);
            online.acks = patient.into();
            let hasty = online.own_acks.drain(..).chain(hasty);
            told = hasty.map(|ack| (ack, Err(Undone::Failed))).collect();
        }
        self.shared.tail.on_end(untailed);
        settle(told);
    }

    /// The disk has failed under the log: what is not durable never will be. A deleted topic's files are nobody's any
    /// more: whatever fails there says nothing about the disk.
    pub(super) fn fail(&self, error: &io::Error) {
        let why = format!("{self} could not be written: {error}; free or repair the disk and restart");
        if self.fall(why) {
            tracing::error!(partition = %self, %error, "the partition is offline: it could not be written");
            self.dir().fail();
        }
    }

    /// The log directory has failed under another log: this one is not written any more either.
    pub(crate) fn on_dir_failed(&self) {
        // One that is just leaving it needs nothing of it any more.
        if matches!(&*self.state.lock(), State::Online(online) if online.is_renamed) {
            return;
        }
        let dir = self.dir();
        let dir = dir.path.display();
        if self.fall(format!("{self} lies in {dir}, which has failed; repair the disk and restart")) {
            tracing::error!(partition = %self, %dir, "the partition is offline: its log directory has failed");
        }
    }

    /// It goes offline for good; says whether it was online.
    fn fall(&self, why: String) -> bool {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return false };
        let offline = Offline::after(online, why.into(), false);
        let before = std::mem::replace(&mut *state, State::Offline(Box::new(offline)));
        drop(state);
        self.end(before, Undone::Failed);
        true
    }
}

impl Online {
    /// A job has ended: whoever waited for it, or one before it, need not wait any more.
    pub(super) fn tell_waiting(&mut self) {
        let ended = self.jobs;
        self.waiting.retain(|(job, _)| *job > ended);
    }
}
