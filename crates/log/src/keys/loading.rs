//! Finding the key index that an earlier run has left: what of it fits the log as it is by now, and what is to be removed.
//!
//! Heads are read, no postings. Nothing is lost where a file is thrown away: the segment is indexed again.

use super::{
    file::KeyFile,
    head::WHOLE,
    part::Part,
    work::is_last_batch,
    writer::{self, Name},
};
use crate::{
    files::{accept_missing, is_scarcity},
    handles::Handles,
    names,
};
use env::{Disk, Open};
use model::Offset;
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::Arc,
};

/// What is to be looked for.
pub(crate) struct KeyLoading {
    pub(super) handles: Arc<Handles>,
    /// Base offsets of the segments, where the next one begins if there is one, and their sizes.
    pub(super) segments: Vec<(Offset, Option<Offset>, u64)>,
    /// What lies behind it may have been cut off, or lost in a crash, and written anew since.
    pub(super) trusted_upto: Offset,
    /// Whether there is to be an index at all; else all of it goes.
    pub(super) is_wanted: bool,
    /// Once it was looked: what there is, by base offset.
    pub(super) found: BTreeMap<Offset, Vec<Part>>,
    /// It came to its end; else it is looked again.
    pub(super) is_complete: bool,
}

impl KeyLoading {
    /// Looks. Nobody else may exchange files of sealed segments meanwhile.
    pub(super) fn run(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.look(disk)?;
        // What is removed here another may have open, and another of its name may be written.
        self.handles.forget_key_files();
        self.is_complete = true;
        Ok(())
    }

    fn look(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let dir = self.handles.dir();
        let entries = match disk.list(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let mut known: BTreeMap<Offset, Vec<KeyFile>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some((from, kind)) = names::parse_file_name(&entry.name) else { continue };
            let path = dir.join(&entry.name);
            match Name::parse(from, kind) {
                Some(name) => match self.try_read(disk, name)? {
                    Some(file) => known.entry(file.head.covers.base).or_default().push(file),
                    None => accept_missing(disk.remove_file(&path))?,
                },
                None if writer::is_temporary(kind) => accept_missing(disk.remove_file(&path))?,
                None => {}
            }
        }
        for (base, files) in known {
            let parts = self.choose(disk, base, files)?;
            self.found.insert(base, parts);
        }
        Ok(())
    }

    /// The same; a file that cannot be read is none, unless none can be.
    fn try_read(&self, disk: &dyn Disk, name: Name) -> io::Result<Option<KeyFile>> {
        match self.read(disk, name) {
            Err(error) if !is_scarcity(&error) => {
                if error.kind() != ErrorKind::NotFound {
                    let dir = self.handles.dir();
                    tracing::warn!(dir = %dir.display(), %error, "a file of the key index is removed");
                }
                Ok(None)
            }
            other => other,
        }
    }

    /// The head of a file that still fits the log.
    fn read(&self, disk: &dyn Disk, name: Name) -> io::Result<Option<KeyFile>> {
        if !self.is_wanted {
            return Ok(None);
        }
        let Some(file) = KeyFile::open(disk, &self.handles, name)? else { return Ok(None) };
        let covers = file.head.covers;
        let Some((_, next, size)) = self.segments.iter().find(|(base, ..)| *base == covers.base) else {
            return Ok(None);
        };
        let fits = match file.head.level {
            WHOLE => Some(covers.upto) == *next && covers.from == covers.base && covers.end == *size,
            _ => covers.upto <= next.unwrap_or(Offset::MAX) && covers.end <= *size,
        };
        if !fits || covers.upto > self.trusted_upto {
            return Ok(None);
        }
        let log = disk.open(&self.handles.path(covers.base, names::LOG), Open::Read)?;
        let hole = next.filter(|_| covers.end == *size);
        Ok(is_last_batch(&*log, &covers, hole)?.then_some(file))
    }

    /// Those that cover the segment from its beginning on without a hole; the others are removed.
    fn choose(&self, disk: &dyn Disk, base: Offset, mut files: Vec<KeyFile>) -> io::Result<Vec<Part>> {
        // Of those with the same beginning the longest says all that the others do.
        files.sort_by_key(|file| (file.head.covers.from, std::cmp::Reverse(file.head.covers.upto)));
        let (mut parts, mut upto, mut seed) = (Vec::new(), base, None);
        for file in files {
            let goes_on = file.head.covers.from == upto && seed.is_none_or(|seed| seed == file.head.seed);
            if goes_on && (file.head.covers.upto > upto || parts.is_empty()) {
                (upto, seed) = (file.head.covers.upto, Some(file.head.seed));
                parts.push(Part::of_file(file));
            } else {
                accept_missing(disk.remove_file(&file.name.path(&self.handles)))?;
            }
        }
        Ok(parts)
    }
}
