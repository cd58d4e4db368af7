//! What controllers say to each other about the metadata log, as bytes: votes, entries, snapshots.
//!
//! docs/formats/quorum-rpc.md lists the bytes. What comes from a peer is judged here as far as it can be without the
//! log: the Raft library takes contradictions for its own mistakes and stops.

use crate::{
    checkpoint::SnapshotId,
    compact::{self, Malformed, Out},
    control_records,
    entry::Payload,
    member::Replica,
    membership_bytes::{read_epoch, read_flag, read_log_id, read_replica, write_log_id, write_replica},
    metadata_log::single_batch,
    type_config::{Entry, LogId, TypeConfig, Vote, log_id},
};
use bytes::Bytes;
use openraft::{
    entry::RaftEntry,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use std::sync::Arc;
use stdx::Cursor;

/// The form of the bytes. A node answers a version that it does not know with [`Answer::Refused`].
const VERSION: u8 = 0;
/// The shortest batch with its length.
const ENTRY_BYTES_MIN: usize = 62;

/// From whom to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) cluster_id: String,
    pub(crate) from: Replica,
    pub(crate) to: Replica,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Append(AppendEntriesRequest<TypeConfig>),
    Snapshot(Chunk),
    Transfer(TransferLeaderRequest<TypeConfig>),
}

/// A part of a snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) vote: Vote,
    pub(crate) id: SnapshotId,
    /// Of the whole file.
    pub(crate) size: u64,
    pub(crate) position: u64,
    pub(crate) bytes: Bytes,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Vote(VoteResponse<TypeConfig>),
    Append(AppendEntriesResponse<TypeConfig>),
    /// The receiver's vote, and where the next part begins.
    Snapshot {
        vote: Vote,
        next_position: u64,
    },
    Transfer(TransferLeaderResponse<TypeConfig>),
    /// The request was not carried out.
    Refused(String),
}

impl Request {
    pub(crate) fn encode(&self, envelope: &Envelope) -> Bytes {
        let mut out = Out::default();
        out.u8(VERSION);
        out.string(&envelope.cluster_id);
        write_replica(&mut out, envelope.from);
        write_replica(&mut out, envelope.to);
        match self {
            Self::Vote(request) | Self::PreVote(request) => {
                out.u8(if matches!(self, Self::Vote(_)) { 1 } else { 2 });
                write_vote(&mut out, request.vote);
                write_log_id(&mut out, request.last_log_id);
                out.u8(u8::from(request.leadership_transfer));
            }
            Self::Append(request) => {
                out.u8(3);
                write_vote(&mut out, request.vote);
                write_log_id(&mut out, request.prev_log_id);
                write_log_id(&mut out, request.leader_commit);
                out.count(request.entries.len());
                for entry in &request.entries {
                    match &entry.payload {
                        Payload::Stored { batch, .. } => out.bytes(batch),
                        // Entries are read from the log, where all of them are stored.
                        Payload::Blank | Payload::Records(_) | Payload::Membership(_) => out.bytes(&[]),
                    }
                }
            }
            Self::Snapshot(chunk) => {
                out.u8(4);
                write_vote(&mut out, chunk.vote);
                out.i64(chunk.id.end_offset);
                out.i32(chunk.id.epoch);
                out.u64(chunk.size);
                out.u64(chunk.position);
                out.bytes(&chunk.bytes);
            }
            Self::Transfer(request) => {
                out.u8(5);
                write_vote(&mut out, *request.from_leader());
                write_replica(&mut out, *request.to_node_id());
                write_log_id(&mut out, request.last_log_id().copied());
            }
        }
        out.0.into()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<(Envelope, Self), Malformed> {
        let mut cursor = Cursor::new(bytes);
        let version = cursor.u8()?;
        if version != VERSION {
            return Err(Malformed(format!("version {version} of the quorum's messages is not known here")));
        }
        let cluster_id = compact::string(&mut cursor)?;
        let envelope =
            Envelope { cluster_id, from: read_replica(&mut cursor)?, to: read_replica(&mut cursor)? };
        let request = match cursor.u8()? {
            1 => Self::Vote(read_vote_request(&mut cursor)?),
            2 => Self::PreVote(read_vote_request(&mut cursor)?),
            3 => Self::Append(read_append(bytes, &mut cursor)?),
            4 => Self::Snapshot(read_chunk(bytes, &mut cursor)?),
            5 => {
                let from = read_vote(&mut cursor)?;
                let to = read_replica(&mut cursor)?;
                Self::Transfer(TransferLeaderRequest::new(from, to, read_log_id(&mut cursor)?))
            }
            kind => return Err(Malformed(format!("there is no message of kind {kind}"))),
        };
        ended(&cursor)?;
        Ok((envelope, request))
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Out::default();
        out.u8(VERSION);
        match self {
            Self::Refused(why) => {
                out.u8(0);
                out.string(why);
            }
            Self::Vote(response) => {
                out.u8(1);
                write_vote(&mut out, response.vote);
                out.u8(u8::from(response.vote_granted));
                write_log_id(&mut out, response.last_log_id);
            }
            Self::Append(response) => {
                out.u8(3);
                match response {
                    AppendEntriesResponse::Success => out.u8(0),
                    AppendEntriesResponse::PartialSuccess(matching) => {
                        out.u8(1);
                        write_log_id(&mut out, *matching);
                    }
                    AppendEntriesResponse::Conflict => out.u8(2),
                    AppendEntriesResponse::HigherVote(vote) => {
                        out.u8(3);
                        write_vote(&mut out, *vote);
                    }
                }
            }
            Self::Snapshot { vote, next_position } => {
                out.u8(4);
                write_vote(&mut out, *vote);
                out.u64(*next_position);
            }
            Self::Transfer(response) => {
                out.u8(5);
                match response {
                    Ok(()) => out.u8(0),
                    Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                        out.u8(1);
                        write_vote(&mut out, *expected);
                        write_vote(&mut out, *actual);
                    }
                    Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                        out.u8(2);
                        write_log_id(&mut out, *expected);
                        write_log_id(&mut out, *actual);
                    }
                }
            }
        }
        out.0.into()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let version = cursor.u8()?;
        if version != VERSION {
            return Err(Malformed(format!("version {version} of the quorum's messages is not known here")));
        }
        let answer = match cursor.u8()? {
            0 => Self::Refused(compact::string(&mut cursor)?),
            1 => {
                let (vote, granted) = (read_vote(&mut cursor)?, read_flag(&mut cursor)?);
                Self::Vote(VoteResponse::new(vote, read_log_id(&mut cursor)?, granted))
            }
            3 => Self::Append(match cursor.u8()? {
                0 => AppendEntriesResponse::Success,
                1 => AppendEntriesResponse::PartialSuccess(read_log_id(&mut cursor)?),
                2 => AppendEntriesResponse::Conflict,
                3 => AppendEntriesResponse::HigherVote(read_vote(&mut cursor)?),
                other => return Err(Malformed(format!("there is no outcome {other}"))),
            }),
            4 => Self::Snapshot { vote: read_vote(&mut cursor)?, next_position: cursor.u64()? },
            5 => Self::Transfer(match cursor.u8()? {
                0 => Ok(()),
                1 => {
                    let (expected, actual) = (read_vote(&mut cursor)?, read_vote(&mut cursor)?);
                    Err(TransferLeaderError::VoteChanged { expected, actual })
                }
                2 => {
                    let (expected, actual) = (read_log_id(&mut cursor)?, read_log_id(&mut cursor)?);
                    Err(TransferLeaderError::LogNotFlushed { expected, actual })
                }
                other => return Err(Malformed(format!("there is no outcome {other}"))),
            }),
            kind => return Err(Malformed(format!("there is no answer of kind {kind}"))),
        };
        ended(&cursor)?;
        Ok(answer)
    }
}

fn ended(cursor: &Cursor<'_>) -> Result<(), Malformed> {
    match cursor.remaining() {
        0 => Ok(()),
        more => Err(Malformed(format!("{more} bytes too many"))),
    }
}

fn write_vote(out: &mut Out, vote: Vote) {
    out.u64(vote.leader_id.term);
    write_replica(out, vote.leader_id.voted_for);
    out.u8(u8::from(vote.committed));
}

fn read_vote(cursor: &mut Cursor<'_>) -> Result<Vote, Malformed> {
    let (term, replica) = (read_epoch(cursor)? as u64, read_replica(cursor)?);
    Ok(if read_flag(cursor)? { Vote::new_committed(term, replica) } else { Vote::new(term, replica) })
}

fn read_vote_request(cursor: &mut Cursor<'_>) -> Result<VoteRequest<TypeConfig>, Malformed> {
    let vote = read_vote(cursor)?;
    let mut request = VoteRequest::new(vote, read_log_id(cursor)?);
    request.leadership_transfer = read_flag(cursor)?;
    match vote.committed || !is_of(request.last_log_id, vote) {
        true => Err(Malformed(format!("nobody asks for {vote} with entries of a later epoch"))),
        false => Ok(request),
    }
}

fn read_append(
    whole: &Bytes,
    cursor: &mut Cursor<'_>,
) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let vote = read_vote(cursor)?;
    let prev_log_id = read_log_id(cursor)?;
    let leader_commit = read_log_id(cursor)?;
    let mut index = prev_log_id.map_or(0, |prev| prev.index.saturating_add(1));
    let mut last = prev_log_id;
    let mut entries = Vec::new();
    for _ in 0..compact::count(cursor, ENTRY_BYTES_MIN)? {
        let len = (cursor.unsigned_varint()? as usize).saturating_sub(1);
        let batch = single_batch(compact::slice_of(whole, cursor, len)?)?;
        let id = log_id(batch.header.leader_epoch, index);
        if batch.header.leader_epoch < 0 || last.is_some_and(|last| last.leader_id > id.leader_id) {
            return Err(Malformed(format!("entry {id} does not follow")));
        }
        let membership = control_records::membership_of(&batch)?.map(Arc::new);
        entries.push(Entry::new(id, Payload::Stored { batch: batch.bytes, membership }));
        (last, index) = (Some(id), index.saturating_add(1));
    }
    if !vote.committed || !is_of(last, vote) || !is_of(leader_commit, vote) {
        return Err(Malformed(format!("the leader of {vote} cannot have these entries")));
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn read_chunk(whole: &Bytes, cursor: &mut Cursor<'_>) -> Result<Chunk, Malformed> {
    let vote = read_vote(cursor)?;
    let id = SnapshotId { end_offset: cursor.i64()?, epoch: cursor.i32()? };
    let (size, position) = (cursor.u64()?, cursor.u64()?);
    let len = (cursor.unsigned_varint()? as usize).saturating_sub(1);
    let bytes = compact::slice_of(whole, cursor, len)?;
    let right = vote.committed
        && id.end_offset >= 0
        && u64::try_from(id.epoch).is_ok_and(|epoch| epoch <= vote.leader_id.term)
        && position.checked_add(len as u64).is_some_and(|end| end <= size);
    match right {
        true => Ok(Chunk { vote, id, size, position, bytes }),
        false => Err(Malformed(format!("the part of snapshot {} contradicts itself", id.file_name()))),
    }
}

/// Whether somebody of that vote can know of that entry.
fn is_of(id: Option<LogId>, vote: Vote) -> bool {
    id.is_none_or(|id| *id.leader_id <= vote.leader_id.term)
}

#[cfg(test)]
mod tests;
