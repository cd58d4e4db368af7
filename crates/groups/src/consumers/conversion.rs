//! Classic groups with members become consumer groups, and consumer groups become classic ones (KIP-848): what happens to
//! the requests that wait and to the timers. What a group of the other kind is made of is in `convert`.

use super::Taken;
use crate::{
    Coordinator, Effects, Error, MemberId, State,
    appends::Then,
    consumer::{ConsumerGroup, changes::Made},
    convert,
    group::Group,
    timers::Timer,
};
use coordinator::Now;
use model::GroupId;

impl Coordinator {
    /// Whether a consumer group may take a classic group's place.
    pub(super) fn check_upgrade(&self, classic: &Group) -> Result<(), Error> {
        match classic.state {
            State::Empty => Ok(()),
            State::Dead => Err(Error::CoordinatorNotAvailable),
            _ if self.config.migration.upgrades()
                && classic.uses_consumer_protocol()
                && classic.members.len() <= self.config.consumer_members_max =>
            {
                Ok(())
            }
            _ => Err(Error::GroupIdNotFound),
        }
    }

    /// Takes the timers of the classic group that a decision has replaced; whoever waits in it is to join again.
    pub(super) fn retire_classic(&mut self, now: Now, taken: &mut Taken, effects: &mut Effects) {
        let Some(classic) = &mut taken.classic else { return };
        let (_, _, mut step) = self.split(now, effects);
        classic.answer_all_parked(&mut step, &Error::RebalanceInProgress);
        classic.forget_timers(&mut step);
        // If this cannot be written down the group comes back, but not the ids that nobody has used.
        classic.pending_joins.clear();
        for id in classic.members.keys() {
            classic.refresh_session(&mut step, id);
        }
    }

    /// A consumer group goes on as a classic one without those who leave, in this generation: as it is where there is a member
    /// that hears that it leads, else with a rebalance. What was decided before is appended with it.
    pub(super) fn downgrade(
        &mut self,
        now: Now,
        group: ConsumerGroup,
        made: Made,
        (leaving, generation, leader): (&[MemberId], i32, Option<&MemberId>),
        effects: &mut Effects,
    ) {
        let mut classic = convert::to_classic(&group, leaving, generation, &*self.topics.0, now.wall);
        let is_to_rebalance = leader.is_none();
        leader.iter().for_each(|leader| classic.leader = Some((*leader).clone()));
        let (mut records, mut undo) = made.split(group.id.clone());
        records.extend(convert::tombstones(&group));
        records.push(convert::to_record(&classic, is_to_rebalance));
        undo.is_downgrade = true;
        let (groups, _, mut step) = self.split(now, effects);
        for id in group.members.keys() {
            step.cancel_moves(&group.id, id);
            step.timers.cancel(Timer::Heartbeat(group.id.clone(), id.clone()));
        }
        undo.deleted = Some(Box::new(group));
        step.append(records, Then::ConsumerChanged(undo));
        for id in classic.members.keys() {
            classic.refresh_session(&mut step, id);
        }
        if is_to_rebalance {
            classic.prepare_rebalance(&mut step, "the last member of the consumer protocol left".to_owned());
        }
        groups.insert(classic.id.clone(), classic);
    }

    /// A classic group that was just made for its first member takes the place of an empty consumer group.
    pub(crate) fn replace_consumer_group(&mut self, now: Now, classic: Group, effects: &mut Effects) {
        let Ok((mut records, mut undo)) = self.bury_consumer(&classic.id) else { return };
        records.push(classic.to_record_without_members());
        undo.is_downgrade = true;
        let (groups, _, mut step) = self.split(now, effects);
        step.append(records, Then::ConsumerChanged(undo));
        groups.insert(classic.id.clone(), classic);
    }

    /// The classic group of this name was never written down: whoever waits in it hears so. How many members it had.
    pub(crate) fn drop_downgraded(
        &mut self,
        now: Now,
        id: &GroupId,
        error: &Error,
        effects: &mut Effects,
    ) -> usize {
        let (groups, _, mut step) = self.split(now, effects);
        let Some(mut classic) = groups.remove(id) else { return 0 };
        classic.answer_all_parked(&mut step, error);
        classic.forget_timers(&mut step);
        classic.members.len()
    }
}
