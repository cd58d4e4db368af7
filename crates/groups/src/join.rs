//! JoinGroup: who may enter, under which id, and whether that starts a rebalance.
//!
//! It does not run the rebalance (see `rebalance`) nor replace static members (see `replace`).

use crate::{
    Error, JoinGroup, MemberId, State, Token,
    group::{Group, joined, without_duplicates},
    member::Member,
    step::Step,
};
use bytes::Bytes;
use std::fmt::Write;
use stdx::Uuid;

impl Group {
    /// A client asks to be in the next generation. The coordinator has checked the group id and the session timeout.
    pub(crate) fn on_join(&mut self, step: &mut Step<'_>, token: Token, mut request: JoinGroup) {
        request.protocols = without_duplicates(request.protocols);
        if !self.accepts(step, &request.member_id) {
            self.remove(step, &request.member_id, &Error::GroupMaxSizeReached);
            step.reply(token, Err(Error::GroupMaxSizeReached));
        } else if self.state == State::Dead {
            step.reply(token, Err(Error::CoordinatorNotAvailable));
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            step.reply(token, Err(Error::InconsistentGroupProtocol));
        } else if request.member_id.is_empty() {
            self.on_join_of_newcomer(step, token, request);
        } else if self.pending_joins.contains(&request.member_id) {
            // Ids are given ahead only to dynamic members.
            match request.instance_id {
                Some(_) => step.reply(token, Err(Error::UnknownServerError)),
                None => self.add(step, token, request.member_id.clone(), request),
            }
        } else if let Err(error) = self.validate(&request.member_id, request.instance_id.as_ref()) {
            step.reply(token, Err(error));
        } else {
            self.on_join_of_member(step, token, request);
        }
    }

    /// Whether there is room. In a rebalance those who wait count, not those of before: the maximum may have been
    /// lowered, and then the last to come are turned away.
    fn accepts(&self, step: &Step<'_>, id: &str) -> bool {
        let max = step.config.group_members_max;
        let member = self.members.get(id);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => member.is_some_and(|m| m.joining.is_some()) || self.joining() < max,
            State::CompletingRebalance | State::Stable => member.is_some() || self.members.len() < max,
        }
    }

    fn on_join_of_newcomer(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        let name = request.instance_id.as_ref().unwrap_or(&request.client_id);
        let new_id = member_id(name, request.fresh_id);
        let existing = request.instance_id.as_ref().and_then(|instance| self.static_members.get(instance));
        if let Some(old_id) = existing.cloned() {
            self.replace_static(step, token, old_id, new_id, request);
        } else if request.require_known_member_id && request.instance_id.is_none() {
            step.expect_heartbeat(&self.id, &new_id, request.session_timeout_ms);
            self.pending_joins.insert(new_id.clone());
            step.reply(token, Err(Error::MemberIdRequired(new_id)));
        } else {
            self.add(step, token, new_id, request);
        }
    }

    fn on_join_of_member(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        let id = request.member_id.clone();
        let is_unchanged = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        match self.state {
            State::CompletingRebalance if is_unchanged => {
                // It may not have heard the answer to its first JoinGroup.
                step.reply(token, joined(self.to_joined(&id)));
            }
            State::Stable if is_unchanged && !self.is_leader(&id) => {
                step.reply(token, joined(self.to_joined(&id)));
            }
            // A leader joins again where topics have changed, which its own metadata does not show.
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                let reason = format!("{id} joins again; {}", client_reason(request.reason.as_deref()));
                let timeouts_ms = (request.rebalance_timeout_ms, request.session_timeout_ms);
                self.update(step, &id, request.protocols, timeouts_ms, Some(token));
                self.rebalance_or_complete(step, reason);
            }
            State::Empty | State::Dead => step.reply(token, Err(Error::UnknownMemberId)),
        }
    }

    /// Whether it has neither members nor clients that were told to come again.
    pub(crate) fn is_unused(&self) -> bool {
        self.state == State::Empty && self.members.is_empty() && self.pending_joins.is_empty()
    }

    /// The group could not be written down for its first member: if that one still waits, it hears so. Others who came
    /// meanwhile are not sent away; their generation will be written down, or fail, in its turn. The initial delay
    /// runs on.
    pub(crate) fn on_creation_failed(&mut self, step: &mut Step<'_>, token: Token, error: &Error) {
        let first = self.members.values().find(|member| member.joining == Some(token));
        if let Some(id) = first.map(|member| member.id.clone()) {
            self.remove(step, &id, error);
        }
    }

    /// Puts a new member in and rebalances.
    fn add(&mut self, step: &mut Step<'_>, token: Token, id: MemberId, request: JoinGroup) {
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.newcomer = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        let reason = format!("{id} joins; {}", client_reason(request.reason.as_deref()));
        // It cannot heartbeat before it knows its id; see `Config::join_timeout_ms_new_member`.
        step.expect_heartbeat(&self.id, &id, step.config.join_timeout_ms_new_member);
        self.insert(Member {
            id,
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            joining: Some(token),
            syncing: None,
            is_new: true,
        });
        self.rebalance_or_complete(step, reason);
    }
}

/// What the client says about its reason.
pub(crate) fn client_reason(reason: Option<&str>) -> String {
    format!("client reason: {}", reason.filter(|reason| !reason.is_empty()).unwrap_or("not provided"))
}

/// A new member's id: its client or instance id, '-', and the random part in RFC 4122 text form, as Kafka writes it.
fn member_id(name: &str, random: Uuid) -> MemberId {
    let mut id = String::with_capacity(name.len() + 37);
    id.push_str(name);
    for (index, byte) in random.0.iter().enumerate() {
        if matches!(index, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_look_like_kafkas() {
        let id = member_id("app", Uuid(*b"\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef"));
        assert_eq!(&*id, "app-01234567-89ab-4def-8123-456789abcdef");
    }
}
