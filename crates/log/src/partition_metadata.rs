//! The file `partition.metadata` in a log's directory: which topic the log belongs to (KIP-516).
//!
//! ```text
//! version: 0
//! topic_id: AAAAAAAAAAAAAAAAAAAAAQ
//! ```

use crate::names;
use env::Disk;
use std::{
    io::{self, ErrorKind},
    path::Path,
};
use stdx::Uuid;

const BYTES_MAX: u64 = 4096;

/// The topic id of the log in `dir`; `None` if the file is not there.
pub fn read_topic_id(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Uuid>> {
    let path = dir.join(names::PARTITION_METADATA);
    let bytes = match disk.read_small(&path, BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let id = std::str::from_utf8(&bytes).ok().and_then(parse);
    id.map(Some).ok_or_else(|| {
        let path = path.display();
        io::Error::new(ErrorKind::InvalidData, format!("{path} holds no topic id"))
    })
}

/// Says to which topic the log in `dir` belongs; before anything is written to the log. The directory remains to be
/// synced.
pub fn write_topic_id(disk: &dyn Disk, dir: &Path, id: Uuid) -> io::Result<()> {
    let text = format!("version: 0\ntopic_id: {id}");
    env::replace_whole(disk, &dir.join(names::PARTITION_METADATA), text.as_bytes())
}

fn parse(text: &str) -> Option<Uuid> {
    let value =
        |key: &str| text.lines().find_map(|line| line.split_once(':').filter(|(k, _)| k.trim() == key));
    let (_, version) = value("version")?;
    let (_, id) = value("topic_id")?;
    Uuid::parse(id.trim()).filter(|id| version.trim() == "0" && !id.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    #[test]
    fn the_file_reads_back_and_its_bytes_are_kafkas() {
        let (disk, dir) = (MemoryDisk::new(), Path::new("/data/topic-0"));
        assert_eq!(read_topic_id(&disk, dir).unwrap(), None);
        write_topic_id(&disk, dir, Uuid::METADATA_TOPIC).unwrap();
        let bytes = disk.contents(&dir.join("partition.metadata")).unwrap();
        assert_eq!(bytes, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(read_topic_id(&disk, dir).unwrap(), Some(Uuid::METADATA_TOPIC));
    }

    #[test]
    fn anything_else_is_refused() {
        let (disk, dir) = (MemoryDisk::new(), Path::new("/data/topic-0"));
        for bad in ["", "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ", "version: 0\ntopic_id: x", "\u{0}"] {
            disk.put(&dir.join("partition.metadata"), bad.into());
            assert!(read_topic_id(&disk, dir).is_err(), "{bad:?}");
        }
    }
}
