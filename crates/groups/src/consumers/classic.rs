//! Members of consumer groups that speak the classic protocol (KIP-848): their requests and timers. The decisions are in
//! `consumer::classic`.

use crate::{
    Coordinator, Effects, Error, Heartbeat, JoinGroup, LeaveGroup, Left, MemberId, Reply, SyncGroup, Token,
    consumer::{
        ConsumerState,
        changes::{Changes, Made},
        classic::{self, check_join, find_leaving, has_to_join, validate_heartbeat},
        heartbeat,
    },
    group::without_duplicates,
    timers::Timer,
};
use coordinator::Now;
use model::GroupId;
use std::collections::BTreeSet;

impl Coordinator {
    /// JoinGroup at a consumer group that has members.
    pub(crate) fn join_consumer_group(
        &mut self,
        now: Now,
        token: Token,
        mut request: JoinGroup,
        effects: &mut Effects,
    ) {
        request.protocols = without_duplicates(request.protocols);
        let joined = self.join_classic(now, &request, effects);
        let (_, _, mut step) = self.split(now, effects);
        match joined {
            Ok(joined) => step.reply_after(0, token, Reply::JoinGroup(joined)),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn join_classic(
        &mut self,
        now: Now,
        request: &JoinGroup,
        effects: &mut Effects,
    ) -> Result<crate::Joined, Error> {
        let mut taken = self.take_consumer_group(&request.group, false)?;
        let id: MemberId = match request.member_id.is_empty() {
            true => request.fresh_id.to_string().into(),
            false => request.member_id.clone(),
        };
        let is_to_come_again =
            request.member_id.is_empty() && request.require_known_member_id && request.instance_id.is_none();
        let epoch = taken.group.epoch.epoch;
        let checked = check_join(&taken.group, &self.config, &id, request)
            .and_then(|()| if is_to_come_again { Err(Error::MemberIdRequired(id.clone())) } else { Ok(()) });
        let was_revoking = heartbeat::is_revoking(&taken.group, &id);
        let mut changes = Changes { group: &mut taken.group, made: Made::default() };
        let around = self.surroundings(now);
        let decided = checked.and_then(|()| classic::join(&mut changes, &around, &id, request));
        let made = changes.made;
        let is_still_revoking =
            was_revoking && heartbeat::is_revoking(&taken.group, &id) && !made.has_moved(&id);
        let is_downgrade = match decided {
            Ok(is_downgrade) => is_downgrade,
            Err(error) => {
                made.undo(&mut taken.group);
                self.put_back(taken);
                return Err(error);
            }
        };
        let joined = classic::joined(&taken.group, &id);
        if is_downgrade {
            // Where all have what they are to have, nobody need move; Kafka looks only at the epochs. Who joins leads then:
            // somebody must look for changes of the topics, and no other hears of it without joining again.
            let leader = (taken.group.state() == ConsumerState::Stable).then_some(&id);
            self.downgrade(now, taken.group, made, (&[], epoch, leader), effects);
            let led = leader.and_then(|id| Some(self.groups.get(&request.group)?.to_joined(id)));
            let skip_assignment = request.supports_skipping_assignment;
            return Ok(led.map_or(joined, |led| crate::Joined { skip_assignment, ..led }));
        }
        self.store(now, taken, made, effects);
        let (_, _, mut step) = self.split(now, effects);
        // Who joins and gives up nothing of what it is to give up has no more time for that than it had.
        if !is_still_revoking {
            step.cancel_moves(&request.group, &id);
        }
        step.expect_heartbeat(&request.group, &id, request.session_timeout_ms);
        let timer = Timer::MemberSync(request.group.clone(), id);
        step.schedule(timer, request.rebalance_timeout_ms.into());
        Ok(joined)
    }

    /// SyncGroup at a consumer group.
    pub(crate) fn sync_consumer_group(
        &mut self,
        now: Now,
        token: Token,
        request: &SyncGroup,
        effects: &mut Effects,
    ) {
        let Some(group) = self.consumers.get(&request.group) else { return };
        let id = &request.member_id;
        let synced = classic::sync(group, request, &*self.topics.0);
        let member = group.members.get(id).and_then(|member| member.subscription.classic.as_ref());
        let session_timeout_ms = member.map_or(0, |classic| classic.session_timeout_ms);
        if synced == Err(Error::RebalanceInProgress) {
            self.await_join(now, &request.group, id, effects);
        }
        let (_, _, mut step) = self.split(now, effects);
        match synced {
            Ok(synced) => {
                step.timers.cancel(Timer::MemberSync(request.group.clone(), id.clone()));
                step.expect_heartbeat(&request.group, id, session_timeout_ms);
                step.reply_after(0, token, Reply::SyncGroup(synced));
            }
            Err(error) => step.reply(token, Err(error)),
        }
    }

    /// Heartbeat at a consumer group.
    pub(crate) fn heartbeat_consumer_group(
        &mut self,
        now: Now,
        token: Token,
        request: &Heartbeat,
        effects: &mut Effects,
    ) {
        let beaten = self.beat_classic(now, request, effects);
        let (_, _, mut step) = self.split(now, effects);
        match beaten {
            Ok(()) => step.reply_after(0, token, Reply::Heartbeat),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn beat_classic(&mut self, now: Now, request: &Heartbeat, effects: &mut Effects) -> Result<(), Error> {
        let (group, id) = (&request.group, &request.member_id);
        let mut taken = self.take_consumer_group(group, false)?;
        let session_timeout_ms = match validate_heartbeat(&taken.group, request) {
            Ok(session_timeout_ms) => session_timeout_ms,
            Err(error) => {
                self.put_back(taken);
                return Err(error);
            }
        };
        let mut changes = Changes { group: &mut taken.group, made: Made::default() };
        heartbeat::refresh(&mut changes, &self.surroundings(now));
        let made = changes.made;
        let has_to_join = has_to_join(&taken.group, id);
        self.store(now, taken, made, effects);
        let (_, _, mut step) = self.split(now, effects);
        step.expect_heartbeat(group, id, session_timeout_ms);
        if has_to_join {
            self.await_join(now, group, id, effects);
            return Err(Error::RebalanceInProgress);
        }
        Ok(())
    }

    /// A member has to join again: its time to do so runs from when it first heard.
    fn await_join(&mut self, now: Now, group: &GroupId, id: &MemberId, effects: &mut Effects) {
        let (consumers, mut step) = self.split_consumers(now, effects);
        let timer = Timer::MemberJoin(group.clone(), id.clone());
        let member = consumers.get(group).and_then(|group| group.members.get(id));
        if let Some(member) = member.filter(|_| !step.timers.is_set(&timer)) {
            step.schedule(timer, member.subscription.rebalance_timeout_ms.into());
        }
    }

    /// LeaveGroup at a consumer group: members of either protocol go, or are removed by an administrator.
    pub(crate) fn leave_consumer_group_classic(
        &mut self,
        now: Now,
        token: Token,
        request: LeaveGroup,
        effects: &mut Effects,
    ) {
        let Some(group) = self.consumers.get(&request.group) else { return };
        let mut leaving = BTreeSet::new();
        let mut left = Vec::with_capacity(request.members.len());
        for member in request.members {
            let error = match find_leaving(group, &member) {
                Ok(id) => {
                    leaving.insert(id);
                    None
                }
                Err(error) => Some(error),
            };
            left.push(Left { member_id: member.member_id, instance_id: member.instance_id, error });
        }
        if !leaving.is_empty() {
            let leaving: Vec<MemberId> = leaving.into_iter().collect();
            self.remove_consumers(now, &request.group, &leaving, effects);
        }
        self.split(now, effects).2.reply_after(0, token, Reply::LeaveGroup(left));
    }
}
