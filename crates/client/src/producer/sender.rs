//! The task of a producer: takes records, sends what the accumulator lets go, and tells it the answers.
//!
//! It decides nothing about batches. One task per broker keeps the order of requests to that broker while a
//! connection is opened.

use super::{
    Acks, Delivered, OutRecord, ProducerConfig,
    accumulator::{Accumulator, GivenUp, Outgoing, Place, Verdict},
    partition_queue::Identity,
};
use crate::{Client, Error, Partitioner, backoff::Backoff, client::Lane, link::Answer};
use model::{NodeId, Offset, TopicId};
use std::collections::BTreeMap;
use stdx::Parts;
use tokio::sync::{mpsc, oneshot};
use wire::{
    ErrorCode, ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
};

/// Requests to one broker that are not answered yet.
const REQUESTS_MAX: usize = 5;
/// Events on their way to the sender; each comes from a request in flight, so that few ever wait.
const EVENTS_MAX: usize = 64;

type Ticket = oneshot::Sender<Result<Delivered, Error>>;

/// What a producer tells its task.
pub(super) enum Command {
    /// To send a record.
    Record(OutRecord, Ticket),
    /// To say when everything so far is done.
    Flush(oneshot::Sender<()>),
}

/// What happened to a request, batch by batch, or to the metadata.
enum Event {
    Answered { node: NodeId, answers: Vec<(Place, u64, Result<Offset, Error>)> },
    Refreshed,
}

pub(super) struct Sender {
    client: Client,
    config: ProducerConfig,
    accumulator: Accumulator<Ticket>,
    partitioners: BTreeMap<String, Partitioner>,
    nodes: BTreeMap<NodeId, Node>,
    flushes: Vec<oneshot::Sender<()>>,
    backoff: Backoff,
    refreshing: bool,
    events: mpsc::Sender<Event>,
    occurred: mpsc::Receiver<Event>,
    /// Why nothing can be sent any more.
    lost: Option<Error>,
}

/// One broker's task and the requests that it has.
struct Node {
    requests: mpsc::Sender<Vec<Outgoing>>,
    in_flight: usize,
}

impl Sender {
    pub(super) fn new(client: Client, config: ProducerConfig, identity: Option<Identity>) -> Self {
        let (events, occurred) = mpsc::channel(EVENTS_MAX);
        Self {
            accumulator: Accumulator::new(config.clone(), identity),
            client,
            config,
            partitioners: BTreeMap::new(),
            nodes: BTreeMap::new(),
            flushes: Vec::new(),
            backoff: Backoff::default(),
            refreshing: false,
            events,
            occurred,
            lost: None,
        }
    }

    /// Works until the producer is dropped and nothing is left to send.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut is_open = true;
        loop {
            self.give_up_expired();
            self.send_ready();
            self.answer_flushes();
            if !is_open && self.accumulator.is_empty() {
                return;
            }
            let clock = self.client.world().clock.clone();
            // Without anything due there is nothing to wait for but the others.
            let due = self.accumulator.next_due(clock.now()).unwrap_or(u64::MAX);
            tokio::select! {
                biased;
                Some(event) = self.occurred.recv() => self.on_event(event),
                command = commands.recv(), if is_open && self.accumulator.has_room() => match command {
                    Some(command) => {
                        self.on_command(command);
                        // What is there already is taken without looking at the clock in between.
                        while self.accumulator.has_room() && let Ok(command) = commands.try_recv() {
                            self.on_command(command);
                        }
                    }
                    None => {
                        is_open = false;
                        self.accumulator.seal_all();
                    }
                },
                () = clock.sleep_until(due) => {}
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Flush(done) => {
                self.accumulator.seal_all();
                self.flushes.push(done);
            }
            Command::Record(_, ticket) if self.lost.is_some() => {
                // The caller may have gone.
                let _ = ticket.send(Err(self.lost.clone().unwrap_or(Error::Ended)));
            }
            Command::Record(record, ticket) => match self.place(&record) {
                Ok(place) => {
                    let now = self.client.world().clock.now();
                    self.accumulator.push(now, place, &record, ticket);
                }
                Err(error) => {
                    let _ = ticket.send(Err(error));
                }
            },
        }
    }

    fn place(&mut self, record: &OutRecord) -> Result<Place, Error> {
        if let Some(partition) = record.partition {
            return Ok((record.topic.clone(), partition));
        }
        let partitions = self.client.cluster().topic(&record.topic)?.partitions.len();
        let random = self.client.world().random.next_u64();
        if !self.partitioners.contains_key(&record.topic) {
            self.partitioners.insert(record.topic.clone(), Partitioner::new(random, partitions));
        }
        let bytes = record.value.as_ref().map_or(0, bytes::Bytes::len) + 16;
        let partition = self.partitioners.get_mut(&record.topic).map_or(0, |partitioner| {
            partitioner.partition(record.key.as_deref(), bytes, partitions, self.config.batch_bytes, random)
        });
        Ok((record.topic.clone(), partition))
    }

    fn send_ready(&mut self) {
        let now = self.client.world().clock.now();
        let cluster = self.client.cluster();
        let nodes = &self.nodes;
        let mut leaderless = false;
        let (requests, broken) =
            self.accumulator.take(now, |(topic, partition)| match cluster.leader(topic, *partition) {
                Ok((leader, _)) => {
                    Some(leader).filter(|id| nodes.get(id).is_none_or(|node| node.in_flight < REQUESTS_MAX))
                }
                Err(_) => {
                    leaderless = true;
                    None
                }
            });
        for given_up in broken {
            fail(given_up, "the batch cannot be compressed; choose another codec");
        }
        for (node, batches) in requests {
            self.send(node, batches);
        }
        if leaderless {
            self.refresh();
        }
    }

    fn send(&mut self, node: NodeId, batches: Vec<Outgoing>) {
        let lane = self.nodes.entry(node).or_insert_with(|| {
            let (requests, queue) = mpsc::channel(REQUESTS_MAX);
            let task = NodeTask {
                client: self.client.clone(),
                node,
                acks: self.config.acks,
                timeout_ms: self.client.request_timeout_ms(),
                events: self.events.clone(),
            };
            self.client.world().tasks.spawn(Box::pin(task.run(queue)));
            Node { requests, in_flight: 0 }
        });
        lane.in_flight += 1;
        // There is room: no more requests are in flight than the queue holds. The task ends only with this one.
        if lane.requests.try_send(batches).is_err() {
            lane.in_flight -= 1;
        }
    }

    fn on_event(&mut self, event: Event) {
        let (node, answers) = match event {
            Event::Refreshed => {
                self.refreshing = false;
                return;
            }
            Event::Answered { node, answers } => (node, answers),
        };
        if let Some(lane) = self.nodes.get_mut(&node) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
        let failed = answers.iter().any(|(_, _, answer)| answer.is_err());
        if !failed {
            self.backoff = Backoff::default();
        }
        let world = self.client.world();
        let wait_ms = if failed { self.backoff.next_ms(world.random.next_u64()) } else { 0 };
        let again_at = world.clock.after_millis(wait_ms);
        for (place, id, answer) in answers {
            self.on_answer(place, id, answer, again_at);
        }
    }

    fn on_answer(&mut self, place: Place, id: u64, answer: Result<Offset, Error>, again_at: u64) {
        let code = match &answer {
            Ok(_) => ErrorCode::None,
            Err(error) => error.code().unwrap_or(match error.is_passing() {
                true => ErrorCode::NetworkException,
                false => ErrorCode::UnknownServerError,
            }),
        };
        let (verdict, tickets) = self.accumulator.on_answer(&place, id, code, again_at);
        for (index, ticket) in tickets.into_iter().enumerate() {
            let outcome = match (&answer, verdict) {
                (Ok(base), _) if *base >= 0 => Ok(base.saturating_add(index as i64)),
                (_, Verdict::Written) => Ok(-1),
                (Err(error), _) => Err(error.clone()),
                (Ok(_), _) => Ok(-1),
            };
            // The caller may not want to know.
            let _ = ticket.send(outcome.map(|offset| Delivered { partition: place.1, offset }));
        }
        match (verdict, answer) {
            (Verdict::Again, _) => self.refresh(),
            (Verdict::Lost, Err(error)) => self.lose(error),
            _ => {}
        }
    }

    fn give_up_expired(&mut self) {
        let now = self.client.world().clock.now();
        let mut doubtful = None;
        for given_up in self.accumulator.expire(now) {
            let (topic, partition) = &given_up.place;
            if given_up.was_sent && self.config.idempotent {
                doubtful = Some(format!("{topic}-{partition}"));
            }
            let why = match given_up.was_sent {
                true => "no acknowledgement came in time; the records may have been written nevertheless",
                false => "the records could not be sent in time; is the partition's leader running?",
            };
            fail(given_up, why);
        }
        if let Some(subject) = doubtful {
            let why = "a batch before this record was given up, and what came of it is not known; start anew";
            self.lose(Error::NotDelivered { subject, why: why.into() });
        }
    }

    /// Nothing can be sent any more: what comes behind might be written twice or out of order.
    fn lose(&mut self, error: Error) {
        for given_up in self.accumulator.clear() {
            fail(given_up, &format!("the producer failed: {error}"));
        }
        self.lost.get_or_insert(error);
    }

    fn answer_flushes(&mut self) {
        if !self.flushes.is_empty() && self.accumulator.is_empty() {
            for done in self.flushes.drain(..) {
                let _ = done.send(());
            }
        } else if !self.flushes.is_empty() {
            self.accumulator.seal_all();
        }
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.refreshing, true) {
            return;
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        self.client.world().tasks.spawn(Box::pin(async move {
            // What fails is tried again with the next answer that shows old metadata.
            client.refresh_known().await.ok();
            client.sleep_ms(50).await;
            let _ = events.send(Event::Refreshed).await;
        }));
    }
}

fn fail(given_up: GivenUp<Ticket>, why: &str) {
    let (topic, partition) = given_up.place;
    let error = Error::NotDelivered { subject: format!("{topic}-{partition}"), why: why.into() };
    for ticket in given_up.tickets {
        let _ = ticket.send(Err(error.clone()));
    }
}

struct NodeTask {
    client: Client,
    node: NodeId,
    acks: Acks,
    timeout_ms: i32,
    events: mpsc::Sender<Event>,
}

impl NodeTask {
    async fn run(self, mut queue: mpsc::Receiver<Vec<Outgoing>>) {
        while let Some(batches) = queue.recv().await {
            let (request, ids) = self.request(&batches);
            let sent = self.send(&request).await;
            let places: Vec<_> = batches.into_iter().map(|batch| (batch.place, batch.id)).collect();
            let (node, events) = (self.node, self.events.clone());
            // Only the waiting overlaps; the next request leaves behind this one.
            self.client.world().tasks.spawn(Box::pin(async move {
                let response = match sent {
                    Ok(Some(answer)) => answer.wait().await.map(Some),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                let answers = places.into_iter().map(|(place, id)| {
                    let answer = match &response {
                        Ok(Some(response)) => read(response, &ids, &place),
                        Ok(None) => Ok(-1),
                        Err(error) => Err(error.clone()),
                    };
                    (place, id, answer)
                });
                let answers = answers.collect();
                let _ = events.send(Event::Answered { node, answers }).await;
            }));
        }
    }

    async fn send(&self, request: &ProduceRequest) -> Result<Option<Answer<ProduceRequest>>, Error> {
        let link = self.client.link_of(self.node, Lane::Produce).await?;
        match self.acks {
            Acks::None => link.send_unanswered(request).await.map(|()| None),
            _ => link.send(request, 0).await.map(Some),
        }
    }

    /// The request, and the ids of its topics, by which newer versions name them.
    fn request(&self, batches: &[Outgoing]) -> (ProduceRequest, BTreeMap<String, TopicId>) {
        let cluster = self.client.cluster();
        let mut topics: BTreeMap<&str, TopicProduceData> = BTreeMap::new();
        for batch in batches {
            let (name, partition) = &batch.place;
            let topic = topics.entry(name).or_insert_with(|| TopicProduceData {
                name: name.clone(),
                topic_id: cluster.topic(name).map_or(TopicId::ZERO, |topic| topic.id),
                partition_data: Vec::new(),
            });
            let records = Some(Parts::from(batch.bytes.clone()));
            topic.partition_data.push(PartitionProduceData { index: *partition, records });
        }
        let ids = topics.values().map(|topic| (topic.name.clone(), topic.topic_id)).collect();
        let acks = match self.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let topic_data = topics.into_values().collect();
        (ProduceRequest { transactional_id: None, acks, timeout_ms: self.timeout_ms, topic_data }, ids)
    }
}

/// What the response says about one partition.
fn read(
    response: &ProduceResponse,
    ids: &BTreeMap<String, TopicId>,
    (topic, partition): &Place,
) -> Result<Offset, Error> {
    let id = ids.get(topic).copied().unwrap_or(TopicId::ZERO);
    let row = response
        .responses
        .iter()
        .filter(|row| row.name == *topic || (row.name.is_empty() && row.topic_id == id))
        .flat_map(|row| &row.partition_responses)
        .find(|row| row.index == *partition)
        .ok_or_else(|| Error::Missing {
            what: format!("the answer about {topic}-{partition}"),
            hint: String::new(),
            passing: true,
        })?;
    let message = row
        .record_errors
        .iter()
        .find_map(|record| record.batch_index_error_message.clone())
        .or_else(|| row.error_message.clone());
    Error::from_code(row.error_code, message, || format!("{topic}-{partition}"))?;
    Ok(row.base_offset)
}
