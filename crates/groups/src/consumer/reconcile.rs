//! A member's next step from what it has to what it is to have (KIP-848, "member assignment reconciliation").
//!
//! Pure: nothing is looked up. First a member gives up what it must not keep, and stays in its epoch until it says that
//! it did; then it enters the target's epoch and gets what nobody else has any more.

use super::records::{Current, Epochs, MemberState, Partitions};
use model::{PartitionIndex, TopicId};

/// The surroundings of one step.
pub(crate) struct Reconcile<'a> {
    /// The group epoch for which the target was computed.
    pub(crate) target_epoch: i32,
    /// What the member is to have.
    pub(crate) target: &'a Partitions,
    /// Whether the member is subscribed to the topic.
    pub(crate) is_subscribed: &'a dyn Fn(&TopicId) -> bool,
    /// Whether another member has the partition.
    pub(crate) is_taken: &'a dyn Fn(&TopicId, PartitionIndex) -> bool,
    /// What the member says it has; `None`: it did not say.
    pub(crate) owned: Option<&'a Partitions>,
    /// Whether this request changed what it is subscribed to.
    pub(crate) subscription_changed: bool,
}

impl Reconcile<'_> {
    /// What the member has after this step.
    pub(crate) fn next(&self, current: &Current) -> Current {
        match current.state {
            MemberState::Stable if current.epoch != self.target_epoch => self.advance(current),
            MemberState::UnrevokedPartitions if self.still_owns(&current.revoking) => {
                if self.subscription_changed { self.narrow(current) } else { current.clone() }
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => self.advance(current),
            MemberState::Stable if self.subscription_changed => self.narrow(current),
            MemberState::Stable => current.clone(),
        }
    }

    /// Whether it has, or may have, one of these.
    fn still_owns(&self, revoking: &Epochs) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(topic, partitions)| {
            revoking.get(topic).is_some_and(|told| partitions.iter().any(|index| told.contains_key(index)))
        })
    }

    /// Takes away the topics that it is no longer subscribed to, and nothing else.
    fn narrow(&self, current: &Current) -> Current {
        let (assigned, gone): (Epochs, Epochs) =
            current.assigned.clone().into_iter().partition(|(topic, _)| (self.is_subscribed)(topic));
        if gone.is_empty() {
            return current.clone();
        }
        let mut revoking = current.revoking.clone();
        for (topic, partitions) in gone {
            revoking.entry(topic).or_default().extend(partitions);
        }
        let next = Current { assigned, ..current.in_epoch(current.epoch) };
        if self.still_owns(&revoking) {
            Current { state: MemberState::UnrevokedPartitions, revoking, ..next }
        } else {
            next
        }
    }

    /// Goes as far towards the target as the others let it.
    fn advance(&self, current: &Current) -> Current {
        let is_target = |topic: &TopicId, index: &PartitionIndex| {
            (self.is_subscribed)(topic) && self.target.get(topic).is_some_and(|to| to.contains(index))
        };
        let (mut assigned, mut revoking) = (Epochs::new(), Epochs::new());
        for (topic, partitions) in &current.assigned {
            for (&index, &epoch) in partitions {
                let kept = if is_target(topic, &index) { &mut assigned } else { &mut revoking };
                kept.entry(*topic).or_default().insert(index, epoch);
            }
        }
        if !revoking.is_empty() && self.still_owns(&revoking) {
            let state = MemberState::UnrevokedPartitions;
            return Current { state, assigned, revoking, ..current.in_epoch(current.epoch) };
        }
        let mut state = MemberState::Stable;
        for (topic, partitions) in self.target.iter().filter(|(topic, _)| (self.is_subscribed)(topic)) {
            for &index in partitions {
                if assigned.get(topic).is_some_and(|has| has.contains_key(&index)) {
                    continue;
                }
                if (self.is_taken)(topic, index) {
                    state = MemberState::UnreleasedPartitions;
                } else {
                    assigned.entry(*topic).or_default().insert(index, self.target_epoch);
                }
            }
        }
        Current { state, assigned, revoking: Epochs::new(), ..current.in_epoch(self.target_epoch) }
    }
}
