//! The batches of one partition on their way: open, sealed, in flight, and their sequence numbers.
//!
//! It sends nothing and does not know the clock. The accumulator asks it, one partition at a time.
//!
//! ```text
//!   push -> open -> sealed (in order) -> in flight (in order) -> acknowledged
//!                      ^                     |
//!                      +---- put back -------+   then nothing leaves until all in flight have come back
//! ```

use bytes::Bytes;
use env::Deadline;
use model::{ProducerEpoch, ProducerId, Sequence};
use records::{Batch, BatchBuilder, HEADER_BYTES, sequence_after};
use std::collections::VecDeque;

/// A producer's id and epoch.
pub(super) type Identity = (ProducerId, ProducerEpoch);

/// A batch; `T` is what the callers of its records wait with.
#[derive(Debug)]
pub(super) struct Pending<T> {
    pub(super) id: u64,
    pub(super) tickets: Vec<T>,
    pub(super) bytes: usize,
    /// When a record in it is given up.
    pub(super) expires: Deadline,
    /// Whether it was on the wire at least once.
    pub(super) was_sent: bool,
    sequence: Option<Sequence>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Records(BatchBuilder),
    Built(Batch),
    /// Building failed; the batch is given up.
    Broken,
}

#[derive(Debug)]
pub(super) struct PartitionQueue<T> {
    pub(super) open: Option<(Pending<T>, Deadline)>,
    pub(super) sealed: VecDeque<Pending<T>>,
    pub(super) in_flight: Vec<Pending<T>>,
    /// Nothing leaves before this time.
    pub(super) not_before: Deadline,
    /// A batch has come back: nothing leaves until all in flight have.
    draining: bool,
    next_sequence: Sequence,
    /// A batch with this sequence number was refused for good; those behind it take its place.
    gap: Option<Sequence>,
}

impl<T> Pending<T> {
    pub(super) fn new(id: u64, builder: BatchBuilder, expires: Deadline) -> Self {
        let content = Content::Records(builder);
        Self { id, tickets: Vec::new(), bytes: 0, expires, was_sent: false, sequence: None, content }
    }

    /// The records so far, while no batch was made of them.
    pub(super) fn builder(&mut self) -> Option<&mut BatchBuilder> {
        match &mut self.content {
            Content::Records(builder) => Some(builder),
            _ => None,
        }
    }

    /// The batch's bytes, made on first use; `None` if they cannot be made.
    fn build(&mut self, identity: Option<Identity>) -> Option<Bytes> {
        if let Content::Records(_) = &self.content {
            let Content::Records(builder) = std::mem::replace(&mut self.content, Content::Broken) else {
                return None;
            };
            let builder = match (identity, self.sequence) {
                (Some((id, epoch)), Some(sequence)) => builder.producer(id, epoch, sequence),
                _ => builder,
            };
            self.content = builder.build().map_or(Content::Broken, Content::Built);
        }
        match &self.content {
            Content::Built(batch) => Some(batch.bytes.clone()),
            _ => None,
        }
    }

    fn set_sequence(&mut self, sequence: Sequence) {
        let is_other = self.sequence.replace(sequence).is_some_and(|old| old != sequence);
        if let Content::Built(batch) = &mut self.content
            && is_other
        {
            renumber(batch, sequence);
        }
    }
}

/// Writes another sequence number into a batch.
fn renumber(batch: &mut Batch, sequence: Sequence) {
    batch.header.base_sequence = sequence;
    batch.header.crc = batch.header.checksum(batch.body());
    let mut bytes = Vec::with_capacity(batch.bytes.len());
    bytes.extend_from_slice(&batch.header.encode());
    bytes.extend_from_slice(batch.bytes.get(HEADER_BYTES..).unwrap_or_default());
    batch.bytes = bytes.into();
}

impl<T> PartitionQueue<T> {
    pub(super) fn new() -> Self {
        Self {
            open: None,
            sealed: VecDeque::new(),
            in_flight: Vec::new(),
            not_before: 0,
            draining: false,
            next_sequence: 0,
            gap: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty() && self.in_flight.is_empty()
    }

    /// Ends the open batch.
    pub(super) fn seal(&mut self) {
        if let Some((batch, _)) = self.open.take() {
            self.sealed.push_back(batch);
        }
    }

    /// Whether a batch may leave.
    pub(super) fn is_ready(&self, now: Deadline, in_flight_max: usize) -> bool {
        let held = self.draining && !self.in_flight.is_empty();
        !self.sealed.is_empty() && !held && now >= self.not_before && self.in_flight.len() < in_flight_max
    }

    /// The next batch that leaves: its id and bytes. The error is a batch that cannot be made.
    pub(super) fn take(&mut self, identity: Option<Identity>) -> Option<Result<(u64, Bytes), Pending<T>>> {
        self.draining = false;
        if let Some(gap) = self.gap.take() {
            self.next_sequence = gap;
            // None of them was written: the broker refuses what is behind a gap.
            for batch in self.sealed.iter_mut().filter(|batch| batch.sequence.is_some()) {
                batch.set_sequence(self.next_sequence);
                self.next_sequence = sequence_after(self.next_sequence, batch.tickets.len() as i32);
            }
        }
        let mut batch = self.sealed.pop_front()?;
        if identity.is_some() && batch.sequence.is_none() {
            batch.set_sequence(self.next_sequence);
            self.next_sequence = sequence_after(self.next_sequence, batch.tickets.len() as i32);
        }
        let Some(bytes) = batch.build(identity) else {
            self.gap = batch.sequence;
            return Some(Err(batch));
        };
        batch.was_sent = true;
        let id = batch.id;
        self.in_flight.push(batch);
        Some(Ok((id, bytes)))
    }

    /// Whether no batch is older than this one, nor was one refused whose numbers are missing before it.
    pub(super) fn is_oldest(&self, id: u64) -> bool {
        self.gap.is_none() && self.in_flight.iter().chain(&self.sealed).all(|batch| batch.id >= id)
    }

    /// A batch was written.
    pub(super) fn acknowledge(&mut self, id: u64) -> Option<Pending<T>> {
        let batch = self.remove_in_flight(id)?;
        if let (Some(_), Some(sequence)) = (self.gap, batch.sequence) {
            // A partition that did not know the producer yet accepts any first number.
            self.gap = Some(sequence_after(sequence, batch.tickets.len() as i32));
        }
        Some(batch)
    }

    /// A batch is to be sent again, not before a time; it takes its place in the order.
    pub(super) fn put_back(&mut self, id: u64, not_before: Deadline) {
        let Some(batch) = self.remove_in_flight(id) else { return };
        self.draining = true;
        self.not_before = self.not_before.max(not_before);
        let place = self.sealed.iter().position(|other| other.id > id).unwrap_or(self.sealed.len());
        self.sealed.insert(place, batch);
    }

    /// A batch was refused and is not in the log; those behind it take over its sequence numbers.
    pub(super) fn reject(&mut self, id: u64) -> Option<Pending<T>> {
        let batch = self.remove_in_flight(id)?;
        self.leave_gap(&batch);
        Some(batch)
    }

    /// Sealed batches whose time is over, in order.
    pub(super) fn expire(&mut self, now: Deadline) -> Vec<Pending<T>> {
        let mut expired = Vec::new();
        while self.sealed.front().is_some_and(|batch| batch.expires <= now) {
            if let Some(batch) = self.sealed.pop_front() {
                self.leave_gap(&batch);
                expired.push(batch);
            }
        }
        expired
    }

    /// All batches, because nothing can be sent any more.
    pub(super) fn clear(&mut self) -> Vec<Pending<T>> {
        self.seal();
        self.in_flight.drain(..).chain(self.sealed.drain(..)).collect()
    }

    fn leave_gap(&mut self, batch: &Pending<T>) {
        if batch.sequence.is_some() {
            self.gap = self.gap.or(batch.sequence);
            self.draining = true;
        }
    }

    fn remove_in_flight(&mut self, id: u64) -> Option<Pending<T>> {
        let index = self.in_flight.iter().position(|batch| batch.id == id)?;
        Some(self.in_flight.remove(index))
    }
}
