//! A member's next step from the tasks that it has to those that it is to have (KIP-1071).
//!
//! Pure: nothing is looked up. First a member gives up what it must not keep, and stays in its epoch until it says that it
//! did; then it enters the target's epoch and gets what is free. An active task is free when no process has it. A process
//! keeps the state of a task once, so it gets no second task of the same number in another kind.

use super::records::{OwnedTasks, StreamsCurrent, TaskEpochs, TaskSet, Tasks, has};
use crate::MemberState;
use model::PartitionIndex;
use std::{collections::BTreeMap, sync::Arc};

/// The surroundings of one step.
pub(crate) struct Reconcile<'a> {
    /// The group epoch for which the target was computed.
    pub(crate) target_epoch: i32,
    /// What the member is to have.
    pub(crate) target: &'a Tasks,
    /// Whether another member runs the task.
    pub(crate) is_run: &'a dyn Fn(&str, PartitionIndex) -> bool,
    /// Whether another member of the same process has the task, in any kind.
    pub(crate) is_here: &'a dyn Fn(&str, PartitionIndex) -> bool,
    /// What the member says it has; `None`: it did not say.
    pub(crate) owned: Option<&'a Tasks>,
}

impl Reconcile<'_> {
    /// What the member has after this step.
    pub(crate) fn next(&self, current: &StreamsCurrent) -> StreamsCurrent {
        match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => current.clone(),
            MemberState::UnrevokedPartitions if self.still_owns(&current.revoking) => current.clone(),
            // What it still has to give up for a later target it gives up in the next epoch.
            MemberState::UnrevokedPartitions => self.advance(current, current.epoch.saturating_add(1)),
            MemberState::Stable | MemberState::UnreleasedPartitions => self.advance(current, current.epoch),
        }
    }

    /// Whether it has, or may have, one of these.
    fn still_owns(&self, revoking: &OwnedTasks) -> bool {
        self.owned.is_none_or(|owned| owned.has_any_of(revoking))
    }

    /// Goes as far towards the target as the others let it.
    fn advance(&self, current: &StreamsCurrent, epoch: i32) -> StreamsCurrent {
        let (active, revoking_active) = split_epochs(&current.assigned.active, &self.target.active);
        let (standby, revoking_standby) = split(&current.assigned.standby, &self.target.standby);
        let (warmup, revoking_warmup) = split(&current.assigned.warmup, &self.target.warmup);
        let mut assigned = OwnedTasks { active, standby, warmup };
        let revoking =
            OwnedTasks { active: revoking_active, standby: revoking_standby, warmup: revoking_warmup };
        let previous_epoch = current.epoch;
        if !revoking.is_empty() && self.still_owns(&revoking) {
            let state = MemberState::UnrevokedPartitions;
            return StreamsCurrent { epoch, previous_epoch, state, assigned, revoking };
        }
        let is_complete = self.take(&mut assigned);
        let state = if is_complete { MemberState::Stable } else { MemberState::UnreleasedPartitions };
        let (epoch, revoking) = (self.target_epoch, OwnedTasks::default());
        StreamsCurrent { epoch, previous_epoch, state, assigned, revoking }
    }

    /// Gives it what is free of what it is to have; whether that was all.
    fn take(&self, assigned: &mut OwnedTasks) -> bool {
        let mut is_complete = true;
        let had = assigned.clone();
        let is_own = |subtopology: &str, index: PartitionIndex| {
            had.active.get(subtopology).is_some_and(|tasks| tasks.contains_key(&index))
                || has(&had.standby, subtopology, index)
                || has(&had.warmup, subtopology, index)
        };
        let is_here =
            |subtopology: &str, index| is_own(subtopology, index) || (self.is_here)(subtopology, index);
        for (subtopology, indices) in &self.target.active {
            for &index in indices {
                if had.active.get(subtopology).is_some_and(|tasks| tasks.contains_key(&index)) {
                    continue;
                }
                match (self.is_run)(subtopology, index) || is_here(subtopology, index) {
                    true => is_complete = false,
                    false => {
                        let tasks = assigned.active.entry(subtopology.clone()).or_default();
                        tasks.insert(index, self.target_epoch);
                    }
                }
            }
        }
        let copies = [
            (&self.target.standby, &had.standby, &mut assigned.standby),
            (&self.target.warmup, &had.warmup, &mut assigned.warmup),
        ];
        for (target, had, assigned) in copies {
            for (subtopology, index) in super::records::each(target) {
                if has(had, subtopology, index) {
                    continue;
                }
                match is_here(subtopology, index) {
                    true => is_complete = false,
                    false => drop(assigned.entry(subtopology.clone()).or_default().insert(index)),
                }
            }
        }
        is_complete
    }
}

/// What is kept and what is given up.
fn split(has: &TaskSet, target: &TaskSet) -> (TaskSet, TaskSet) {
    let (mut kept, mut gone) = (TaskSet::new(), TaskSet::new());
    for (subtopology, index) in super::records::each(has) {
        let is_kept = self::has(target, subtopology, index);
        let side = if is_kept { &mut kept } else { &mut gone };
        side.entry(subtopology.clone()).or_default().insert(index);
    }
    (kept, gone)
}

/// The same for active tasks.
fn split_epochs(has: &TaskEpochs, target: &TaskSet) -> (TaskEpochs, TaskEpochs) {
    let (mut kept, mut gone) = (TaskEpochs::new(), TaskEpochs::new());
    let all = has.iter().flat_map(|(name, tasks): (&Arc<str>, &BTreeMap<PartitionIndex, i32>)| {
        tasks.iter().map(move |(index, epoch)| (name, *index, *epoch))
    });
    for (subtopology, index, epoch) in all {
        let is_kept = self::has(target, subtopology, index);
        let side = if is_kept { &mut kept } else { &mut gone };
        side.entry(subtopology.clone()).or_default().insert(index, epoch);
    }
    (kept, gone)
}
