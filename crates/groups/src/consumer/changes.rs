//! The changes of one decision about a consumer group: applied at once, so that the next decision sees them, and kept
//! with what undoes them, because the decision may be refused or its append may fail.

use super::{
    ConsumerGroup,
    records::{ConsumerChange, GroupEpoch},
};
use crate::{MemberId, Record, group::Group};
use model::GroupId;

/// Changes made so far.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    pub(crate) group: &'a mut ConsumerGroup,
    pub(crate) made: Made,
}

/// What was changed, without the group.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) records: Vec<Record>,
    undo: Vec<ConsumerChange>,
}

/// How to take a decision back whose append failed.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) group: GroupId,
    changes: Vec<ConsumerChange>,
    /// The group was made by this decision.
    pub(crate) is_new: bool,
    /// The classic group whose place it took.
    pub(crate) classic: Option<Box<Group>>,
    /// The group itself, where it was deleted.
    pub(crate) deleted: Option<Box<ConsumerGroup>>,
    /// A classic group took its place by this decision.
    pub(crate) is_downgrade: bool,
}

impl Changes<'_> {
    /// Makes one change.
    pub(crate) fn set(&mut self, change: ConsumerChange) {
        let group = self.group.id.clone();
        self.made.records.push(Record::Consumer { group, change: change.clone() });
        let undo = self.group.apply(change);
        self.made.undo.push(undo);
    }

    /// Asks for a new target assignment.
    pub(crate) fn bump_epoch(&mut self, metadata_hash: i64) {
        let epoch = self.group.epoch.epoch + 1;
        self.set(ConsumerChange::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
    }
}

impl Made {
    /// Whether what a member has was changed.
    pub(crate) fn has_moved(&self, id: &MemberId) -> bool {
        self.records.iter().any(|record| {
            matches!(record, Record::Consumer { change: ConsumerChange::Current(moved, _), .. } if moved == id)
        })
    }

    /// Takes all back.
    pub(crate) fn undo(self, group: &mut ConsumerGroup) {
        for change in self.undo.into_iter().rev() {
            group.apply(change);
        }
        group.topics_seen = None;
    }

    /// The records to append, and how to take them back if that fails.
    pub(crate) fn split(self, group: GroupId) -> (Vec<Record>, Undo) {
        let (changes, classic, deleted) = (self.undo, None, None);
        (self.records, Undo { group, changes, is_new: false, classic, deleted, is_downgrade: false })
    }
}

impl Undo {
    /// Takes all back. `None` where the group did not exist before.
    pub(crate) fn apply(self, mut group: ConsumerGroup) -> (Option<ConsumerGroup>, Option<Box<Group>>) {
        for change in self.changes.into_iter().rev() {
            group.apply(change);
        }
        group.topics_seen = None;
        ((!self.is_new).then_some(group), self.classic)
    }
}
