//! Replicas, members and memberships as bytes: inside of voters records, and on the way to other controllers.
//!
//! The form belongs to docs/formats/metadata-log.md. It does not judge whether a membership makes sense.

use crate::{
    compact::{self, Malformed, Out},
    member::{Endpoint, Member, Replica},
    type_config::{LogId, Membership, StoredMembership, log_id},
};
use std::collections::{BTreeMap, BTreeSet};
use stdx::Cursor;

const REPLICA_BYTES: usize = 20;

pub(crate) fn write_replica(out: &mut Out, replica: Replica) {
    out.i32(replica.node);
    out.uuid(replica.directory);
}

pub(crate) fn read_replica(cursor: &mut Cursor<'_>) -> Result<Replica, Malformed> {
    Ok(Replica { node: cursor.i32()?, directory: compact::uuid(cursor)? })
}

/// Endpoints and versions as Kafka's VotersRecord has them.
pub(crate) fn write_member(out: &mut Out, member: &Member) {
    out.count(member.endpoints.len());
    for endpoint in &member.endpoints {
        out.string(&endpoint.name);
        out.string(&endpoint.host);
        out.u16(endpoint.port);
        out.varint(0);
    }
    out.i16(member.version_min);
    out.i16(member.version_max);
    out.varint(0);
}

pub(crate) fn read_member(cursor: &mut Cursor<'_>) -> Result<Member, Malformed> {
    let mut endpoints = Vec::new();
    for _ in 0..compact::count(cursor, 5)? {
        let (name, host) = (compact::string(cursor)?, compact::string(cursor)?);
        endpoints.push(Endpoint { name, host, port: cursor.u16()? });
        skip_tags(cursor)?;
    }
    let (version_min, version_max) = (cursor.i16()?, cursor.i16()?);
    skip_tags(cursor)?;
    Ok(Member { endpoints, version_min, version_max })
}

/// All tagged fields, which are not wanted.
pub(crate) fn skip_tags(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    read_tag(cursor, u32::MAX).map(drop)
}

/// The tagged field `wanted`, if it is there; the others are skipped.
pub(crate) fn read_tag<'a>(cursor: &mut Cursor<'a>, wanted: u32) -> Result<Option<&'a [u8]>, Malformed> {
    let mut found = None;
    for _ in 0..cursor.unsigned_varint()? {
        let tag = cursor.unsigned_varint()?;
        let len = cursor.unsigned_varint()? as usize;
        let value = cursor.take(len)?;
        if tag == wanted {
            found = Some(value);
        }
    }
    Ok(found)
}

/// The configurations (two of them while one replaces the other), then all replicas with what is known of them.
pub(crate) fn write_membership(out: &mut Out, membership: &Membership) {
    out.count(membership.get_joint_config().len());
    for voters in membership.get_joint_config() {
        out.count(voters.len());
        voters.iter().for_each(|voter| write_replica(out, *voter));
    }
    out.count(membership.nodes().count());
    for (replica, member) in membership.nodes() {
        write_replica(out, *replica);
        write_member(out, member);
    }
}

pub(crate) fn read_membership(cursor: &mut Cursor<'_>) -> Result<Membership, Malformed> {
    let mut configs = Vec::new();
    for _ in 0..compact::count(cursor, 1)? {
        let mut voters = BTreeSet::new();
        for _ in 0..compact::count(cursor, REPLICA_BYTES)? {
            voters.insert(read_replica(cursor)?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..compact::count(cursor, REPLICA_BYTES)? {
        nodes.insert(read_replica(cursor)?, read_member(cursor)?);
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| Malformed(error.to_string()))
}

pub(crate) fn write_log_id(out: &mut Out, id: Option<LogId>) {
    out.u8(u8::from(id.is_some()));
    if let Some(id) = id {
        out.u64(*id.leader_id);
        out.u64(id.index);
    }
}

pub(crate) fn read_log_id(cursor: &mut Cursor<'_>) -> Result<Option<LogId>, Malformed> {
    if !read_flag(cursor)? {
        return Ok(None);
    }
    Ok(Some(log_id(read_epoch(cursor)?, cursor.u64()?)))
}

/// A term that is a leader epoch of Kafka's.
pub(crate) fn read_epoch(cursor: &mut Cursor<'_>) -> Result<i32, Malformed> {
    let term = cursor.u64()?;
    i32::try_from(term).map_err(|_| Malformed(format!("term {term} is no leader epoch")))
}

pub(crate) fn read_flag(cursor: &mut Cursor<'_>) -> Result<bool, Malformed> {
    match cursor.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Malformed(format!("{other} is neither yes nor no"))),
    }
}

pub(crate) fn write_stored(out: &mut Out, stored: &StoredMembership) {
    write_log_id(out, *stored.log_id());
    write_membership(out, stored.membership());
}

pub(crate) fn read_stored(cursor: &mut Cursor<'_>) -> Result<StoredMembership, Malformed> {
    Ok(StoredMembership::new(read_log_id(cursor)?, read_membership(cursor)?))
}
