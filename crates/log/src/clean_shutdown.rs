//! The file `.kafka_cleanshutdown` in a log directory: its logs were closed, so they open without a scan (KIP-966 adds
//! the broker's epoch).
//!
//! It is written last at the end and removed first at the start.

use env::Disk;
use std::{
    io::{self, ErrorKind},
    path::Path,
};

/// The name of the file.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

const BYTES_MAX: u64 = 4096;

/// Says that all logs of the directory were closed.
pub fn write_clean_shutdown(disk: &dyn Disk, log_dir: &Path, broker_epoch: i64) -> io::Result<()> {
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    env::write_whole(disk, &log_dir.join(CLEAN_SHUTDOWN), text.as_bytes())
}

/// Whether all logs of the directory were closed, and the broker's epoch then (-1 if the file does not say); removes
/// the file, so that a crash from now on is seen.
pub fn take_clean_shutdown(disk: &dyn Disk, log_dir: &Path) -> io::Result<Option<i64>> {
    let path = log_dir.join(CLEAN_SHUTDOWN);
    let bytes = match disk.read_small(&path, BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    disk.remove_file(&path)?;
    disk.sync_dir(log_dir)?;
    Ok(Some(std::str::from_utf8(&bytes).ok().and_then(broker_epoch).unwrap_or(-1)))
}

fn broker_epoch(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("\"brokerEpoch\"")?;
    let digits = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    #[test]
    fn the_file_is_there_once_after_a_clean_end() {
        let (disk, dir) = (MemoryDisk::new(), Path::new("/data"));
        write_clean_shutdown(&disk, dir, 42).unwrap();
        let bytes = disk.contents(&dir.join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(bytes, br#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(take_clean_shutdown(&disk, dir).unwrap(), Some(42));
        assert_eq!(take_clean_shutdown(&disk, dir).unwrap(), None);
    }

    #[test]
    fn a_file_of_an_older_version_counts_too() {
        let (disk, dir) = (MemoryDisk::new(), Path::new("/data"));
        disk.put(&dir.join(CLEAN_SHUTDOWN), Vec::new());
        assert_eq!(take_clean_shutdown(&disk, dir).unwrap(), Some(-1));
    }
}
