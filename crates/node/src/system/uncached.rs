//! Reading a file past the page cache (O_DIRECT), for those who read everything once: what is read often stays cached,
//! and what the medium holds is seen and not what the kernel remembers of it. Or through it as far as it has the file, for
//! those who do not care where the bytes come from.
//!
//! The kernel wants aligned positions, lengths and memory; callers need not know. Where a file system has no such reads
//! the page cache is read after all.

#![allow(clippy::disallowed_methods, reason = "this is where env::File meets the operating system")]

use env::File;
use rustix::{
    fs::{Advice, fadvise},
    io::{Errno, ReadWriteFlags, preadv2},
};
use std::{
    any::Any,
    fs,
    io::{self, IoSliceMut},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What positions, lengths and memory are multiples of: pages, and no disk has larger sectors.
const BLOCK_BYTES: usize = 4096;

/// A file that is only read.
struct ReadFile {
    direct: fs::File,
    /// Where it is read from the page cache first.
    cached: Option<Cached>,
}

/// A file as the page cache has it, until that has not something of it; it is read past it from then on: what was written not
/// long ago is there as a whole, and asking for what is not there makes the kernel read some.
struct Cached {
    file: fs::File,
    has_missed: AtomicBool,
}

/// Opens an existing file for reading.
pub(super) fn open(path: &Path) -> io::Result<Arc<dyn File>> {
    Ok(Arc::new(ReadFile { direct: open_direct(path)?, cached: None }))
}

/// Opens an existing file for reading, from the page cache as far as that has it.
pub(super) fn open_passing(path: &Path) -> io::Result<Arc<dyn File>> {
    let (direct, file) = (open_direct(path)?, fs::File::open(path)?);
    // Neither is anything read ahead, nor does what is read stay longer because of that. It is advice: whoever does not know
    // it reads all the same.
    let _ = fadvise(&file, 0, None, Advice::Random);
    let _ = fadvise(&file, 0, None, Advice::NoReuse);
    Ok(Arc::new(ReadFile { direct, cached: Some(Cached { file, has_missed: AtomicBool::new(false) }) }))
}

fn open_direct(path: &Path) -> io::Result<fs::File> {
    let direct = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
    match direct {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => fs::File::open(path),
        other => other,
    }
}

impl Cached {
    /// Reads what the page cache has from there on, without waiting for a disk; how much, and whether that is all there is.
    /// Linux 5.9 and 5.10 may answer with none, as at the end of the file, where it only is not there (preadv2(2), BUGS):
    /// taken for the end, a whole segment would seem to be cut off.
    fn read(&self, buffer: &mut [u8], position: u64) -> (usize, bool) {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = position + done as u64;
            match preadv2(&self.file, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT) {
                Ok(0) => return (done, self.file.metadata().is_ok_and(|meta| meta.len() <= at)),
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                // It is not there, or such reads are not. What is wrong otherwise the other file tells.
                Err(_) => return (done, false),
            }
        }
        (done, true)
    }
}

impl ReadFile {
    fn read_direct(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let skip = (position % BLOCK_BYTES as u64) as usize;
        let len = (skip + buffer.len()).next_multiple_of(BLOCK_BYTES);
        let mut memory = vec![0; len + BLOCK_BYTES];
        let aligned = memory.as_ptr().align_offset(BLOCK_BYTES);
        let blocks = memory.get_mut(aligned..aligned + len).unwrap_or_default();
        let mut done = 0;
        while done < blocks.len() {
            let rest = blocks.get_mut(done..).unwrap_or_default();
            match self.direct.read_at(rest, position - skip as u64 + done as u64) {
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
}

impl File for ReadFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        if let Some(cached) = self.cached.as_ref().filter(|cached| !cached.has_missed.load(Ordering::Relaxed))
        {
            let is_all;
            (done, is_all) = cached.read(buffer, position);
            if is_all {
                return Ok(done);
            }
            cached.has_missed.store(true, Ordering::Relaxed);
        }
        let rest = buffer.get_mut(done..).unwrap_or_default();
        Ok(done + self.read_direct(rest, position + done as u64)?)
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
        self.direct.metadata().map(|meta| meta.len())
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

    const BYTES: usize = 30_001;

    fn assert_is_read(file: &dyn File, bytes: &[u8]) {
        assert_eq!(file.len().unwrap(), BYTES as u64);
        for (position, len) in
            [(0, 1), (0, BYTES), (5, 4096), (4096, 4096), (4095, 2), (29_990, 500), (BYTES, 9), (40_000, 9)]
        {
            let mut buffer = vec![0; len];
            let read = file.read_at(&mut buffer, position as u64).unwrap();
            let expected = &bytes[position.min(BYTES)..(position + len).min(BYTES)];
            assert_eq!(&buffer[..read], expected, "{position} {len}");
        }
        assert!(file.write_at(&[io::IoSlice::new(b"x")], 0).is_err());
    }

    #[test]
    fn any_place_and_length_is_read_as_it_is_in_the_file() {
        // Where there is one, a file system in memory: depending on the kernel it has one of the two ways of reading, or none.
        let in_memory = tempfile::tempdir_in("/dev/shm").ok();
        for dir in [tempfile::tempdir().ok(), in_memory].into_iter().flatten() {
            let path = dir.path().join("f");
            let bytes: Vec<u8> = (0..BYTES).map(|n| (n / 7) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            assert_is_read(&*open(&path).unwrap(), &bytes);
            // Cached as a whole, and without its end.
            assert_is_read(&*open_passing(&path).unwrap(), &bytes);
            let file = fs::File::open(&path).unwrap();
            file.sync_data().unwrap();
            fadvise(&file, 8192, None, Advice::DontNeed).unwrap();
            assert_is_read(&*open_passing(&path).unwrap(), &bytes);
        }
    }

    #[test]
    fn a_file_that_can_be_read_in_neither_way_is_read_all_the_same() {
        let path = Path::new("/proc/version");
        let expected = fs::read(path).unwrap();
        let (mut buffer, plain) = (vec![0; 4096], fs::File::open(path).unwrap());
        let refused = preadv2(&plain, &mut [IoSliceMut::new(&mut buffer)], 0, ReadWriteFlags::NOWAIT);
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
        let file = open_passing(path).unwrap();
        for position in [0, 3] {
            let read = file.read_at(&mut buffer, position as u64).unwrap();
            assert_eq!(&buffer[..read], &expected[position..]);
        }
    }
}
