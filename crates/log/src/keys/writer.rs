//! Writing a file of postings, from the smallest to the largest, with little memory: a node of each level and a page of the
//! filter.
//!
//! It is written under another name, and gets its own when all of it is on stable storage. What it covers its caller knows.

use super::{
    filter::{self, Page},
    head::{Covers, Head},
    node::NodeBuilder,
    pair::Pair,
};
use crate::{handles::Handles, names};
use env::{Disk, File, Open};
use model::Offset;
use std::{
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
};

/// Nodes are gathered up to about so many bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// The name of a file of postings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The first offset that it covers.
    pub(super) from: Offset,
    /// See [`Head::level`].
    pub(super) level: u8,
    /// It is of a segment that compaction writes beside the others.
    pub(super) is_cleaned: bool,
    /// It is not complete: its level says nothing.
    pub(super) is_temporary: bool,
}

/// A file in the making.
pub(super) struct Writer {
    name: Name,
    file: Arc<dyn File>,
    seed: u64,
    /// By level, the lowest first.
    nodes: Vec<NodeBuilder>,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    place: u64,
    pages: u32,
    page: Page,
    page_number: u32,
    pairs: u64,
    terms: u64,
    last: Option<Pair>,
}

impl Name {
    pub(super) fn path(&self, handles: &Handles) -> PathBuf {
        handles.path(self.from, &self.kind())
    }

    fn kind(&self) -> String {
        if self.is_temporary {
            let kind = if self.is_cleaned { names::CLEANED } else { TEMPORARY };
            return format!("{}-{TEMPORARY}.{kind}", names::KEYS);
        }
        let kind = match self.level {
            super::head::WHOLE => names::KEYS.to_owned(),
            level => format!("{}-{level}", names::KEYS),
        };
        if self.is_cleaned { format!("{kind}.{}", names::CLEANED) } else { kind }
    }

    /// What the file is called until it is complete.
    pub(super) fn beside(&self) -> Self {
        Self { level: 0, is_temporary: true, ..self.clone() }
    }

    /// The name that a kind of file stands for; `None` if it is of no complete file of postings in its place.
    pub(super) fn parse(from: Offset, kind: &str) -> Option<Self> {
        let level = match kind.strip_prefix(names::KEYS)?.strip_prefix('-') {
            None if kind == names::KEYS => super::head::WHOLE,
            None => return None,
            Some(level) => level.parse().ok()?,
        };
        let name = Self { from, level, is_cleaned: false, is_temporary: false };
        (name.kind() == kind).then_some(name)
    }
}

const TEMPORARY: &str = "tmp";

/// Whether a kind of file is of one that was never completed.
pub(super) fn is_temporary(kind: &str) -> bool {
    kind.strip_prefix(names::KEYS).is_some_and(|rest| rest == "-tmp.tmp")
}

impl Writer {
    /// Begins a file for so many different terms.
    pub(super) fn create(
        disk: &dyn Disk,
        handles: &Handles,
        name: Name,
        seed: u64,
        terms: u64,
    ) -> io::Result<Self> {
        let file = disk.open(&name.beside().path(handles), Open::Create)?;
        file.set_len(0)?;
        let pages = filter::pages_for(terms);
        Ok(Self {
            name,
            file,
            seed,
            nodes: vec![NodeBuilder::new(0)],
            buffer: Vec::new(),
            place: Head::nodes_at(pages),
            pages,
            page: Page::new(),
            page_number: 0,
            pairs: 0,
            terms: 0,
            last: None,
        })
    }

    /// Adds a posting, larger than those before; one that is there already is left out.
    pub(super) fn push(&mut self, pair: Pair) -> io::Result<()> {
        if self.last == Some(pair) {
            return Ok(());
        }
        if self.last.is_none_or(|last| last.term != pair.term) {
            self.terms += 1;
            self.note(pair.term)?;
        }
        self.last = Some(pair);
        self.pairs += 1;
        self.put(0, pair, 0)
    }

    /// Completes the file: it is on stable storage under its name after, but for its directory.
    pub(super) fn finish(mut self, disk: &dyn Disk, handles: &Handles, covers: Covers) -> io::Result<Head> {
        let mut level = 0;
        let mut root = 0;
        while self.nodes.get(level).is_some() {
            let is_last = level + 1 == self.nodes.len();
            let first = self.nodes.get(level).and_then(NodeBuilder::first);
            let place = self.end_node(level)?;
            match (first, is_last) {
                (Some(_), true) => root = place,
                (Some(first), false) => self.put(level + 1, first, place)?,
                (None, _) => {}
            }
            level += 1;
        }
        self.flush()?;
        while self.page_number < self.pages {
            self.end_page()?;
        }
        let head = Head {
            level: self.name.level,
            pages: self.pages,
            seed: self.seed,
            covers,
            root,
            pairs: self.pairs,
            terms: self.terms,
            bytes: self.place,
        };
        self.file.write_at(&[IoSlice::new(&head.encode())], 0)?;
        self.file.sync_data().map_err(io::Error::other)?;
        disk.rename(&self.name.beside().path(handles), &self.name.path(handles))?;
        Ok(head)
    }

    fn put(&mut self, level: usize, pair: Pair, place: u64) -> io::Result<()> {
        if self.nodes.len() <= level {
            self.nodes.push(NodeBuilder::new(level as u8));
        }
        if self.nodes.get(level).is_some_and(NodeBuilder::is_full) {
            let first = self.nodes.get(level).and_then(NodeBuilder::first);
            let place = self.end_node(level)?;
            // As deep as there are levels, which are few: each holds hundreds of the one below.
            first.map_or(Ok(()), |first| self.put(level + 1, first, place))?;
        }
        if let Some(node) = self.nodes.get_mut(level) {
            node.push(pair, place);
        }
        Ok(())
    }

    /// Writes a node and says where it stands.
    fn end_node(&mut self, level: usize) -> io::Result<u64> {
        let place = self.place + self.buffer.len() as u64;
        if let Some(node) = self.nodes.get_mut(level).filter(|node| node.first().is_some()) {
            self.buffer.extend_from_slice(&node.finish(self.seed, place));
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(place)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(&[IoSlice::new(&self.buffer)], self.place)?;
            self.file.start_write_back(self.place, self.buffer.len() as u64);
            self.place += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn note(&mut self, term: u64) -> io::Result<()> {
        if self.pages > 0 {
            while self.page_number < filter::page_of(term, self.pages) {
                self.end_page()?;
            }
            self.page.add(term);
        }
        Ok(())
    }

    fn end_page(&mut self) -> io::Result<()> {
        let page = std::mem::replace(&mut self.page, Page::new()).finish(self.seed, self.page_number);
        self.file.write_at(&[IoSlice::new(&page)], Head::nodes_at(self.page_number))?;
        self.page_number += 1;
        Ok(())
    }
}
