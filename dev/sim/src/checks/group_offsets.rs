//! Committed offsets never go back: whoever asks for one after a commit was acknowledged, or after somebody was told
//! one, hears of that or a later one, and always of one that was sent. It relies on clients that commit ever later
//! offsets, which the simulator's do.

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
                self.known.entry((group.clone(), place.clone())).or_default().sent.insert(*offset);
            }
            Event::CommitAcked { group, place, offset } => {
                self.known.entry((group.clone(), place.clone())).or_default().floor.raise(newest, *offset);
            }
            Event::CommitFetched { group, request, place, offset } => {
                let known = self.known.entry((group.clone(), place.clone())).or_default();
                if let Some(floor) = known.floor.of(*request).filter(|floor| floor > offset) {
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
                Event::CommitSent { group: group.clone(), place: place(), offset: 5 },
                Event::CommitAcked { group: group.clone(), place: place(), offset: 5 },
                Event::Asked { request: 1 },
                Event::CommitFetched { group: group.clone(), request: 1, place: place(), offset: fetched },
            ]
        };
        check(GroupOffsets::default(), &events(5), true);
        check(GroupOffsets::default(), &events(3), false);
        check(GroupOffsets::default(), &events(-1), false);
        check(GroupOffsets::default(), &events(6), false);
    }
}
