//! What a group may use while it decides on one event: the moment, the configuration, timers, appends, effects.
//!
//! It holds no state of its own; the coordinator makes one for each event.

use crate::{
    Config, Effect, Effects, Error, InTransaction, MemberId, Record, Reply, Ticket, Token,
    appends::{Appends, Then, Waiting},
    timers::{Timer, Timers},
};
use coordinator::Now;
use model::GroupId;

/// The surroundings of one decision.
pub(crate) struct Step<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a Config,
    pub(crate) timers: &'a mut Timers,
    pub(crate) appends: &'a mut Appends,
    pub(crate) effects: &'a mut Effects,
}

impl Step<'_> {
    /// Answers a request.
    pub(crate) fn reply(&mut self, token: Token, reply: Result<Reply, Error>) {
        self.effects.push(Effect::Reply { token, reply });
    }

    /// Orders an append.
    pub(crate) fn append(&mut self, records: Vec<Record>, then: Then) -> Ticket {
        let ticket = self.appends.push(records.clone(), then);
        self.effects.push(Effect::Append { ticket, records });
        ticket
    }

    /// Orders an append that has a part in a transaction.
    pub(crate) fn append_in(&mut self, part: InTransaction, records: Vec<Record>) {
        let ticket = self.appends.push(records.clone(), Then::Nothing);
        self.effects.push(Effect::AppendInTransaction { ticket, records, part });
    }

    /// Answers a request when all appends ordered since `issued` were counted are done; at once if there are none.
    pub(crate) fn reply_after(&mut self, issued: u64, token: Token, reply: Reply) {
        match self.appends.newest() {
            Some(append) if append.ticket.0 >= issued => append.replies.push((token, Waiting::Reply(reply))),
            _ => self.reply(token, Ok(reply)),
        }
    }

    /// Orders an append of `records` if there are any, and the reply after it.
    pub(crate) fn append_then_reply(&mut self, records: Vec<Record>, token: Token, reply: Reply) {
        let issued = self.appends.issued();
        if !records.is_empty() {
            self.append(records, Then::Nothing);
        }
        self.reply_after(issued, token, reply);
    }

    /// Lets `timer` come in `ms` milliseconds; at least one, so that no timer can bring itself back within one tick.
    pub(crate) fn schedule(&mut self, timer: Timer, ms: i64) {
        self.timers.schedule(timer, self.now.deadline_ms(ms.max(1)));
    }

    /// Gives a member `ms` milliseconds until its next sign of life.
    pub(crate) fn expect_heartbeat(&mut self, group: &GroupId, member: &MemberId, ms: i32) {
        self.schedule(Timer::Heartbeat(group.clone(), member.clone()), ms.into());
    }

    /// A member of a consumer group has no time to give partitions up, to join again or to ask any more.
    pub(crate) fn cancel_moves(&mut self, group: &GroupId, member: &MemberId) {
        for timer in [Timer::Revoke, Timer::MemberJoin, Timer::MemberSync] {
            self.timers.cancel(timer(group.clone(), member.clone()));
        }
    }
}
