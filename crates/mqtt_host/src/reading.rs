//! Records for the subscriptions of one session, read while there is room for them and from where the session is.
//!
//! Nothing is queued: of each partition at most one piece is in memory, and what of it is not taken is read again. What waits for
//! news is a future in one set, polled by the session's task.

use crate::{
    log::{Chunk, Failure, Log, partition_of},
    message,
};
use bytes::Bytes;
use env::BoxFuture;
use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use model::{Offset, PartitionIndex, TopicPartition};
use mqtt::{
    codec::{PacketId, Reason},
    session::{Record, Source, Subscribing},
    topics::{Place, Reach, name_of},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Bytes that are read at once of a partition.
const READ_BYTES: usize = 64 * 1024;
/// Records of a partition in which last values are looked for that no index has.
pub(crate) const LAST_VALUES_AMONG: Offset = 10_000;
/// Last values that one subscription brings.
const LAST_VALUES_MAX: usize = 10_000;
/// How long it is waited after a failure.
const PAUSE_MS: i64 = 500;

/// What has come.
#[derive(Debug)]
pub(crate) enum Event {
    /// Whether a subscription can begin, where, and which last values it brings.
    Begun { subscribing: Box<Subscribing>, result: Result<Begin, Failure> },
    /// Records of a subscription.
    Chunk { subscription: u64, partition: PartitionIndex, chunk: Chunk },
    /// A last value.
    LastValue { subscription: u64, partition: PartitionIndex, offset: Offset, record: Option<Record> },
    /// A record that is to be sent again.
    Reread { packet_id: PacketId, record: Option<Record> },
    /// It was given up.
    Aborted,
}

/// Where a subscription begins.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// By partition.
    pub(crate) positions: BTreeMap<PartitionIndex, Offset>,
    /// Newest records of keys.
    pub(crate) last_values: VecDeque<(PartitionIndex, Offset)>,
}

/// A partition of a subscription.
struct Reader {
    cursor: Offset,
    /// It waits for `Room`.
    is_blocked: bool,
    at_work: Option<AbortHandle>,
}

/// A subscription.
struct Followed {
    subscribing: Box<Subscribing>,
    readers: BTreeMap<PartitionIndex, Reader>,
    last_values: VecDeque<(PartitionIndex, Offset)>,
    /// One is being read.
    last_value_at_work: Option<AbortHandle>,
    is_blocked: bool,
    /// All are delivered, which was not told yet.
    owes_retained_sent: bool,
}

/// See the head of the file.
pub(crate) struct Reading {
    log: Arc<dyn Log>,
    world: env::World,
    followed: BTreeMap<u64, Followed>,
    /// Those that begin.
    beginning: BTreeMap<u64, AbortHandle>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Reading {
    pub(crate) fn new(log: Arc<dyn Log>, world: env::World) -> Self {
        Self {
            log,
            world,
            followed: BTreeMap::new(),
            beginning: BTreeMap::new(),
            events: FuturesUnordered::new(),
        }
    }

    /// Waits for the next. May be cancelled. Waits for ever while nothing is read.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    fn work(&mut self, future: impl Future<Output = Event> + Send + 'static) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let future = Abortable::new(future, registration);
        self.events.push(Box::pin(async move { future.await.unwrap_or(Event::Aborted) }));
        handle
    }

    /// Looks where a subscription begins.
    pub(crate) fn begin(&mut self, subscribing: Box<Subscribing>) {
        let number = subscribing.number;
        self.end(number);
        let log = self.log.clone();
        let handle = self.work(async move {
            let result = begin(log, &subscribing).await;
            Event::Begun { subscribing, result }
        });
        self.beginning.insert(number, handle);
    }

    /// From now on it is read.
    pub(crate) fn follow(&mut self, subscribing: Box<Subscribing>, begin: Begin) {
        let number = subscribing.number;
        self.beginning.remove(&number);
        let reader = |(partition, cursor)| (partition, Reader { cursor, is_blocked: false, at_work: None });
        let followed = Followed {
            owes_retained_sent: subscribing.with_retained,
            subscribing,
            readers: begin.positions.into_iter().map(reader).collect(),
            last_values: begin.last_values,
            last_value_at_work: None,
            is_blocked: false,
        };
        self.followed.insert(number, followed);
    }

    /// It is read no more.
    pub(crate) fn end(&mut self, number: u64) {
        if let Some(handle) = self.beginning.remove(&number) {
            handle.abort();
        }
        if let Some(followed) = self.followed.remove(&number) {
            followed.last_value_at_work.into_iter().for_each(|handle| handle.abort());
            followed
                .readers
                .into_values()
                .filter_map(|reader| reader.at_work)
                .for_each(|handle| handle.abort());
        }
    }

    /// Nothing is read any more.
    pub(crate) fn clear(&mut self) {
        let numbers: Vec<u64> = self.followed.keys().chain(self.beginning.keys()).copied().collect();
        numbers.into_iter().for_each(|number| self.end(number));
        self.events = FuturesUnordered::new();
    }

    /// A record was not taken.
    pub(crate) fn again(
        &mut self,
        number: u64,
        partition: PartitionIndex,
        from: Offset,
        is_retained: bool,
        has_room: bool,
    ) {
        let Some(followed) = self.followed.get_mut(&number) else { return };
        if is_retained {
            followed.last_values.push_front((partition, from));
            followed.is_blocked = !has_room;
        } else if let Some(reader) = followed.readers.get_mut(&partition) {
            reader.cursor = from;
            reader.is_blocked = !has_room;
        }
    }

    /// There is room again.
    pub(crate) fn unblock(&mut self) {
        for followed in self.followed.values_mut() {
            followed.is_blocked = false;
            followed.readers.values_mut().for_each(|reader| reader.is_blocked = false);
        }
    }

    /// Where a partition of a subscription is.
    pub(crate) fn cursor(&self, number: u64, partition: PartitionIndex) -> Option<Offset> {
        Some(self.followed.get(&number)?.readers.get(&partition)?.cursor)
    }

    /// A partition of a subscription has come so far.
    pub(crate) fn advance(&mut self, number: u64, partition: PartitionIndex, cursor: Offset) {
        let reader = self.followed.get_mut(&number).and_then(|followed| followed.readers.get_mut(&partition));
        if let Some(reader) = reader {
            reader.cursor = cursor;
        }
    }

    /// Whether a record is one of the subscription's.
    pub(crate) fn matches(&self, number: u64, key: Option<&[u8]>) -> bool {
        self.followed.get(&number).is_some_and(|followed| is_of(&followed.subscribing, key))
    }

    /// What was at work has ended.
    pub(crate) fn ended(&mut self, number: u64, partition: PartitionIndex, is_last_value: bool) {
        let Some(followed) = self.followed.get_mut(&number) else { return };
        match followed.readers.get_mut(&partition) {
            _ if is_last_value => followed.last_value_at_work = None,
            Some(reader) => reader.at_work = None,
            None => {}
        }
    }

    /// Reads a record again.
    pub(crate) fn reread(&mut self, packet_id: PacketId, source: &Source) {
        let at = TopicPartition::new(source.topic.clone(), source.partition);
        let (log, world, offset) = (self.log.clone(), self.world.clone(), source.offset);
        // It must be answered; the set is dropped with the connection.
        self.work(async move {
            loop {
                match record_at(&log, at.clone(), offset).await {
                    Ok(record) => {
                        return Event::Reread { packet_id, record: record.map(message::to_message) };
                    }
                    Err(Failure::UnknownTopic) => return Event::Reread { packet_id, record: None },
                    Err(_) => world.clock.sleep_until(world.clock.after_millis(PAUSE_MS)).await,
                }
            }
        });
    }

    /// Reads on wherever it may; gives the subscriptions of which all last values are delivered.
    pub(crate) fn start(&mut self) -> Vec<u64> {
        let mut sent = Vec::new();
        let mut work: Vec<(u64, PartitionIndex, Option<Offset>)> = Vec::new();
        for (number, followed) in &mut self.followed {
            if followed.last_value_at_work.is_some() || followed.is_blocked {
                continue;
            }
            if let Some((partition, offset)) = followed.last_values.pop_front() {
                work.push((*number, partition, Some(offset)));
                continue;
            }
            if std::mem::take(&mut followed.owes_retained_sent) {
                sent.push(*number);
            }
            for (partition, reader) in &followed.readers {
                if reader.at_work.is_none() && !reader.is_blocked {
                    work.push((*number, *partition, None));
                }
            }
        }
        work.into_iter().for_each(|(number, partition, last_value)| match last_value {
            Some(offset) => self.read_last_value(number, partition, offset),
            None => self.read(number, partition),
        });
        sent
    }

    fn read(&mut self, number: u64, partition: PartitionIndex) {
        let Some(followed) = self.followed.get(&number) else { return };
        let Some(cursor) = followed.readers.get(&partition).map(|reader| reader.cursor) else { return };
        let at = TopicPartition::new(followed.subscribing.reach.topic().clone(), partition);
        let (log, world) = (self.log.clone(), self.world.clone());
        let handle = self.work(async move {
            loop {
                match log.read(at.clone(), cursor, READ_BYTES).await {
                    Ok(chunk) if chunk.next > cursor => {
                        return Event::Chunk { subscription: number, partition, chunk };
                    }
                    Ok(_) => log.changed(at.clone(), cursor).await,
                    Err(_) => world.clock.sleep_until(world.clock.after_millis(PAUSE_MS)).await,
                }
            }
        });
        let reader = self.followed.get_mut(&number).and_then(|followed| followed.readers.get_mut(&partition));
        if let Some(reader) = reader {
            reader.at_work = Some(handle);
        }
    }

    fn read_last_value(&mut self, number: u64, partition: PartitionIndex, offset: Offset) {
        let Some(followed) = self.followed.get(&number) else { return };
        let subscribing = followed.subscribing.clone();
        let at = TopicPartition::new(subscribing.reach.topic().clone(), partition);
        let log = self.log.clone();
        let handle = self.work(async move {
            let record = record_at(&log, at, offset).await.unwrap_or(None);
            let record = record
                .filter(|record| record.value.is_some() && is_of(&subscribing, record.key.as_deref()))
                .map(message::to_message);
            Event::LastValue { subscription: number, partition, offset, record }
        });
        if let Some(followed) = self.followed.get_mut(&number) {
            followed.last_value_at_work = Some(handle);
        }
    }
}

/// Whether a record with this key is one of the subscription's.
fn is_of(subscribing: &Subscribing, key: Option<&[u8]>) -> bool {
    let name = name_of(subscribing.reach.topic(), key);
    name.is_some_and(|name| subscribing.filter.matches(name.bytes()))
}

async fn record_at(
    log: &Arc<dyn Log>,
    at: TopicPartition,
    offset: Offset,
) -> Result<Option<records::Record>, Failure> {
    let chunk = log.read(at, offset, 1).await?;
    Ok(chunk.records.into_iter().find(|record| record.offset == offset))
}

/// Where a subscription begins. A new one begins at the ends; one that is known goes on, in partitions that it did not have from their
/// beginning.
async fn begin(log: Arc<dyn Log>, subscribing: &Subscribing) -> Result<Begin, Failure> {
    let topic = subscribing.reach.topic();
    let partitions = log.partitions(topic).await?;
    let all: Vec<PartitionIndex> = match &subscribing.reach {
        Reach::Place(Place { key: Some(key), .. }) => vec![partition_of(key.bytes(), partitions)],
        _ => (0..PartitionIndex::try_from(partitions).unwrap_or(PartitionIndex::MAX)).collect(),
    };
    let mut begin = Begin::default();
    for partition in all {
        let at = TopicPartition::new(topic.clone(), partition);
        let position = match subscribing.positions.get(&partition) {
            Some(position) => *position,
            None if subscribing.is_new => log.end(at.clone()).await?,
            None => 0,
        };
        begin.positions.insert(partition, position);
        if subscribing.with_retained {
            last_values(&log, at, subscribing, &mut begin.last_values).await?;
        }
    }
    Ok(begin)
}

/// The newest records of the keys that match: by the index if it is one key, else among the last records.
async fn last_values(
    log: &Arc<dyn Log>,
    at: TopicPartition,
    subscribing: &Subscribing,
    found: &mut VecDeque<(PartitionIndex, Offset)>,
) -> Result<(), Failure> {
    match &subscribing.reach {
        Reach::Place(Place { key: None, .. }) => return Ok(()),
        Reach::Place(Place { key: Some(key), .. }) => {
            match log.latest(at.clone(), key.bytes().clone()).await {
                Ok(latest) => {
                    found.extend(latest.map(|offset| (at.partition, offset)));
                    return Ok(());
                }
                Err(Failure::Unavailable(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Reach::Topic(_) | Reach::Keys { .. } => {}
    }
    let end = log.end(at.clone()).await?;
    let mut from = end.saturating_sub(LAST_VALUES_AMONG).max(0);
    let mut newest: BTreeMap<Bytes, (Offset, bool)> = BTreeMap::new();
    while from < end {
        let chunk = log.read(at.clone(), from, READ_BYTES).await?;
        for record in chunk.records {
            let Some(key) = record.key.filter(|key| is_of(subscribing, Some(key))) else { continue };
            if newest.len() < LAST_VALUES_MAX || newest.contains_key(&key) {
                newest.insert(key, (record.offset, record.value.is_some()));
            }
        }
        if chunk.next <= from {
            break;
        }
        from = chunk.next;
    }
    let mut offsets: Vec<Offset> =
        newest.into_values().filter(|(_, has_value)| *has_value).map(|(offset, _)| offset).collect();
    offsets.sort_unstable();
    let room = LAST_VALUES_MAX.saturating_sub(found.len());
    found.extend(offsets.into_iter().take(room).map(|offset| (at.partition, offset)));
    Ok(())
}

/// What a SUBACK says.
pub(crate) fn refusal(failure: &Failure) -> Reason {
    match failure {
        Failure::UnknownTopic => Reason::TopicFilterInvalid,
        Failure::TooLarge | Failure::Refused(_) | Failure::Unavailable(_) => Reason::UnspecifiedError,
    }
}
