//! A file system in memory that forgets what was not synced: every file has what the page cache shows and what is on the
//! medium, every directory the names that are shown and those that are durable. It has no faults of its own and no
//! clock; `disk` asks it, and cuts its power.
//!
//! At a power cut each dirty sector of a file is kept, lost or cut in two by itself, the length is the old one, the new
//! one or one between, and of the changes of a directory that were not synced a prefix is kept, as a journal would.

use crate::dice::Dice;
use env::Entry;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path},
};

/// The place of a file or directory.
pub type Inode = usize;

/// All files and directories.
pub struct FileSystem {
    nodes: Vec<Node>,
    sector_bytes: usize,
}

enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Default)]
struct FileNode {
    shown: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Default)]
struct DirNode {
    shown: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Put(String, Inode),
    Remove(String),
    Rename { from: String, to: String },
}

const ROOT: Inode = 0;

impl FileSystem {
    /// An empty file system whose device writes sectors of `sector_bytes` at once.
    pub fn new(sector_bytes: usize) -> Self {
        Self { nodes: vec![Node::Dir(DirNode::default())], sector_bytes: sector_bytes.max(1) }
    }

    /// The file or directory at `path`.
    pub fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for name in names(path) {
            inode = *self.dir(inode)?.shown.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    /// Creates an empty file; `AlreadyExists` if the name is taken.
    pub fn create(&mut self, path: &Path) -> io::Result<Inode> {
        let (dir, name) = self.place(path)?;
        if self.dir(dir)?.shown.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(Node::File(FileNode::default()));
        let inode = self.nodes.len() - 1;
        self.change(dir, Change::Put(name, inode))?;
        Ok(inode)
    }

    /// Creates a directory and its parents.
    pub fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut inode = ROOT;
        for name in names(path) {
            inode = match self.dir(inode)?.shown.get(name) {
                Some(next) => *next,
                None => {
                    self.nodes.push(Node::Dir(DirNode::default()));
                    let new = self.nodes.len() - 1;
                    self.change(inode, Change::Put(name.to_owned(), new))?;
                    new
                }
            };
        }
        self.dir(inode).map(drop)
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.dir(self.find(path)?)?;
        let entry = |(name, inode): (&String, &Inode)| {
            let (is_dir, len) = match self.nodes.get(*inode) {
                Some(Node::File(file)) => (false, file.shown.len() as u64),
                _ => (true, 0),
            };
            Entry { name: name.clone(), is_dir, len }
        };
        Ok(dir.shown.iter().map(entry).collect())
    }

    /// Renames within a directory; a file of the new name is replaced.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ((dir, old), (other, new)) = (self.place(from)?, self.place(to)?);
        if dir != other {
            return Err(io::Error::other("renames between directories are not simulated"));
        }
        let shown = &self.dir(dir)?.shown;
        let inode = *shown.get(&old).ok_or(io::ErrorKind::NotFound)?;
        if let Some(replaced) = shown.get(&new)
            && let (Some(Node::Dir(_)), Some(Node::Dir(over))) =
                (self.nodes.get(inode), self.nodes.get(*replaced))
            && !over.shown.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(dir, Change::Rename { from: old, to: new })
    }

    /// Removes a file.
    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        match self.dir(dir)?.shown.get(&name).and_then(|inode| self.nodes.get(*inode)) {
            Some(Node::File(_)) => self.change(dir, Change::Remove(name)),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Removes a directory with everything in it, the innermost names first.
    pub fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        for entry in self.list(path)? {
            let inner = path.join(&entry.name);
            if entry.is_dir { self.remove_dir_all(&inner)? } else { self.remove_file(&inner)? }
        }
        let (dir, name) = self.place(path)?;
        self.change(dir, Change::Remove(name))
    }

    /// Makes the names of a directory durable.
    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        let dir = self.dir_mut(inode)?;
        dir.durable = dir.shown.clone();
        dir.unsynced.clear();
        Ok(())
    }

    /// The length that the page cache shows.
    pub fn len(&self, inode: Inode) -> io::Result<u64> {
        self.file(inode).map(|file| file.shown.len() as u64)
    }

    /// What of a file is on the medium.
    pub fn durable(&self, inode: Inode) -> io::Result<&[u8]> {
        self.file(inode).map(|file| file.durable.as_slice())
    }

    /// Reads what the page cache shows.
    pub fn read(&self, inode: Inode, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let shown = &self.file(inode)?.shown;
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(shown.len());
        let rest = shown.get(from..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(len)
    }

    /// Writes into the page cache.
    pub fn write(&mut self, inode: Inode, bytes: &[u8], position: u64) -> io::Result<()> {
        let sector_bytes = self.sector_bytes;
        let file = self.file_mut(inode)?;
        let from = usize::try_from(position).map_err(io::Error::other)?;
        let old_len = file.shown.len();
        if old_len < from + bytes.len() {
            file.shown.resize(from + bytes.len(), 0);
        }
        if let Some(place) = file.shown.get_mut(from..from + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        file.dirty.extend(from.min(old_len) / sector_bytes..(from + bytes.len()).div_ceil(sector_bytes));
        Ok(())
    }

    /// Cuts or extends.
    pub fn set_len(&mut self, inode: Inode, len: u64) -> io::Result<()> {
        let sector_bytes = self.sector_bytes;
        let file = self.file_mut(inode)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let (low, high) = (len.min(file.shown.len()), len.max(file.shown.len()));
        file.shown.resize(len, 0);
        file.dirty.extend(low / sector_bytes..high.div_ceil(sector_bytes));
        Ok(())
    }

    /// Makes the contents and the length of a file durable.
    pub fn sync(&mut self, inode: Inode) -> io::Result<()> {
        let sector_bytes = self.sector_bytes;
        let file = self.file_mut(inode)?;
        file.durable.resize(file.shown.len(), 0);
        for sector in std::mem::take(&mut file.dirty) {
            copy(&file.shown, &mut file.durable, sector * sector_bytes, sector_bytes);
        }
        Ok(())
    }

    /// The medium changes one bit of a file by itself, and the page cache has read it since.
    pub fn flip(&mut self, inode: Inode, position: usize, bit: u32) -> io::Result<()> {
        let file = self.file_mut(inode)?;
        for bytes in [&mut file.shown, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    /// The medium loses the end of a file.
    pub fn shorten(&mut self, inode: Inode, len: usize) -> io::Result<()> {
        let file = self.file_mut(inode)?;
        file.shown.truncate(len);
        file.durable.truncate(len);
        Ok(())
    }

    /// The medium loses a name.
    pub fn lose(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        let dir = self.dir_mut(dir)?;
        dir.shown.remove(&name);
        dir.durable.remove(&name);
        dir.unsynced.retain(|change| !matches!(change, Change::Put(put, _) if *put == name));
        Ok(())
    }

    /// Cuts the power: only what was durable is there for sure.
    pub fn power_cut(&mut self, dice: &mut Dice) {
        let sector_bytes = self.sector_bytes;
        for node in &mut self.nodes {
            match node {
                Node::File(file) => file.power_cut(sector_bytes, dice),
                Node::Dir(dir) => dir.power_cut(dice),
            }
        }
    }

    fn place(&self, path: &Path) -> io::Result<(Inode, String)> {
        let dir = self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((dir, name.to_owned()))
    }

    fn change(&mut self, dir: Inode, change: Change) -> io::Result<()> {
        let dir = self.dir_mut(dir)?;
        change.apply(&mut dir.shown);
        dir.unsynced.push(change);
        Ok(())
    }

    fn dir(&self, inode: Inode) -> io::Result<&DirNode> {
        match self.nodes.get(inode) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, inode: Inode) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(inode) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, inode: Inode) -> io::Result<&FileNode> {
        match self.nodes.get(inode) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn file_mut(&mut self, inode: Inode) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(inode) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

impl FileNode {
    fn power_cut(&mut self, sector_bytes: usize, dice: &mut Dice) {
        if self.dirty.is_empty() {
            return;
        }
        let (low, high) =
            (self.shown.len().min(self.durable.len()), self.shown.len().max(self.durable.len()));
        let between = dice.range(low as u64..=high as u64) as usize;
        let len = dice.pick(&[self.shown.len(), self.durable.len(), between], between);
        let mut after = self.durable.clone();
        after.resize(high, 0);
        for sector in std::mem::take(&mut self.dirty) {
            let kept = match dice.below(3) {
                0 => 0,
                1 => sector_bytes,
                _ => dice.below(sector_bytes as u64) as usize,
            };
            copy(&self.shown, &mut after, sector * sector_bytes, kept);
        }
        after.resize(len, 0);
        self.shown.clone_from(&after);
        self.durable = after;
    }
}

impl DirNode {
    fn power_cut(&mut self, dice: &mut Dice) {
        let kept = dice.range(0..=self.unsynced.len() as u64) as usize;
        for change in self.unsynced.drain(..).take(kept) {
            change.apply(&mut self.durable);
        }
        self.shown = self.durable.clone();
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Inode>) {
        match self {
            Change::Put(name, inode) => drop(names.insert(name.clone(), *inode)),
            Change::Remove(name) => drop(names.remove(name)),
            Change::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

/// Copies the bytes that both have from `position` on, at most `len`.
fn copy(from: &[u8], to: &mut [u8], position: usize, len: usize) {
    let end = (position + len).min(from.len()).min(to.len());
    if let (Some(from), Some(to)) = (from.get(position..end), to.get_mut(position..end)) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn file(fs: &FileSystem, path: &str) -> Option<Vec<u8>> {
        let inode = fs.find(Path::new(path)).ok()?;
        let mut bytes = vec![0; fs.len(inode).unwrap() as usize];
        fs.read(inode, &mut bytes, 0).unwrap();
        Some(bytes)
    }

    fn synced_file(bytes: &[u8]) -> (FileSystem, Inode) {
        let mut fs = FileSystem::new(4);
        fs.create_dir_all(Path::new("/d")).unwrap();
        let inode = fs.create(Path::new("/d/f")).unwrap();
        fs.write(inode, bytes, 0).unwrap();
        fs.sync(inode).unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        (fs, inode)
    }

    fn outcomes(change: impl Fn(&mut FileSystem, Inode)) -> BTreeSet<Option<Vec<u8>>> {
        (0..200)
            .map(|seed| {
                let (mut fs, inode) = synced_file(b"aaaaaaaa");
                change(&mut fs, inode);
                fs.power_cut(&mut Dice::new(seed));
                file(&fs, "/d/f")
            })
            .collect()
    }

    #[test]
    fn what_was_synced_survives_a_power_cut() {
        let all = outcomes(|fs, inode| {
            fs.write(inode, b"bb", 8).unwrap();
            fs.sync(inode).unwrap();
        });
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [Some(b"aaaaaaaabb".to_vec())]);
    }

    #[test]
    fn unsynced_sectors_are_kept_lost_or_torn_each_by_itself() {
        let all = outcomes(|fs, inode| fs.write(inode, b"bbbbbbbb", 0).unwrap());
        for expected in [&b"aaaaaaaa"[..], b"bbbbbbbb", b"aaaabbbb", b"bbbbaaaa", b"bbaabbbb"] {
            assert!(all.contains(&Some(expected.to_vec())), "{expected:?}");
        }
        assert!(all.iter().all(|bytes| bytes.as_ref().unwrap().len() == 8));
    }

    #[test]
    fn an_unsynced_tail_may_be_shorter_or_zero() {
        let all = outcomes(|fs, inode| fs.write(inode, b"bbbb", 8).unwrap());
        for expected in [&b"aaaaaaaa"[..], b"aaaaaaaabbbb", b"aaaaaaaa\0\0\0\0", b"aaaaaaaabb"] {
            assert!(all.contains(&Some(expected.to_vec())), "{expected:?}");
        }
    }

    #[test]
    fn an_unsynced_cut_may_be_undone() {
        let all = outcomes(|fs, inode| fs.set_len(inode, 2).unwrap());
        for expected in [&b"aa"[..], b"aaaaaaaa", b"aaaaa"] {
            assert!(all.contains(&Some(expected.to_vec())), "{expected:?}");
        }
    }

    #[test]
    fn names_are_durable_with_their_directory_only() {
        let all = outcomes(|fs, _| fs.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap());
        assert_eq!(all.len(), 2, "renamed or not: {all:?}");
        let all = outcomes(|fs, _| {
            fs.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
            fs.sync_dir(Path::new("/d")).unwrap();
        });
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn an_open_file_is_read_after_its_name_is_gone() {
        let (mut fs, inode) = synced_file(b"abc");
        fs.remove_dir_all(Path::new("/d")).unwrap();
        let mut bytes = [0; 3];
        assert_eq!(fs.read(inode, &mut bytes, 0).unwrap(), 3);
        assert_eq!((file(&fs, "/d/f"), &bytes), (None, b"abc"));
    }
}
