//! Real files by positioned reads and writes.
//!
//! It keeps no cache of its own; the kernel's page cache is the cache.

#![allow(clippy::disallowed_methods, reason = "this is where env::Disk meets the operating system")]

use env::{Entry, File, Lock, Open};
use rustix::{fs::FlockOperation, io::Errno};
use std::{any::Any, fs, io, os::unix::fs::FileExt, path::Path, sync::Arc};

pub(super) struct RealDisk;

/// An open file of the operating system.
pub struct RealFile {
    file: fs::File,
}

impl RealFile {
    /// The descriptor, for `sendfile`.
    pub fn descriptor(&self) -> &fs::File {
        &self.file
    }
}

struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

impl env::Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(how != Open::Read);
        options.create(how == Open::Create).create_new(how == Open::CreateNew);
        Ok(Arc::new(RealFile { file: options.open(path)? }))
    }

    fn open_uncached(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        super::uncached::open(path)
    }

    fn open_passing(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        super::uncached::open_passing(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Ok(name) = entry.file_name().into_string() {
                let len = if meta.is_dir() { 0 } else { meta.len() };
                entries.push(Entry { name, is_dir: meta.is_dir(), len });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all().map_err(io::Error::other)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(path)?;
        Ok((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, parts: &[io::IoSlice<'_>], mut position: u64) -> io::Result<()> {
        const VECTORS_MAX: usize = 1024;
        let mut parts = parts.to_vec();
        let mut rest = parts.as_mut_slice();
        io::IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let vectors = rest.get(..rest.len().min(VECTORS_MAX)).unwrap_or_default();
            match rustix::io::pwritev(&self.file, vectors, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    io::IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    fn start_write_back(&self, position: u64, len: u64) {
        super::write_back::start(&self.file, position, len);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use env::Disk;

    #[test]
    fn many_small_parts_are_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("f"), Open::Create).unwrap();
        let pieces: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let slices: Vec<_> = pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
        file.write_at(&slices, 7).unwrap();
        let mut back = vec![0; 12_100];
        assert_eq!(file.read_at(&mut back, 7).unwrap(), 12_000);
        assert_eq!(&back[..12_000], pieces.concat());
    }

    #[test]
    fn a_second_lock_on_the_same_file_is_refused_until_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let first = RealDisk.lock(&path).unwrap();
        assert_eq!(RealDisk.lock(&path).map(drop).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(RealDisk.lock(&path).is_ok());
    }

    #[test]
    fn replacing_a_file_leaves_no_temporary_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        env::write_whole(&RealDisk, &path, b"one").unwrap();
        env::write_whole(&RealDisk, &path, b"2").unwrap();
        assert_eq!(RealDisk.read_small(&path, 10).unwrap(), b"2");
        assert_eq!(RealDisk.list(dir.path()).unwrap().len(), 1);
        assert!(RealDisk.read_small(&path, 0).is_err());
    }
}
