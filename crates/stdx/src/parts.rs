//! Bytes in several pieces, some in memory and some still in a file, that are sent as one.
//!
//! A fetch response is such a list: encoded headers, batches from the memory tail, regions of segment files. It does
//! not read the file; whoever writes to the socket does (`sendfile`, or a read off the reactor).

use bytes::Bytes;
use std::{fmt, sync::Arc};

/// A run of bytes inside an open file, which may have been unlinked since.
#[derive(Clone)]
pub struct Region {
    /// The open file; the reader downcasts it to what it knows (`env::File`).
    pub file: Arc<dyn std::any::Any + Send + Sync>,
    /// The first byte.
    pub position: u64,
    /// How many bytes; the file has at least so many after `position`.
    pub len: usize,
}

/// One piece.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in memory.
    Memory(Bytes),
    /// Bytes in a file.
    File(Region),
}

/// Pieces in order. Equality compares the pieces in memory as one string; a file region equals nothing.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    parts: Vec<Part>,
    len: usize,
}

impl Part {
    /// How many bytes the piece has.
    pub fn len(&self) -> usize {
        match self {
            Part::Memory(bytes) => bytes.len(),
            Part::File(region) => region.len,
        }
    }

    /// Whether the piece has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `at` bytes (not more than there are), and the others.
    fn split(self, at: usize) -> (Part, Part) {
        match self {
            Part::Memory(mut bytes) => {
                let first = bytes.split_to(at);
                (Part::Memory(first), Part::Memory(bytes))
            }
            Part::File(region) => {
                let rest = Region {
                    file: region.file.clone(),
                    position: region.position + at as u64,
                    len: region.len - at,
                };
                (Part::File(Region { len: at, ..region }), Part::File(rest))
            }
        }
    }
}

impl Parts {
    /// No bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes all pieces have together.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece at the end; an empty one is dropped.
    pub fn push(&mut self, part: Part) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push(part);
        }
    }

    /// Adds all pieces of `other` at the end.
    pub fn append(&mut self, other: Parts) {
        self.len += other.len;
        self.parts.extend(other.parts);
    }

    /// The pieces, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Part> {
        self.parts.iter()
    }

    /// The same bytes, in order, in runs of at most `len_max` (not zero) bytes; nothing is copied.
    pub fn runs(self, len_max: usize) -> Runs {
        assert_ne!(len_max, 0, "runs without bytes never end");
        Runs { parts: self.parts.into_iter(), rest: None, len_max }
    }

    /// The bytes as one string if all pieces are in memory; copies only when there is more than one.
    pub fn to_bytes(&self) -> Option<Bytes> {
        match self.parts.as_slice() {
            [] => Some(Bytes::new()),
            [Part::Memory(bytes)] => Some(bytes.clone()),
            parts => {
                let mut all = Vec::with_capacity(self.len);
                for part in parts {
                    match part {
                        Part::Memory(bytes) => all.extend_from_slice(bytes),
                        Part::File(_) => return None,
                    }
                }
                Some(all.into())
            }
        }
    }
}

/// What [`Parts::runs`] gives.
pub struct Runs {
    parts: std::vec::IntoIter<Part>,
    /// Of a piece that a run had no room for.
    rest: Option<Part>,
    len_max: usize,
}

impl Iterator for Runs {
    type Item = Parts;

    fn next(&mut self) -> Option<Parts> {
        let mut run = Parts::new();
        while let Some(part) = self.rest.take().or_else(|| self.parts.next()) {
            let room = self.len_max - run.len;
            if part.len() <= room {
                run.push(part);
                continue;
            }
            let (first, rest) = part.split(room);
            run.push(first);
            self.rest = Some(rest);
            break;
        }
        (!run.is_empty()).then_some(run)
    }
}

impl IntoIterator for Parts {
    type Item = Part;
    type IntoIter = std::vec::IntoIter<Part>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter()
    }
}

impl From<Bytes> for Parts {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::new();
        }
        // Exactly one entry: pushing to an empty list makes room for four.
        Self { len: bytes.len(), parts: vec![Part::Memory(bytes)] }
    }
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.to_bytes(), other.to_bytes()), (Some(a), Some(b)) if a == b)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("position", &self.position)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_one_string_and_empty_ones_vanish() {
        let mut parts = Parts::from(Bytes::from_static(b"ab"));
        parts.push(Part::Memory(Bytes::new()));
        parts.append(Bytes::from_static(b"c").into());
        assert_eq!((parts.len(), parts.iter().count()), (3, 2));
        assert_eq!(parts, Parts::from(Bytes::from_static(b"abc")));
        parts.push(Part::File(Region { file: Arc::new(()), position: 0, len: 4 }));
        assert_eq!((parts.len(), parts.to_bytes()), (7, None));
    }

    #[test]
    fn runs_are_the_same_bytes_in_order_and_not_longer_than_wanted() {
        let mut parts = Parts::from(Bytes::from_static(b"abcde"));
        parts.push(Part::Memory(Bytes::from_static(b"f")));
        parts.push(Part::File(Region { file: Arc::new(()), position: 7, len: 5 }));
        parts.push(Part::Memory(Bytes::from_static(b"gh")));
        let told = |part: &Part| match part {
            Part::Memory(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Part::File(region) => format!("{}+{}", region.position, region.len),
        };
        let runs = |len_max| -> Vec<Vec<String>> {
            parts.clone().runs(len_max).map(|run| run.iter().map(told).collect()).collect()
        };
        assert_eq!(
            runs(4),
            [vec!["abcd"], vec!["e", "f", "7+2"], vec!["9+3", "g"], vec!["h"]].map(|run| run.to_vec())
        );
        assert_eq!(runs(100).len(), 1);
        assert_eq!(runs(13), [vec!["abcde", "f", "7+5", "gh"]]);
        assert_eq!(Parts::new().runs(3).count(), 0);
    }
}
