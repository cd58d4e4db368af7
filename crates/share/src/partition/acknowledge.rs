//! A member says what became of records: accepted, given back, rejected, or still being worked on (KIP-1222).
//!
//! All of a request is taken over or nothing; it is final once the share coordinator has it (`write`).

use super::{SharePartition, Write, letters::Reason, span::State};
use crate::{Error, MemberId};
use ::coordinator::Now;
use model::Offset;

/// What became of a record; Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There was no record at this offset.
    Gap = 0,
    /// It is done.
    Accept = 1,
    /// It is to be delivered again.
    Release = 2,
    /// It is not to be delivered any more.
    Reject = 3,
    /// The member needs more time.
    Renew = 4,
}

/// What became of a stretch of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The first.
    pub first: Offset,
    /// The last.
    pub last: Offset,
    /// One kind for all of them, or one for each.
    pub kinds: Vec<Kind>,
}

impl Kind {
    /// The kind of this number.
    pub fn from_number(number: i8) -> Option<Self> {
        Some(match number {
            0 => Self::Gap,
            1 => Self::Accept,
            2 => Self::Release,
            3 => Self::Reject,
            4 => Self::Renew,
            _ => return None,
        })
    }
}

impl Acknowledged {
    /// The same in stretches of one kind.
    fn runs(&self) -> Vec<(Offset, Offset, Kind)> {
        if let [kind] = *self.kinds {
            return vec![(self.first, self.last, kind)];
        }
        let mut runs: Vec<(Offset, Offset, Kind)> = Vec::new();
        for (offset, kind) in (self.first..=self.last).zip(&self.kinds) {
            match runs.last_mut().filter(|(_, _, last)| last == kind) {
                Some((_, last, _)) => *last = offset,
                None => runs.push((offset, offset, *kind)),
            }
        }
        runs
    }
}

impl SharePartition {
    /// Takes over what a member says, in the order of the offsets. `None`: there is nothing to write.
    ///
    /// # Errors
    /// Some record is not the member's, or the share coordinator is being told of it already. Nothing has changed then.
    pub fn acknowledge(
        &mut self,
        now: Now,
        member: &MemberId,
        all: &[Acknowledged],
    ) -> Result<Option<Write>, Error> {
        let mut behind = Offset::MIN;
        for one in all {
            let is_repeated = one.first < behind;
            behind = one.last.saturating_add(1);
            // What is done is done, whoever says so.
            if one.last < self.start {
                continue;
            }
            if is_repeated {
                return Err(Error::InvalidRecordState("A record is acknowledged twice in one request."));
            }
            self.check_acknowledged(member, one)?;
        }
        let mut changed = Vec::new();
        for (first, last, kind) in all.iter().flat_map(Acknowledged::runs) {
            for key in self.cut_out(first.max(self.start), last) {
                self.set_acknowledged(now, key, kind, &mut changed);
            }
        }
        Ok(self.write(changed))
    }

    fn check_acknowledged(&self, member: &MemberId, one: &Acknowledged) -> Result<(), Error> {
        let first = one.first.max(self.start);
        if one.last >= self.end {
            return Err(match self.spans.is_empty() {
                true => Error::InvalidRecordState("The records are not in flight."),
                false => Error::InvalidRequest("The last offset is past all acquired records."),
            });
        }
        if !self.config.may_renew && one.kinds.contains(&Kind::Renew) {
            return Err(Error::InvalidRecordState(
                "Renewing acquisition locks is not enabled for the group.",
            ));
        }
        let before = self.spans.range(..first).next_back().filter(|(_, span)| span.last >= first);
        for (_, span) in before.into_iter().chain(self.spans.range(first..=one.last)) {
            match span.holder() {
                Some(holder) if holder.member == *member => {}
                Some(_) => return Err(Error::InvalidRecordState("Another member has acquired the record.")),
                None => return Err(Error::InvalidRecordState("The record is not acquired.")),
            }
        }
        Ok(())
    }

    /// `key` is the first offset of a span that is acquired.
    fn set_acknowledged(&mut self, now: Now, key: Offset, kind: Kind, changed: &mut Vec<(Offset, Offset)>) {
        let (deadline, Some(span)) = (now.deadline_ms(self.config.lock_ms), self.spans.get(&key)) else {
            return;
        };
        let state = match kind {
            Kind::Accept => State::Acknowledged,
            Kind::Gap => State::Archived,
            Kind::Reject => self.given_up(Reason::Rejected),
            Kind::Release => self.returned(span.count),
            Kind::Renew => {
                if let Some(State::Acquired(holder)) = self.spans.get_mut(&key).map(|span| &mut span.state) {
                    holder.deadline = deadline;
                }
                return;
            }
        };
        self.begin(key, state, changed);
    }
}
