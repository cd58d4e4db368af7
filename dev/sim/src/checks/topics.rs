//! Acknowledged changes of topics survive: a topic is what the changes that were acknowledged make of it, with or
//! without each change whose outcome is unknown, which may happen as late as the next start of the node. It relies on every name being changed by one client that waits for
//! each answer. It does not look at records.

use super::Check;
use crate::history::{Change, Event, TopicState};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What each topic may be.
#[derive(Default)]
pub(super) struct Topics {
    possible: BTreeMap<Arc<str>, States>,
    before: BTreeMap<Arc<str>, States>,
    /// Changes that were asked for in this life of the node and have no outcome.
    open: BTreeMap<Arc<str>, Vec<Change>>,
}

type States = BTreeSet<Option<TopicState>>;

impl Check for Topics {
    fn name(&self) -> &'static str {
        "topics"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::AdminSent { topic, change } => {
                let possible = self.possible.entry(topic.clone()).or_insert_with(|| BTreeSet::from([None]));
                self.before.insert(topic.clone(), possible.clone());
                let open = self.open.entry(topic.clone()).or_default();
                open.push(change.clone());
                *possible = with_any(possible.clone(), open);
            }
            Event::AdminDone { topic, change } => {
                let before = self.before.get(topic).cloned().unwrap_or_default();
                let after: States = before.iter().filter_map(|state| apply(state, change)).collect();
                if after.is_empty() {
                    return Err(format!(
                        "{topic}: {change:?} was acknowledged, but it was one of {before:?}"
                    ));
                }
                self.settle(topic, after);
            }
            Event::AdminRefused { topic, .. } => {
                let before = self.before.get(topic).cloned().unwrap_or_default();
                self.settle(topic, before);
            }
            Event::AdminSaw { topic, state } => {
                let possible = self.possible.entry(topic.clone()).or_insert_with(|| BTreeSet::from([None]));
                if !possible.contains(state) {
                    return Err(format!("{topic} is {state:?}, it must be one of {possible:?}"));
                }
                let open = self.open.entry(topic.clone()).or_default();
                *possible = with_any(BTreeSet::from([state.clone()]), open);
            }
            Event::Serves => self.open.clear(),
            _ => {}
        }
        Ok(())
    }
}

impl Topics {
    /// The newest change of a topic has an outcome.
    fn settle(&mut self, topic: &Arc<str>, states: States) {
        let open = self.open.entry(topic.clone()).or_default();
        open.pop();
        self.possible.insert(topic.clone(), with_any(states, open));
    }
}

/// What the states can become by any of the changes, in their order.
fn with_any(mut states: States, changes: &[Change]) -> States {
    for change in changes {
        let changed: Vec<_> = states.iter().filter_map(|state| apply(state, change)).collect();
        states.extend(changed);
    }
    states
}

/// What the change makes of a topic; nothing if it cannot be made there.
fn apply(state: &Option<TopicState>, change: &Change) -> Option<Option<TopicState>> {
    match (state, change) {
        (None, Change::Create(state)) => Some(Some(state.clone())),
        (Some(_), Change::Delete) => Some(None),
        (Some(state), Change::Grow(partitions)) if *partitions > state.partitions => {
            Some(Some(TopicState { partitions: *partitions, ..state.clone() }))
        }
        (Some(state), Change::Configure(config)) => {
            Some(Some(TopicState { config: config.clone(), ..state.clone() }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::check, *};

    fn state(partitions: i32) -> TopicState {
        TopicState { partitions, config: None }
    }

    fn sent(change: Change) -> Event {
        Event::AdminSent { topic: "t".into(), change }
    }

    fn done(change: Change) -> Event {
        Event::AdminDone { topic: "t".into(), change }
    }

    fn saw(state: Option<TopicState>) -> Event {
        Event::AdminSaw { topic: "t".into(), state }
    }

    #[test]
    fn an_acknowledged_change_is_seen_ever_after() {
        let create = Change::Create(state(2));
        check(Topics::default(), &[sent(create.clone()), done(create.clone()), saw(Some(state(2)))], true);
        check(Topics::default(), &[sent(create.clone()), done(create.clone()), saw(Some(state(1)))], false);
        check(Topics::default(), &[sent(create.clone()), done(create.clone()), saw(None)], false);
        let (grow, gone) = (Change::Grow(5), Change::Delete);
        let events = [
            sent(create.clone()),
            done(create),
            sent(grow.clone()),
            done(grow),
            sent(gone.clone()),
            done(gone),
        ];
        check(Topics::default(), &[&events[..4], &[saw(Some(state(5)))]].concat(), true);
        check(Topics::default(), &[&events[..], &[saw(Some(state(5)))]].concat(), false);
    }

    #[test]
    fn a_change_of_unknown_outcome_may_happen_until_the_next_start() {
        let create = sent(Change::Create(state(2)));
        let late = [create.clone(), saw(None), Event::Serves, saw(Some(state(2)))];
        check(Topics::default(), &late[..2], true);
        check(Topics::default(), &[create.clone(), saw(None), saw(Some(state(2)))], true);
        check(Topics::default(), &late, true);
        check(Topics::default(), &[create.clone(), Event::Serves, saw(None), saw(Some(state(2)))], false);
        check(Topics::default(), &[create.clone(), saw(None)], true);
        check(Topics::default(), &[create.clone(), saw(Some(state(2)))], true);
        check(Topics::default(), &[create.clone(), saw(Some(state(2))), saw(None)], false);
        let refused = Event::AdminRefused { topic: "t".into(), change: Change::Create(state(2)) };
        check(Topics::default(), &[create, refused, saw(Some(state(2)))], false);
    }
}
