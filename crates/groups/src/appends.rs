//! The appends under way: what they hold, what follows when their fate is known, and who waits for it.
//!
//! It appends nothing and decides nothing; the coordinator takes each out when the host reports on it.

use crate::{
    MemberId, OffsetFetch, Protocol, Record, Reply, Ticket, Token, consumer::changes::Undo, decision,
    group::Group, share::ShareGroup, streams::StreamsGroup,
};
use bytes::Bytes;
use model::GroupId;
use std::collections::{BTreeMap, VecDeque};

/// Appends in the order of their tickets.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    issued: u64,
    waiting: VecDeque<Append>,
}

/// One append.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) ticket: Ticket,
    pub(crate) records: Vec<Record>,
    pub(crate) then: Then,
    pub(crate) replies: Vec<(Token, Waiting)>,
}

/// What a group does when the fate of its records is known.
#[derive(Debug)]
pub(crate) enum Then {
    /// Nothing beyond what the records say.
    Nothing,
    /// A group was made for this JoinGroup.
    GroupCreated { group: GroupId, token: Token },
    /// The leader's assignment.
    Assigned { group: GroupId, generation: i32, assignments: BTreeMap<MemberId, Bytes> },
    /// A consumer group was changed; this takes it back.
    ConsumerChanged(Undo),
    /// A share group was changed; this takes it back.
    ShareChanged(decision::Undo<ShareGroup>),
    /// A streams group was changed; this takes it back.
    StreamsChanged(StreamsUndo),
    /// A static member came back under a new id and takes the old one's place.
    StaticReplaced { group: GroupId, replaced: Replaced },
}

/// How to take a decision about a streams group back.
#[derive(Debug)]
pub(crate) struct StreamsUndo {
    pub(crate) undo: decision::Undo<StreamsGroup>,
    /// The empty group of another kind whose place it took.
    pub(crate) replaced: Option<Box<Group>>,
    /// A classic group has taken its place.
    pub(crate) has_classic: bool,
}

/// A static member's replacement: enough to answer it, or to undo it.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) token: Token,
    pub(crate) generation: i32,
    pub(crate) old_id: MemberId,
    pub(crate) new_id: MemberId,
    pub(crate) old_leader: Option<MemberId>,
    pub(crate) old_protocols: Vec<Protocol>,
    pub(crate) old_rebalance_timeout_ms: i32,
    pub(crate) old_session_timeout_ms: i32,
    pub(crate) supports_skipping_assignment: bool,
}

/// Who waits for an append.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A reply that holds if the append succeeds.
    Reply(Reply),
    /// A reader that wants to see what the append commits.
    Fetch(OffsetFetch),
}

impl Appends {
    /// Enters an append; the caller orders it.
    pub(crate) fn push(&mut self, records: Vec<Record>, then: Then) -> Ticket {
        let ticket = Ticket(self.issued);
        self.issued += 1;
        self.waiting.push_back(Append { ticket, records, then, replies: Vec::new() });
        ticket
    }

    /// How many appends were ever entered.
    pub(crate) fn issued(&self) -> u64 {
        self.issued
    }

    /// The newest append whose fate is not known.
    pub(crate) fn newest(&mut self) -> Option<&mut Append> {
        self.waiting.back_mut()
    }

    /// Takes out the append of `ticket`.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Append> {
        let at = self.waiting.binary_search_by_key(&ticket, |append| append.ticket).ok()?;
        self.waiting.remove(at)
    }

    /// Takes out all.
    pub(crate) fn take_all(&mut self) -> VecDeque<Append> {
        std::mem::take(&mut self.waiting)
    }

    /// The records whose fate is not known, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.waiting.iter().flat_map(|append| &append.records)
    }
}
