//! In one generation of a group each partition has at most one owner, and generations never go back for whoever asks
//! after a newer one was told, unless of a coordinator that was deposed and does not know it yet. It does not judge how
//! partitions are shared out; the leader decides that.

use super::{Check, Floor, Requests};
use crate::history::{Event, Place};
use std::{collections::BTreeMap, sync::Arc};

/// Who owns what in each generation.
#[derive(Default)]
pub(super) struct Assignments {
    requests: Requests,
    owners: BTreeMap<(Arc<str>, i32, Place), String>,
    generations: BTreeMap<Arc<str>, Floor>,
}

impl Check for Assignments {
    fn name(&self) -> &'static str {
        "assignments"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        let Event::Assigned { group, generation, member, request, places, is_current } = event else {
            return Ok(());
        };
        let told = self.generations.entry(group.clone()).or_default();
        let now = i64::from(*generation);
        if let Some(floor) = told.of(*request).filter(|floor| *is_current && *floor > now) {
            return Err(format!("group {group} is in generation {generation}, it was in {floor} before"));
        }
        told.raise(self.requests.newest, now);
        for place in places {
            let owner = self.owners.entry((group.clone(), *generation, place.clone()));
            let owner = owner.or_insert_with(|| member.clone());
            if owner != member {
                return Err(format!(
                    "group {group}, generation {generation}: {place:?} belongs to {owner} and {member}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    fn assigned(request: u64, generation: i32, member: &str) -> Event {
        Event::Assigned {
            group: "g".into(),
            generation,
            member: member.into(),
            request,
            places: vec![place()],
            is_current: true,
        }
    }

    #[test]
    fn a_partition_has_one_owner_in_a_generation() {
        check(Assignments::default(), &[assigned(1, 1, "a"), assigned(1, 1, "a")], true);
        check(Assignments::default(), &[assigned(1, 1, "a"), assigned(1, 2, "b")], true);
        check(Assignments::default(), &[assigned(1, 1, "a"), assigned(1, 1, "b")], false);
    }

    #[test]
    fn generations_never_go_back() {
        let asked = |request| Event::Asked { request };
        check(Assignments::default(), &[asked(1), assigned(1, 2, "a"), asked(2), assigned(2, 1, "b")], false);
        check(Assignments::default(), &[asked(1), asked(2), assigned(2, 2, "a"), assigned(1, 1, "b")], true);
    }
}
