//! A client that creates, grows, configures and deletes topics of its own, looks at them, and deletes old records of
//! the topics that others use. It asks for one thing at a time, so that what a topic must be is known but for answers
//! that were lost.

use super::{Ground, Link, Lost, Seek, oracle};
use crate::{
    dice::Dice,
    history::{Change, Event, Place, TopicState},
};
use std::sync::Arc;
use wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, ErrorCode,
    IncrementalAlterConfigsRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

/// The configuration that admin clients change.
pub const ADMIN_CONFIG: &str = "retention.bytes";

/// An admin client.
pub struct Admin {
    ground: Ground,
    dice: Dice,
    number: u32,
    topics: Vec<Arc<str>>,
    places: Vec<Place>,
}

/// After an answer was lost the change may still be under way for so long.
const SETTLED_AFTER_MS: u64 = 5000;
const RESOURCE_TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;

impl Admin {
    /// The only client that changes `topics`.
    pub fn new(ground: Ground, dice: Dice, number: u32, topics: Vec<Arc<str>>, places: Vec<Place>) -> Self {
        Self { ground, dice, number, topics, places }
    }

    /// Works until the run ends.
    pub async fn run(mut self) {
        let name = format!("admin{}", self.number);
        while !self.ground.rules.is_ended() {
            let mut link = self.ground.connect(Seek::Anyone, &name, &mut self.dice).await;
            if self.work(&mut link).await.is_err() {
                drop(link);
                self.ground.clock.sleep_ms(SETTLED_AFTER_MS).await;
            }
        }
    }

    async fn work(&mut self, link: &mut Link) -> Result<(), Lost> {
        while !self.ground.rules.is_ended() {
            let index = self.dice.below(self.topics.len() as u64) as usize;
            let Some(topic) = self.topics.get(index).cloned() else { return Ok(()) };
            let is_several = self.ground.cluster.is_several();
            if self.dice.chance(15) {
                if !is_several {
                    self.delete_records(link).await?;
                }
            } else if !is_several && self.dice.chance(50) {
                oracle::look(&self.ground, link, &topic, &mut self.dice).await?;
            } else {
                let change = self.change();
                self.ground.history.tell(Event::AdminSent { topic: topic.clone(), change: change.clone() });
                let error = self.ask(link, &topic, &change).await?.and_then(ErrorCode::from_i16);
                self.ground.history.tell(match error {
                    Some(ErrorCode::None) => Event::AdminDone { topic, change },
                    // The metadata log has failed: what was written of the change may be found at the next start.
                    None | Some(ErrorCode::NotController | ErrorCode::RequestTimedOut) => return Err(Lost),
                    Some(ErrorCode::UnknownServerError | ErrorCode::KafkaStorageError) => return Err(Lost),
                    // A node that forwards a change asks again where it has no answer: it may have made it so itself.
                    Some(
                        ErrorCode::TopicAlreadyExists
                        | ErrorCode::UnknownTopicOrPartition
                        | ErrorCode::InvalidPartitions,
                    ) if self.ground.cluster.is_several() => return Err(Lost),
                    Some(_) => Event::AdminRefused { topic, change },
                });
            }
            self.ground.clock.sleep_ms(self.dice.range(10..=700)).await;
        }
        Ok(())
    }

    fn change(&mut self) -> Change {
        let partitions = self.dice.range(1..=4) as i32;
        let config = self.dice.chance(70).then(|| self.dice.range(1_000_000..=9_000_000).to_string());
        match self.dice.below(5) {
            0 | 1 => Change::Create(TopicState { partitions, config }),
            2 => Change::Delete,
            3 => Change::Grow(partitions + 1),
            _ => Change::Configure(config),
        }
    }

    /// Asks for a change; the error code of the answer.
    async fn ask(&mut self, link: &mut Link, topic: &Arc<str>, change: &Change) -> Result<Option<i16>, Lost> {
        let name = topic.to_string();
        match change {
            Change::Create(state) => {
                let config = |value: &String| CreatableTopicConfig {
                    name: ADMIN_CONFIG.into(),
                    value: Some(value.clone()),
                };
                let topic = CreatableTopic {
                    name,
                    num_partitions: state.partitions,
                    replication_factor: if self.ground.cluster.is_several() { 3 } else { 1 },
                    configs: state.config.iter().map(config).collect(),
                    ..Default::default()
                };
                let request =
                    CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, validate_only: false };
                let answer = link.ask(self.dice.range(2..=7) as i16, &request).await?;
                Ok(answer.topics.first().map(|topic| topic.error_code))
            }
            Change::Delete => {
                let version = self.dice.range(1..=6) as i16;
                let state = DeleteTopicState { name: Some(name.clone()), ..Default::default() };
                let request = match version {
                    ..=5 => {
                        DeleteTopicsRequest { topic_names: vec![name], timeout_ms: 5000, topics: Vec::new() }
                    }
                    _ => {
                        DeleteTopicsRequest { topics: vec![state], timeout_ms: 5000, topic_names: Vec::new() }
                    }
                };
                let answer = link.ask(version, &request).await?;
                Ok(answer.responses.first().map(|topic| topic.error_code))
            }
            Change::Grow(count) => {
                let topic = CreatePartitionsTopic { name, count: *count, assignments: None };
                let request =
                    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 5000, validate_only: false };
                let answer = link.ask(self.dice.range(0..=3) as i16, &request).await?;
                Ok(answer.results.first().map(|topic| topic.error_code))
            }
            Change::Configure(value) => {
                let config_operation = if value.is_some() { SET } else { DELETE };
                let config =
                    AlterableConfig { name: ADMIN_CONFIG.into(), config_operation, value: value.clone() };
                let resource = AlterConfigsResource {
                    resource_type: RESOURCE_TOPIC,
                    resource_name: name,
                    configs: vec![config],
                };
                let request =
                    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
                let answer = link.ask(self.dice.range(0..=1) as i16, &request).await?;
                Ok(answer.responses.first().map(|resource| resource.error_code))
            }
        }
    }

    async fn delete_records(&mut self, link: &mut Link) -> Result<(), Lost> {
        let index = self.dice.below(self.places.len() as u64) as usize;
        let Some(place) = self.places.get(index).cloned() else { return Ok(()) };
        let offset = self.dice.range(0..=120) as i64;
        let partition = DeleteRecordsPartition { partition_index: place.partition, offset };
        let topic = DeleteRecordsTopic { name: place.topic.to_string(), partitions: vec![partition] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5000 };
        self.ground.history.tell(Event::DeleteRecordsSent { place: place.clone(), before: offset });
        let answer = link.ask(self.dice.range(0..=2) as i16, &request).await?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        if let Some(partition) = partition.filter(|partition| partition.error_code == 0) {
            let low_watermark = partition.low_watermark;
            self.ground.history.tell(Event::DeleteRecordsDone { place, low_watermark });
        }
        Ok(())
    }
}
