//! The changes of one decision about a share group: applied at once, so that the next decision sees them, and kept with what
//! undoes them, because the decision may be refused or its append may fail.

use super::{ShareGroup, records::ShareChange};
use crate::{GroupEpoch, Record};
use model::GroupId;

/// A group that decides, and what was changed so far.
#[derive(Debug)]
pub(crate) struct ShareChanges {
    pub(crate) group: ShareGroup,
    /// The group was made for this decision.
    pub(crate) is_new: bool,
    records: Vec<Record>,
    undo: Vec<ShareChange>,
}

/// How to take a decision back whose append failed.
#[derive(Debug)]
pub(crate) struct ShareUndo {
    pub(crate) id: GroupId,
    changes: Vec<ShareChange>,
    is_new: bool,
    /// The group itself, where it was deleted.
    pub(crate) deleted: Option<Box<ShareGroup>>,
}

impl ShareChanges {
    pub(crate) fn new(group: ShareGroup, is_new: bool) -> Self {
        Self { group, is_new, records: Vec::new(), undo: Vec::new() }
    }

    /// Makes one change.
    pub(crate) fn set(&mut self, change: ShareChange) {
        let group = self.group.id.clone();
        self.records.push(Record::Share { group, change: change.clone() });
        let undo = self.group.apply(change);
        self.undo.push(undo);
    }

    /// Asks for a new target assignment.
    pub(crate) fn bump_epoch(&mut self, metadata_hash: i64) {
        let epoch = self.group.epoch.epoch.saturating_add(1);
        self.set(ShareChange::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
    }

    /// Takes all back.
    pub(crate) fn refuse(mut self) -> (ShareGroup, bool) {
        for change in std::mem::take(&mut self.undo).into_iter().rev() {
            self.group.apply(change);
        }
        (self.group, self.is_new)
    }

    /// The group, the records to append, and how to take them back if that fails.
    pub(crate) fn split(self) -> (ShareGroup, Vec<Record>, ShareUndo) {
        let undo =
            ShareUndo { id: self.group.id.clone(), changes: self.undo, is_new: self.is_new, deleted: None };
        (self.group, self.records, undo)
    }
}

impl ShareUndo {
    /// Takes all back. `None` where the group did not exist before.
    pub(crate) fn apply(self, mut group: ShareGroup) -> Option<ShareGroup> {
        for change in self.changes.into_iter().rev() {
            group.apply(change);
        }
        (!self.is_new).then_some(group)
    }
}
