//! The postings of a stretch of a segment: in memory while they are few, else in a file.

use super::{
    file::{KeyFile, Place, Postings},
    head::Covers,
    pair::{self, Pair, Term},
    writer::Name,
};
use crate::handles::Handles;
use env::Disk;
use model::Offset;
use std::{io, sync::Arc};

/// A stretch and its postings. It never changes.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(super) covers: Covers,
    pub(super) seed: u64,
    pub(super) pairs: Pairs,
}

#[derive(Debug, Clone)]
pub(super) enum Pairs {
    /// Sorted, each once.
    Memory(Arc<[Pair]>),
    File(Arc<KeyFile>),
}

/// All postings of a part, in order.
pub(super) enum Stream {
    Memory(Arc<[Pair]>, usize),
    File(Arc<KeyFile>, Postings),
}

impl Part {
    pub(super) fn in_memory(covers: Covers, seed: u64, mut pairs: Vec<Pair>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        Self { covers, seed, pairs: Pairs::Memory(pairs.into()) }
    }

    pub(super) fn of_file(file: KeyFile) -> Self {
        Self { covers: file.head.covers, seed: file.head.seed, pairs: Pairs::File(Arc::new(file)) }
    }

    /// The same once its file, which compaction has written beside the others, has got its name.
    pub(super) fn in_place(mut self) -> Self {
        if let Pairs::File(file) = &self.pairs {
            let name = Name { is_cleaned: false, ..file.name.clone() };
            self.pairs = Pairs::File(Arc::new(KeyFile { name, head: file.head }));
        }
        self
    }

    pub(super) fn file(&self) -> Option<&KeyFile> {
        match &self.pairs {
            Pairs::Memory(_) => None,
            Pairs::File(file) => Some(file),
        }
    }

    /// How many postings of it are in memory.
    pub(super) fn pairs_in_memory(&self) -> usize {
        match &self.pairs {
            Pairs::Memory(pairs) => pairs.len(),
            Pairs::File(_) => 0,
        }
    }

    /// The offsets of records with this term from `from` on, at most so many.
    pub(super) fn postings(
        &self,
        place: Place<'_>,
        (term, from): (&Term, Offset),
        max: usize,
    ) -> io::Result<Vec<Offset>> {
        let Covers { base, from: first, .. } = self.covers;
        let from = Pair::new(term.under(self.seed), base, from.max(first));
        let found = match &self.pairs {
            Pairs::File(file) => file.postings(place, from, max)?,
            Pairs::Memory(pairs) => {
                let at = pairs.partition_point(|pair| *pair < from);
                let found = pairs.get(at..).unwrap_or_default().iter();
                found.take_while(|pair| pair.term == from.term).take(max).copied().collect()
            }
        };
        Ok(found.into_iter().map(|pair| base + Offset::from(pair.delta)).collect())
    }

    /// The offset of the last record with this term before `below`.
    pub(super) fn newest(
        &self,
        place: Place<'_>,
        (term, below): (&Term, Offset),
    ) -> io::Result<Option<Offset>> {
        let Covers { base, upto, .. } = self.covers;
        let below = Pair { term: term.under(self.seed), delta: pair::delta(base, below.min(upto)) };
        let found = match &self.pairs {
            Pairs::File(file) => file.newest(place, below)?,
            Pairs::Memory(pairs) => {
                let behind = pairs.partition_point(|pair| *pair < below);
                let last = behind.checked_sub(1).and_then(|at| pairs.get(at)).copied();
                last.filter(|pair| pair.term == below.term)
            }
        };
        Ok(found.map(|pair| base + Offset::from(pair.delta)))
    }

    pub(super) fn stream(&self, disk: &dyn Disk, handles: &Handles) -> io::Result<Stream> {
        Ok(match &self.pairs {
            Pairs::Memory(pairs) => Stream::Memory(pairs.clone(), 0),
            Pairs::File(file) => Stream::File(file.clone(), file.all(disk, handles)?),
        })
    }
}

impl Stream {
    pub(super) fn next_pair(&mut self) -> io::Result<Option<Pair>> {
        match self {
            Self::Memory(pairs, at) => {
                *at += 1;
                Ok(pairs.get(*at - 1).copied())
            }
            Self::File(file, postings) => postings.next_pair(file),
        }
    }
}

/// What neighbours cover together; the last of them knows where they end.
pub(super) fn covers_of(parts: &[Part]) -> Option<Covers> {
    let (first, last) = (parts.first()?, parts.last()?);
    Some(Covers { from: first.covers.from, ..last.covers })
}
