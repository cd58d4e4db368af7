//! Kafka's checkpoint files: a version, a count and one entry a line, in plain text.
//!
//! The offsets of all partitions of a log directory (`recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`,
//! `replication-offset-checkpoint`) and the leader epochs of one log (`leader-epoch-checkpoint`) are such.

use crate::EpochEntry;
use env::Disk;
use model::{Offset, TopicName, TopicPartition};
use std::{
    collections::BTreeMap,
    fmt::Write,
    io::{self, ErrorKind},
    path::Path,
};

/// The recovery points of a log directory.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The start offsets of a log directory, of logs whose start offset is not that of their first segment.
pub const LOG_START_OFFSETS: &str = "log-start-offset-checkpoint";
/// The high watermarks of a log directory.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

/// Up to where each log of a log directory was compacted.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// A line per partition; a log directory may have a few hundred thousand.
const BYTES_MAX: u64 = 256 << 20;

/// The offsets of a log directory.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads a file of offsets; a missing or empty one has none.
pub fn read_offsets(disk: &dyn Disk, path: &Path) -> io::Result<Offsets> {
    let lines = read(disk, path)?.unwrap_or_default();
    lines.iter().map(|line| parse_offset(line).ok_or_else(|| malformed(path, line))).collect()
}

/// Replaces a file of offsets.
pub fn write_offsets(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> io::Result<()> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    env::write_whole(disk, path, text.as_bytes())
}

/// Reads a file of leader epochs; `None` if it is missing, cut or damaged, so that the batches must be asked.
pub(crate) fn read_epochs(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<EpochEntry>>> {
    match read(disk, path) {
        Ok(lines) => Ok(lines.and_then(|lines| lines.iter().map(|line| parse_epoch(line)).collect())),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

/// The contents of a file of leader epochs.
pub(crate) fn encode_epochs(entries: &[EpochEntry]) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
    }
    text
}

/// The lines of the entries; `None` if there is no file, or nothing in it.
fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<String>>> {
    let bytes = match disk.read_small(path, BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let text = String::from_utf8(bytes).map_err(|_| malformed(path, "bytes that are no text"))?;
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(None),
        Some("0") => {}
        Some(version) => return Err(malformed(path, version)),
    }
    let Some(count) = lines.next() else { return Ok(None) };
    let entries: Vec<_> = lines.map(str::to_owned).collect();
    if count.parse() == Ok(entries.len()) { Ok(Some(entries)) } else { Err(malformed(path, count)) }
}

fn parse_offset(line: &str) -> Option<(TopicPartition, Offset)> {
    let [topic, partition, offset] = words(line)?;
    Some((TopicPartition::new(TopicName::new(topic).ok()?, partition.parse().ok()?), offset.parse().ok()?))
}

fn parse_epoch(line: &str) -> Option<EpochEntry> {
    let [epoch, start_offset] = words(line)?;
    Some(EpochEntry { epoch: epoch.parse().ok()?, start_offset: start_offset.parse().ok()? })
}

fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    line.split_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn malformed(path: &Path, line: &str) -> io::Error {
    let path = path.display();
    io::Error::new(ErrorKind::InvalidData, format!("{path} is no checkpoint of version 0: '{line}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    fn path() -> &'static Path {
        Path::new("/data/recovery-point-offset-checkpoint")
    }

    #[test]
    fn offsets_read_back_and_their_bytes_are_kafkas() {
        let disk = MemoryDisk::new();
        assert_eq!(read_offsets(&disk, path()).unwrap(), Offsets::new());
        let partition = |topic, index| TopicPartition::new(TopicName::new(topic).unwrap(), index);
        let offsets = Offsets::from([(partition("b", 10), 7), (partition("a.x", 0), i64::MAX)]);
        write_offsets(&disk, path(), &offsets).unwrap();
        assert_eq!(disk.contents(path()).unwrap(), b"0\n2\na.x 0 9223372036854775807\nb 10 7\n");
        assert_eq!(read_offsets(&disk, path()).unwrap(), offsets);
    }

    #[test]
    fn epochs_read_back_and_their_bytes_are_kafkas() {
        let disk = MemoryDisk::new();
        let entries = [(0, 0), (5, 120)].map(|(epoch, start_offset)| EpochEntry { epoch, start_offset });
        let text = encode_epochs(&entries);
        assert_eq!(text, "0\n2\n0 0\n5 120\n");
        disk.put(path(), text.into());
        assert_eq!(read_epochs(&disk, path()).unwrap().unwrap(), entries);
        disk.put(path(), b"0\n0\n".to_vec());
        assert_eq!(read_epochs(&disk, path()).unwrap(), Some(Vec::new()));
        for damaged in ["", "0\n", "0\n2\n0 0\n", "0\n1\n0 x\n", "9\n0\n"] {
            disk.put(path(), damaged.into());
            assert_eq!(read_epochs(&disk, path()).unwrap(), None, "{damaged:?}");
        }
    }

    #[test]
    fn files_that_are_cut_or_of_another_version_are_refused() {
        let disk = MemoryDisk::new();
        for bad in ["1\n0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 1 2\n", "0\nx\n", "0\n1\n/ 0 1\n"] {
            disk.put(path(), bad.into());
            assert!(read_offsets(&disk, path()).is_err(), "{bad:?}");
        }
        for empty in ["", "0\n", "0\n0\n"] {
            disk.put(path(), empty.into());
            assert!(read_offsets(&disk, path()).unwrap().is_empty(), "{empty:?}");
        }
    }
}
