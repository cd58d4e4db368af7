//! Topics are deleted, by name or by id.
//!
//! It deletes no files: brokers do when they learn of it. The controller's dispatch calls it.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::Outcome;
use model::TopicId;

use super::{Controller, Decision};
use crate::{DeleteTopic, DeletedTopic, Error, Permits, Record, Reply};

impl Controller {
    pub(super) fn delete_topics(&self, topics: Vec<DeleteTopic>, mut permits: Permits) -> Decision {
        if !self.configs().broker().flag("delete.topic.enable") {
            return Err(Error::TopicDeletionDisabled(
                "Topics cannot be deleted here: delete.topic.enable is false.".to_owned(),
            ));
        }
        let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for topic in &topics {
            match (&topic.name, topic.id) {
                (Some(name), id) if id.is_zero() => *names.entry(name.clone()).or_insert(0) += 1,
                (None, id) if !id.is_zero() => *ids.entry(id).or_insert(0) += 1,
                _ => {}
            }
        }
        let by_both = self.named_by_both(&names, &ids);
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let times = match (&topic.name, topic.id) {
                (Some(name), id) if id.is_zero() => names.insert(name.clone(), 0),
                (None, id) if !id.is_zero() => ids.insert(id, 0),
                _ => Some(1),
            };
            match times {
                // It was answered when it came first, or is by its name.
                Some(0) | None => {}
                Some(1) if topic.name.is_none() && by_both.contains(&topic.id) => {}
                Some(1) => {
                    let found = self.find(topic);
                    results.push(if found.result.is_ok() && by_both.contains(&found.id) {
                        refused(found, "The topic is in this request by its id too.")
                    } else {
                        self.permitted(found, &mut permits)
                    });
                }
                Some(_) => {
                    let found =
                        DeletedTopic { name: topic.name, id: topic.id, partitions: 0, result: Ok(()) };
                    results.push(refused(found, "The topic is in this request more than once."));
                }
            }
        }
        let deleted = results.iter().filter(|topic| topic.result.is_ok());
        let records = deleted.map(|topic| Record::RemoveTopic { id: topic.id }).collect();
        Ok(Outcome::new(records, Reply::DeleteTopics(results)))
    }

    /// The ids of topics that are asked for by id, and once by name.
    fn named_by_both(
        &self,
        names: &BTreeMap<String, usize>,
        ids: &BTreeMap<TopicId, usize>,
    ) -> BTreeSet<TopicId> {
        let once = names.iter().filter(|(_, times)| **times == 1);
        let found = once.filter_map(|(name, _)| Some(self.image.topic(name)?.id));
        found.filter(|id| ids.contains_key(id)).collect()
    }

    /// The same, unless nothing may be deleted any more.
    fn permitted(&self, found: DeletedTopic, permits: &mut Permits) -> DeletedTopic {
        match found.result.is_ok().then(|| permits.take(found.partitions)) {
            Some(Err(error)) => DeletedTopic { partitions: 0, result: Err(error), ..found },
            _ => found,
        }
    }

    fn find(&self, topic: DeleteTopic) -> DeletedTopic {
        let refuse = |error| DeletedTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: 0,
            result: Err(error),
        };
        match (topic.name.as_deref(), topic.id) {
            (None, id) if id.is_zero() => {
                refuse(Error::InvalidRequest("A topic needs either a name or an id.".to_owned()))
            }
            (Some(_), id) if !id.is_zero() => {
                refuse(Error::InvalidRequest("A topic needs a name or an id, not both.".to_owned()))
            }
            (Some(name), _) => match self.image.topic(name) {
                Some(found) => {
                    let partitions = found.partitions.len();
                    DeletedTopic { name: topic.name, id: found.id, partitions, result: Ok(()) }
                }
                None => refuse(Error::UnknownTopicOrPartition(format!("There is no topic '{name}'."))),
            },
            (None, id) => match self.image.topic_by_id(id) {
                Some(found) => {
                    let (name, partitions) = (Some(found.name.to_string()), found.partitions.len());
                    DeletedTopic { name, id, partitions, result: Ok(()) }
                }
                None => refuse(Error::UnknownTopicId(format!("There is no topic with the id {id}."))),
            },
        }
    }
}

fn refused(topic: DeletedTopic, why: &str) -> DeletedTopic {
    DeletedTopic { partitions: 0, result: Err(Error::InvalidRequest(why.to_owned())), ..topic }
}
