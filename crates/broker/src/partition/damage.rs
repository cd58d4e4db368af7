//! A replica whose bytes on the disk are not what was written there: it goes offline, alone; and it begins anew with
//! nothing, once others hold what it held.
//!
//! When it may do so `repair` decides. What is read is judged in `log`; only whether that still concerns this log is
//! asked here, since it may have been cut or compacted, or lost segments to retention, while a lane was reading.

use super::{
    Offline, Offsets, Online, Partition, State,
    role::{Outcome, Role},
};
use crate::{acks::Undone, dir_assignments, log_dir::LogDir, replicas};
use log::{Damage, OpenOptions, names};
use model::{LeaderEpoch, Offset, TopicPartition};
use std::{io, sync::Arc};
use tokio::sync::oneshot;

/// How a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It can be read and written.
    Sound,
    /// It is offline because its bytes are damaged.
    Damaged,
    /// It is offline for another reason, or gone, or the broker stops.
    Unusable,
}

/// What a reader on a lane read of: it says nothing of another log, or of segments that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadOf {
    pub(super) cuts: u64,
    /// Of the log's files, which compaction changes.
    pub(super) layout: u64,
    /// The first segment that was looked at.
    pub(super) segment: Option<Offset>,
}

impl Partition {
    /// How it is.
    pub(crate) fn condition(&self) -> Condition {
        match &*self.state.lock() {
            State::Online(online) if !online.is_closed => Condition::Sound,
            State::Offline(offline) if offline.is_damaged && !offline.is_closed => Condition::Damaged,
            State::Online(_) | State::Offline(_) | State::Deleted => Condition::Unusable,
        }
    }

    /// The last epoch in which this process may have told a leader what the damaged log had: requests that are still on
    /// their way in it must not be taken for what the log has that takes its place.
    pub(crate) fn fetched_epoch(&self) -> Option<LeaderEpoch> {
        match &*self.state.lock() {
            State::Offline(offline) => offline.fetched_epoch,
            State::Online(_) | State::Deleted => None,
        }
    }

    /// Why it is offline, if it is.
    pub(crate) fn why_offline(&self) -> Option<Arc<str>> {
        match &*self.state.lock() {
            State::Offline(offline) => Some(offline.why.clone()),
            State::Online(_) | State::Deleted => None,
        }
    }

    /// The next segment to verify that begins at `from` or behind it.
    pub(crate) fn scrub(&self, from: Offset) -> Option<(log::Scrub, ReadOf)> {
        match &*self.state.lock() {
            State::Online(online) if !online.is_closed && !online.is_cutting => {
                let scrub = online.log.scrub(from)?;
                let of = online.read_of(Some(scrub.segment()));
                Some((scrub, of))
            }
            _ => None,
        }
    }

    /// A scrub has found damage.
    pub(crate) fn on_damage(self: &Arc<Self>, damage: &Damage, of: ReadOf) -> bool {
        self.lose(&damage.to_string(), of)
    }

    /// A read has failed; damage takes the partition offline. What lies in a segment that is gone is no damage, and a
    /// disk that cannot read at all fails elsewhere.
    pub(crate) fn on_read_error(self: &Arc<Self>, error: &io::Error, of: ReadOf) {
        match error.kind() {
            io::ErrorKind::NotFound if of.segment.is_some() => {
                let name = names::file_name(of.segment.unwrap_or(0), names::LOG);
                self.lose(&format!("{name} or a later file is missing"), of);
            }
            _ if is_damage(error) => drop(self.lose(&error.to_string(), of)),
            _ => {}
        }
    }

    /// It goes offline if it is still the log that was read; says whether it does.
    fn lose(self: &Arc<Self>, why: &str, of: ReadOf) -> bool {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return false };
        let is_this = online.cuts == of.cuts
            && online.log.layout() == of.layout
            && of.layout.is_multiple_of(2)
            && !online.is_cutting
            && of.segment.is_none_or(|segment| online.log.has_segment(segment));
        if !is_this || online.is_closed {
            return false;
        }
        self.go_offline(state, why);
        true
    }

    /// The log is damaged, as is known of the very log that is open.
    pub(super) fn on_own_damage(self: &Arc<Self>, why: &str) {
        let state = self.state.lock();
        if matches!(&*state, State::Online(_)) {
            self.go_offline(state, why);
        }
    }

    fn go_offline(self: &Arc<Self>, mut state: parking_lot::MutexGuard<'_, State>, why: &str) {
        let State::Online(online) = &mut *state else { return };
        tracing::error!(partition = %self, why, "the partition is offline: it is damaged");
        self.note(dir_assignments::Condition::Lost);
        let mut offline = Offline::after(online, format!("{self} is damaged: {why}").into(), true);
        let (written, job) = oneshot::channel();
        offline.jobs.push(job);
        let before = std::mem::replace(&mut *state, State::Offline(Box::new(offline)));
        drop(state);
        self.end(before, Undone::Failed);
        let (this, why) = (self.clone(), why.to_owned());
        self.shared.world.tasks.run_on_lane(Box::new(move || {
            let _written: oneshot::Sender<()> = written;
            // What no start would find must not be forgotten over a restart.
            if let Err(error) = log::write_damage_mark(&*this.shared.world.disk, &this.path(), &why) {
                tracing::warn!(partition = %this, %error, "the damage could not be written down");
            }
        }));
        self.shared.damage_found.notify_one();
    }

    /// Ends when no lane does anything to its files any more.
    pub(crate) async fn at_rest(&self) {
        let jobs = match &mut *self.state.lock() {
            State::Offline(offline) => std::mem::take(&mut offline.jobs),
            State::Online(_) | State::Deleted => Vec::new(),
        };
        for job in jobs {
            let _ = job.await;
        }
    }

    /// From now on no checkpoint says anything of what was there: it is about to be set aside. `false` if it is not
    /// damaged any more.
    pub(crate) fn forget_marks(&self) -> bool {
        match &mut *self.state.lock() {
            State::Offline(offline) if offline.is_damaged && !offline.is_closed => {
                offline.marks = None;
                true
            }
            _ => false,
        }
    }

    /// Begins with nothing, where nothing is on the disk any more; it follows as the metadata last said.
    pub(crate) fn begin_anew(self: &Arc<Self>) {
        let options = OpenOptions {
            topic_id: self.topic_id,
            is_new: true,
            config: self.config.load_full(),
            clean: true,
            recovery_point: 0,
            start_offset: 0,
            now: self.shared.world.clock.wall(),
        };
        // Nothing is read and nothing is written before the first append: no lane is needed.
        let opened = replicas::open_log(&self.dir(), &self.name(), options);
        let mut outcome = Outcome::default();
        {
            let mut state = self.state.lock();
            let State::Offline(offline) = &*state else { return };
            if !offline.is_damaged || offline.is_closed {
                return;
            }
            let cuts = offline.cuts;
            *state = State::new(opened, &self.shared, -1);
            state.await_role(0);
            if let State::Online(online) = &mut *state {
                // Whoever read or synced the old files must not take this log for theirs.
                online.cuts = cuts + 1;
                if let Some(assignment) = &*self.assignment.load() {
                    online.assign(self.shared.node_id, assignment, self.monotonic(), &mut outcome);
                }
            }
        }
        self.carry_out(outcome);
    }

    /// What has become of its log is to be told to the controller, with where it lies.
    pub(crate) fn note(&self, condition: dir_assignments::Condition) {
        self.note_in(&self.dir(), condition);
    }

    /// The same of a log that the metadata have in this directory.
    pub(crate) fn note_in(&self, dir: &LogDir, condition: dir_assignments::Condition) {
        if let Some(directory) = dir.id() {
            self.shared.dir_assignments.note(self.key(), directory, condition);
        }
    }

    /// Whether the log is still the one that was cut so often.
    pub(super) fn has_cuts(&self, cuts: u64) -> bool {
        matches!(&*self.state.lock(), State::Online(online) if online.cuts == cuts)
    }

    /// Its name.
    pub(crate) fn name(&self) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), self.index)
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir().path.join(names::dir_name(&self.name()))
    }
}

impl Offline {
    /// What becomes of a log that was open.
    pub(super) fn after(online: &mut Online, why: Arc<str>, is_damaged: bool) -> Self {
        let marks: Offsets = online.offsets();
        Self {
            why,
            is_damaged,
            marks: Some(marks),
            cuts: online.cuts,
            fetched_epoch: match online.role {
                Role::Follower(epoch) => Some(epoch),
                // Whoever leads after it does so in a later epoch.
                Role::Leader(_) => None,
            },
            again: None,
            jobs: online.job.take().into_iter().chain(online.upkeep.steps()).collect(),
            is_closed: online.is_closed,
        }
    }
}

impl Online {
    /// What a plan that is made under the lock reads of.
    pub(super) fn read_of(&self, segment: Option<Offset>) -> ReadOf {
        ReadOf { cuts: self.cuts, layout: self.log.layout(), segment }
    }
}

/// Whether an error of reading, or of opening, tells of bytes that are not what was written, or cannot be read.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(EIO)
}
