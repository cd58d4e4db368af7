//! Reading assigned partitions: one fetch per broker is under way while the caller looks at what the last one
//! brought.
//!
//! It knows no groups; `group_consumer` assigns what a group gives. It keeps no fetch sessions.

use crate::{At, Client, Error, Fetched, backoff::Backoff, client::Lane, fetched};
use env::Deadline;
use model::{NodeId, Offset, TopicId, TopicName, TopicPartition};
use records::Decompressor;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;
use wire::{
    ErrorCode, FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData,
};

/// Answers on their way; there is one per broker at most, and brokers beyond these wait.
const ANSWERS_MAX: usize = 64;

/// Which records are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All.
    Uncommitted,
    /// None of transactions that are undecided or aborted.
    Committed,
}

/// What to do about an offset that the partition does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfRange {
    /// Tell the caller.
    Fail,
    /// Go on there.
    Reset(At),
}

/// How to consume.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// Which records are seen.
    pub isolation: Isolation,
    /// How long a broker may wait for [`Self::fetch_bytes_min`].
    pub fetch_wait_ms: i32,
    /// Bytes for which a fetch waits.
    pub fetch_bytes_min: i32,
    /// Bytes after which a fetch ends; more only if the first batch alone has more. At most 64 MiB.
    pub fetch_bytes_max: i32,
    /// The same, for each partition.
    pub partition_bytes_max: i32,
    /// What to do about an offset that the partition does not have.
    pub out_of_range: OutOfRange,
}

impl ConsumerConfig {
    /// Kafka's defaults, and failing where an offset is out of range.
    pub fn new() -> Self {
        Self {
            isolation: Isolation::Uncommitted,
            fetch_wait_ms: 500,
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            out_of_range: OutOfRange::Fail,
        }
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads partitions.
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    positions: BTreeMap<TopicPartition, Position>,
    /// Counts assignments: answers to fetches of an earlier one are dropped.
    round: u64,
    fetching: BTreeSet<NodeId>,
    answers: mpsc::Sender<Answer>,
    arrived: mpsc::Receiver<Answer>,
    to_reset: BTreeSet<TopicPartition>,
    /// When it began that nothing could be fetched, and what was wrong.
    failing: Option<(Deadline, Backoff, Error)>,
    decompressor: Decompressor,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    offset: Offset,
    end_offset: Option<Offset>,
}

struct Answer {
    node: NodeId,
    round: u64,
    ids: BTreeMap<TopicId, String>,
    response: Result<FetchResponse, Error>,
}

impl Consumer {
    /// A consumer of nothing yet.
    pub fn new(client: &Client, config: ConsumerConfig) -> Self {
        let (answers, arrived) = mpsc::channel(ANSWERS_MAX);
        Self {
            client: client.clone(),
            config,
            positions: BTreeMap::new(),
            round: 0,
            fetching: BTreeSet::new(),
            answers,
            arrived,
            to_reset: BTreeSet::new(),
            failing: None,
            decompressor: Decompressor::new(),
        }
    }

    /// Reads these partitions from these offsets on, and no others any more.
    pub fn assign(&mut self, offsets: BTreeMap<TopicPartition, Offset>) {
        self.round += 1;
        self.fetching.clear();
        self.to_reset.clear();
        let position = |offset| Position { offset, end_offset: None };
        self.positions = offsets.into_iter().map(|(place, offset)| (place, position(offset))).collect();
    }

    /// Does not read this partition any more.
    pub fn unassign(&mut self, place: &TopicPartition) {
        self.positions.remove(place);
        self.to_reset.remove(place);
    }

    /// What is read, and where it goes on.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.positions.iter().map(|(place, position)| (place, position.offset))
    }

    /// The end of a partition as the last fetch has told it.
    pub fn end_offset(&self, place: &TopicPartition) -> Option<Offset> {
        self.positions.get(place).and_then(|position| position.end_offset)
    }

    /// Waits for records, or for news of an end: every answer of a broker ends the wait, so that the caller sees that
    /// there is nothing more. May be cancelled without losing records. Waits for ever while nothing is assigned.
    pub async fn poll(&mut self) -> Result<Vec<Fetched>, Error> {
        loop {
            self.wait_out_failure().await?;
            self.reset().await?;
            self.start_fetches();
            if self.fetching.is_empty() && self.failing.is_some() {
                continue;
            }
            // The sender is kept here, so the channel never ends.
            let Some(answer) = self.arrived.recv().await else { return Err(Error::Ended) };
            if answer.round != self.round {
                continue;
            }
            self.fetching.remove(&answer.node);
            let fetched = match answer.response {
                Ok(response) => self.read(response, &answer.ids)?,
                Err(error) => {
                    self.note_failure(error)?;
                    continue;
                }
            };
            // The next fetch is under way while the caller looks at this one.
            self.start_fetches();
            if !fetched.is_empty() {
                return Ok(fetched);
            }
        }
    }

    fn start_fetches(&mut self) {
        let cluster = self.client.cluster();
        let mut by_leader: BTreeMap<NodeId, Vec<(&TopicPartition, i32, Offset)>> = BTreeMap::new();
        let mut leaderless = None;
        for (place, position) in &self.positions {
            match cluster.leader(&place.topic, place.partition) {
                Ok((leader, epoch)) => {
                    by_leader.entry(leader).or_default().push((place, epoch, position.offset))
                }
                Err(error) => leaderless = Some(error),
            }
        }
        by_leader.retain(|leader, _| !self.fetching.contains(leader));
        for (leader, places) in by_leader {
            self.fetching.insert(leader);
            let places = places.into_iter().filter(|(place, ..)| !self.to_reset.contains(*place));
            let (request, ids) = request(&self.config, &cluster, places);
            let (client, answers, round) = (self.client.clone(), self.answers.clone(), self.round);
            let wait_ms = i64::from(self.config.fetch_wait_ms);
            self.client.world().tasks.spawn(Box::pin(async move {
                let response = match client.link_of(leader, Lane::Fetch).await {
                    Ok(link) => match link.send(&request, wait_ms).await {
                        Ok(answer) => answer.wait().await,
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                };
                // The consumer may have gone.
                let _ = answers.send(Answer { node: leader, round, ids, response }).await;
            }));
        }
        if let Some(error) = leaderless.filter(|_| self.failing.is_none()) {
            self.failing = Some((self.client.retry_deadline(), Backoff::default(), error));
        }
    }

    /// Takes the records of an answer and moves the positions behind them.
    fn read(
        &mut self,
        response: FetchResponse,
        ids: &BTreeMap<TopicId, String>,
    ) -> Result<Vec<Fetched>, Error> {
        Error::from_code(response.error_code, None, || "fetch".into())?;
        let (mut all, mut failed) = (Vec::new(), None);
        for topic in response.responses {
            let name =
                if topic.topic.is_empty() { ids.get(&topic.topic_id).cloned() } else { Some(topic.topic) };
            let Some(name) = name.and_then(|name| TopicName::new(&name).ok()) else { continue };
            for partition in topic.partitions {
                let place = TopicPartition::new(name.clone(), partition.partition_index);
                match self.read_partition(&place, partition) {
                    Ok(Some(fetched)) => all.push(fetched),
                    Ok(None) => {}
                    Err(error) if error.is_passing() => failed = Some(error),
                    // What was read before is not lost: its positions have not been told to anybody yet.
                    Err(error) => return Err(error),
                }
            }
        }
        match failed {
            None => self.failing = None,
            Some(error) => self.note_failure(error)?,
        }
        Ok(all)
    }

    fn read_partition(
        &mut self,
        place: &TopicPartition,
        data: PartitionData,
    ) -> Result<Option<Fetched>, Error> {
        let Some(position) = self.positions.get_mut(place) else { return Ok(None) };
        let resets = self.config.out_of_range != OutOfRange::Fail;
        if data.error_code == ErrorCode::OffsetOutOfRange.to_i16() && resets {
            self.to_reset.insert(place.clone());
            return Ok(None);
        }
        Error::from_code(data.error_code, None, || format!("{place} at offset {}", position.offset))?;
        let committed = self.config.isolation == Isolation::Committed;
        let aborted = committed.then(|| {
            let aborted = data.aborted_transactions.unwrap_or_default();
            aborted.into_iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect()
        });
        let end_offset = if committed { data.last_stable_offset } else { data.high_watermark };
        let bytes = data.records.and_then(|records| records.to_bytes()).unwrap_or_default();
        let (records, next_offset) = fetched::read(bytes, position.offset, aborted, &mut self.decompressor)
            .map_err(|why| Error::Damaged {
            topic: place.topic.to_string(),
            partition: place.partition,
            offset: position.offset,
            why,
        })?;
        *position = Position { offset: next_offset, end_offset: Some(end_offset) };
        let (topic, partition) = (place.topic.to_string(), place.partition);
        Ok(Some(Fetched { topic, partition, records, next_offset, end_offset }))
    }

    /// Looks up where to go on after an offset that does not exist.
    async fn reset(&mut self) -> Result<(), Error> {
        let OutOfRange::Reset(at) = self.config.out_of_range else { return Ok(()) };
        if self.to_reset.is_empty() {
            return Ok(());
        }
        let wanted = self.to_reset.iter().map(|place| (place.clone(), at)).collect();
        let found = self.client.offsets_at(&wanted, self.config.isolation == Isolation::Committed).await?;
        for (place, at) in found {
            self.to_reset.remove(&place);
            if let (Some(position), Some(offset)) = (self.positions.get_mut(&place), at.offset) {
                position.offset = offset;
            }
        }
        Ok(())
    }

    fn note_failure(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_passing() {
            return Err(error);
        }
        match &mut self.failing {
            Some((_, _, last)) => *last = error,
            none => *none = Some((self.client.retry_deadline(), Backoff::default(), error)),
        }
        Ok(())
    }

    /// After a failure: a little patience and new metadata, or the failure itself when it has lasted too long.
    async fn wait_out_failure(&mut self) -> Result<(), Error> {
        let Some((deadline, backoff, error)) = &mut self.failing else { return Ok(()) };
        if self.client.world().clock.now() >= *deadline {
            let error = error.clone();
            self.failing = None;
            return Err(error);
        }
        let wait_ms = backoff.next_ms(self.client.world().random.next_u64());
        self.client.sleep_ms(wait_ms).await;
        // What fails here fails in the fetch as well, and is told there.
        let names: BTreeSet<&str> = self.positions.keys().map(|place| &*place.topic).collect();
        let names: Vec<&str> = names.into_iter().collect();
        self.client.refresh(Some(&names), false).await.ok();
        Ok(())
    }
}

/// The fetch, and the ids of its topics, by which newer versions name them.
fn request<'a>(
    config: &ConsumerConfig,
    cluster: &crate::Cluster,
    places: impl Iterator<Item = (&'a TopicPartition, i32, Offset)>,
) -> (FetchRequest, BTreeMap<TopicId, String>) {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (place, current_leader_epoch, fetch_offset) in places {
        let partition = FetchPartition {
            partition: place.partition,
            current_leader_epoch,
            fetch_offset,
            partition_max_bytes: config.partition_bytes_max,
            ..Default::default()
        };
        match topics.last_mut().filter(|topic| *topic.topic == *place.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: place.topic.to_string(),
                topic_id: cluster.topic(&place.topic).map_or(TopicId::ZERO, |topic| topic.id),
                partitions: vec![partition],
            }),
        }
    }
    let ids = topics.iter().map(|topic| (topic.topic_id, topic.topic.clone())).collect();
    let request = FetchRequest {
        max_wait_ms: config.fetch_wait_ms,
        min_bytes: config.fetch_bytes_min,
        max_bytes: config.fetch_bytes_max.min(crate::link::RESPONSE_BYTES_MAX as i32 / 2),
        isolation_level: i8::from(config.isolation == Isolation::Committed),
        session_epoch: -1,
        topics,
        ..Default::default()
    };
    (request, ids)
}
