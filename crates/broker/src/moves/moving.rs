//! One move of a replica to another log directory, from its turn to its end: copying, telling the controller, and the moment
//! at which the copy takes the log's place.
//!
//! When it has its turn, and what becomes of the copy at its end, `moves` says; what to copy next is the partition's to say.

use super::{Move, Pace, check_free};
use crate::{
    Broker,
    partition::{Copy, Held, Next, Promoted},
    upkeep,
};
use log::{Effect, LogConfig, OpenError, OpenOptions};
use metadata::DirectoryAssignment;
use model::Offset;
use std::sync::Arc;

/// At most so many bytes are copied at a time where no rate is kept any more.
const SLICE_BYTES_LAST: usize = *super::SLICE_BYTES.end() as usize;
/// How long to wait where something is busy.
const BUSY_MS: i64 = 10;
/// ... where the log cannot be read.
const LOOK_MS: i64 = 100;
/// ... where the disk is full, descriptors are missing, the controller does not answer, or the log is offline.
pub(super) const RETRY_MS: i64 = 1000;
/// A move that copies from a log that fails again and again is given up.
const FAILURES_MAX: u32 = 8;
/// So many slices are copied one after the other before the copy takes the log's place; what is written faster is left to the
/// next try.
const SLICES_LAST: usize = 16;
/// What may be only in memory when the copy takes the log's place: at the first try, and at most ...
const REST_BYTES: usize = 1 << 20;
/// ... for it doubles with each try. Where it no longer does, what is received and not yet written is bounded anyway.
const TRIES_DOUBLING: u32 = 6;

/// How a move ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// The copy is removed.
    Discarded,
    /// The broker stops, or the new directory has failed: the next start goes on.
    Kept,
    /// The log is offline: it goes on once that is open again.
    Away,
}

/// A move that has its turn.
pub(super) struct Moving<'a> {
    pub(super) broker: &'a Arc<Broker>,
    pub(super) one: &'a Arc<Move>,
    /// The controller has it in the new directory.
    is_told: bool,
    /// ... or may have: an answer that does not come says nothing.
    may_be_told: bool,
    /// How often the log had been cut, or exchanged, when it was last seen; `None`: nothing is known of what it was before.
    cuts: Option<u64>,
    failures: u32,
    /// How often the copy could not take the log's place.
    tries: u32,
}

/// What became of a step.
enum Step {
    GoOn(Copy),
    Pause(Copy, i64),
    End(End),
}

impl<'a> Moving<'a> {
    pub(super) fn new(broker: &'a Arc<Broker>, one: &'a Arc<Move>) -> Self {
        Self { broker, one, is_told: false, may_be_told: false, cuts: None, failures: 0, tries: 0 }
    }

    /// How it ends, and whether the controller has the replica in the new directory, or may have it there.
    pub(super) async fn run(mut self) -> (End, bool) {
        let end = self.copy().await;
        (end, self.may_be_told)
    }

    async fn copy(&mut self) -> End {
        let mut copy = match self.open().await {
            Ok(copy) => copy,
            Err(end) => return end,
        };
        loop {
            if let Some(end) = self.is_over() {
                return end;
            }
            self.one.note(&copy);
            copy = match self.step(copy).await {
                Step::GoOn(copy) => copy,
                Step::Pause(copy, ms) => {
                    self.pause(ms).await;
                    copy
                }
                Step::End(end) => return end,
            };
        }
    }

    pub(super) fn is_over(&self) -> Option<End> {
        if self.broker.is_stopping() {
            return Some(End::Kept);
        }
        if self.one.to.is_offline() {
            return Some(End::Kept);
        }
        self.one.is_off().then_some(End::Discarded)
    }

    async fn pause(&self, ms: i64) {
        let clock = &self.broker.world.clock;
        tokio::select! {
            biased;
            () = self.one.off() => {}
            () = clock.sleep_until(clock.after_millis(ms)) => {}
        }
    }

    async fn step(&mut self, copy: Copy) -> Step {
        let pace = Pace::of(self.broker);
        if pace.bytes_per_second == 0 {
            return Step::Pause(copy, RETRY_MS);
        }
        if self.broker.backlog.is_full() {
            return Step::Pause(copy, BUSY_MS);
        }
        let partition = &self.one.partition;
        let cuts = partition.cuts();
        if cuts.is_some() && cuts != self.cuts {
            self.cuts = cuts;
            // It may have been compacted meanwhile, here or where it is from: what it has given up the copy would bring back.
            if partition.is_sparse() && copy.log.end_offset() > copy.log.start_offset() {
                return self.begin_anew(copy, 0).await;
            }
        }
        match partition.next_to_copy(&copy.log, pace.slice_bytes() as usize).await {
            Ok(Next::Batches { bytes, start_offset, high_watermark }) => {
                if !self.broker.moves.wait_for_turn(self, bytes.len() as u64).await {
                    return Step::Pause(copy, 0);
                }
                self.write(copy, bytes, (start_offset, high_watermark), &mut None).await
            }
            Ok(Next::Nothing { start_offset, high_watermark }) => {
                match self.write(copy, bytes::Bytes::new(), (start_offset, high_watermark), &mut None).await {
                    Step::GoOn(copy) => self.finish(copy).await,
                    other => other,
                }
            }
            Ok(Next::Cut(offset)) => self.cut(copy, offset).await,
            Ok(Next::Anew(offset)) => self.begin_anew(copy, offset).await,
            Ok(Next::Later) => Step::Pause(copy, BUSY_MS),
            Ok(Next::Over) => Step::End(self.over()),
            Err(error) => self.on_failure(copy, &error.to_string()),
        }
    }

    /// The log is gone, or closed, or cannot be used.
    fn over(&self) -> End {
        let topic = self.broker.partitions.topic_by_id(self.one.partition.topic_id());
        let own = topic.and_then(|topic| topic.partition(self.one.partition.index()));
        match own.is_some_and(|own| Arc::ptr_eq(&own, &self.one.partition)) {
            true if self.one.partition.is_closed() => End::Kept,
            true => End::Away,
            false => End::Discarded,
        }
    }

    fn on_failure(&mut self, copy: Copy, why: &str) -> Step {
        self.failures += 1;
        let (partition, to) = (&self.one.partition, self.one.to.path.display());
        if self.failures >= FAILURES_MAX {
            tracing::error!(%partition, %to, why, "the log is not moved: it cannot be copied");
            return Step::End(End::Discarded);
        }
        tracing::warn!(%partition, %to, why, "the log cannot be copied for now");
        Step::Pause(copy, LOOK_MS)
    }

    /// The disk of the new directory has refused.
    fn on_error(&self, error: &OpenError) -> End {
        let (partition, to) = (&self.one.partition, self.one.to.path.display());
        tracing::error!(%partition, %to, %error, "the log is not moved: its copy cannot be written");
        if let OpenError::Io(error) = error
            && !crate::partition::is_damage(error)
        {
            self.one.to.fail();
        }
        match self.one.to.is_offline() {
            true => End::Kept,
            false => End::Discarded,
        }
    }

    /// The same where only room or descriptors may be missing: that passes, and the move was accepted. `None` once it is to
    /// be tried again.
    async fn on_scarcity(&self, error: &OpenError) -> Option<End> {
        let OpenError::Io(io) = error else { return Some(self.on_error(error)) };
        if !log::is_scarcity(io) {
            return Some(self.on_error(error));
        }
        let (partition, to) = (&self.one.partition, self.one.to.path.display());
        tracing::warn!(%partition, %to, %error, "the log cannot be copied for now");
        self.pause(RETRY_MS).await;
        self.is_over()
    }

    fn options(&self, start_offset: Offset, recovery_point: Offset) -> OpenOptions {
        OpenOptions {
            topic_id: self.one.partition.topic_id(),
            is_new: false,
            config: self.config(),
            clean: false,
            recovery_point,
            start_offset,
            now: self.broker.now_ms(),
        }
    }

    fn config(&self) -> Arc<LogConfig> {
        self.one.partition.config()
    }

    /// Opens the copy, as it is.
    async fn open(&self) -> Result<Copy, End> {
        loop {
            let (disk, path) = (self.broker.world.disk.clone(), self.one.path.clone());
            let options = self.options(0, 0);
            match self.broker.on_lane(move || log::open(&*disk, &path, options)).await {
                Some(Ok(opened)) => return Ok(Copy { log: opened.log, files: opened.files }),
                Some(Err(error)) => match self.on_scarcity(&error).await {
                    None => {}
                    Some(end) => return Err(end),
                },
                None => return Err(End::Kept),
            }
        }
    }

    async fn cut(&self, copy: Copy, offset: Offset) -> Step {
        let options = self.options(copy.log.start_offset(), copy.log.end_offset());
        let (disk, files) = (self.broker.world.disk.clone(), copy.files);
        match self.broker.on_lane(move || files.truncate(&*disk, offset, options)).await {
            Some(Ok(opened)) => Step::GoOn(Copy { log: opened.log, files: opened.files }),
            // What is left of it is cut once it can be opened.
            Some(Err(error)) => match self.on_scarcity(&error).await {
                None => self.open().await.map_or_else(Step::End, Step::GoOn),
                Some(end) => Step::End(end),
            },
            None => Step::End(End::Kept),
        }
    }

    async fn begin_anew(&self, mut copy: Copy, offset: Offset) -> Step {
        loop {
            let options = self.options(offset, 0);
            let (disk, files) = (self.broker.world.disk.clone(), copy.files);
            match self.broker.on_lane(move || files.start_over(&*disk, options)).await {
                Some(Ok(opened)) => return Step::GoOn(Copy { log: opened.log, files: opened.files }),
                Some(Err(error)) => {
                    if let Some(end) = self.on_scarcity(&error).await {
                        return Step::End(end);
                    }
                    copy = match self.open().await {
                        Ok(copy) => copy,
                        Err(end) => return Step::End(end),
                    };
                }
                None => return Step::End(End::Kept),
            }
        }
    }

    /// Writes what was copied, durably.
    async fn write(
        &mut self,
        mut copy: Copy,
        bytes: bytes::Bytes,
        (start_offset, high_watermark): (Offset, Offset),
        held: &mut Option<Held>,
    ) -> Step {
        let now = self.broker.now_ms();
        let is_more = !bytes.is_empty();
        copy.log.configure(self.config());
        let mut effects = match copy.append(now, bytes) {
            Ok(effects) => effects,
            // What was taken of it before the bad batch is in the core and not in the files: all of it is copied anew.
            Err(error) => {
                return match self.on_failure(copy, &error.to_string()) {
                    Step::Pause(copy, _) => self.begin_anew(copy, start_offset).await,
                    other => other,
                };
            }
        };
        let safe = high_watermark.min(copy.log.end_offset());
        if start_offset <= copy.log.end_offset() {
            copy.log.follow_start_offset(start_offset, start_offset.max(safe), &mut effects);
            copy.log.drop_deleted(now, start_offset.max(safe), &mut effects);
            copy.log.purge(now, &mut effects);
        }
        if is_more {
            self.failures = 0;
        } else if effects.is_empty() {
            return Step::GoOn(copy);
        }
        self.perform(copy, effects, held).await
    }

    /// Does that to the files, durably. Where there is no room it is tried again, and nobody is held up any more.
    async fn perform(&self, mut copy: Copy, mut effects: Vec<Effect>, held: &mut Option<Held>) -> Step {
        let now = self.broker.now_ms();
        loop {
            let disk = self.broker.world.disk.clone();
            let performing = self.broker.on_lane(move || {
                let result = copy.files.perform(&*disk, &effects, true);
                (copy, effects, result)
            });
            let Some(performed) = performing.await else { return Step::End(End::Kept) };
            let result;
            (copy, effects, result) = performed;
            match result {
                Ok(performed) => {
                    copy.log.flushed(now, &performed);
                    copy.log.trim_tail(usize::MAX);
                    return Step::GoOn(copy);
                }
                Err(error) if log::is_scarcity(&error) => {
                    *held = None;
                    let (partition, to) = (&self.one.partition, self.one.to.path.display());
                    tracing::warn!(%partition, %to, %error, "the log cannot be copied for now");
                    self.pause(RETRY_MS).await;
                    if let Some(end) = self.is_over() {
                        return Step::End(end);
                    }
                }
                Err(error) => {
                    self.on_error(&error.into());
                    self.one.to.fail();
                    return Step::End(End::Kept);
                }
            }
        }
    }

    /// The copy has all that is on stable storage: the controller is told, and it takes the log's place.
    async fn finish(&mut self, copy: Copy) -> Step {
        if !self.is_told {
            return self.tell(copy).await;
        }
        let (partition, to) = (&self.one.partition, &self.one.to);
        // Nobody replaces files meanwhile.
        let _turn = tokio::select! {
            biased;
            turn = partition.maintenance.lock() => turn,
            () = self.one.off() => return Step::Pause(copy, 0),
        };
        match check_free(self.broker, partition, to).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(%partition, to = %to.path.display(), %error, "the log is not moved");
                return Step::End(End::Discarded);
            }
            None => return Step::End(End::Kept),
        }
        partition.set_moving_into(Some(to.clone()));
        // Were the log cut after these were written, they would say more of the copy than it has.
        let cuts = partition.cuts();
        if cuts != self.cuts {
            return Step::Pause(copy, 0);
        }
        // Before the log counts there: what was deleted of it must not be there again after a crash.
        if let Err(error) = upkeep::write_checkpoints(self.broker, to).await {
            tracing::warn!(%partition, to = %to.path.display(), %error, "the log cannot take its new place for now");
            return Step::Pause(copy, RETRY_MS);
        }
        // One without records has no files yet, and they alone tell where it begins.
        let epochs = Effect::Epochs(copy.log.epochs().entries().to_vec());
        let copy = match self.perform(copy, vec![epochs], &mut None).await {
            Step::GoOn(copy) => copy,
            other => return other,
        };
        // What was written meanwhile, first while others write on, and then what the last job has written.
        let copy = match self.catch_up(copy, &mut None).await {
            Step::GoOn(copy) => copy,
            other => return other,
        };
        let mut held = Some(partition.hold().await);
        let copy = match self.catch_up(copy, &mut held).await {
            Step::GoOn(copy) => copy,
            other => return other,
        };
        if let Some(end) = self.is_over() {
            return Step::End(end);
        }
        if held.is_none() {
            return Step::Pause(copy, BUSY_MS);
        }
        let rest_bytes_max = rest_bytes_max(self.tries);
        let promoted = partition.promote(copy, to, self.broker, (cuts, rest_bytes_max));
        drop(held);
        match promoted {
            Promoted::Done(done) => {
                let _ = done.await;
                match partition.is_in(to) {
                    true => Step::End(End::Done),
                    false => Step::End(End::Kept),
                }
            }
            Promoted::Later(copy) => {
                self.tries = self.tries.saturating_add(1);
                Step::Pause(*copy, BUSY_MS)
            }
            Promoted::Over => Step::End(self.over()),
        }
    }

    /// Copies what was written since, as far as that comes to an end.
    async fn catch_up(&mut self, mut copy: Copy, held: &mut Option<Held>) -> Step {
        for _ in 0..SLICES_LAST {
            let next = self.one.partition.next_to_copy(&copy.log, SLICE_BYTES_LAST).await;
            copy = match next {
                Ok(Next::Batches { bytes, start_offset, high_watermark }) => {
                    match self.write(copy, bytes, (start_offset, high_watermark), held).await {
                        Step::GoOn(copy) => copy,
                        other => return other,
                    }
                }
                Ok(Next::Nothing { .. } | Next::Cut(_) | Next::Anew(_) | Next::Later) => {
                    return Step::GoOn(copy);
                }
                Ok(Next::Over) => return Step::End(self.over()),
                Err(error) => return self.on_failure(copy, &error.to_string()),
            };
        }
        Step::GoOn(copy)
    }

    /// Tells the controller in which directory the replica will be (KIP-858), before it is there: were it told later, nobody
    /// would lead in its place if that directory failed first.
    async fn tell(&mut self, copy: Copy) -> Step {
        let (topic, index) = self.one.key();
        let Some(directory) = self.one.to.id() else { return Step::End(End::Discarded) };
        self.broker.shared.dir_assignments.withdraw((topic, index));
        (self.is_told, self.may_be_told) = (true, true);
        let assignment = DirectoryAssignment { directory, topic, index };
        match self.broker.assign_directories(vec![assignment]).await {
            Ok(results) if results.iter().all(|(_, result)| result.is_ok()) => Step::GoOn(copy),
            answer => {
                let partition = &self.one.partition;
                tracing::warn!(%partition, ?answer, "the controller has not taken note of the log's new place; it is told again");
                self.is_told = false;
                Step::Pause(copy, RETRY_MS)
            }
        }
    }
}

/// How much may be only in memory when the copy takes the log's place, after so many tries that found more.
fn rest_bytes_max(tries: u32) -> usize {
    match tries <= TRIES_DOUBLING {
        true => REST_BYTES << tries,
        false => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_in_memory_at_the_end_grows_until_all_may_be() {
        assert_eq!((rest_bytes_max(0), rest_bytes_max(1), rest_bytes_max(6)), (1 << 20, 2 << 20, 64 << 20));
        assert_eq!((rest_bytes_max(7), rest_bytes_max(u32::MAX)), (usize::MAX, usize::MAX));
    }
}
