//! What a producer holds and what it does next: which records share a batch, which batches leave and when, and what
//! an answer means for them.
//!
//! It sends nothing, waits for nothing and reads no clock; the sender tells it the time. Records of a partition keep
//! their order through every repetition.

use super::partition_queue::{Identity, PartitionQueue, Pending};
use crate::{OutRecord, ProducerConfig};
use bytes::Bytes;
use env::Deadline;
use model::{NodeId, PartitionIndex};
use records::BatchBuilder;
use std::collections::BTreeMap;
use wire::ErrorCode;

/// Batches of an idempotent producer in flight per partition: as many as brokers remember (KIP-98).
const IN_FLIGHT_MAX: usize = model::limits::PRODUCER_BATCHES_REMEMBERED;
/// Bytes of a record beside its key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// A partition by topic and index.
pub(super) type Place = (String, PartitionIndex);

/// A batch that leaves.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) place: Place,
    pub(super) id: u64,
    pub(super) bytes: Bytes,
}

/// What an answer means for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the log.
    Written,
    /// It is to be sent again, and the leader is to be looked for.
    Again,
    /// It is not in the log and never will be.
    Refused,
    /// The producer's sequence numbers are of no use any more.
    Lost,
}

/// Why batches are given up.
#[derive(Debug)]
pub(super) struct GivenUp<T> {
    pub(super) place: Place,
    pub(super) tickets: Vec<T>,
    /// Whether it may be in the log nevertheless.
    pub(super) was_sent: bool,
}

pub(super) struct Accumulator<T> {
    config: ProducerConfig,
    identity: Option<Identity>,
    queues: BTreeMap<Place, PartitionQueue<T>>,
    buffered_bytes: usize,
    next_id: u64,
}

/// What an error code means. `is_oldest`: no batch of the partition is before it.
pub(super) fn judge(code: ErrorCode, is_oldest: bool) -> Verdict {
    match code {
        ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Verdict::Written,
        // Behind a batch that has not been written yet; it is sent again first.
        ErrorCode::OutOfOrderSequenceNumber if !is_oldest => Verdict::Again,
        ErrorCode::OutOfOrderSequenceNumber
        | ErrorCode::UnknownProducerId
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::ProducerFenced => Verdict::Lost,
        code if code.is_retriable() => Verdict::Again,
        _ => Verdict::Refused,
    }
}

impl<T> Accumulator<T> {
    pub(super) fn new(config: ProducerConfig, identity: Option<Identity>) -> Self {
        Self { config, identity, queues: BTreeMap::new(), buffered_bytes: 0, next_id: 0 }
    }

    /// Whether there is room for a record.
    pub(super) fn has_room(&self) -> bool {
        self.buffered_bytes < self.config.buffer_bytes
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.values().all(PartitionQueue::is_empty)
    }

    /// Adds a record behind the others of its partition.
    pub(super) fn push(&mut self, now: Deadline, place: Place, record: &OutRecord, ticket: T) {
        let bytes = record_bytes(record);
        let queue = self.queues.entry(place).or_insert_with(PartitionQueue::new);
        let is_full = |batch: &mut Pending<T>| batch.bytes + bytes > self.config.batch_bytes;
        if queue.open.as_mut().is_some_and(|(batch, _)| is_full(batch)) {
            queue.seal();
        }
        let (config, next_id) = (&self.config, &mut self.next_id);
        let (batch, _) = queue.open.get_or_insert_with(|| {
            *next_id += 1;
            let builder = BatchBuilder::new().compression(config.compression);
            let expires = now.saturating_add(nanos(config.delivery_timeout_ms));
            (Pending::new(*next_id, builder, expires), now.saturating_add(nanos(config.linger_ms)))
        });
        if let Some(builder) = batch.builder() {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push(record.timestamp.unwrap_or(-1), key, value, &record.headers);
        }
        batch.tickets.push(ticket);
        batch.bytes += bytes;
        self.buffered_bytes += bytes;
        if batch.bytes >= self.config.batch_bytes {
            queue.seal();
        }
    }

    /// Lets every record leave without waiting for others.
    pub(super) fn seal_all(&mut self) {
        self.queues.values_mut().for_each(PartitionQueue::seal);
    }

    /// The batches that leave now, at most one per partition, by the leader that `leader` names if it names one.
    /// The second list holds batches that cannot be made.
    pub(super) fn take(
        &mut self,
        now: Deadline,
        mut leader: impl FnMut(&Place) -> Option<NodeId>,
    ) -> (BTreeMap<NodeId, Vec<Outgoing>>, Vec<GivenUp<T>>) {
        let in_flight_max = if self.identity.is_some() { IN_FLIGHT_MAX } else { 1 };
        let (mut out, mut broken) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for (place, queue) in &mut self.queues {
            if queue.open.as_ref().is_some_and(|(_, linger)| *linger <= now) && queue.sealed.is_empty() {
                queue.seal();
            }
            if !queue.is_ready(now, in_flight_max) {
                continue;
            }
            let Some(leader) = leader(place) else { continue };
            match queue.take(self.identity) {
                Some(Ok((id, bytes))) => {
                    out.entry(leader).or_default().push(Outgoing { place: place.clone(), id, bytes });
                }
                Some(Err(batch)) => {
                    self.buffered_bytes -= batch.bytes;
                    broken.push(GivenUp { place: place.clone(), tickets: batch.tickets, was_sent: false });
                }
                None => {}
            }
        }
        (out, broken)
    }

    /// Takes an answer for a batch. Gives the tickets if it is done with, be it written or refused.
    pub(super) fn on_answer(
        &mut self,
        place: &Place,
        id: u64,
        code: ErrorCode,
        again_at: Deadline,
    ) -> (Verdict, Vec<T>) {
        let Some(queue) = self.queues.get_mut(place) else { return (Verdict::Refused, Vec::new()) };
        let verdict = judge(code, queue.is_oldest(id));
        let done = match verdict {
            Verdict::Written => queue.acknowledge(id),
            Verdict::Refused | Verdict::Lost => queue.reject(id),
            Verdict::Again => {
                queue.put_back(id, again_at);
                None
            }
        };
        let Some(batch) = done else { return (verdict, Vec::new()) };
        self.buffered_bytes -= batch.bytes;
        (verdict, batch.tickets)
    }

    /// Gives up batches that have waited too long.
    pub(super) fn expire(&mut self, now: Deadline) -> Vec<GivenUp<T>> {
        let mut given_up = Vec::new();
        for (place, queue) in &mut self.queues {
            for batch in queue.expire(now) {
                self.buffered_bytes -= batch.bytes;
                let (tickets, was_sent) = (batch.tickets, batch.was_sent);
                given_up.push(GivenUp { place: place.clone(), tickets, was_sent });
            }
        }
        given_up
    }

    /// Gives everything up.
    pub(super) fn clear(&mut self) -> Vec<GivenUp<T>> {
        self.buffered_bytes = 0;
        let all = std::mem::take(&mut self.queues);
        let given_up = all.into_iter().flat_map(|(place, mut queue)| {
            let batches = queue.clear().into_iter();
            batches.map(move |batch| GivenUp {
                place: place.clone(),
                tickets: batch.tickets,
                was_sent: batch.was_sent,
            })
        });
        given_up.collect()
    }

    /// When something is due by itself: a linger, a repetition or an expiry.
    pub(super) fn next_due(&self, now: Deadline) -> Option<Deadline> {
        let dues = self.queues.values().flat_map(|queue| {
            let linger = queue.open.as_ref().map(|(_, linger)| *linger);
            let again = Some(queue.not_before).filter(|at| *at > now && !queue.sealed.is_empty());
            let expiry = queue.sealed.front().map(|batch| batch.expires);
            [linger.filter(|_| queue.sealed.is_empty()), again, expiry]
        });
        dues.flatten().min()
    }
}

fn record_bytes(record: &OutRecord) -> usize {
    let headers = record
        .headers
        .iter()
        .map(|header| 10 + header.key.len() + header.value.as_ref().map_or(0, Bytes::len));
    let fields = [&record.key, &record.value].into_iter().flatten().map(Bytes::len);
    RECORD_OVERHEAD_BYTES + fields.chain(headers).sum::<usize>()
}

fn nanos(millis: i64) -> u64 {
    (millis.max(0) as u64).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests;
