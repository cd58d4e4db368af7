//! Creating, deleting and growing topics.
//!
//! It knows no configurations beyond those of a new topic; `configs` describes and changes them.

use crate::{Client, Error};
use model::PartitionIndex;
use std::collections::BTreeMap;
use wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, ErrorCode,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
};

/// A topic that is to be.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None`: as many as the brokers give by default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None`: as many as the brokers give by default.
    pub replication_factor: Option<i16>,
    /// Its configuration, where it differs from the brokers' defaults.
    pub configs: BTreeMap<String, String>,
}

impl Client {
    /// Creates a topic; says how many partitions and replicas it has (-1 if the broker does not tell).
    pub async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<(i32, i16), Error> {
        let configs = topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) });
        let creatable = CreatableTopic {
            name: topic.name.clone(),
            num_partitions: topic.partitions.unwrap_or(-1),
            replication_factor: topic.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: configs.collect(),
        };
        let timeout_ms = self.request_timeout_ms();
        let request = CreateTopicsRequest { topics: vec![creatable], timeout_ms, validate_only };
        let mut attempts = self.attempts();
        loop {
            let response = self.ask(&request).await?;
            let result = response.topics.into_iter().next().ok_or_else(|| silent("CreateTopics"))?;
            match Error::from_code(result.error_code, result.error_message, || subject(&topic.name)) {
                Ok(()) => return Ok((result.num_partitions, result.replication_factor)),
                // The first attempt may have come through although its answer said that it took too long.
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) && attempts.made() > 0 => {
                    return Ok((-1, -1));
                }
                Err(error) if attempts.again(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes a topic with all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let state = DeleteTopicState { name: Some(name.into()), ..Default::default() };
        let timeout_ms = self.request_timeout_ms();
        let new = DeleteTopicsRequest { topics: vec![state], timeout_ms, ..Default::default() };
        let old = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms, ..Default::default() };
        let mut attempts = self.attempts();
        loop {
            // Versions below 6 have names only.
            let response = match self.ask(&new).await {
                Err(Error::Invalid(_)) => self.ask(&old).await?,
                other => other?,
            };
            let result = response.responses.into_iter().next().ok_or_else(|| silent("DeleteTopics"))?;
            // Whether a topic is unknown is not told by chance here: the controller answers.
            let gone = result.error_code == ErrorCode::UnknownTopicOrPartition.to_i16();
            match Error::from_code(result.error_code, result.error_message, || subject(name)) {
                Err(error) if !gone && attempts.again(&error).await => {}
                Err(_) if gone && attempts.made() > 0 => return Ok(()),
                other => return other,
            }
        }
    }

    /// Gives a topic more partitions, `count` in all.
    pub async fn add_partitions(&self, name: &str, count: PartitionIndex) -> Result<(), Error> {
        let topic = CreatePartitionsTopic { name: name.into(), count, assignments: None };
        let timeout_ms = self.request_timeout_ms();
        let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms, validate_only: false };
        let response = self.ask(&request).await?;
        let result = response.results.into_iter().next().ok_or_else(|| silent("CreatePartitions"))?;
        Error::from_code(result.error_code, result.error_message, || subject(name))
    }
}

/// A broker that answers without saying anything about what was asked.
pub(crate) fn silent(api: &str) -> Error {
    Error::Invalid(format!("the broker's answer to {api} is empty; it is no broker that this client knows"))
}

fn subject(name: &str) -> String {
    format!("topic '{name}'")
}
