//! Files and directories. Every call may block: it belongs on a disk lane ([`crate::Tasks::run_on_lane`]) or into
//! start-up, never on a reactor thread.
//!
//! Durability follows POSIX: written bytes survive a crash of the machine after `sync_data`, a created, renamed or
//! removed name after `sync_dir` of its directory.

use std::{any::Any, io, path::Path, sync::Arc};

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// For reading and writing; created empty if missing, kept as it is if there.
    Create,
    /// For reading and writing; created empty, `AlreadyExists` if there.
    CreateNew,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last component; names that are not UTF-8 are not listed.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The length of a file in bytes; 0 for a directory.
    pub len: u64,
}

/// Held while a directory belongs to this process; dropping it lets go.
pub trait Lock: Send + Sync {}

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading once, past the cache of the operating system where that can be done: what the
    /// medium holds is seen, and what others read often stays in the cache. Positions and lengths are free.
    fn open_uncached(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, Open::Read)
    }
    /// Opens an existing file for reading it from end to end: what the cache of the operating system has is taken from there,
    /// and the rest is read past it where that can be done, so that nobody else's is driven out. Positions and lengths are
    /// free.
    fn open_passing(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open_uncached(path)
    }
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Creates a directory and its parents; it may be there already.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable. If the directory cannot be opened (EMFILE, ENOENT) the error is that of
    /// opening and nothing has happened: it may be tried again. An error of the sync itself is of kind `Other`, whatever
    /// its reason, and it must not be tried again: what could not be written counts as clean then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of the file at `path`, creating it; `WouldBlock` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// Total and usable bytes of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;

    /// The whole contents of a small file; `InvalidData` if it has more than `limit` bytes.
    fn read_small(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let len = file.len()?;
        if len > limit {
            let path = path.display();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path} has {len} bytes, more than the {limit} that such a file may have"),
            ));
        }
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> bool {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return false;
        };
        self.list(dir).is_ok_and(|entries| entries.iter().any(|entry| entry.name == name))
    }
}

/// An open file.
pub trait File: Any + Send + Sync {
    /// Reads until `buffer` is full or the file ends; says how many bytes were read.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `parts`, one behind the other, from `position` on.
    fn write_at(&self, parts: &[io::IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Makes written bytes and the length durable. After an error the file must not be written or synced again.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file, or extends it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Starts writing dirty pages of a range back, without waiting and without promising durability. A hint.
    fn start_write_back(&self, position: u64, len: u64);
    /// This file as what it is, for those who know the implementation (`sendfile`).
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Replaces the file at `path` by `bytes` so that a crash leaves either the old contents or the new: written beside
/// it, synced, renamed, and the directory synced.
pub fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_whole(disk, path, bytes)?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}

/// The same, but the directory remains to be synced: until then a crash may bring the old contents back.
pub fn replace_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(dir), Some(name)) = (path.parent(), name) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a path of a directory and a name is needed",
        ));
    };
    let beside = dir.join(format!("{name}.tmp"));
    let file = disk.open(&beside, Open::Create)?;
    file.set_len(0)?;
    file.write_at(&[io::IoSlice::new(bytes)], 0)?;
    file.sync_data().map_err(io::Error::other)?;
    disk.rename(&beside, path)
}
