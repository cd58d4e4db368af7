//! The client that asks when nothing else happens: creates the topics that exist for the whole run, and at the end reads
//! everything back. It tries again until it has its answers; whoever waits for it must bound that.

use super::{
    ADMIN_CONFIG, Ground, Link, Lost, Seek, committed_reader, committing, fetching, reader,
    sharing::{self, Sharing, Wish},
};
use crate::{
    dice::Dice,
    history::{Event, Place, TopicState, Verdict},
    plan::{Durability, TopicPlan},
    value::ValueId,
};
use broker::partition_of;
use bytes::Bytes;
use gateway::{Address, Denied, From, Mailboxes, Token};
use model::TopicName;
use records::{Batch, Decompressor, Record};
use std::sync::Arc;
use stdx::{Parts, Uuid};
use wire::{
    AlterConfigsRequest, CreateTopicsRequest, DescribeConfigsRequest, ErrorCode, FetchRequest,
    MetadataRequest,
    alter_configs_request::{AlterConfigsResource, AlterableConfig},
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    describe_configs_request::DescribeConfigsResource,
    metadata_request::MetadataRequestTopic,
};

/// Asks in calm times.
pub struct Oracle {
    ground: Ground,
    dice: Dice,
}

/// Metadata of this version on tells ids.
const METADATA_VERSION_WITH_IDS: i16 = 10;
const RESOURCE_TOPIC: i8 = 2;
/// The source of a value that a topic has of its own.
const SOURCE_TOPIC: i8 = 1;
const RESOURCE_GROUP: i8 = 32;
const RETRY_MS: u64 = 100;
/// So much of a key is read at once.
const PIECE_BYTES: usize = 500;
/// Batches are not unpacked beyond this.
const PLAIN_BYTES_MAX: usize = 16 << 20;
/// How much longer than locks last nothing has to come until nothing more will.
const DRAINED_MS: u64 = 2000;

impl Oracle {
    /// An oracle.
    pub fn new(ground: Ground, dice: Dice) -> Self {
        Self { ground, dice }
    }

    /// Creates a topic and gives its partitions.
    pub async fn create(&mut self, plan: &TopicPlan, replication: i16) -> Vec<(Place, Uuid)> {
        loop {
            let mut link = self.ground.connect(Seek::Anyone, "oracle", &mut self.dice).await;
            if let Ok(Some(id)) = create(&mut link, plan, replication).await {
                let name: Arc<str> = plan.name.as_str().into();
                let place = |partition| Place {
                    topic: name.clone(),
                    partition,
                    durability: plan.durability,
                    is_compacted: plan.is_compacted,
                };
                return (0..plan.partitions).map(|partition| (place(partition), id)).collect();
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// Reads a partition from its start to its high watermark.
    pub async fn read_all(&mut self, place: &Place, id: Uuid) {
        loop {
            let mut link = self.ground.connect(Seek::Leader(place), "oracle", &mut self.dice).await;
            if let Ok(Some(read)) = read_all(&mut link, place, id).await {
                return self.ground.history.tell(read);
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// Looks for the records of each key, by the key index where there is one.
    pub async fn read_keys(&mut self, place: &Place, id: Uuid) {
        loop {
            let mut link = self.ground.connect(Seek::Leader(place), "oracle", &mut self.dice).await;
            if let Ok(Some(all)) = read_with_keys(&mut link, place, id).await
                && let Ok(Some((partitions, _))) = describe(&mut link, &place.topic, 12).await
                && let Some(looked) = self.look_for_keys(place, &all, partitions).await
            {
                return looked.into_iter().for_each(|read| self.ground.history.tell(read));
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// As the gateway finds them at their leader: keys that belong into this partition, although clients write them into any.
    async fn look_for_keys(&self, place: &Place, all: &[(i64, u8)], partitions: i32) -> Option<Vec<Event>> {
        let (leader, _) = self.ground.cluster.leader(&place.topic, place.partition)?;
        let mailboxes = self.ground.cluster.node(leader)?.broker()?.mailboxes();
        let mut looked = Vec::new();
        let count = usize::try_from(partitions).ok()?;
        for key in (0..ValueId::KEYS).filter(|key| partition_of(&[*key], count) == place.partition) {
            let scanned = all.iter().filter(|(_, known)| *known == key).map(|(offset, _)| *offset).collect();
            let topic = TopicName::new(&place.topic).ok()?;
            let at = Address { topic, key: Bytes::copy_from_slice(&[key]) };
            looked.push(Event::KeyRead {
                place: place.clone(),
                key,
                scanned,
                found: read_key(&*mailboxes, &at).await?,
                newest: mailboxes.latest(&at).await.ok()?.map(|latest| offset(latest.at)),
            });
        }
        Some(looked)
    }

    /// Reads what readers of committed records see of a partition, once no transaction is open in it.
    pub async fn read_committed(&mut self, place: &Place, id: Uuid) {
        loop {
            let mut link = self.ground.connect(Seek::Leader(place), "oracle", &mut self.dice).await;
            if let Ok(Some(read)) = read_committed(&mut link, place, id).await {
                return self.ground.history.tell(read);
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// Asks for what a group has committed.
    pub async fn committed(&mut self, group: &Arc<str>, place: &Place) {
        loop {
            let mut link = self.ground.connect(Seek::Coordinator(group), "oracle", &mut self.dice).await;
            let version = self.dice.range(1..=9) as i16;
            if let Ok(Some(_)) = committing::fetch(&self.ground, &mut link, group, place, version).await {
                return;
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// Lets a share group begin with the first record of each partition, and perhaps have a dead-letter topic.
    pub async fn begin_shares(&mut self, group: &str, dead_letters: Option<&str>) {
        loop {
            let mut link = self.ground.connect(Seek::Anyone, "oracle", &mut self.dice).await;
            if let Ok(true) = begin_shares(&mut link, group, dead_letters).await {
                return;
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// Accepts what a share group is still to get of these partitions, until nothing comes for longer than locks last.
    pub async fn drain(
        &mut self,
        group: &Arc<str>,
        places: &[(Place, Uuid)],
        (lock_ms, count_max): (u64, i16),
    ) {
        let mut last_news = self.ground.clock.elapsed_ms();
        let mut sharings: Vec<Option<(Link, Sharing)>> = places.iter().map(|_| None).collect();
        for turn in 0.. {
            if self.ground.clock.elapsed_ms() > last_news + lock_ms + DRAINED_MS {
                break;
            }
            for (number, (sharing, place)) in sharings.iter_mut().zip(places).enumerate() {
                // A member has one session with a broker.
                let member = (group.clone(), format!("drain{turn}/{number}").into());
                if self.accept_some(sharing, member, place).await {
                    last_news = self.ground.clock.elapsed_ms();
                }
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
        for (place, id) in places {
            let read = loop {
                let mut link = self.ground.connect(Seek::Leader(place), "oracle", &mut self.dice).await;
                if let Ok(Some(Event::ReadAll { records, .. })) = read_all(&mut link, place, *id).await {
                    break records;
                }
                self.ground.clock.sleep_ms(RETRY_MS).await;
            };
            let records = read.into_iter().map(|(offset, _)| offset).collect();
            let (group, place) = (group.clone(), place.clone());
            self.ground.history.tell(Event::ShareDrained { group, place, records, count_max });
        }
    }

    /// Reads what a dead-letter topic was told.
    pub async fn read_letters(&mut self, group: &Arc<str>, topic: &str) {
        let described = loop {
            let mut link = self.ground.connect(Seek::Anyone, "oracle", &mut self.dice).await;
            if let Ok(described) = describe(&mut link, topic, 12).await {
                break described;
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        };
        let mut letters = Vec::new();
        for (partition, id) in
            described.into_iter().flat_map(|(count, id)| (0..count).map(move |one| (one, id)))
        {
            let (durability, is_compacted) = (Durability::Fsync, false);
            let place = Place { topic: topic.into(), partition, durability, is_compacted };
            loop {
                let mut link = self.ground.connect(Seek::Leader(&place), "oracle", &mut self.dice).await;
                if let Ok(Some(read)) = read_letters(&mut link, &place, id).await {
                    break letters.extend(read);
                }
                self.ground.clock.sleep_ms(RETRY_MS).await;
            }
        }
        self.ground.history.tell(Event::LettersRead { group: group.clone(), letters });
    }

    /// One fetch, in a session that is begun if there is none; whether something came, or went wrong.
    async fn accept_some(
        &mut self,
        sharing: &mut Option<(Link, Sharing)>,
        (group, member): (Arc<str>, Arc<str>),
        (place, id): &(Place, Uuid),
    ) -> bool {
        let (mut link, mut on) = match sharing.take() {
            Some(known) => known,
            None => {
                let coordinator = Seek::Coordinator(&group);
                let Ok(mut link) = self.ground.try_connect(coordinator, "oracle", &mut self.dice).await
                else {
                    return true;
                };
                let topics = vec![place.topic.to_string()];
                if sharing::join(&mut link, (&group, &member), topics).await.is_err() {
                    return true;
                }
                let Ok(link) = self.ground.try_connect(Seek::Leader(place), "oracle", &mut self.dice).await
                else {
                    return true;
                };
                (link, Sharing::new(&self.ground, (group, member), (place.clone(), *id)))
            }
        };
        let wish = Wish { records_max: 500, wait_ms: 0, is_strict: false };
        let Ok(acquired) = on.fetch(&mut link, &wish).await else { return true };
        for (first, last, _) in &acquired {
            if on.say(&mut link, (*first, *last), Verdict::Accept).await.is_err() {
                return true;
            }
        }
        *sharing = Some((link, on));
        !acquired.is_empty()
    }

    /// Looks at a topic.
    pub async fn look(&mut self, topic: &Arc<str>) {
        loop {
            let mut link = self.ground.connect(Seek::Anyone, "oracle", &mut self.dice).await;
            if look(&self.ground, &mut link, topic, &mut self.dice).await.is_ok() {
                return;
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }
}

async fn begin_shares(link: &mut Link, group: &str, dead_letters: Option<&str>) -> Result<bool, Lost> {
    let config = |name: &str, value: &str| AlterableConfig { name: name.into(), value: Some(value.into()) };
    let begin = config("share.auto.offset.reset", "earliest");
    let configs = dead_letters.map(|topic| config("errors.deadletterqueue.topic.name", topic));
    let resource = AlterConfigsResource {
        resource_type: RESOURCE_GROUP,
        resource_name: group.to_owned(),
        configs: configs.into_iter().chain([begin]).collect(),
    };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = link.ask(2, &request).await?;
    Ok(answer.responses.iter().all(|response| response.error_code == 0))
}

/// The topics, partitions and offsets that the headers of all records of a partition name.
async fn read_letters(
    link: &mut Link,
    place: &Place,
    id: Uuid,
) -> Result<Option<Vec<(String, i32, i64)>>, Lost> {
    let records = read_records(link, place, id, 0).await?;
    Ok(records.map(|records| records.iter().filter_map(letter_of).collect()))
}

/// The offsets of all records that the stream of a key has, piece by piece.
async fn read_key(mailboxes: &dyn Mailboxes, at: &Address) -> Option<Vec<i64>> {
    let (mut found, mut from) = (Vec::new(), From::Begin);
    loop {
        let chunk = match mailboxes.read(at, from, PIECE_BYTES).await {
            Err(Denied::Refused(..)) => return Some(found),
            read => read.ok()?,
        };
        // Each has the place behind it.
        found.extend(chunk.records.iter().map(|(next, _)| offset(*next) - 1));
        if chunk.is_up_to_date {
            return Some(found);
        }
        from = From::At(chunk.next);
    }
}

fn offset(token: Token) -> i64 {
    i64::try_from(token.0.offset).unwrap_or(i64::MAX)
}

/// The offsets of all records of a partition that have a key, and the key.
async fn read_with_keys(link: &mut Link, place: &Place, id: Uuid) -> Result<Option<Vec<(i64, u8)>>, Lost> {
    let Some(log_start) = reader::earliest(link, place, 5).await? else { return Ok(None) };
    let records = read_records(link, place, id, log_start).await?;
    let keyed = |record: &Record| Some((record.offset, *record.key.as_ref()?.first()?));
    Ok(records.map(|records| records.iter().filter_map(keyed).filter(|(at, _)| *at >= log_start).collect()))
}

/// All records of a partition from an offset on, but those of control batches.
async fn read_records(
    link: &mut Link,
    place: &Place,
    id: Uuid,
    from: i64,
) -> Result<Option<Vec<Record>>, Lost> {
    let (mut position, mut all) = (from, Vec::new());
    loop {
        let before = position;
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![fetching::topic(place, id, position, 1 << 20, link.leader_epoch)],
            ..Default::default()
        };
        let answer = link.ask(12, &request).await?;
        let data = answer.responses.first().and_then(|topic| topic.partitions.first());
        let Some(data) = data.filter(|data| data.error_code == 0) else { return Ok(None) };
        let mut bytes = data.records.as_ref().and_then(Parts::to_bytes).unwrap_or_default();
        while let Some(batch) = Batch::split_off(&mut bytes) {
            position = position.max(batch.header.next_offset());
            if !batch.header.attributes.is_control() {
                let records = batch.records(PLAIN_BYTES_MAX, &mut Decompressor::new());
                all.extend(records.unwrap_or_default());
            }
        }
        // Where compaction has left nothing at the end there is nothing more to come either.
        if position >= data.high_watermark || place.is_compacted && position == before {
            return Ok(Some(all));
        }
    }
}

fn letter_of(record: &Record) -> Option<(String, i32, i64)> {
    let header = |name: &str| {
        let found = record.headers.iter().find(|header| header.key == name.as_bytes())?;
        std::str::from_utf8(found.value.as_ref()?).ok()
    };
    let (topic, partition) = (header("__dlq.errors.topic")?, header("__dlq.errors.partition")?);
    Some((topic.to_owned(), partition.parse().ok()?, header("__dlq.errors.offset")?.parse().ok()?))
}

async fn read_committed(link: &mut Link, place: &Place, id: Uuid) -> Result<Option<Event>, Lost> {
    let (mut position, mut all) = (0, Vec::new());
    let mut inside = committed_reader::Inside::new();
    loop {
        let fetched = committed_reader::fetch(link, (place, id), position, (12, 1 << 20)).await?;
        let Some(data) = fetched else { return Ok(None) };
        let shown = committed_reader::show(&data, position, &mut inside, false);
        all.extend(shown.kept);
        if shown.next > position {
            position = shown.next;
        } else if data.last_stable_offset == data.high_watermark && position == data.high_watermark {
            return Ok(Some(Event::TxnReadAll { place: place.clone(), kept: all }));
        } else {
            return Ok(None);
        }
    }
}

async fn create(link: &mut Link, plan: &TopicPlan, replication_factor: i16) -> Result<Option<Uuid>, Lost> {
    let config = |(name, value)| CreatableTopicConfig { name, value: Some(value) };
    let topic = CreatableTopic {
        name: plan.name.clone(),
        num_partitions: plan.partitions,
        replication_factor,
        configs: plan.all_configs().into_iter().map(config).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, validate_only: false };
    let answer = link.ask(7, &request).await?;
    let created = answer.topics.first();
    match created.and_then(|topic| ErrorCode::from_i16(topic.error_code)) {
        Some(ErrorCode::None) => Ok(created.map(|topic| topic.topic_id)),
        Some(ErrorCode::TopicAlreadyExists) => Ok(describe(link, &plan.name, 12).await?.map(|(_, id)| id)),
        _ => Ok(None),
    }
}

/// The topic's number of partitions and id, if it exists.
async fn describe(link: &mut Link, topic: &str, version: i16) -> Result<Option<(i32, Uuid)>, Lost> {
    let wanted = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![wanted]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let answer = link.ask(version, &request).await?;
    let Some(found) = answer.topics.first() else { return Err(Lost) };
    match ErrorCode::from_i16(found.error_code) {
        Some(ErrorCode::None) => Ok(Some((found.partitions.len() as i32, found.topic_id))),
        Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        _ => Err(Lost),
    }
}

/// Looks at a topic and tells the history what it is.
pub(super) async fn look(
    ground: &Ground,
    link: &mut Link,
    topic: &Arc<str>,
    dice: &mut Dice,
) -> Result<(), Lost> {
    let version = dice.range(METADATA_VERSION_WITH_IDS as u64..=13) as i16;
    let state = match describe(link, topic, version).await? {
        None => None,
        Some((partitions, _)) => {
            let resource = DescribeConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: topic.to_string(),
                configuration_keys: Some(vec![ADMIN_CONFIG.into()]),
            };
            let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
            let answer = link.ask(dice.range(1..=4) as i16, &request).await?;
            let result = answer.results.first().filter(|result| result.error_code == 0).ok_or(Lost)?;
            let own = result.configs.iter().find(|config| config.config_source == SOURCE_TOPIC);
            Some(TopicState { partitions, config: own.and_then(|config| config.value.clone()) })
        }
    };
    ground.history.tell(Event::AdminSaw { topic: topic.clone(), state });
    Ok(())
}

async fn read_all(link: &mut Link, place: &Place, id: Uuid) -> Result<Option<Event>, Lost> {
    let Some(log_start) = reader::earliest(link, place, 5).await? else { return Ok(None) };
    let (mut position, mut records) = (log_start, Vec::new());
    loop {
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![fetching::topic(place, id, position, 1 << 20, link.leader_epoch)],
            ..Default::default()
        };
        let answer = link.ask(12, &request).await?;
        let data = answer.responses.first().and_then(|topic| topic.partitions.first());
        let Some(data) = data.filter(|data| data.error_code == 0) else { return Ok(None) };
        let (read, end) = fetching::records(data.records.as_ref(), position, false);
        records.extend(read);
        match end {
            end if end > position && end < data.high_watermark => position = end,
            _ => {
                let (place, high_watermark) = (place.clone(), data.high_watermark);
                return Ok(Some(Event::ReadAll { place, log_start, high_watermark, records }));
            }
        }
    }
}
