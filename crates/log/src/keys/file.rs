//! A file of postings that is complete: looking terms up in it, and reading all of it.
//!
//! Only its head is in memory; a look-up reads a page of the filter and a node of each level. Nothing in it is believed
//! without its checksum: what is wrong makes it worthless as a
//! whole, and it is built anew.

use super::{
    filter::{self, PAGE_BYTES},
    head::{HEAD_BYTES, Head},
    node::{NODE_BYTES, Node},
    pair::Pair,
    writer::Name,
};
use crate::handles::Handles;
use env::{Disk, File, Open};
use model::Offset;
use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

/// A file, and its head.
#[derive(Debug)]
pub(crate) struct KeyFile {
    pub(super) name: Name,
    pub(super) head: Head,
}

/// Where look-ups find files.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) handles: &'a Handles,
    /// Of the log's files when the look-up was planned.
    pub(super) layout: u64,
}

/// All postings of a file, from one on.
pub(super) struct Postings {
    file: Arc<dyn File>,
    /// Where the next node begins.
    at: u64,
    node: std::vec::IntoIter<(Pair, u64)>,
}

/// What is wrong with a file of postings.
#[derive(Debug, thiserror::Error)]
#[error(
    "a file of the key index of segment {segment} is worthless, that of level {level} from offset {from} on: {why}"
)]
struct Worthless {
    segment: Offset,
    from: Offset,
    level: u8,
    why: &'static str,
}

/// The segment of whose key index a file is not what was written there, if that is what the error says: the index is to be
/// built anew ([`crate::Log::discard_keys`]). One that is `NotFound` may have been replaced since the look-up was planned.
pub fn worthless_keys(error: &io::Error) -> Option<Offset> {
    error.get_ref()?.downcast_ref::<Worthless>().map(|worthless| worthless.segment)
}

impl KeyFile {
    /// Reads the head of a file; `None` if there is none that can be believed.
    pub(super) fn open(disk: &dyn Disk, handles: &Handles, name: Name) -> io::Result<Option<Self>> {
        let file = disk.open(&name.path(handles), Open::Read)?;
        let head = read_head(&*file)?;
        let head = head.filter(|head| head.level == name.level && head.covers.from == name.from);
        Ok(head.map(|head| Self { name, head }))
    }

    /// The last posting of this term before `below`.
    pub(super) fn newest(&self, place: Place<'_>, below: Pair) -> io::Result<Option<Pair>> {
        let Some(last) = below.delta.checked_sub(1) else { return Ok(None) };
        let wanted = Pair { delta: last, ..below };
        let file = self.file(place)?;
        if !self.may_have(&*file, wanted.term)? {
            return Ok(None);
        }
        let found = self.leaf(&*file, wanted)?.and_then(|(leaf, _)| leaf.floor(wanted));
        Ok(found.map(|(pair, _)| pair).filter(|pair| pair.term == wanted.term))
    }

    /// The postings of a term from this one on, at most so many.
    pub(super) fn postings(&self, place: Place<'_>, from: Pair, max: usize) -> io::Result<Vec<Pair>> {
        let mut found = Vec::new();
        let file = self.file(place)?;
        if !self.may_have(&*file, from.term)? {
            return Ok(found);
        }
        let Some((leaf, at)) = self.leaf(&*file, from)? else { return Ok(found) };
        let mut all = Postings { file, at: at + leaf.bytes as u64, node: leaf.entries.into_iter() };
        while found.len() < max {
            match all.next_pair(self)? {
                Some(pair) if pair.term > from.term => break,
                Some(pair) if pair >= from => found.push(pair),
                Some(_) => {}
                None => break,
            }
        }
        Ok(found)
    }

    /// All postings.
    pub(super) fn all(&self, disk: &dyn Disk, handles: &Handles) -> io::Result<Postings> {
        let at = match self.head.root {
            0 => self.head.bytes,
            _ => Head::nodes_at(self.head.pages),
        };
        let file = self.reopen(disk, handles)?;
        Ok(Postings { file, at, node: Vec::new().into_iter() })
    }

    fn file(&self, place: Place<'_>) -> io::Result<Arc<dyn File>> {
        let Place { disk, handles, layout } = place;
        let known = (self.name.from, self.name.level, self.head.sum());
        handles.key_file(known, layout, || self.reopen(disk, handles))
    }

    /// Another may have its name by now: then it is not found.
    fn reopen(&self, disk: &dyn Disk, handles: &Handles) -> io::Result<Arc<dyn File>> {
        let file = match disk.open(&self.name.path(handles), Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing("it is missing")),
            other => other?,
        };
        match read_head(&*file)? {
            Some(head) if head == self.head => Ok(file),
            Some(_) => Err(self.missing("another file has its name")),
            None => Err(self.worthless("its head is not what was written")),
        }
    }

    fn may_have(&self, file: &dyn File, term: u64) -> io::Result<bool> {
        if self.head.pages == 0 {
            return Ok(true);
        }
        let number = filter::page_of(term, self.head.pages);
        let mut page = vec![0; PAGE_BYTES];
        let read = file.read_at(&mut page, Head::nodes_at(number))?;
        page.truncate(read);
        let known = filter::may_have(&page, self.head.seed, number, term);
        known.ok_or_else(|| self.worthless("a page of its filter is not what was written"))
    }

    /// The node of postings in which this one is, or would be, and where that begins; `None` if there is no posting.
    fn leaf(&self, file: &dyn File, wanted: Pair) -> io::Result<Option<(Node, u64)>> {
        if self.head.root == 0 {
            return Ok(None);
        }
        let mut at = self.head.root;
        let mut node = self.node(file, at)?;
        while node.level > 0 {
            let floor = node.floor(wanted).or_else(|| node.entries.first().copied());
            let Some((_, below)) = floor else { return Err(self.worthless("a node is empty")) };
            let next = self.node(file, below)?;
            // It ends, whatever the nodes say.
            if next.level + 1 != node.level {
                return Err(self.worthless("its nodes do not belong together"));
            }
            (node, at) = (next, below);
        }
        Ok(Some((node, at)))
    }

    fn node(&self, file: &dyn File, at: u64) -> io::Result<Node> {
        let mut bytes = vec![0; NODE_BYTES];
        let read = file.read_at(&mut bytes, at)?;
        bytes.truncate(read);
        let node = Node::parse(&bytes, self.head.seed, at);
        node.ok_or_else(|| self.worthless("a node is not what was written"))
    }

    fn worthless(&self, why: &'static str) -> io::Error {
        self.error(ErrorKind::InvalidData, why)
    }

    /// Unless the log knows it no more.
    fn missing(&self, why: &'static str) -> io::Error {
        self.error(ErrorKind::NotFound, why)
    }

    fn error(&self, kind: ErrorKind, why: &'static str) -> io::Error {
        let Name { from, level, .. } = self.name;
        io::Error::new(kind, Worthless { segment: self.head.covers.base, from, level, why })
    }
}

fn read_head(file: &dyn File) -> io::Result<Option<Head>> {
    let mut bytes = vec![0; HEAD_BYTES];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Head::parse(&bytes, file.len()?))
}

impl Postings {
    /// The next posting of `of`, the file whose postings these are.
    pub(super) fn next_pair(&mut self, of: &KeyFile) -> io::Result<Option<Pair>> {
        loop {
            if let Some((pair, _)) = self.node.next() {
                return Ok(Some(pair));
            }
            if self.at >= of.head.bytes {
                return Ok(None);
            }
            let node = of.node(&*self.file, self.at)?;
            self.at += node.bytes as u64;
            // Upper nodes stand between those that they are for.
            if node.level == 0 {
                self.node = node.entries.into_iter();
            }
        }
    }
}
