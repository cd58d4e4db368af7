//! Reading a file past the page cache (O_DIRECT), for those who read everything once: what is read often stays cached,
//! and what the medium holds is seen and not what the kernel remembers of it.
//!
//! The kernel wants aligned positions, lengths and memory; callers need not know. Where a file system has no such reads
//! the page cache is read after all.

#![allow(clippy::disallowed_methods, reason = "this is where env::File meets the operating system")]

use env::File;
use rustix::io::Errno;
use std::{
    any::Any,
    fs, io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// What positions, lengths and memory are multiples of: pages, and no disk has larger sectors.
const BLOCK_BYTES: usize = 4096;

struct UncachedFile {
    file: fs::File,
}

/// Opens an existing file for reading.
pub(super) fn open(path: &Path) -> io::Result<Arc<dyn File>> {
    let direct = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
    match direct {
        Ok(file) => Ok(Arc::new(UncachedFile { file })),
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            let file = fs::File::open(path)?;
            Ok(Arc::new(UncachedFile { file }))
        }
        Err(error) => Err(error),
    }
}

impl File for UncachedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let skip = (position % BLOCK_BYTES as u64) as usize;
        let len = (skip + buffer.len()).next_multiple_of(BLOCK_BYTES);
        let mut memory = vec![0; len + BLOCK_BYTES];
        let aligned = memory.as_ptr().align_offset(BLOCK_BYTES);
        let blocks = memory.get_mut(aligned..aligned + len).unwrap_or_default();
        let mut done = 0;
        while done < blocks.len() {
            let rest = blocks.get_mut(done..).unwrap_or_default();
            match self.file.read_at(rest, position - skip as u64 + done as u64) {
                Ok(read) => {
                    done += read;
                    // The end of the file: there is no aligned place to go on from.
                    if read == 0 || done % BLOCK_BYTES != 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let read = done.saturating_sub(skip).min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..read), blocks.get(skip..skip + read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }

    fn write_at(&self, _: &[io::IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    fn start_write_back(&self, _: u64, _: u64) {}

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the file was opened for reading")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_and_length_is_read_as_it_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..30_001u32).map(|n| (n / 7) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let file = open(&path).unwrap();
        assert_eq!(file.len().unwrap(), 30_001);
        for (position, len) in
            [(0, 1), (0, 30_001), (5, 4096), (4096, 4096), (4095, 2), (29_990, 500), (30_001, 9)]
        {
            let mut buffer = vec![0; len];
            let read = file.read_at(&mut buffer, position as u64).unwrap();
            assert_eq!(&buffer[..read], &bytes[position..(position + len).min(30_001)], "{position} {len}");
        }
        assert!(file.write_at(&[io::IoSlice::new(b"x")], 0).is_err());
    }
}
