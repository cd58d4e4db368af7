//! The internal topics of streams applications (KIP-1071), created when a heartbeat finds them missing.
//!
//! A heartbeat waits for none of them: the next one finds them there, or says why they could not be created. Which are missing
//! the group coordinator finds out.

use crate::{Broker, context::Context, handlers};
use groups::InternalTopic;
use metadata::NewTopic;
use model::Timestamp;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::ErrorCode;

/// Topics that are being created, and failures that are remembered; beyond that a later heartbeat tries.
const TOPICS_MAX: usize = 1000;

/// Partitions that one request may create: what the controller allows.
const PARTITIONS_AT_ONCE: usize = 10_000;

/// Which topics are being created, and which could not be.
#[derive(Default)]
pub(crate) struct StreamsTopics(Mutex<State>);

#[derive(Default)]
struct State {
    under_way: BTreeSet<Arc<str>>,
    /// Why a topic could not be created, and until when it is not tried again.
    failed: BTreeMap<Arc<str>, (ErrorCode, Timestamp)>,
}

impl StreamsTopics {
    /// Takes the topics that are to be created now, and gives the failures of the others.
    fn take(&self, topics: Vec<InternalTopic>, now: Timestamp) -> (Vec<InternalTopic>, Vec<Failure>) {
        let mut state = self.0.lock();
        state.failed.retain(|_, (_, until)| *until > now);
        let (mut taken, mut failures) = (Vec::new(), Vec::new());
        for topic in topics {
            if let Some((error, _)) = state.failed.get(&topic.name) {
                failures.push((topic.name, *error));
            } else if state.under_way.len() < TOPICS_MAX && state.under_way.insert(topic.name.clone()) {
                taken.push(topic);
            }
        }
        (taken, failures)
    }

    fn settle(&self, results: Vec<(Arc<str>, Result<(), ErrorCode>)>, until: Timestamp) {
        let mut state = self.0.lock();
        for (name, result) in results {
            state.under_way.remove(&name);
            let is_room = state.failed.len() < TOPICS_MAX;
            if let Some(error) =
                result.err().filter(|error| is_room && *error != ErrorCode::TopicAlreadyExists)
            {
                state.failed.insert(name, (error, until));
            }
        }
    }
}

/// A topic and why it could not be created.
pub(crate) type Failure = (Arc<str>, ErrorCode);

/// Begins to create topics for a client; gives those that could not be created a short while ago. What fails now is tried again
/// after `retry_ms`.
pub(crate) fn create(
    broker: &Arc<Broker>,
    context: &Context,
    topics: Vec<InternalTopic>,
    retry_ms: i64,
) -> Vec<Failure> {
    let (taken, failures) = broker.streams_topics.take(topics, broker.now_ms());
    if taken.is_empty() {
        return failures;
    }
    let (broker, context) = (broker.clone(), context.clone());
    let tasks = broker.world.tasks.clone();
    tasks.spawn(Box::pin(async move {
        for topics in in_pieces(taken) {
            let names: Vec<Arc<str>> = topics.iter().map(|topic| topic.name.clone()).collect();
            let topics = topics.into_iter().map(|topic| new_topic(&broker, topic)).collect();
            let results = handlers::create_all(&broker, topics, Some(&context)).await;
            let until = broker.now_ms().saturating_add(retry_ms);
            broker.streams_topics.settle(names.into_iter().zip(results).collect(), until);
        }
    }));
    failures
}

/// As many at a time as one request may create; one that is too large alone has a request of its own, and its own failure.
fn in_pieces(topics: Vec<InternalTopic>) -> Vec<Vec<InternalTopic>> {
    let (mut pieces, mut partitions): (Vec<Vec<InternalTopic>>, usize) = (Vec::new(), 0);
    for topic in topics {
        let more = usize::try_from(topic.partitions).unwrap_or(1);
        match pieces.last_mut().filter(|_| partitions.saturating_add(more) <= PARTITIONS_AT_ONCE) {
            Some(piece) => {
                piece.push(topic);
                partitions += more;
            }
            None => {
                pieces.push(vec![topic]);
                partitions = more;
            }
        }
    }
    pieces
}

fn new_topic(broker: &Broker, topic: InternalTopic) -> NewTopic {
    let configs = topic.configs.into_iter();
    NewTopic {
        name: topic.name.to_string(),
        id: broker.world.random.uuid(),
        partitions: topic.partitions,
        replication_factor: if topic.replication_factor == 0 { -1 } else { topic.replication_factor },
        configs: configs.map(|(key, value)| (key.to_string(), Some(value.to_string()))).collect(),
        ..NewTopic::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> Vec<InternalTopic> {
        names.iter().map(|name| InternalTopic { name: (*name).into(), ..InternalTopic::default() }).collect()
    }

    #[test]
    fn a_topic_is_created_once_at_a_time_and_after_a_failure_only_later() {
        let known = StreamsTopics::default();
        let (taken, failures) = known.take(topics(&["a", "b"]), 0);
        assert_eq!((taken.len(), failures.len()), (2, 0));
        assert_eq!(known.take(topics(&["a", "b"]), 0), (vec![], vec![]), "both are under way");
        let results = vec![("a".into(), Ok(())), ("b".into(), Err(ErrorCode::PolicyViolation))];
        known.settle(results, 10);
        let (taken, failures) = known.take(topics(&["a", "b"]), 9);
        assert_eq!((taken, failures), (topics(&["a"]), vec![("b".into(), ErrorCode::PolicyViolation)]));
        known.settle(vec![("a".into(), Err(ErrorCode::TopicAlreadyExists))], 20);
        assert_eq!(known.take(topics(&["a", "b"]), 10).0.len(), 2);
    }

    #[test]
    fn no_request_creates_more_partitions_than_one_may() {
        let of = |sizes: &[i32]| {
            let topics = sizes
                .iter()
                .map(|partitions| InternalTopic { partitions: *partitions, ..InternalTopic::default() });
            let pieces = in_pieces(topics.collect());
            pieces
                .iter()
                .map(|piece| piece.iter().map(|topic| topic.partitions).collect())
                .collect::<Vec<Vec<i32>>>()
        };
        assert_eq!(of(&[4000, 6000, 1, 20_000, 5]), [vec![4000, 6000], vec![1], vec![20_000], vec![5]]);
        assert_eq!(of(&[]), Vec::<Vec<i32>>::new());
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let known = StreamsTopics::default();
        let names: Vec<String> = (0..TOPICS_MAX + 5).map(|n| n.to_string()).collect();
        let many = topics(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (taken, _) = known.take(many, 0);
        assert_eq!(taken.len(), TOPICS_MAX);
        let failed = names.iter().map(|name| (name.as_str().into(), Err(ErrorCode::InvalidConfig)));
        known.settle(failed.collect(), 10);
        assert_eq!(known.0.lock().failed.len(), TOPICS_MAX);
    }
}
