//! A decision about a group whose whole state is values of the log: its changes are applied at once, so that the next
//! decision sees them, and kept with what undoes them, because it may be refused or its append may fail.
//!
//! It knows no kind of group; share and streams groups decide with it. The coordinator appends what comes of it.

use crate::Record;
use model::GroupId;
use std::fmt::Debug;

/// A group that is made of values which the log holds under keys of their own.
pub(crate) trait Logged: Debug {
    /// One value under its key, set or removed.
    type Change: Clone + Debug;

    /// Its id.
    fn id(&self) -> &GroupId;

    /// Sets one value and gives the change that takes it back.
    fn apply(&mut self, change: Self::Change) -> Self::Change;

    /// The record of a change.
    fn record(group: GroupId, change: Self::Change) -> Record;

    /// Changes were taken back: forgets what was derived from them.
    fn forget_derived(&mut self) {}
}

/// A group that decides, and what was changed so far.
#[derive(Debug)]
pub(crate) struct Decision<G: Logged> {
    pub(crate) group: G,
    /// The group was made for this decision.
    pub(crate) is_new: bool,
    records: Vec<Record>,
    undo: Vec<G::Change>,
}

/// How to take a decision back whose append failed.
#[derive(Debug)]
pub(crate) struct Undo<G: Logged> {
    pub(crate) id: GroupId,
    changes: Vec<G::Change>,
    pub(crate) is_new: bool,
    /// The group itself, where it was deleted.
    pub(crate) deleted: Option<Box<G>>,
}

impl<G: Logged> Decision<G> {
    pub(crate) fn new(group: G, is_new: bool) -> Self {
        Self { group, is_new, records: Vec::new(), undo: Vec::new() }
    }

    /// Makes one change.
    pub(crate) fn set(&mut self, change: G::Change) {
        self.records.push(G::record(self.group.id().clone(), change.clone()));
        let undo = self.group.apply(change);
        self.undo.push(undo);
    }

    /// Takes all back.
    pub(crate) fn refuse(mut self) -> (G, bool) {
        for change in std::mem::take(&mut self.undo).into_iter().rev() {
            self.group.apply(change);
        }
        self.group.forget_derived();
        (self.group, self.is_new)
    }

    /// The group, the records to append, and how to take them back if that fails.
    pub(crate) fn split(self) -> (G, Vec<Record>, Undo<G>) {
        let id = self.group.id().clone();
        (self.group, self.records, Undo { id, changes: self.undo, is_new: self.is_new, deleted: None })
    }
}

impl<G: Logged> Undo<G> {
    /// Takes all back. `None` where the group did not exist before.
    pub(crate) fn apply(self, mut group: G) -> Option<G> {
        for change in self.changes.into_iter().rev() {
            group.apply(change);
        }
        group.forget_derived();
        (!self.is_new).then_some(group)
    }
}
