//! What controllers say to each other before there is a quorum: who they are, and who shall found it.
//!
//! docs/formats/quorum-rpc.md lists the bytes. It decides nothing: `broker` asks, compares and founds.

use crate::{
    compact::{self, Malformed, Out},
    member::{Member, Replica},
    membership_bytes::{read_flag, read_member, read_replica, write_member, write_replica},
};
use bytes::Bytes;
use std::{collections::BTreeMap, io};
use stdx::{Cursor, Uuid};

/// The version of the frame that carries these messages, in place of [`crate::PEER_API_VERSION`].
pub const DISCOVERY_VERSION: i16 = 1;
const VERSION: u8 = 0;

/// Who a controller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Its node and directory.
    pub replica: Replica,
    /// Drawn by its process at its start: a copy of its directory has another.
    pub incarnation: Uuid,
    /// The cluster that its directory belongs to.
    pub cluster_id: String,
    /// Where it listens.
    pub member: Member,
    /// Whether its metadata log holds anything: then its cluster exists.
    pub is_founded: bool,
    /// The voters, as far as it knows them.
    pub voters: BTreeMap<Replica, Member>,
}

/// A question before there is a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inquiry {
    /// Who are you?
    Who,
    /// Found this cluster with these voters; the one that asks is one of them.
    Found {
        /// Its id.
        cluster_id: String,
        /// The voters.
        voters: BTreeMap<Replica, Member>,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Inquiry::Who`].
    Me(Introduction),
    /// To [`Inquiry::Found`]: it is on stable storage that it belongs to that cluster.
    Agreed,
    /// No, for this reason.
    Refused(String),
}

fn write_voters(out: &mut Out, voters: &BTreeMap<Replica, Member>) {
    out.count(voters.len());
    for (replica, member) in voters {
        write_replica(out, *replica);
        write_member(out, member);
    }
}

fn read_voters(cursor: &mut Cursor<'_>) -> Result<BTreeMap<Replica, Member>, Malformed> {
    let count = compact::count(cursor, 26)?;
    (0..count).map(|_| Ok((read_replica(cursor)?, read_member(cursor)?))).collect()
}

fn begin(cursor: &mut Cursor<'_>) -> Result<u8, Malformed> {
    match cursor.u8()? {
        VERSION => Ok(cursor.u8()?),
        version => Err(Malformed(format!("version {version} of discovery is not known here"))),
    }
}

fn end<T>(cursor: &Cursor<'_>, value: T) -> io::Result<T> {
    match cursor.remaining() {
        0 => Ok(value),
        more => Err(Malformed(format!("{more} bytes too many")).into()),
    }
}

impl Inquiry {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Out::default();
        out.u8(VERSION);
        match self {
            Self::Who => out.u8(1),
            Self::Found { cluster_id, voters } => {
                out.u8(2);
                out.string(cluster_id);
                write_voters(&mut out, voters);
            }
        }
        out.0.into()
    }

    /// What the bytes say.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut cursor = Cursor::new(bytes);
        let inquiry = match begin(&mut cursor)? {
            1 => Self::Who,
            2 => Self::Found { cluster_id: compact::string(&mut cursor)?, voters: read_voters(&mut cursor)? },
            kind => return Err(Malformed(format!("there is no inquiry of kind {kind}")).into()),
        };
        end(&cursor, inquiry)
    }
}

impl Reply {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Out::default();
        out.u8(VERSION);
        match self {
            Self::Refused(why) => {
                out.u8(0);
                out.string(why);
            }
            Self::Me(me) => {
                out.u8(1);
                write_replica(&mut out, me.replica);
                out.uuid(me.incarnation);
                out.string(&me.cluster_id);
                write_member(&mut out, &me.member);
                out.u8(u8::from(me.is_founded));
                write_voters(&mut out, &me.voters);
            }
            Self::Agreed => out.u8(2),
        }
        out.0.into()
    }

    /// What the bytes say.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut cursor = Cursor::new(bytes);
        let reply = match begin(&mut cursor)? {
            0 => Self::Refused(compact::string(&mut cursor)?),
            1 => Self::Me(Introduction {
                replica: read_replica(&mut cursor)?,
                incarnation: compact::uuid(&mut cursor)?,
                cluster_id: compact::string(&mut cursor)?,
                member: read_member(&mut cursor)?,
                is_founded: read_flag(&mut cursor)?,
                voters: read_voters(&mut cursor)?,
            }),
            2 => Self::Agreed,
            kind => return Err(Malformed(format!("there is no reply of kind {kind}")).into()),
        };
        end(&cursor, reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{member, replica};

    fn introduction() -> Introduction {
        Introduction {
            replica: replica(1),
            incarnation: Uuid([9; 16]),
            cluster_id: "c".into(),
            member: member(1),
            is_founded: true,
            voters: BTreeMap::from([(replica(2), member(2))]),
        }
    }

    #[test]
    fn messages_read_back_and_their_bytes_stay_the_same() {
        let found = Inquiry::Found { cluster_id: "c".into(), voters: introduction().voters };
        for inquiry in [Inquiry::Who, found.clone()] {
            assert_eq!(Inquiry::decode(&inquiry.encode()).unwrap(), inquiry);
        }
        for reply in [Reply::Me(introduction()), Reply::Agreed, Reply::Refused("no".into())] {
            assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
        }
        assert_eq!(&Inquiry::Who.encode()[..], [0, 1]);
        let voter =
            [&[0, 0, 0, 2][..], &[2; 16], b"\x02\x0bCONTROLLER\x06node2\x23\x85\0\0\0\0\x01\0"].concat();
        assert_eq!(&found.encode()[..], [&[0, 2, 2, b'c', 2][..], &voter].concat());
        assert_eq!(&Reply::Refused("no".into()).encode()[..], b"\0\0\x03no");
    }

    #[test]
    fn no_cut_and_no_excess_is_taken_for_a_message() {
        let whole = Reply::Me(introduction()).encode();
        for len in 0..whole.len() {
            assert!(Reply::decode(&whole[..len]).is_err(), "{len} bytes");
        }
        assert!(Reply::decode(&[&whole[..], &[0]].concat()).is_err());
        assert!(Inquiry::decode(&[0, 2, 2, b'c', 0xff, 0xff, 0xff, 0xff, 0x07]).is_err());
        assert!(Inquiry::decode(&[1, 1]).is_err());
    }
}
