//! Committed offsets never go back: whoever asks for one after a commit was acknowledged, or after somebody was told
//! one, hears of that or a later one, or of one whose commit has had no answer and may have been carried out late; and
//! always of one that was sent. It relies on clients that commit ever later offsets, which the simulator's do, and does not
//! bind a coordinator that was deposed and does not know it yet.

use super::{Check, Floor, Requests};
use crate::history::{Event, Place};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What was committed and told, for each group and partition.
#[derive(Default)]
pub(super) struct GroupOffsets {
    requests: Requests,
    known: BTreeMap<(Arc<str>, Place), Known>,
}

#[derive(Default)]
struct Known {
    sent: BTreeSet<i64>,
    /// Commits without an answer, how many of each offset: they may still be carried out.
    open: BTreeMap<i64, u32>,
    floor: Floor,
}

impl Check for GroupOffsets {
    fn name(&self) -> &'static str {
        "group_offsets"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        let newest = self.requests.newest;
        match event {
            Event::CommitSent { group, place, offset } => {
                let known = self.known.entry((group.clone(), place.clone())).or_default();
                known.sent.insert(*offset);
                *known.open.entry(*offset).or_default() += 1;
            }
            Event::CommitAcked { group, place, offset } => {
                let known = self.known.entry((group.clone(), place.clone())).or_default();
                known.floor.raise(newest, *offset);
                if let Some(open) = known.open.get_mut(offset) {
                    *open = open.saturating_sub(1);
                }
            }
            Event::CommitFetched { group, request, place, offset, is_current } => {
                let known = self.known.entry((group.clone(), place.clone())).or_default();
                let may_come_late = known.open.get(offset).is_some_and(|open| *open > 0);
                if let Some(floor) =
                    known.floor.of(*request).filter(|floor| *is_current && floor > offset && !may_come_late)
                {
                    return Err(format!(
                        "group {group}, {place:?}: {offset} is committed, it was {floor} before"
                    ));
                }
                if *offset != -1 && !known.sent.contains(offset) {
                    return Err(format!("group {group}, {place:?}: nobody has committed {offset}"));
                }
                known.floor.raise(newest, *offset);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn an_acknowledged_commit_stays() {
        let group: Arc<str> = "g".into();
        let events = |fetched| {
            [
                Event::CommitSent { group: group.clone(), place: place(), offset: 3 },
                Event::CommitAcked { group: group.clone(), place: place(), offset: 3 },
                Event::CommitSent { group: group.clone(), place: place(), offset: 4 },
                Event::CommitSent { group: group.clone(), place: place(), offset: 5 },
                Event::CommitAcked { group: group.clone(), place: place(), offset: 5 },
                Event::Asked { request: 1 },
                Event::CommitFetched {
                    group: group.clone(),
                    request: 1,
                    place: place(),
                    offset: fetched,
                    is_current: true,
                },
            ]
        };
        check(GroupOffsets::default(), &events(5), true);
        check(GroupOffsets::default(), &events(3), false);
        check(GroupOffsets::default(), &events(4), true);
        check(GroupOffsets::default(), &events(-1), false);
        check(GroupOffsets::default(), &events(6), false);
    }
}
