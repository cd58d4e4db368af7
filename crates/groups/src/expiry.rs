//! Offsets that nobody uses any more, and groups that have none left, are removed after the retention time (KIP-211).
//!
//! Retention is measured on the wall clock, because commits and states are stamped with it.

use crate::{
    CommittedOffset, Config, Coordinator, Effects, State,
    appends::Then,
    delete::{append_in_pieces, bury, removed},
    group::Group,
    offsets::Offsets,
    step::Step,
    timers::Timer,
};
use coordinator::Now;
use model::{GroupId, Timestamp};
use std::collections::BTreeSet;

impl Coordinator {
    /// Looks for expired offsets; groups with appends under way wait for the next time, so that no tombstone can fall
    /// behind a newer commit.
    pub(crate) fn on_expiry(&mut self, now: Now, effects: &mut Effects) {
        let (groups, offsets, mut step) = self.split(now, effects);
        let busy = step
            .appends
            .records()
            .filter_map(|record| record.group().cloned())
            .collect::<BTreeSet<GroupId>>();
        let mut records = Vec::new();
        for group in groups.values_mut() {
            if group.state == State::Dead || busy.contains(&group.id) {
                continue;
            }
            let has_expired = expire_offsets(&step, group, offsets, &mut records);
            if has_expired && group.state == State::Empty {
                records.push(bury(&mut step, group));
            }
        }
        append_in_pieces(&mut step, records);
        self.expire_consumers(now, &busy, effects);
        self.expire_streams(now, &busy, effects);
        let (_, _, mut step) = self.split(now, effects);
        let interval_ms = step.config.offsets_retention_check_interval_ms;
        step.schedule(Timer::Expiry, interval_ms);
    }
}

impl Coordinator {
    /// The same for consumer groups.
    fn expire_consumers(&mut self, now: Now, busy: &BTreeSet<GroupId>, effects: &mut Effects) {
        let mut records = Vec::new();
        let mut unused = Vec::new();
        for group in self.consumers.values().filter(|group| !busy.contains(&group.id)) {
            let is_all =
                self.expire_unused(now, &group.id, &|topic| group.is_subscribed(topic), &mut records);
            if is_all && group.members.is_empty() {
                unused.push(group.id.clone());
            }
        }
        append_in_pieces(&mut self.split(now, effects).2, records);
        for id in unused {
            if let Ok((tombstones, undo)) = self.bury_consumer(&id) {
                self.split(now, effects).2.append(tombstones, Then::ConsumerChanged(undo));
            }
        }
    }

    /// The same for streams groups.
    fn expire_streams(&mut self, now: Now, busy: &BTreeSet<GroupId>, effects: &mut Effects) {
        let mut records = Vec::new();
        let mut unused = Vec::new();
        for group in self.streams.values().filter(|group| !busy.contains(&group.id)) {
            let is_all =
                self.expire_unused(now, &group.id, &|topic| group.is_subscribed(topic), &mut records);
            if is_all && group.members.is_empty() {
                unused.push(group.id.clone());
            }
        }
        append_in_pieces(&mut self.split(now, effects).2, records);
        for id in unused {
            if let Ok((tombstones, undo)) = self.bury_streams(&id) {
                self.split(now, effects).2.append(tombstones, Then::StreamsChanged(undo));
            }
        }
    }

    /// The tombstones of a group's expired offsets: one ages from its commit on, unless members are subscribed to its topic.
    /// Whether no offset is left.
    fn expire_unused(
        &self,
        now: Now,
        group: &GroupId,
        is_subscribed: &dyn Fn(&str) -> bool,
        records: &mut Vec<crate::Record>,
    ) -> bool {
        let mut is_all = self.offsets.pending_of(group).next().is_none();
        for view in self.offsets.of_group(group) {
            let since = view.offset.commit_timestamp;
            let is_pending = self.offsets.is_pending(group, view.topic, view.partition);
            let is_used = is_pending || is_subscribed(view.topic);
            if is_expired(&self.config, now, view.offset, since) && !is_used {
                records.push(removed(group, view.topic, view.partition));
            } else {
                is_all = false;
            }
        }
        is_all
    }
}

/// Gives the tombstones of a group's expired offsets; whether no offset is left.
fn expire_offsets(
    step: &Step<'_>,
    group: &Group,
    offsets: &Offsets,
    records: &mut Vec<crate::Record>,
) -> bool {
    let mut is_all = offsets.pending_of(&group.id).next().is_none();
    for view in offsets.of_group(&group.id) {
        let expires = group.expires_since(view.offset);
        let is_expired = expires.is_some_and(|since| is_expired(step.config, step.now, view.offset, since));
        let is_pending = offsets.is_pending(&group.id, view.topic, view.partition);
        if is_expired && !is_pending && !group.is_subscribed(view.topic) {
            records.push(removed(&group.id, view.topic, view.partition));
        } else {
            is_all = false;
        }
    }
    is_all
}

impl Group {
    /// Since when an offset has been unused; `None`: it is in use.
    fn expires_since(&self, offset: &CommittedOffset) -> Option<Timestamp> {
        match self.state {
            _ if self.protocol_type.is_none() => Some(offset.commit_timestamp),
            // All offsets of a group age from the moment when the last member left.
            State::Empty if self.state_timestamp >= 0 => Some(self.state_timestamp),
            State::Empty => Some(offset.commit_timestamp),
            // Topics that the members are no longer subscribed to.
            State::Stable if self.uses_consumer_protocol() && self.knows_subscriptions() => {
                Some(offset.commit_timestamp)
            }
            _ => None,
        }
    }
}

fn is_expired(config: &Config, now: Now, offset: &CommittedOffset, since: Timestamp) -> bool {
    if offset.expire_timestamp >= 0 {
        now.wall >= offset.expire_timestamp
    } else {
        now.wall.saturating_sub(since) >= config.offsets_retention_ms
    }
}
