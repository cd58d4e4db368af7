//! A sealed segment that a pass reads from batch to batch, over many slices.
//!
//! Every batch is verified: what is damaged must neither be lost silently nor get a new checksum.

use super::{CleanError, Source};
use crate::{
    Damage,
    handles::Handles,
    names,
    scan::{Found, Scan, Step},
};
use bytes::Bytes;
use env::{Disk, File};
use model::Offset;
use std::{io, sync::Arc};

/// Where it is.
pub(crate) struct Walk {
    pub(crate) source: Source,
    file: Arc<dyn File>,
    handles: Arc<Handles>,
    position: u64,
    next_offset: Offset,
}

/// The bytes around the place, for one slice.
pub(crate) struct Ahead<'a> {
    walk: &'a mut Walk,
    scan: Scan<'a>,
}

impl Walk {
    /// At a position where a batch begins.
    pub(crate) fn open(
        disk: &dyn Disk,
        handles: &Arc<Handles>,
        source: Source,
        position: u64,
    ) -> io::Result<Self> {
        let file = disk.open_passing(&handles.path(source.base, names::LOG))?;
        let next_offset = source.base;
        Ok(Self { source, file, handles: handles.clone(), position, next_offset })
    }

    /// Reads on for one slice, `file` being [`Walk::file`].
    pub(crate) fn ahead<'a>(&'a mut self, file: &'a dyn File, window_bytes: usize) -> Ahead<'a> {
        let scan = Scan::new(file, self.position, self.source.size, window_bytes);
        Ahead { walk: self, scan }
    }

    pub(crate) fn file(&self) -> Arc<dyn File> {
        self.file.clone()
    }

    fn damaged(&self, position: u64, why: &str) -> CleanError {
        let file = self.handles.path(self.source.base, names::LOG);
        Damage { file, position, offset: self.next_offset, why: why.to_owned() }.into()
    }
}

impl Ahead<'_> {
    /// The next batch, or old message; `None` at the end of the segment.
    pub(crate) fn next(&mut self) -> Result<Option<(Found, Bytes)>, CleanError> {
        let walk = &mut *self.walk;
        let found = match self.scan.step()? {
            Step::Found(found) => found,
            Step::End => return Ok(None),
            Step::Broken(why) => return Err(walk.damaged(walk.position, why)),
        };
        let is_inside = found.next_offset() <= walk.source.next;
        // The index that showed the way may lie, and offsets are not under the checksum.
        if !is_inside || found.base_offset < walk.next_offset && found.header.is_some() {
            return Err(walk.damaged(found.position, "its offsets do not follow those before it"));
        }
        if !self.scan.is_intact(&found)? {
            return Err(walk.damaged(found.position, "its checksum is wrong"));
        }
        let bytes = self.scan.read(&found)?;
        if bytes.len() as u64 != found.bytes {
            return Err(walk.damaged(found.position, "the file ends inside a batch"));
        }
        walk.position = found.end();
        walk.next_offset = found.next_offset();
        Ok(Some((found, bytes)))
    }
}
