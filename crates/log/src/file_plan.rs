//! A read from a segment file: made by the core, carried out on a disk lane, sent by `sendfile`.
//!
//! It reads index entries and headers only; the batches themselves stay in the file. Checksums it verifies only where a
//! reader does not simply go on: who could not read what it was given asks for it again.

use crate::{
    Slice,
    handles::{Handles, Place},
    index,
    scan::{Found, Scan, Step, WINDOW_BYTES_LARGE, WINDOW_BYTES_SMALL},
};
use env::{Disk, File};
use model::Offset;
use std::{io, sync::Arc};
use stdx::{Part, Parts, Region};

/// A read to be located in a file.
pub struct FilePlan {
    pub(crate) handles: Arc<Handles>,
    /// The segment in which `from` is, and those after it.
    pub(crate) segments: Vec<Offset>,
    pub(crate) from: Offset,
    /// Nothing at or behind it is looked at: it may be half written.
    pub(crate) upto: Offset,
    pub(crate) bytes_max: usize,
    pub(crate) at_least_one: bool,
    /// Offsets may be missing between batches: compaction leaves such holes.
    pub(crate) has_holes: bool,
    /// Of the log's files when this was planned.
    pub(crate) layout: u64,
}

/// Whole batches in a file.
struct Range {
    file: Arc<dyn File>,
    position: u64,
    len: usize,
    next_offset: Offset,
    /// It begins where a reader stopped lately, and nobody else went on from there.
    goes_on: bool,
}

impl FilePlan {
    /// The records of the first may all be gone behind the offset; a reader goes on in the next that is not empty.
    pub(crate) const SEGMENTS_MAX: usize = 8;

    /// Finds whole batches and says where they are. `NotFound` means that the segment was deleted since the plan was
    /// made: plan again. So does an error that [`crate::is_moved`]. `InvalidData` means that it is damaged, as far as that
    /// was looked at.
    pub fn locate(self, disk: &dyn Disk) -> io::Result<Slice> {
        self.find(disk, false)
    }

    /// Like [`FilePlan::locate`], and verifies the checksums of all that was found.
    pub fn locate_verified(self, disk: &dyn Disk) -> io::Result<Slice> {
        self.find(disk, true)
    }

    /// It looks at nothing at or behind this offset: where it finds nothing, there is nothing before it.
    pub fn upto(&self) -> Offset {
        self.upto.max(self.from)
    }

    /// The first segment that it looks at.
    pub fn segment(&self) -> Option<Offset> {
        self.segments.first().copied()
    }

    fn find(&self, disk: &dyn Disk, is_verified: bool) -> io::Result<Slice> {
        self.handles.unless_moved(self.layout, self.look(disk, is_verified))
    }

    fn look(&self, disk: &dyn Disk, is_verified: bool) -> io::Result<Slice> {
        let mut parts = Parts::new();
        let Some(range) = self.range(disk)? else { return Ok(Slice { parts, next_offset: self.from }) };
        if is_verified || !range.goes_on {
            range.verify()?;
        }
        let region = Region { file: range.file.as_any(), position: range.position, len: range.len };
        parts.push(Part::File(region));
        Ok(Slice { parts, next_offset: range.next_offset })
    }

    /// Like [`FilePlan::locate`], and reads what was found: for readers on this broker.
    pub fn load(self, disk: &dyn Disk) -> io::Result<Slice> {
        self.handles.unless_moved(self.layout, self.load_now(disk))
    }

    fn load_now(&self, disk: &dyn Disk) -> io::Result<Slice> {
        let Some(range) = self.range(disk)? else {
            return Ok(Slice { parts: Parts::new(), next_offset: self.from });
        };
        let mut bytes = vec![0; range.len];
        if range.file.read_at(&mut bytes, range.position)? < range.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Slice { parts: bytes::Bytes::from(bytes).into(), next_offset: range.next_offset })
    }

    fn range(&self, disk: &dyn Disk) -> io::Result<Option<Range>> {
        for segment in &self.segments {
            let file = self.handles.reader(disk, *segment, self.layout)?;
            let place = self.handles.go_on(self.from, *segment, self.layout);
            if let Some(first) = self.first_batch(disk, &*file, *segment, place.map(|(place, _)| place))? {
                // What a damaged file has lost must not look like what compaction has removed.
                if !self.has_holes && first.header.is_some() && first.base_offset > self.from {
                    return Err(damaged(*segment, "the records before it are missing"));
                }
                let range = self.range_from(disk, file, *segment, first)?;
                let goes_on = place.is_some_and(|(_, is_first)| is_first);
                return Ok(range.map(|range| Range { goes_on, ..range }));
            }
        }
        Ok(None)
    }

    /// The batch in which `from` is, or the first after it.
    fn first_batch(
        &self,
        disk: &dyn Disk,
        file: &dyn File,
        segment: Offset,
        place: Option<Place>,
    ) -> io::Result<Option<Found>> {
        let end = file.len()?;
        let position = match place {
            Some(place) => place.position,
            None => index::position_of(disk, &self.handles, segment, self.from)?,
        };
        match self.search(file, position, end)? {
            Search::Found(found) => Ok(Some(found)),
            Search::Nothing => Ok(None),
            // The index lies; without it everything is found, only later.
            Search::Lost(_) if position > 0 => match self.search(file, 0, end)? {
                Search::Found(found) => Ok(Some(found)),
                Search::Nothing => Ok(None),
                Search::Lost(why) => Err(damaged(segment, why)),
            },
            Search::Lost(why) => Err(damaged(segment, why)),
        }
    }

    fn search(&self, file: &dyn File, position: u64, end: u64) -> io::Result<Search> {
        let mut scan = Scan::new(file, position, end, WINDOW_BYTES_SMALL);
        let mut first = position > 0;
        loop {
            match scan.step()? {
                Step::Found(found) if first && found.base_offset > self.from => {
                    return Ok(Search::Lost("the index is wrong"));
                }
                Step::Found(found) if found.last_offset >= self.from => return Ok(Search::Found(found)),
                Step::Found(found) if found.next_offset() >= self.upto => return Ok(Search::Nothing),
                Step::Found(_) => first = false,
                Step::End if first => return Ok(Search::Lost("the index is wrong")),
                Step::End => return Ok(Search::Nothing),
                Step::Broken(why) => return Ok(Search::Lost(why)),
            }
        }
    }

    fn range_from(
        &self,
        disk: &dyn Disk,
        file: Arc<dyn File>,
        segment: Offset,
        first: Found,
    ) -> io::Result<Option<Range>> {
        let fits = first.bytes <= self.bytes_max as u64;
        if first.next_offset() > self.upto || !(fits || self.at_least_one) {
            return Ok(None);
        }
        let (end, next_offset) = match fits {
            true => self.last_batch(disk, &*file, segment, first)?,
            false => (first.end(), first.next_offset()),
        };
        self.handles.remember(Place { offset: next_offset, segment, position: end }, self.layout);
        let len = (end - first.position) as usize;
        Ok(Some(Range { file, position: first.position, len, next_offset, goes_on: false }))
    }

    /// Where the last batch that fits ends, and the offset after it.
    fn last_batch(
        &self,
        disk: &dyn Disk,
        file: &dyn File,
        segment: Offset,
        first: Found,
    ) -> io::Result<(u64, Offset)> {
        let limit = first.position.saturating_add(self.bytes_max as u64);
        let mut scan = Scan::new(file, first.end(), file.len()?, WINDOW_BYTES_SMALL);
        let (mut end, mut next_offset) = (first.end(), first.next_offset());
        // A short way is walked; for a long one the index shows how far it surely goes.
        if self.bytes_max > WINDOW_BYTES_SMALL {
            let far = index::last_position_before(disk, &self.handles, segment, self.upto, limit)?;
            if far > end {
                scan.position = far;
                match scan.step()? {
                    Step::Found(found) if found.base_offset >= next_offset => {
                        (end, next_offset) = (far, found.base_offset);
                        scan.position = far;
                    }
                    _ => scan.position = end,
                }
            }
        }
        while next_offset < self.upto {
            match scan.step()? {
                Step::Found(found) if found.next_offset() <= self.upto && found.end() <= limit => {
                    (end, next_offset) = (found.end(), found.next_offset());
                }
                _ => break,
            }
        }
        Ok((end, next_offset))
    }
}

impl Range {
    fn verify(&self) -> io::Result<()> {
        let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let end = self.position + self.len as u64;
        let mut scan = Scan::new(&*self.file, self.position, end, WINDOW_BYTES_LARGE);
        loop {
            match scan.step()? {
                Step::End => return Ok(()),
                Step::Found(found) if scan.is_intact(&found)? => {}
                Step::Found(found) => {
                    let (at, offset) = (found.position, found.base_offset);
                    return invalid(format!(
                        "the checksum of the batch at byte {at}, offset {offset}, is wrong"
                    ));
                }
                Step::Broken(why) => return invalid(why.to_owned()),
            }
        }
    }
}

enum Search {
    Found(Found),
    Nothing,
    Lost(&'static str),
}

fn damaged(segment: Offset, why: &str) -> io::Error {
    let name = crate::names::file_name(segment, crate::names::LOG);
    io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged: {why}"))
}

impl std::fmt::Debug for FilePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilePlan")
            .field("from", &self.from)
            .field("upto", &self.upto)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}
