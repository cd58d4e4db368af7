//! The control batches of the metadata log and of its snapshots, as Kafka writes them (KIP-595, KIP-630, KIP-853).
//!
//! What Kafka's records have no place for (two configurations during a change, observers, Raft's indexes) stands in one
//! tagged field of ours, which Kafka's readers skip. It does not decide who votes.

use crate::{
    compact::{self, Malformed, Out},
    member::{KRAFT_VERSION, Replica},
    membership_bytes::{
        read_membership, read_stored, read_tag, skip_tags, write_member, write_membership, write_replica,
        write_stored,
    },
    type_config::{LogId, Membership, StoredMembership},
};
use model::Timestamp;
use records::{Batch, BatchBuilder, ControlType, Decompressor, Record};
use std::io;
use stdx::Cursor;

/// The number of our tagged field: "OD".
const TAG: u32 = 0x4f44;
/// No control batch is larger: its records are read at once.
const CONTROL_BYTES_MAX: usize = 1 << 20;

/// What the header of a snapshot says beside its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotHead {
    /// The newest timestamp of the records that the snapshot stands for.
    pub(crate) timestamp: Timestamp,
    /// The last entry that it stands for.
    pub(crate) last: LogId,
    /// Who took part then.
    pub(crate) membership: StoredMembership,
}

/// A leader begins its epoch. In version 0, without directories: Kafka reads no other, whatever the message says.
pub(crate) fn leader_change(now: Timestamp, leader: Replica, voters: &[Replica]) -> io::Result<Batch> {
    let mut out = Out::default();
    out.i16(0);
    out.i32(leader.node);
    // Who has granted the vote is not told by the Raft library; the leader itself has.
    for list in [voters, &[leader]] {
        out.count(list.len());
        for voter in list {
            out.i32(voter.node);
            out.varint(0);
        }
    }
    out.varint(0);
    batch(now, &[(ControlType::LeaderChange, out.0)])
}

/// Who takes part from here on; `first` if nothing of the kind stands before it in the log.
pub(crate) fn voters(now: Timestamp, membership: &Membership, first: bool) -> io::Result<Batch> {
    let voters = (ControlType::KRaftVoters, voters_record(membership));
    match first {
        true => batch(now, &[(ControlType::KRaftVersion, kraft_version()), voters]),
        false => batch(now, &[voters]),
    }
}

/// The membership that a batch of the log says, if it is a control batch about voters.
pub(crate) fn membership_of(batch: &Batch) -> Result<Option<Membership>, Malformed> {
    if !batch.header.attributes.is_control() {
        return Ok(None);
    }
    let mut found = None;
    for (kind, value) in control_records(batch)? {
        if kind == Some(ControlType::KRaftVoters) {
            found = Some(read_voters(&value)?);
        }
    }
    Ok(found)
}

/// The first batch of a snapshot.
pub(crate) fn snapshot_header(head: &SnapshotHead) -> io::Result<Batch> {
    let mut out = Out::default();
    out.i16(0);
    out.i64(head.timestamp);
    let mut ours = Out::default();
    ours.u64(*head.last.leader_id);
    ours.u64(head.last.index);
    write_stored(&mut ours, &head.membership);
    tag(&mut out, &ours);
    batch(
        head.timestamp,
        &[
            (ControlType::SnapshotHeader, out.0),
            (ControlType::KRaftVersion, kraft_version()),
            (ControlType::KRaftVoters, voters_record(head.membership.membership())),
        ],
    )
}

/// What the first batch of a snapshot says.
pub(crate) fn read_snapshot_header(batch: &Batch) -> Result<SnapshotHead, Malformed> {
    let records = control_records(batch)?;
    let header = records.iter().find(|(kind, _)| *kind == Some(ControlType::SnapshotHeader));
    let (_, value) = header.ok_or_else(|| Malformed("the first batch is no header of a snapshot".into()))?;
    let mut cursor = Cursor::new(value);
    cursor.i16()?;
    let timestamp = cursor.i64()?;
    let ours = read_tag(&mut cursor, TAG)?;
    let mut ours = Cursor::new(ours.ok_or_else(|| Malformed("the snapshot says no index of Raft's".into()))?);
    let epoch = crate::membership_bytes::read_epoch(&mut ours)?;
    let last = crate::type_config::log_id(epoch, ours.u64()?);
    Ok(SnapshotHead { timestamp, last, membership: read_stored(&mut ours)? })
}

/// The last batch of a snapshot.
pub(crate) fn snapshot_footer(now: Timestamp) -> io::Result<Batch> {
    batch(now, &[(ControlType::SnapshotFooter, vec![0, 0, 0])])
}

/// Whether a batch is the last one of a snapshot.
pub(crate) fn is_snapshot_footer(batch: &Batch) -> bool {
    batch.header.attributes.is_control()
        && control_records(batch)
            .is_ok_and(|records| records.iter().any(|(kind, _)| *kind == Some(ControlType::SnapshotFooter)))
}

fn kraft_version() -> Vec<u8> {
    let mut out = Out::default();
    out.i16(0);
    out.i16(KRAFT_VERSION);
    out.varint(0);
    out.0
}

/// Kafka sees the voters of the newest configuration; the tagged field has everything.
fn voters_record(membership: &Membership) -> Vec<u8> {
    let mut out = Out::default();
    out.i16(0);
    let newest = membership.get_joint_config().last();
    let voters: Vec<_> = newest.into_iter().flatten().collect();
    out.count(voters.len());
    for voter in voters {
        write_replica(&mut out, *voter);
        write_member(&mut out, membership.get_node(voter).unwrap_or(&Default::default()));
        out.varint(0);
    }
    let mut ours = Out::default();
    write_membership(&mut ours, membership);
    tag(&mut out, &ours);
    out.0
}

fn read_voters(value: &[u8]) -> Result<Membership, Malformed> {
    let mut cursor = Cursor::new(value);
    cursor.i16()?;
    for _ in 0..compact::count(&mut cursor, 24)? {
        crate::membership_bytes::read_replica(&mut cursor)?;
        crate::membership_bytes::read_member(&mut cursor)?;
        skip_tags(&mut cursor)?;
    }
    let ours = read_tag(&mut cursor, TAG)?;
    let ours =
        ours.ok_or_else(|| Malformed("the voters were written by Apache Kafka, not by odradek".into()))?;
    read_membership(&mut Cursor::new(ours))
}

fn tag(out: &mut Out, ours: &Out) {
    out.varint(1);
    out.varint(TAG as usize);
    out.varint(ours.0.len());
    out.0.extend_from_slice(&ours.0);
}

fn batch(now: Timestamp, records: &[(ControlType, Vec<u8>)]) -> io::Result<Batch> {
    let mut builder = BatchBuilder::new().control();
    for (kind, value) in records {
        builder.push(now, Some(&kind.to_key()), Some(value), &[]);
    }
    builder.build()
}

fn control_records(batch: &Batch) -> Result<Vec<(Option<ControlType>, bytes::Bytes)>, Malformed> {
    let records = batch.records(CONTROL_BYTES_MAX, &mut Decompressor::new());
    let records = records.map_err(|error| Malformed(format!("a control batch cannot be read: {error}")))?;
    let kind = |record: &Record| ControlType::from_key(record.key.as_deref().unwrap_or_default());
    Ok(records.into_iter().map(|record| (kind(&record), record.value.unwrap_or_default())).collect())
}

#[cfg(test)]
mod tests;
