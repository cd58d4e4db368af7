//! The file `raft-state`: whom this replica has voted for, and how Raft's indexes map to offsets.
//!
//! docs/formats/metadata-log.md lists its bytes. It is replaced as a whole and synced before anybody hears of what it
//! says; a damaged one is an error, because a replica that forgets its vote could elect two leaders.

use crate::{
    compact::{Malformed, Out},
    member::Replica,
    membership_bytes::{read_epoch, read_flag, read_log_id, read_replica, write_log_id, write_replica},
    type_config::{LogId, Vote},
};
use env::Disk;
use model::Offset;
use std::{
    io,
    path::{Path, PathBuf},
};
use stdx::Cursor;

/// The file's name.
pub(crate) const RAFT_STATE: &str = "raft-state";

const MAGIC: [u8; 4] = *b"ODRS";
const VERSION: u8 = 1;
const BYTES_MAX: u64 = 1024;

/// Why the file cannot be read although nothing is damaged. What a disk cannot do is told by the same kind of I/O error, so
/// whoever opens a log looks for this one inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} was written by a newer version of this program, in format {version}, and this one reads format {VERSION}",
    .path.display()
)]
pub struct NewerFormat {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub version: u8,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RaftState {
    /// Whose file it is: a copied directory is recognised.
    pub(crate) replica: Replica,
    /// The newest vote.
    pub(crate) vote: Option<Vote>,
    /// The last entry that is only in a snapshot.
    pub(crate) purged: Option<LogId>,
    /// The offset after that entry: where the log begins.
    pub(crate) start_offset: Offset,
    /// Everything before was on stable storage when this was written.
    pub(crate) recovery_point: Offset,
    /// An entry that was known to be committed when this was written.
    pub(crate) committed: Option<LogId>,
}

impl RaftState {
    /// Of a replica that has done nothing yet.
    pub(crate) fn new(replica: Replica) -> Self {
        Self { replica, vote: None, purged: None, start_offset: 0, recovery_point: 0, committed: None }
    }

    /// What the file in `dir` says; `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(RAFT_STATE);
        let bytes = match disk.read_small(&path, BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if let Some(version) = newer_version(&bytes) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, NewerFormat { path, version }));
        }
        Self::decode(&bytes).map(Some).map_err(|error| {
            let text = format!(
                "{} is damaged ({error}): this replica may not vote; remove it from the quorum \
                 (kafka-metadata-quorum remove-controller) and let it join again with an empty directory",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Replaces the file in `dir`; when this returns, it is on stable storage.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        env::write_whole(disk, &dir.join(RAFT_STATE), &self.encode())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Out::default();
        write_replica(&mut body, self.replica);
        body.u8(u8::from(self.vote.is_some()));
        if let Some(vote) = self.vote {
            body.u64(vote.leader_id.term);
            write_replica(&mut body, vote.leader_id.voted_for);
            body.u8(u8::from(vote.committed));
        }
        write_log_id(&mut body, self.purged);
        body.i64(self.start_offset);
        body.i64(self.recovery_point);
        write_log_id(&mut body, self.committed);
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&stdx::crc32c(&body.0).to_be_bytes());
        bytes.extend_from_slice(&body.0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array::<4>()? != MAGIC {
            return Err(Malformed("it is no file of odradek's".into()));
        }
        let version = cursor.u8()?;
        if version != VERSION {
            return Err(Malformed(format!("it has version {version}, this program knows {VERSION}")));
        }
        let checksum = cursor.u32()?;
        if checksum != stdx::crc32c(cursor.rest()) {
            return Err(Malformed("its checksum is wrong".into()));
        }
        let replica = read_replica(&mut cursor)?;
        let vote = match read_flag(&mut cursor)? {
            false => None,
            true => {
                let term = read_epoch(&mut cursor)? as u64;
                let leader = read_replica(&mut cursor)?;
                let committed = read_flag(&mut cursor)?;
                Some(if committed { Vote::new_committed(term, leader) } else { Vote::new(term, leader) })
            }
        };
        let purged = read_log_id(&mut cursor)?;
        let (start_offset, recovery_point) = (cursor.i64()?, cursor.i64()?);
        let committed = read_log_id(&mut cursor)?;
        match cursor.remaining() {
            0 => Ok(Self { replica, vote, purged, start_offset, recovery_point, committed }),
            more => Err(Malformed(format!("it has {more} bytes too many"))),
        }
    }
}

/// The version of a file that is ours and newer than this program.
fn newer_version(bytes: &[u8]) -> Option<u8> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    rest.first().copied().filter(|version| *version > VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::type_config::log_id;
    use log::testing::MemoryDisk;
    use std::path::PathBuf;
    use stdx::Uuid;

    fn full() -> RaftState {
        RaftState {
            replica: Replica { node: 3, directory: Uuid([7; 16]) },
            vote: Some(Vote::new_committed(5, Replica { node: 2, directory: Uuid([9; 16]) })),
            purged: Some(log_id(4, 17)),
            start_offset: 40,
            recovery_point: 52,
            committed: Some(log_id(5, 20)),
        }
    }

    #[test]
    fn the_state_reads_back_and_its_bytes_stay_the_same() {
        for state in [full(), RaftState::new(Replica::default())] {
            assert_eq!(RaftState::decode(&state.encode()), Ok(state));
        }
        let golden = [
            &b"ODRS\x01\x80\xd3\xa7\x81"[..],
            &[0, 0, 0, 3],
            &[7; 16],
            &[1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2],
            &[9; 16],
            &[1],
            &[1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 17],
            &[0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 52],
            &[1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 20],
        ]
        .concat();
        assert_eq!(full().encode(), golden);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = full().encode();
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(RaftState::decode(&damaged).is_err(), "bit {at}");
        }
        for len in 0..bytes.len() {
            assert!(RaftState::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_was_written_survives_a_power_cut_and_damage_is_told_with_its_remedy() {
        let (disk, dir) = (MemoryDisk::new(), PathBuf::from("/log"));
        assert_eq!(RaftState::read(&disk, &dir).unwrap(), None);
        full().write(&disk, &dir).unwrap();
        let disk = disk.after_power_cut();
        assert_eq!(RaftState::read(&disk, &dir).unwrap(), Some(full()));
        disk.put(&dir.join(RAFT_STATE), b"ODRS".to_vec());
        let error = RaftState::read(&disk, &dir).unwrap_err().to_string();
        assert!(error.contains("may not vote"), "{error}");
        let mut newer = full().encode();
        newer[4] = 2;
        disk.put(&dir.join(RAFT_STATE), newer);
        let error = RaftState::read(&disk, &dir).unwrap_err().downcast::<NewerFormat>().unwrap();
        assert_eq!(error, NewerFormat { path: dir.join(RAFT_STATE), version: 2 });
        assert!(error.to_string().contains("format 2, and this one reads format 1"), "{error}");
    }
}
