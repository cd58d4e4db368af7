//! Opening a log directory: quickly after a clean end, with a scan of what may not have been synced after a crash.
//!
//! docs/formats/segment.md has the rule of what is truncated and what takes the log offline. The broker opens all
//! logs of a directory at start-up, several at once, on disk lanes.

use crate::{Files, Log, LogConfig};
use env::Disk;
use model::{Offset, Timestamp};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What is known of a log before it is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Its configuration.
    pub config: LogConfig,
    /// Whether the log directory was left by a clean end (`.kafka_cleanshutdown` was there).
    pub clean: bool,
    /// From `recovery-point-offset-checkpoint`, or 0.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`, or 0.
    pub start_offset: Offset,
    /// The broker's clock.
    pub now: Timestamp,
}

/// An open log.
pub struct Opened {
    /// The core.
    pub log: Log,
    /// Its files.
    pub files: Files,
    /// What had to be done.
    pub recovery: Recovery,
}

/// What opening had to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of batches that were read and verified.
    pub bytes_verified: u64,
    /// Bytes that were cut off the end: what a crash left half written.
    pub bytes_truncated: u64,
    /// Whole segments that were dropped with them.
    pub segments_dropped: usize,
    /// Segments whose indexes were written anew.
    pub indexes_rebuilt: usize,
}

/// Data that was known to be on stable storage, or that was acknowledged, is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {position}, offset {offset} or later: {why}", file.display())]
pub struct Damage {
    /// The segment file.
    pub file: PathBuf,
    /// Where the first bad batch begins.
    pub position: u64,
    /// The first offset that cannot be read.
    pub offset: Offset,
    /// What is wrong.
    pub why: String,
}

/// Why a log cannot be opened; the other logs are not concerned.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing was changed; the partition must stay offline until somebody repairs it.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The disk failed.
    #[error("the log cannot be opened: {0}")]
    Io(#[from] io::Error),
}

/// Opens the log in `dir`, or creates it if there is none.
pub fn open(disk: &dyn Disk, dir: &Path, options: OpenOptions) -> Result<Opened, OpenError> {
    let _ = (disk, dir, options);
    Err(OpenError::Io(io::Error::from(io::ErrorKind::Unsupported)))
}
