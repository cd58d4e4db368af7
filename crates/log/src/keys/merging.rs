//! Making one file of the postings of neighbours, a slice at a time.
//!
//! They are read twice: how large the filter must be is known only once their terms are counted, and memory for that there
//! is none. They stay what they are; whoever asked for it puts the file in their place.

use super::{
    file::KeyFile,
    head::{Covers, WHOLE},
    pair::Pair,
    part::{Part, Stream},
    writer::{Name, Writer},
};
use crate::handles::Handles;
use env::Disk;
use std::{cmp::Reverse, collections::BinaryHeap, io};

/// A file in the making.
pub(super) struct Merging {
    parts: Vec<Part>,
    name: Name,
    seed: u64,
    covers: Covers,
    streams: Vec<Stream>,
    /// The next posting of each stream that has one.
    next: BinaryHeap<Reverse<(Pair, usize)>>,
    terms: u64,
    last_term: Option<u64>,
    /// There once the terms are counted.
    writer: Option<Writer>,
    /// Something of it may be on the disk under the name of what is not complete.
    has_begun: bool,
}

impl Merging {
    /// Of neighbours with the same seed, which cover this together.
    pub(super) fn begin(
        disk: &dyn Disk,
        handles: &Handles,
        parts: Vec<Part>,
        (name, seed, covers): (Name, u64, Covers),
    ) -> io::Result<Self> {
        let (streams, next) = (Vec::new(), BinaryHeap::new());
        let (terms, last_term) = (0, None);
        let mut this = Self {
            parts,
            name,
            seed,
            covers,
            streams,
            next,
            terms,
            last_term,
            writer: None,
            has_begun: false,
        };
        this.rewind(disk, handles)?;
        Ok(this)
    }

    /// Whether it is to be the file of a whole segment.
    pub(super) fn is_whole(&self) -> bool {
        self.name.level == WHOLE
    }

    /// The file that it has begun, if it is broken off now.
    pub(super) fn unfinished(&self) -> Option<Name> {
        self.has_begun.then(|| self.name.beside())
    }

    /// How many parts it was made of.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Goes on for so many postings; the file once it is complete.
    pub(super) fn step(
        &mut self,
        disk: &dyn Disk,
        handles: &Handles,
        pairs_max: usize,
    ) -> io::Result<Option<KeyFile>> {
        for _ in 0..pairs_max {
            let Some(pair) = self.next_pair()? else {
                return match self.writer.take() {
                    Some(writer) => {
                        let head = writer.finish(disk, handles, self.covers)?;
                        Ok(Some(KeyFile { name: self.name.clone(), head }))
                    }
                    None => {
                        self.rewind(disk, handles)?;
                        let name = self.name.clone();
                        self.has_begun = true;
                        self.writer = Some(Writer::create(disk, handles, name, self.seed, self.terms)?);
                        Ok(None)
                    }
                };
            };
            match &mut self.writer {
                Some(writer) => writer.push(pair)?,
                None => {
                    self.terms += u64::from(self.last_term != Some(pair.term));
                    self.last_term = Some(pair.term);
                }
            }
        }
        Ok(None)
    }

    fn rewind(&mut self, disk: &dyn Disk, handles: &Handles) -> io::Result<()> {
        self.streams = self.parts.iter().map(|part| part.stream(disk, handles)).collect::<io::Result<_>>()?;
        self.next.clear();
        (0..self.streams.len()).try_for_each(|of| self.fill(of))
    }

    fn fill(&mut self, of: usize) -> io::Result<()> {
        if let Some(stream) = self.streams.get_mut(of)
            && let Some(pair) = stream.next_pair()?
        {
            self.next.push(Reverse((pair, of)));
        }
        Ok(())
    }

    fn next_pair(&mut self) -> io::Result<Option<Pair>> {
        let Some(Reverse((pair, of))) = self.next.pop() else { return Ok(None) };
        self.fill(of)?;
        Ok(Some(pair))
    }
}
