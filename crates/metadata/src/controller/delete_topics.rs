//! Topics are deleted, by name or by id.
//!
//! It deletes no files: brokers do when they learn of it. The controller's dispatch calls it.

use std::collections::BTreeMap;

use coordinator::Outcome;
use model::TopicId;

use super::{Controller, Decision};
use crate::{DeleteTopic, DeletedTopic, Error, Record, Reply};

impl Controller {
    pub(super) fn delete_topics(&self, topics: Vec<DeleteTopic>) -> Decision {
        if !self.configs().broker().flag("delete.topic.enable") {
            return Err(Error::TopicDeletionDisabled(
                "Topics cannot be deleted here: delete.topic.enable is false.".to_owned(),
            ));
        }
        let found: Vec<_> = topics.into_iter().map(|topic| self.find(topic)).collect();
        let mut wanted: BTreeMap<TopicId, usize> = BTreeMap::new();
        for topic in found.iter().filter(|topic| topic.result.is_ok()) {
            *wanted.entry(topic.id).or_default() += 1;
        }
        let results = found.into_iter().map(|topic| match wanted.get(&topic.id) {
            Some(count) if *count > 1 && topic.result.is_ok() => {
                let twice = "The topic is in this request more than once.".to_owned();
                DeletedTopic { result: Err(Error::InvalidRequest(twice)), ..topic }
            }
            _ => topic,
        });
        let results: Vec<_> = results.collect();
        let deleted = results.iter().filter(|topic| topic.result.is_ok());
        let records = deleted.map(|topic| Record::RemoveTopic { id: topic.id }).collect();
        Ok(Outcome::new(records, Reply::DeleteTopics(results)))
    }

    fn find(&self, topic: DeleteTopic) -> DeletedTopic {
        let refuse = |error| DeletedTopic { name: topic.name.clone(), id: topic.id, result: Err(error) };
        match (topic.name.as_deref(), topic.id) {
            (None, id) if id.is_zero() => {
                refuse(Error::InvalidRequest("A topic needs either a name or an id.".to_owned()))
            }
            (Some(_), id) if !id.is_zero() => {
                refuse(Error::InvalidRequest("A topic needs a name or an id, not both.".to_owned()))
            }
            (Some(name), _) => match self.image.topic(name) {
                Some(found) => DeletedTopic { name: topic.name, id: found.id, result: Ok(()) },
                None => refuse(Error::UnknownTopicOrPartition(format!("There is no topic '{name}'."))),
            },
            (None, id) => match self.image.topic_by_id(id) {
                Some(found) => DeletedTopic { name: Some(found.name.to_string()), id, result: Ok(()) },
                None => refuse(Error::UnknownTopicId(format!("There is no topic with the id {id}."))),
            },
        }
    }
}
