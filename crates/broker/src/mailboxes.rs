//! The host of mailboxes: streams of keys in the partitions that this broker leads, for the gateway.
//!
//! What may be done with a mailbox `mailbox` decides; here it is found in the log, written down with the records, and answered once that
//! is safe (docs/decisions/0020). It knows nothing of HTTP. `node` hands it to `gateway::Service`.

mod cache;
mod create;
mod desk;
mod find;
mod indexed;
mod latest;
mod marks;
mod read;
mod topics;
mod waiting;
mod walk;
mod watch;
mod write;

use crate::{Broker, acks::Undone, partition::Refused};
use bytes::Bytes;
use cache::{Cache, Known};
use desk::{Desk, Standing};
use env::BoxFuture;
use gateway::{
    Address, Author, Bell, Chunk, Denied, From, Hook, Latest, NewRecords, NewStream, Reach, Taken, Token,
};
use log::AppendError;
use mailbox::{Life, Refusal, limits::CONTENT_TYPE_BYTES_MAX};
use model::{Offset, PartitionIndex, TopicId, TopicName, limits};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};
use stdx::Map;
use tokio::sync::Semaphore;
use walk::Ground;

/// The name under which a broker tells the others where it serves streams. It is no listener of Kafka's, and no client of Kafka's asks
/// for it.
pub const GATEWAY_LISTENER: &str = "ODRADEK-GATEWAY";

/// How long it may take until something is safe.
const SAFE_MS_MAX: i64 = 30_000;
/// How often something is decided anew because others have written meanwhile.
const TRIES: usize = 16;

/// The desks of all partitions into whose mailboxes somebody looks.
pub(crate) struct Desks {
    desks: Mutex<Map<(TopicId, PartitionIndex), Arc<Desk>>>,
    cache: Arc<Mutex<Cache>>,
    numbers: Arc<AtomicU64>,
    reads: Arc<Semaphore>,
}

/// See the head of the file.
struct Mailboxes(Arc<Broker>);

impl Broker {
    /// The streams of keys in the partitions that it leads.
    pub fn mailboxes(self: &Arc<Self>) -> Arc<dyn gateway::Mailboxes> {
        Arc::new(Mailboxes(self.clone()))
    }
}

impl Desks {
    /// None is open.
    pub(crate) fn new() -> Self {
        Self {
            desks: Mutex::default(),
            cache: Arc::new(Mutex::new(Cache::new(limits::MAILBOX_CACHE_BYTES_MAX))),
            numbers: Arc::default(),
            reads: Arc::new(Semaphore::new(limits::MAILBOX_READS_MAX)),
        }
    }

    /// The desk of a partition in the epoch in which it is led.
    fn open(&self, ground: Ground) -> Result<Arc<Desk>, Refused> {
        let mut desks = self.desks.lock();
        let key = ground.partition.key();
        let is_same = |desk: &&Arc<Desk>| {
            desk.epoch() == ground.epoch && Arc::ptr_eq(&desk.ground().partition, &ground.partition)
        };
        if let Some(desk) = desks.get(&key).filter(is_same) {
            return Ok(desk.clone());
        }
        // Those whose partitions are led elsewhere, or are gone, are of no use any more.
        desks.retain(|_, desk| desk.ends().is_ok());
        let desk = Arc::new(Desk::new(ground, (self.cache.clone(), self.numbers.clone()))?);
        desks.insert(key, desk.clone());
        Ok(desk)
    }
}

impl Mailboxes {
    /// The desk of a key's partition.
    fn desk(&self, at: &Address) -> Result<Arc<Desk>, Denied> {
        let broker = &self.0;
        let image = broker.image();
        let topic = image.topic(&at.topic).filter(|_| is_served(&at.topic)).ok_or(Denied::UnknownTopic)?;
        let index = partition_of(&at.key, topic.partitions.len());
        let elsewhere =
            || Denied::Unavailable(format!("this node does not lead partition {index} of {}", at.topic));
        let partition = broker.partitions.topic_by_id(topic.id).and_then(|topic| topic.partition(index));
        let partition = partition.ok_or_else(elsewhere)?;
        let epoch = partition.leads_in().ok_or_else(elsewhere)?;
        let (world, reads) = (broker.world.clone(), broker.desks.reads.clone());
        broker.desks.open(Ground { world, partition, epoch, reads }).map_err(denied)
    }

    /// The mailbox at the end of the log, if there is one, whatever has become of it.
    fn standing(&self, desk: &Desk, at: &Address, known: &Known) -> Result<Option<Standing>, Denied> {
        let start = desk.ends().map_err(denied)?.start;
        Ok(known.standing(start, || self.content_type(&at.topic)))
    }

    /// What the values of a topic are, as far as nothing else is said.
    fn content_type(&self, topic: &TopicName) -> String {
        let image = self.0.image();
        let topic = self.0.config.configs(&image).topic(topic);
        let told = topic.text("odradek.stream.content.type").unwrap_or_default().into_owned();
        // What could not be written down with a stream is nobody's type.
        if told.len() > CONTENT_TYPE_BYTES_MAX { String::new() } else { told }
    }

    /// The mailbox, if it can be read; what is told of it is safe.
    async fn found(&self, desk: &Desk, at: &Address) -> Result<Standing, Denied> {
        let state = desk.state(&at.key, None).await.map_err(denied)?;
        self.until_safe(desk, state.known.upto()).await?;
        let standing = self.standing(desk, at, &state.known)?;
        let refused = |refusal| Err(Denied::Refused(refusal, None));
        match standing {
            None => refused(Refusal::NotFound),
            Some(Standing { life, .. }) if life.is_deleted => refused(Refusal::Deleted),
            Some(standing) if !standing.life.is_expired(self.now_ms()) => Ok(standing),
            Some(Standing { life, .. }) if life.forks.is_empty() => refused(Refusal::NotFound),
            Some(_) => refused(Refusal::Deleted),
        }
    }

    /// Waits until everything before an offset is safe: nobody is told what a crash might take back.
    async fn until_safe(&self, desk: &Desk, upto: Offset) -> Result<(), Denied> {
        let Ground { partition, epoch, .. } = desk.ground();
        let clock = &self.0.world.clock;
        tokio::select! {
            biased;
            safe = partition.until_safe(*epoch, upto) => safe.map_err(denied),
            () = clock.sleep_until(clock.after_millis(SAFE_MS_MAX)) => Err(undone(Undone::Waiting)),
        }
    }

    fn now_ms(&self) -> i64 {
        self.0.world.clock.wall()
    }
}

/// The partition of a key, as Kafka's Java producer finds it.
pub fn partition_of(key: &[u8], partitions: usize) -> PartitionIndex {
    let index = (client::murmur2(key) & 0x7fff_ffff) as usize % partitions.max(1);
    PartitionIndex::try_from(index).unwrap_or(0)
}

/// Internal topics are nobody's streams.
fn is_served(topic: &TopicName) -> bool {
    !topic.is_internal() && !topic.starts_with("__")
}

/// An offset of a log, as it is part of a token.
fn place(offset: Offset) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

fn offset(place: u64) -> Offset {
    Offset::try_from(place).unwrap_or(Offset::MAX)
}

/// Behind the last record of a mailbox.
fn end(standing: &Standing) -> Token {
    let generation = standing.life.generation();
    match (standing.last, &standing.life.origin) {
        (Some(last), _) => Token::new(generation, place(last.saturating_add(1))),
        // It ends where it begins.
        (None, Some(origin)) => Token(origin.at),
        (None, None) => Token::new(generation, place(standing.begin)),
    }
}

fn told(standing: &Standing) -> gateway::Standing {
    gateway::Standing { life: standing.life.clone(), end: end(standing) }
}

/// What a body is as records.
fn values(life: &Life, body: &Bytes) -> Result<Vec<Bytes>, Denied> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    match is_json(life) {
        true => gateway::split(body).map_err(|error| Denied::NotJson(error.to_string())),
        false => Ok(vec![body.clone()]),
    }
}

fn is_json(life: &Life) -> bool {
    mailbox::media_type(&life.content_type) == "application/json"
}

fn denied(refused: Refused) -> Denied {
    match refused {
        Refused::Deleted => Denied::UnknownTopic,
        Refused::Append(AppendError::LargerThanSegment { segment_bytes, .. }) => {
            Denied::TooLarge(segment_bytes as usize)
        }
        other => Denied::Unavailable(other.to_string()),
    }
}

/// Why what was appended is not known to be safe. It may become so, and who asks again learns that.
fn undone(why: Undone) -> Denied {
    let text = match why {
        Undone::Deleted => return Denied::UnknownTopic,
        Undone::Waiting => "it is not known yet whether enough replicas have it",
        Undone::NotLeader => "another node has come to lead the partition meanwhile",
        Undone::TooFewInSync => "fewer replicas are in sync than min.insync.replicas asks for",
        Undone::Failed => "it could not be made durable; the node's log says why",
    };
    Denied::Unavailable(text.to_owned())
}

impl gateway::Mailboxes for Mailboxes {
    fn body_bytes_max(&self, topic: &TopicName) -> Option<usize> {
        let image = self.0.image();
        image.topic(topic).filter(|_| is_served(topic))?;
        let max = self.0.config.configs(&image).topic(topic).integer("max.message.bytes");
        Some(usize::try_from(max).unwrap_or(0))
    }

    fn elsewhere(&self, at: &Address) -> Option<Reach> {
        let image = self.0.image();
        let topic = image.topic(&at.topic).filter(|_| is_served(&at.topic))?;
        let leader = topic.partition(partition_of(&at.key, topic.partitions.len()))?.leader;
        if leader == self.0.config.node_id {
            return None;
        }
        let endpoint = image.broker(leader)?.endpoint(GATEWAY_LISTENER)?;
        Some(Reach { host: endpoint.host.clone(), port: endpoint.port })
    }

    fn nodes(&self) -> Vec<String> {
        let image = self.0.image();
        let told = image.brokers().flat_map(|broker| &broker.endpoints);
        told.map(|endpoint| endpoint.host.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn create<'a>(
        &'a self,
        at: &'a Address,
        new: NewStream,
    ) -> BoxFuture<'a, Result<(bool, gateway::Standing), Denied>> {
        Box::pin(self.do_create(at, new))
    }

    fn append<'a>(&'a self, at: &'a Address, new: NewRecords) -> BoxFuture<'a, Result<Taken, Denied>> {
        Box::pin(self.do_append(at, new))
    }

    fn delete<'a>(&'a self, at: &'a Address, author: &'a Author) -> BoxFuture<'a, Result<(), Denied>> {
        Box::pin(self.do_delete(at, author))
    }

    fn look<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<gateway::Standing, Denied>> {
        Box::pin(async move {
            let desk = self.desk(at)?;
            self.found(&desk, at).await.map(|standing| told(&standing))
        })
    }

    fn read<'a>(
        &'a self,
        at: &'a Address,
        from: From,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Chunk, Denied>> {
        Box::pin(self.do_read(at, from, bytes_max))
    }

    fn changed<'a>(&'a self, at: &'a Address, seen: Token) -> BoxFuture<'a, ()> {
        Box::pin(self.do_wait(at, seen))
    }

    fn latest<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<Option<Latest>, Denied>> {
        Box::pin(self.do_latest(at))
    }

    fn latest_changed<'a>(&'a self, at: &'a Address, seen: Option<Token>) -> BoxFuture<'a, ()> {
        Box::pin(self.do_wait_for_another(at, seen))
    }

    fn listen<'a>(&'a self, at: &'a Address, seen: Token, bell: Bell) -> BoxFuture<'a, Option<Hook>> {
        Box::pin(self.do_listen(at, seen, bell))
    }
}
