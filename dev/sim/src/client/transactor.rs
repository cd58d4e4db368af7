//! A transactional producer (KIP-98) that shares its transactional id with a rival: each takes the id over from the other
//! now and then, and whoever was fenced goes on as if it did not know, until it is told. It speaks as clients of
//! `transaction.version` 1 or 2 do, commits, aborts, or leaves its transaction open and vanishes.

use super::{Ground, Link, Seek};
use crate::{
    dice::Dice,
    history::{Event, Place, Txn},
    value::ValueId,
};
use bytes::Bytes;
use records::BatchBuilder;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use stdx::{Parts, Uuid};
use wire::{
    AddPartitionsToTxnRequest, EndTxnRequest, ErrorCode, InitProducerIdRequest, ProduceRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    produce_request::{PartitionProduceData, TopicProduceData},
};

/// A producer of one transactional id.
pub struct Transactor {
    ground: Ground,
    dice: Dice,
    id: Arc<str>,
    places: Vec<(Place, Uuid)>,
    /// The numbers of the producers of all transactional ids: each incarnation has its own.
    incarnations: Arc<AtomicU32>,
}

/// Who a transactor is between two takeovers.
struct Incarnation {
    number: u32,
    producer_id: i64,
    epoch: i16,
    /// Whether its client knows KIP-890.
    is_new: bool,
    /// The next sequence number of each partition in this epoch.
    sequences: BTreeMap<Place, i32>,
    /// The next number of its values.
    values: BTreeMap<Place, u32>,
    txns: u32,
}

/// What became of a step.
enum Step {
    Done,
    /// The broker says that it has not happened, and it may be tried again.
    Again,
    /// The transaction cannot be committed any more.
    Abort,
    /// Another producer has taken over, or everything is forgotten.
    Over,
}

const TIMEOUT_MS: i32 = 4000;
const RETRY_MS: u64 = 50;
/// So many batches has a transaction at most.
const BATCHES_MAX: u64 = 4;

impl Transactor {
    /// One of those who share a transactional id.
    pub fn new(
        ground: Ground,
        dice: Dice,
        id: Arc<str>,
        places: Vec<(Place, Uuid)>,
        incarnations: Arc<AtomicU32>,
    ) -> Self {
        Self { ground, dice, id, places, incarnations }
    }

    /// Produces in transactions until the run ends.
    pub async fn run(mut self) {
        while !self.ground.rules.is_ended() {
            let Some(mut who) = self.take_over().await else { continue };
            let until = self.dice.range(1..=12);
            for _ in 0..until {
                if self.ground.rules.is_ended() || !self.transact(&mut who).await {
                    break;
                }
                self.think().await;
            }
            // A rival's turn.
            self.ground.clock.sleep_ms(self.dice.range(0..=1500)).await;
        }
    }

    async fn link(&mut self, to: Option<&Place>) -> Option<Link> {
        let id = self.id.clone();
        while !self.ground.rules.is_ended() {
            let seek = to.map_or(Seek::TransactionCoordinator(&id), Seek::Leader);
            if let Ok(link) = self.ground.try_connect(seek, &id, &mut self.dice).await {
                return Some(link);
            }
            self.ground.clock.sleep_ms(self.dice.range(20..=300)).await;
        }
        None
    }

    /// Becomes the producer of the id; nothing if the run ends before.
    async fn take_over(&mut self) -> Option<Incarnation> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.to_string()),
            transaction_timeout_ms: TIMEOUT_MS,
            ..InitProducerIdRequest::default()
        };
        loop {
            let mut link = self.link(None).await?;
            while let Ok(answer) = link.ask(self.dice.range(2..=5) as i16, &request).await {
                if answer.error_code == 0 {
                    let (producer_id, epoch) = (answer.producer_id, answer.producer_epoch);
                    self.ground.history.tell(Event::TxnOwned { id: self.id.clone(), producer_id, epoch });
                    return Some(Incarnation {
                        number: self.incarnations.fetch_add(1, Ordering::Relaxed),
                        producer_id,
                        epoch,
                        is_new: self.dice.chance(60),
                        sequences: BTreeMap::new(),
                        values: BTreeMap::new(),
                        txns: 0,
                    });
                }
                link.pause_ms(RETRY_MS).await;
                if self.ground.rules.is_ended() {
                    return None;
                }
                if is_misled(answer.error_code) {
                    break;
                }
            }
            self.ground.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// One transaction; false if this incarnation is over.
    async fn transact(&mut self, who: &mut Incarnation) -> bool {
        let txn = Txn { producer: who.number, number: who.txns };
        who.txns += 1;
        for _ in 0..self.dice.range(1..=BATCHES_MAX) {
            let index = self.dice.below(self.places.len() as u64) as usize;
            let Some((place, topic_id)) = self.places.get(index).cloned() else { return false };
            match self.send(who, txn, &place, topic_id).await {
                Step::Done | Step::Again => {}
                Step::Abort => return self.end(who, txn, false).await,
                Step::Over => return false,
            }
            self.think().await;
        }
        match self.dice.below(10) {
            0 => false,
            1 | 2 => self.end(who, txn, false).await,
            _ => self.end(who, txn, true).await,
        }
    }

    /// Sends a batch until its fate is known.
    async fn send(&mut self, who: &mut Incarnation, txn: Txn, place: &Place, topic_id: Uuid) -> Step {
        let first = who.values.get(place).copied().unwrap_or(0);
        let count = self.dice.range(1..=3) as u32;
        let value = |number| ValueId { producer: who.number, number, partition: place.partition };
        let values: Vec<_> = (first..first + count).map(value).collect();
        who.values.insert(place.clone(), first + count);
        let sequence = who.sequences.get(place).copied().unwrap_or(0);
        let Some(batch) = batch(who, &values, sequence, env::Clock::wall(&*self.ground.clock)) else {
            return Step::Over;
        };
        self.ground.history.tell(Event::TxnSent { txn, place: place.clone(), values: values.clone() });
        let version = if who.is_new { self.dice.range(12..=13) } else { self.dice.range(3..=11) } as i16;
        let request = self.produce(place, topic_id, batch);
        loop {
            if !who.is_new {
                match self.add(who, place).await {
                    Step::Done => {}
                    other => return other,
                }
            }
            let Some(mut link) = self.link(Some(place)).await else { return Step::Over };
            let asked = self.ground.history.ask();
            let Ok(answer) = link.ask(version, &request).await else {
                self.ground.clock.sleep_ms(RETRY_MS).await;
                continue;
            };
            let told = answer.responses.first().and_then(|topic| topic.partition_responses.first());
            let Some(told) = told else { continue };
            match step(told.error_code) {
                Step::Done => {
                    who.sequences.insert(place.clone(), sequence + count as i32);
                    let (id, producer_id, epoch) = (self.id.clone(), who.producer_id, who.epoch);
                    let request = asked;
                    self.ground.history.tell(Event::TxnAcked {
                        id,
                        producer_id,
                        epoch,
                        request,
                        txn,
                        values,
                    });
                    return Step::Done;
                }
                Step::Again => self.ground.clock.sleep_ms(RETRY_MS).await,
                other => return other,
            }
        }
    }

    fn produce(&self, place: &Place, topic_id: Uuid, batch: Bytes) -> ProduceRequest {
        let data = PartitionProduceData { index: place.partition, records: Some(Parts::from(batch)) };
        let topic = TopicProduceData { name: place.topic.to_string(), topic_id, partition_data: vec![data] };
        ProduceRequest {
            transactional_id: Some(self.id.to_string()),
            acks: -1,
            timeout_ms: 5000,
            topic_data: vec![topic],
        }
    }

    /// Adds a partition as clients before KIP-890 do.
    async fn add(&mut self, who: &Incarnation, place: &Place) -> Step {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.to_string(),
            v3_and_below_producer_id: who.producer_id,
            v3_and_below_producer_epoch: who.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: place.topic.to_string(),
                partitions: vec![place.partition],
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        loop {
            let Some(mut link) = self.link(None).await else { return Step::Over };
            let Ok(answer) = link.ask(self.dice.range(0..=3) as i16, &request).await else {
                self.ground.clock.sleep_ms(RETRY_MS).await;
                continue;
            };
            let told = answer.results_by_topic_v3_and_below.first();
            let told = told.and_then(|topic| topic.results_by_partition.first());
            let Some(told) = told else { continue };
            match step(told.partition_error_code) {
                Step::Again => self.ground.clock.sleep_ms(RETRY_MS).await,
                other => return other,
            }
        }
    }

    /// Ends the transaction; false if this incarnation is over.
    async fn end(&mut self, who: &mut Incarnation, txn: Txn, committed: bool) -> bool {
        let request = EndTxnRequest {
            transactional_id: self.id.to_string(),
            producer_id: who.producer_id,
            producer_epoch: who.epoch,
            committed,
        };
        let version = if who.is_new { 5 } else { self.dice.range(0..=4) as i16 };
        self.ground.history.tell(Event::TxnEnding { txn, committed });
        loop {
            let Some(mut link) = self.link(None).await else { return false };
            let asked = self.ground.history.ask();
            let Ok(answer) = link.ask(version, &request).await else {
                self.ground.clock.sleep_ms(RETRY_MS).await;
                continue;
            };
            match step(answer.error_code) {
                Step::Done => {
                    let (id, producer_id, epoch) = (self.id.clone(), who.producer_id, who.epoch);
                    let request = asked;
                    self.ground.history.tell(Event::TxnEnded {
                        id,
                        producer_id,
                        epoch,
                        request,
                        txn,
                        committed,
                    });
                    if who.is_new {
                        (who.producer_id, who.epoch) = (answer.producer_id, answer.producer_epoch);
                        who.sequences.clear();
                    }
                    return true;
                }
                Step::Again => self.ground.clock.sleep_ms(RETRY_MS).await,
                Step::Abort | Step::Over => return false,
            }
        }
    }

    async fn think(&mut self) {
        let ms = if self.dice.chance(10) { self.dice.range(100..=2500) } else { self.dice.range(0..=40) };
        self.ground.clock.sleep_ms(ms).await;
    }
}

fn batch(who: &Incarnation, values: &[ValueId], sequence: i32, now: i64) -> Option<Bytes> {
    let mut builder = BatchBuilder::new().producer(who.producer_id, who.epoch, sequence).transactional();
    for value in values {
        builder.push(now, None, Some(&value.to_bytes()), &[]);
    }
    Some(builder.build().ok()?.bytes)
}

/// Whether another node is to be asked.
fn is_misled(code: i16) -> bool {
    matches!(
        ErrorCode::from_i16(code),
        Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotLeaderOrFollower)
    )
}

fn step(code: i16) -> Step {
    match ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Step::Done,
        ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::InvalidTxnState => Step::Over,
        ErrorCode::TransactionAbortable | ErrorCode::OutOfOrderSequenceNumber => Step::Abort,
        ErrorCode::ConcurrentTransactions => Step::Again,
        error if error.is_retriable() => Step::Again,
        _ => Step::Over,
    }
}
