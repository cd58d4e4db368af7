//! A producer: idempotent with up to five batches in flight and faithful retries, or plain, which sends each batch once
//! and takes what comes. It chooses codecs, sizes and protocol versions by dice.

use super::{Ground, Link, Lost, Seek};
use crate::{
    dice::Dice,
    history::{Event, Place},
    value::ValueId,
};
use bytes::Bytes;
use records::{BatchBuilder, Codec};
use std::collections::{BTreeMap, VecDeque};
use stdx::{Parts, Uuid};
use wire::{
    ErrorCode, InitProducerIdRequest, ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
};

/// A producer.
pub struct Producer {
    ground: Ground,
    dice: Dice,
    number: u32,
    idempotent: Option<Identity>,
    places: Vec<(Place, Uuid)>,
    next: BTreeMap<Place, u32>,
    outstanding: VecDeque<Batch>,
}

/// What InitProducerId has given.
#[derive(Clone, Copy)]
struct Identity {
    id: i64,
    epoch: i16,
}

#[derive(Clone)]
struct Batch {
    place: Place,
    topic_id: Uuid,
    values: Vec<ValueId>,
    /// Whether its records claim to be from a time that no broker accepts.
    is_early: bool,
    was_refused: bool,
    bytes: Bytes,
    request: u64,
}

/// What an answer means for a batch.
enum Fate {
    Acked(i64),
    /// It was there already; its offset is forgotten.
    Known,
    Retry,
    /// It is not there because of its timestamps, and may come again with better ones.
    Refused,
    /// It is not there, or nobody knows.
    Dropped(ErrorCode),
}

const IN_FLIGHT_MAX: u64 = 5;
const RETRY_MS: u64 = 100;
/// A batch must fit into the smallest segment.
const BATCH_BYTES_MAX: usize = 5000;
const CODECS: &[Codec] = &[Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

impl Producer {
    /// A producer of its own number for these partitions.
    pub fn new(ground: Ground, dice: Dice, number: u32, places: Vec<(Place, Uuid)>) -> Self {
        Self {
            ground,
            dice,
            number,
            idempotent: None,
            places,
            next: BTreeMap::new(),
            outstanding: VecDeque::new(),
        }
    }

    /// Produces idempotently until the run ends and everything that was sent is acknowledged.
    pub async fn run_idempotent(mut self) {
        let name = format!("producer{}", self.number);
        loop {
            let mut link = self.connect(&name).await;
            link.set_lingers(self.dice.chance(50));
            if self.pipeline(&mut link).await.is_ok() {
                return;
            }
        }
    }

    /// Produces without idempotence until the run ends.
    pub async fn run_plain(mut self) {
        let name = format!("plain{}", self.number);
        while !self.ground.rules.is_ended() {
            let mut link = self.connect(&name).await;
            let _ = self.send_plainly(&mut link).await;
        }
    }

    /// To who leads the first of its partitions: in a cluster it has only one.
    async fn connect(&mut self, name: &str) -> Link {
        let place = self.places.first().map(|(place, _)| place.clone());
        let to = place.as_ref().map_or(Seek::Anyone, Seek::Leader);
        self.ground.connect(to, name, &mut self.dice).await
    }

    async fn pipeline(&mut self, link: &mut Link) -> Result<(), Lost> {
        if self.idempotent.is_none() {
            self.idempotent = Some(identify(link, &mut self.dice).await?);
        }
        // Everything that has no answer is sent again, in order and with the sequence numbers that it had.
        for index in 0..self.outstanding.len() {
            self.send(link, index).await?;
        }
        loop {
            let window = self.dice.range(1..=IN_FLIGHT_MAX) as usize;
            while !self.ground.rules.is_ended() && self.outstanding.len() < window {
                let Some(batch) = self.batch() else { return Ok(()) };
                self.outstanding.push_back(batch);
                self.send(link, self.outstanding.len() - 1).await?;
            }
            if self.outstanding.is_empty() {
                return Ok(());
            }
            let answer = link.receive().await?;
            if !self.settle(&answer) {
                // All that follows must be sent again behind the one that is to be retried.
                self.ground.clock.sleep_ms(self.dice.range(50..=500)).await;
                return Err(Lost);
            }
            self.think().await;
        }
    }

    async fn send(&mut self, link: &mut Link, index: usize) -> Result<(), Lost> {
        let Some(batch) = self.outstanding.get_mut(index) else { return Ok(()) };
        batch.request = self.ground.history.ask();
        let version = self.dice.pick(&[3, 5, 7, 8, 9, 11, 12, 13], 12);
        let version = if batch.is_zstd() { version.max(7) } else { version };
        let request = batch.to_request(-1);
        link.send(version, &request).await
    }

    /// Takes the answer to the oldest batch; false if it must be sent again.
    fn settle(&mut self, answer: &ProduceResponse) -> bool {
        let Some(batch) = self.outstanding.front() else { return true };
        match fate(answer) {
            Fate::Acked(base_offset) => {
                self.ground.tell_acked(batch.acked(base_offset, true));
                self.outstanding.pop_front();
                true
            }
            Fate::Known => {
                self.ground.history.tell(batch.known());
                self.outstanding.pop_front();
                true
            }
            Fate::Retry => false,
            Fate::Refused if batch.is_early => {
                self.mend();
                false
            }
            Fate::Refused => {
                self.give_up(ErrorCode::InvalidTimestamp);
                false
            }
            Fate::Dropped(error) => {
                self.give_up(error);
                false
            }
        }
    }

    /// The oldest batch was refused for its timestamps: it goes out again with the numbers that it had. What went out
    /// behind it may have been taken.
    fn mend(&mut self) {
        let now = env::Clock::wall(&*self.ground.clock);
        let Some(mut batch) = self.outstanding.pop_front() else { return };
        if let Some(bytes) = self.encode(&batch.place, &batch.values, now) {
            (batch.bytes, batch.is_early, batch.was_refused) = (bytes, false, true);
            self.outstanding.push_front(batch);
        }
    }

    /// The broker has lost track of this producer. A power cut excuses that where it excuses lost records, and so does a
    /// refusal of the batch before what the broker took for the producer's first; the producer begins anew as another
    /// one, as clients do.
    fn give_up(&mut self, error: ErrorCode) {
        let Some(batch) = self.outstanding.front() else { return };
        if batch.was_refused && error == ErrorCode::OutOfOrderSequenceNumber {
            self.ground.history.tell(batch.refused());
        } else if batch.place.is_compacted {
            // What was compacted away nobody knows after a start, and no replica that was copied from such a log.
        } else if !batch.place.is_lossy() {
            let what = format!("{:?} of {:?} was refused: {error:?}", batch.values, batch.place);
            self.ground.history.violated("idempotence", what);
        }
        self.outstanding.clear();
        self.next.clear();
        self.idempotent = None;
        self.number += RENUMBERED;
    }

    async fn send_plainly(&mut self, link: &mut Link) -> Result<(), Lost> {
        while !self.ground.rules.is_ended() {
            let Some(mut batch) = self.batch() else { return Ok(()) };
            batch.request = self.ground.history.ask();
            let acks = self.dice.pick(&[-1, -1, 1, 0], -1);
            let version = self.dice.range(if batch.is_zstd() { 7..=12 } else { 3..=13 }) as i16;
            let request = batch.to_request(acks);
            if acks == 0 {
                link.send_silently(version, &request).await?;
            } else {
                match fate(&link.ask(version, &request).await?) {
                    // What only the leader has a new one need not have.
                    Fate::Acked(_) if acks == 1 && self.ground.cluster.is_several() => {}
                    Fate::Acked(base_offset) => self.ground.tell_acked(batch.acked(base_offset, false)),
                    Fate::Retry if self.ground.cluster.is_several() => return Err(Lost),
                    _ => {}
                }
            }
            self.think().await;
        }
        Ok(())
    }

    async fn think(&mut self) {
        let ms = if self.dice.chance(5) { self.dice.range(100..=1500) } else { self.dice.range(0..=60) };
        self.ground.clock.sleep_ms(ms).await;
    }

    /// Builds the next batch; `None` if there is nowhere to send it.
    fn batch(&mut self) -> Option<Batch> {
        let index = self.dice.below(self.places.len() as u64) as usize;
        let (place, topic_id) = self.places.get(index).cloned()?;
        let first = self.next.get(&place).copied().unwrap_or(0);
        let count =
            if self.dice.chance(10) { self.dice.range(5..=30) } else { self.dice.range(1..=4) } as u32;
        let id = |number| ValueId { producer: self.number, number, partition: place.partition };
        let mut bytes = 0;
        let fits = |value: &ValueId| {
            bytes += value.to_bytes().len();
            value.number == first || bytes <= BATCH_BYTES_MAX
        };
        let values: Vec<_> = (first..first + count).map(id).take_while(fits).collect();
        self.next.insert(place.clone(), first + values.len() as u32);
        // Only a producer's first batch: what it sends behind a later one that is refused is refused too.
        let is_early = first == 0 && self.dice.chance(15);
        let now = env::Clock::wall(&*self.ground.clock);
        let bytes = self.encode(&place, &values, if is_early { now + EARLY_MS } else { now })?;
        let idempotent = self.idempotent.is_some();
        self.ground.history.tell(Event::ProduceSent {
            place: place.clone(),
            idempotent,
            values: values.clone(),
        });
        Some(Batch { place, topic_id, values, is_early, was_refused: false, bytes, request: 0 })
    }

    /// A batch of these values, with the sequence number of the first if there are any.
    fn encode(&mut self, place: &Place, values: &[ValueId], timestamp: i64) -> Option<Bytes> {
        let mut builder = BatchBuilder::new().compression(self.dice.pick(CODECS, Codec::None));
        if let Some(Identity { id, epoch }) = self.idempotent {
            builder = builder.producer(id, epoch, values.first()?.number as i32);
        }
        for value in values {
            let has_key = self.dice.chance(70) || place.is_compacted;
            let key = has_key.then(|| [value.key()]);
            builder.push(timestamp, key.as_ref().map(|key| &key[..]), Some(&value.to_bytes()), &[]);
        }
        Some(builder.build().ok()?.bytes)
    }
}

/// Farther ahead than `log.message.timestamp.after.max.ms` of the plan.
const EARLY_MS: i64 = 30 * 24 * 3_600_000;
/// A producer that begins anew gets a number of its own.
const RENUMBERED: u32 = 1000;
/// Where the attributes of a batch end; the codec is in the lowest three bits.
const ATTRIBUTES_LOW_BYTE: usize = 22;
const ZSTD: u8 = 4;

impl Batch {
    fn is_zstd(&self) -> bool {
        self.bytes.get(ATTRIBUTES_LOW_BYTE).is_some_and(|byte| byte & 7 == ZSTD)
    }

    fn to_request(&self, acks: i16) -> ProduceRequest {
        let data = PartitionProduceData {
            index: self.place.partition,
            records: Some(Parts::from(self.bytes.clone())),
        };
        let topic = TopicProduceData {
            name: self.place.topic.to_string(),
            topic_id: self.topic_id,
            partition_data: vec![data],
        };
        ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
    }

    fn known(&self) -> Event {
        Event::ProduceKnown { place: self.place.clone(), request: self.request, values: self.values.clone() }
    }

    fn refused(&self) -> Event {
        Event::ProduceRefused {
            place: self.place.clone(),
            request: self.request,
            values: self.values.clone(),
        }
    }

    fn acked(&self, base_offset: i64, idempotent: bool) -> Event {
        Event::ProduceAcked {
            place: self.place.clone(),
            idempotent,
            request: self.request,
            base_offset,
            values: self.values.clone(),
        }
    }
}

async fn identify(link: &mut Link, dice: &mut Dice) -> Result<Identity, Lost> {
    loop {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = link.ask(dice.range(0..=5) as i16, &request).await?;
        if answer.error_code == 0 {
            return Ok(Identity { id: answer.producer_id, epoch: answer.producer_epoch });
        }
        link.pause_ms(RETRY_MS).await;
    }
}

fn fate(answer: &ProduceResponse) -> Fate {
    let Some(partition) = answer.responses.first().and_then(|topic| topic.partition_responses.first()) else {
        return Fate::Retry;
    };
    match ErrorCode::from_i16(partition.error_code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => Fate::Acked(partition.base_offset),
        ErrorCode::DuplicateSequenceNumber => Fate::Known,
        ErrorCode::InvalidTimestamp => Fate::Refused,
        error if error.is_retriable() => Fate::Retry,
        error => Fate::Dropped(error),
    }
}
