//! Looking something up: planned under the broker's lock, done on a disk lane.
//!
//! What it gives are offsets of records that may be meant. The reader looks at the records, for terms of different things may
//! be the same, records may be gone in which nothing was left, and transactions may be open or aborted.

use super::{file::Place, pair::Term, part::Part};
use crate::handles::Handles;
use env::Disk;
use model::Offset;
use std::{io, sync::Arc};

/// A look-up.
pub struct KeyPlan {
    pub(super) handles: Arc<Handles>,
    pub(super) layout: u64,
    pub(super) term: Term,
    /// Neighbours that cover the stretch.
    pub(super) parts: Vec<Part>,
    pub(super) from: Offset,
    pub(super) upto: Offset,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPostings {
    /// Of records that may be meant, rising.
    pub offsets: Vec<Offset>,
    /// None is missing before this offset.
    pub upto: Offset,
}

impl KeyPlan {
    /// So many parts are looked at under one plan: with more the lock would be held for long.
    pub(super) const PARTS_MAX: usize = 256;

    /// The stretch that it looks at: it says nothing of what lies before it or behind it.
    pub fn stretch(&self) -> (Offset, Offset) {
        (self.from, self.upto)
    }

    /// The first postings in the stretch, at most so many. `NotFound`, or an error that [`crate::is_moved`], means that
    /// files were exchanged since: plan again.
    pub fn postings(&self, disk: &dyn Disk, max: usize) -> io::Result<KeyPostings> {
        self.handles.unless_moved(self.layout, self.gather(disk, max))
    }

    /// The last posting in the stretch; the same errors.
    pub fn newest(&self, disk: &dyn Disk) -> io::Result<Option<Offset>> {
        self.handles.unless_moved(self.layout, self.find_newest(disk))
    }

    fn gather(&self, disk: &dyn Disk, max: usize) -> io::Result<KeyPostings> {
        let mut offsets = Vec::new();
        for part in &self.parts {
            let left = max - offsets.len();
            let found = part.postings(self.place(disk), (&self.term, self.from), left)?;
            offsets.extend(found.into_iter().take_while(|offset| *offset < self.upto));
            if offsets.len() >= max {
                let upto = offsets.last().map_or(self.from, |last| last + 1);
                return Ok(KeyPostings { offsets, upto });
            }
        }
        Ok(KeyPostings { offsets, upto: self.upto })
    }

    fn find_newest(&self, disk: &dyn Disk) -> io::Result<Option<Offset>> {
        for part in self.parts.iter().rev() {
            if let Some(found) = part.newest(self.place(disk), (&self.term, self.upto))? {
                return Ok(Some(found).filter(|found| *found >= self.from));
            }
        }
        Ok(None)
    }

    fn place<'a>(&'a self, disk: &'a dyn Disk) -> Place<'a> {
        Place { disk, handles: &self.handles, layout: self.layout }
    }
}

impl std::fmt::Debug for KeyPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPlan")
            .field("term", &self.term)
            .field("from", &self.from)
            .field("upto", &self.upto)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}
