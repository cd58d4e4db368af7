//! Another try at a log that could not be opened, at the start or after a cut, because room or descriptors were missing.
//!
//! Opening is `replicas`; what a crash or a half try left is repaired there as at any start.

use super::{Offline, Partition, State, Unopened, role::Outcome};
use crate::{dir_assignments::Condition, replicas};
use env::Job;
use log::OpenOptions;
use model::TopicPartition;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Partition {
    /// The next try, unless one is under way or none would help.
    pub(super) fn open_again(self: &Arc<Self>, offline: &mut Offline) -> Option<Job> {
        let options = offline.again.take()?;
        let (ended, job) = oneshot::channel();
        offline.jobs = vec![job];
        let this = self.clone();
        Some(Box::new(move || {
            let _ended: oneshot::Sender<()> = ended;
            this.try_opening(*options);
        }))
    }

    /// Runs on a lane.
    fn try_opening(self: &Arc<Self>, options: OpenOptions) {
        let now = self.shared.world.clock.wall();
        let options = OpenOptions { config: self.config.load_full(), now, ..options };
        let name = TopicPartition::new(self.topic.clone(), self.index);
        let is_new = options.is_new;
        let opened = replicas::open_log(&self.dir(), &name, options);
        let mut outcome = Outcome::default();
        let mut state = self.state.lock();
        // Deleted or closed meanwhile.
        let State::Offline(offline) = &mut *state else { return };
        match opened {
            _ if offline.is_closed => {}
            Err(Unopened { is_scarcity: true, options, .. }) => offline.again = Some(Box::new(options)),
            Err(unopened) => {
                tracing::error!(partition = %self, why = %unopened.why, "the partition stays offline");
                self.note(Condition::Lost);
                self.shared.damage_found.notify_one();
                let high_watermark = offline.marks.map_or(0, |marks| marks.high_watermark);
                let (cuts, fetched_epoch) = (offline.cuts, offline.fetched_epoch);
                *state = State::new(Err(unopened), &self.shared, -1);
                state.await_role(high_watermark);
                if let State::Offline(offline) = &mut *state {
                    (offline.cuts, offline.fetched_epoch) = (cuts, fetched_epoch);
                }
            }
            Ok(opened) => {
                tracing::info!(partition = %self, "the partition is open now");
                let high_watermark = offline.marks.map_or(0, |marks| marks.high_watermark);
                let cuts = offline.cuts;
                *state = State::new(Ok(opened), &self.shared, -1);
                state.await_role(high_watermark);
                self.note(Condition::of_open(is_new));
                if let State::Online(online) = &mut *state {
                    // Whoever read the log before must not take this one for it.
                    online.cuts = cuts + 1;
                    if let Some(assignment) = &*self.assignment.load() {
                        online.assign(self.shared.node_id, assignment, self.monotonic(), &mut outcome);
                    }
                }
            }
        }
        drop(state);
        self.carry_out(outcome);
    }
}
