//! The file `meta.properties` in a log directory: to which cluster and node the directory belongs (KIP-78, KIP-858).
//!
//! It is a Java properties file. Version 1 is written; version 0, of brokers that kept their metadata in ZooKeeper, is
//! read.

use env::Disk;
use model::NodeId;
use std::{
    io::{self, ErrorKind},
    path::Path,
};
use stdx::Uuid;

/// The name of the file.
pub const META_PROPERTIES: &str = "meta.properties";

const BYTES_MAX: u64 = 64 * 1024;

/// Whose a log directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster; any text, usually a UUID in Kafka's form.
    pub cluster_id: String,
    /// The node.
    pub node_id: NodeId,
    /// The directory itself (KIP-858).
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Reads the file of a log directory; `None` if it is not there.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> io::Result<Option<Self>> {
        let path = log_dir.join(META_PROPERTIES);
        let bytes = match disk.read_small(&path, BYTES_MAX) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let properties =
            std::str::from_utf8(&bytes).map_err(|_| "it is no text".to_owned()).and_then(Self::parse);
        properties.map(Some).map_err(|why| {
            let path = path.display();
            io::Error::new(ErrorKind::InvalidData, format!("{path} cannot be used: {why}"))
        })
    }

    /// Writes the file of a log directory.
    pub fn write(&self, disk: &dyn Disk, log_dir: &Path) -> io::Result<()> {
        let mut text = format!("#\ncluster.id={}\n", escape(&self.cluster_id));
        if let Some(directory_id) = self.directory_id {
            text += &format!("directory.id={directory_id}\n");
        }
        text += &format!("node.id={}\nversion=1\n", self.node_id);
        env::write_whole(disk, &log_dir.join(META_PROPERTIES), text.as_bytes())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| {
            text.lines().map(str::trim_start).filter(|line| !line.starts_with(['#', '!'])).find_map(|line| {
                let (name, value) = line.split_once(['=', ':'])?;
                (name.trim() == key).then(|| unescape(value.trim_start()))
            })
        };
        let node = match value("version").as_deref() {
            Some("1") => value("node.id"),
            Some("0") | None => value("node.id").or_else(|| value("broker.id")),
            Some(version) => {
                return Err(format!(
                    "its version is {version}, and this program reads 0 and 1; start the newer version that wrote it"
                ));
            }
        };
        let directory_id = match value("directory.id") {
            None => None,
            Some(id) => Some(Uuid::parse(&id).ok_or("its directory.id is no id")?),
        };
        Ok(Self {
            cluster_id: value("cluster.id").ok_or("it has no cluster.id")?,
            node_id: node.and_then(|id| id.parse().ok()).ok_or("it has no node.id")?,
            directory_id,
        })
    }
}

/// Java escapes these in values; an id rarely has any.
fn escape(value: &str) -> String {
    let escaped = |c: char| matches!(c, '=' | ':' | '#' | '!' | '\\').then_some('\\').into_iter().chain([c]);
    value.chars().flat_map(escaped).collect()
}

fn unescape(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    #[test]
    fn the_file_reads_back() {
        let (disk, dir) = (MemoryDisk::new(), Path::new("/data"));
        assert_eq!(MetaProperties::read(&disk, dir).unwrap(), None);
        let properties = MetaProperties {
            cluster_id: "a=b:c\\".into(),
            node_id: 3,
            directory_id: Some(Uuid::METADATA_TOPIC),
        };
        properties.write(&disk, dir).unwrap();
        let expected =
            "#\ncluster.id=a\\=b\\:c\\\\\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=3\nversion=1\n";
        assert_eq!(disk.contents(&dir.join(META_PROPERTIES)).unwrap(), expected.as_bytes());
        assert_eq!(MetaProperties::read(&disk, dir).unwrap(), Some(properties));
    }

    #[test]
    fn files_that_kafka_wrote_are_read() {
        let kafka = "#\n#Sat Nov 21 10:00:00 UTC 2026\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n\
                     version=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n";
        let properties = MetaProperties::parse(kafka).unwrap();
        assert_eq!((properties.node_id, properties.cluster_id.as_str()), (1, "4L6g3nShT-eMCtK--X86sw"));
        let old = MetaProperties::parse("version=0\nbroker.id=7\ncluster.id=x").unwrap();
        assert_eq!((old.node_id, old.directory_id), (7, None));
    }

    #[test]
    fn incomplete_and_newer_files_are_refused() {
        for bad in
            ["", "version=2\nnode.id=1\ncluster.id=x", "version=1\ncluster.id=x", "version=1\nnode.id=1"]
        {
            assert!(MetaProperties::parse(bad).is_err(), "{bad:?}");
        }
    }
}
