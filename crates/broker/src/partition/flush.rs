//! Writing down what was appended: one lane job at a time per partition, which takes all that waits (group commit).
//!
//! It decides neither what is written nor when to sync; [`log::Log`] does. What the disk answers becomes the high
//! watermark, acks and wakened readers here, or the partition is stuck or offline.

use super::{Online, Partition, State, append::Ack, read::Isolation};
use log::{Effect, Files};
use model::Timestamp;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::oneshot;

impl Partition {
    /// Hands what is pending to a lane, unless one is at work: then it goes with the next job.
    pub(super) fn flush_soon(self: &Arc<Self>, online: &mut Online, now: Timestamp) {
        let must_sync = online.sync_wanted || online.log.must_sync(now);
        if online.pending.is_empty() && !must_sync {
            if online.files.is_some() {
                online.idle.clear();
            }
            return;
        }
        let Some(files) = online.files.take() else { return };
        let mut effects = std::mem::take(&mut online.pending);
        if online.stuck.is_some() {
            log::removals_first(&mut effects);
        }
        let bytes = std::mem::take(&mut online.pending_bytes);
        online.sync_wanted = false;
        online.written_at = now;
        let this = self.clone();
        let (ended, job) = oneshot::channel();
        online.job = Some(job);
        self.dir.world.tasks.run_on_lane(Box::new(move || {
            let _ended: oneshot::Sender<()> = ended;
            this.flush(files, effects, bytes, must_sync);
        }));
    }

    /// Runs on a lane.
    fn flush(self: Arc<Self>, mut files: Files, effects: Vec<Effect>, bytes: usize, must_sync: bool) {
        let mut result = files.perform(&*self.dir.world.disk, &effects, must_sync);
        self.dir.backlog.remove(bytes);
        let now = self.dir.world.clock.wall();
        let mut done = Vec::new();
        {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            if let Ok(performed) = &result {
                online.log.flushed(now, performed);
                online.advance(&mut done);
                if online.stuck.take().is_some() {
                    tracing::info!(partition = %self, "the partition can be written again");
                }
            }
        }
        match &result {
            Err(error) if log::is_scarcity(error) => return self.stick(error, files, effects),
            Err(error) => return self.fail(error),
            Ok(_) => {}
        }
        // Settled before the files are given back: the next job cannot overtake, so acks come in the order of offsets.
        for ack in done {
            ack.settled.settle(ack.slot, true);
        }
        if let Ok(Some(sealed)) = result.as_mut().map(|performed| performed.sealed.take()) {
            let this = self.clone();
            self.dir.world.tasks.run_on_lane(Box::new(move || this.sync_sealed(sealed)));
        }
        if let State::Online(online) = &mut *self.state.lock() {
            online.files = Some(files);
            self.flush_soon(online, now);
        }
    }

    /// Runs on a lane: a full segment goes to stable storage without holding up the next one.
    fn sync_sealed(&self, sealed: log::Sealed) {
        let result = sealed.sync(&*self.dir.world.disk);
        let now = self.dir.world.clock.wall();
        match result {
            Ok(upto) => {
                if let State::Online(online) = &mut *self.state.lock() {
                    online.log.synced(now, upto);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Room or descriptors are missing. Whoever can ask again is told so; what was taken stays pending, and
    /// [`Partition::sweep`] has it tried again. Readers notice nothing.
    fn stick(&self, error: &io::Error, files: Files, mut effects: Vec<Effect>) {
        let mut told = Vec::new();
        if let State::Online(online) = &mut *self.state.lock() {
            if online.stuck.is_none() {
                tracing::error!(partition = %self, %error, "the partition cannot be written for now");
            }
            let why = format!("{error}; free some, and it is written again without a restart");
            online.stuck = Some(why.into());
            effects.append(&mut online.pending);
            online.pending = effects;
            online.files = Some(files);
            // Whoever waits for the end of all work would wait long.
            online.idle.clear();
            let (patient, hasty) = online.acks.drain(..).partition::<Vec<_>, _>(|ack| ack.is_patient);
            (online.acks, told) = (patient.into(), hasty);
        }
        for ack in told {
            ack.settled.settle(ack.slot, false);
        }
    }

    /// The disk has failed under the log: what is not durable never will be. A deleted topic's files are nobody's any
    /// more: whatever fails there says nothing about the disk.
    fn fail(&self, error: &io::Error) {
        let why = format!("{self} could not be written: {error}; free or repair the disk and restart");
        let mut state = self.state.lock();
        if !matches!(&*state, State::Online(_)) {
            return;
        }
        tracing::error!(partition = %self, %error, "the partition is offline: it could not be written");
        self.dir.is_offline.store(true, Ordering::Release);
        let before = std::mem::replace(&mut *state, State::Offline(why.into()));
        drop(state);
        self.end(before, |ack| ack.settled.settle(ack.slot, false));
    }
}

impl Online {
    /// What was flushed is visible: moves the high watermark, wakes readers, gives the acks that are due.
    fn advance(&mut self, done: &mut Vec<Ack>) {
        let stable_before = self.log.last_stable_offset(self.high_watermark);
        let flushed = self.log.flushed_offset();
        if flushed > self.high_watermark {
            self.high_watermark = flushed;
            self.log.high_watermark_moved(flushed);
        }
        while self.acks.front().is_some_and(|ack| ack.upto <= self.high_watermark) {
            done.extend(self.acks.pop_front());
        }
        let mut bytes = 0;
        while let Some((upto, more)) = self.invisible.front().filter(|(upto, _)| *upto <= self.high_watermark)
        {
            debug_assert!(*upto <= flushed);
            bytes += more;
            self.invisible.pop_front();
        }
        let stable_moved = self.log.last_stable_offset(self.high_watermark) > stable_before;
        for (_, (wait, isolation)) in &self.watchers {
            match isolation {
                Isolation::LastStable if stable_moved => wait.break_off(),
                Isolation::LastStable => {}
                Isolation::HighWatermark | Isolation::LogEnd => wait.add(bytes),
            }
        }
    }
}
