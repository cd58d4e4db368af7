//! Who is parked where: readers that follow streams, in a row for each stream, and when to look after each.
//!
//! It reads nothing and sends nothing, and knows of what a reader holds (its socket) only that it is there. A reader that has all that
//! its row has waits for news with the others; one that is behind is told to go and read.

use crate::{
    chains::{Chains, Head},
    wheel::Wheel,
};
use bytes::Bytes;
use gateway::{Address, EventShape, Hook, Token};
use slab::Slab;
use stdx::Map;

/// Which reader, or which row: a place that is used again bears another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    place: u32,
    number: u32,
}

/// A reader and what it holds.
#[derive(Debug)]
pub struct Seat<T> {
    /// Its connection.
    pub held: T,
    /// From there on it is to be sent its stream.
    pub next: Token,
    /// How it wants its events.
    pub shape: EventShape,
    /// The second in which its time is over.
    pub until: u32,
    /// Its stream ends when it is not used, or at a certain time.
    pub is_mortal: bool,
}

/// What its connection has not taken of what it was sent.
#[derive(Debug)]
pub struct Rest {
    /// They are sent when there is room.
    pub bytes: Bytes,
    /// Nothing follows it.
    pub is_last: bool,
}

/// A reader that is parked.
pub struct Parked<T> {
    /// Who it is.
    pub seat: Seat<T>,
    /// When it took something last.
    pub heard: u32,
    /// Its connection has no room.
    pub is_blocked: bool,
    /// What is sent before anything else.
    pub rest: Option<Box<Rest>>,
    row: u32,
    number: u32,
    /// Whether it is yet to be looked at in the round of its row.
    is_due: bool,
}

/// The readers of one stream.
struct Row {
    at: Address,
    /// Those that are not behind have everything before.
    tail: Token,
    number: u32,
    count: u32,
    members: Head,
    /// Those that are yet to be looked at in this round.
    due: Head,
    hook: Option<Hook>,
    /// Somebody reads for it.
    is_busy: bool,
    /// There may be news since it was read last.
    is_rung: bool,
    /// It is not told of news.
    is_deaf: bool,
}

/// What became of a reader that wanted to park.
pub enum Parking<T> {
    /// It is behind.
    Behind(Seat<T>),
    /// It is there. The row must be read for, if it is new.
    There(Id, Option<Id>),
}

/// See the head of the file.
pub struct Seats<T> {
    parked: Slab<Parked<T>>,
    rows: Slab<Row>,
    by_stream: Map<Address, u32>,
    members: Chains,
    wheel: Wheel,
    numbers: u32,
}

impl Id {
    /// Both in one number, such as an epoll keeps.
    pub fn to_u64(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.place)
    }

    /// What [`Id::to_u64`] gave.
    pub fn from_u64(both: u64) -> Self {
        Self { place: both as u32, number: (both >> 32) as u32 }
    }
}

impl<T> Parked<T> {
    /// Its connection has not taken this; it is sent before anything else.
    pub fn block(&mut self, bytes: Bytes, is_last: bool) {
        self.is_blocked = true;
        self.rest = Some(Box::new(Rest { bytes, is_last }));
    }
}

impl<T> Seats<T> {
    /// Nobody is parked.
    pub fn new(now: u32) -> Self {
        Self {
            parked: Slab::new(),
            rows: Slab::new(),
            by_stream: Map::default(),
            members: Chains::default(),
            wheel: Wheel::new(now),
            numbers: 0,
        }
    }

    /// Parks a reader in the row of its stream. One whose connection has no room may be behind.
    pub fn park(
        &mut self,
        at: &Address,
        seat: Seat<T>,
        (is_blocked, rest): (bool, Option<Box<Rest>>),
        now: u32,
    ) -> Parking<T> {
        let known = self.by_stream.get(at).copied();
        let tail = known.and_then(|row| self.rows.get(row as usize)).map(|row| row.tail);
        if !is_blocked && tail.is_some_and(|tail| seat.next < tail) {
            return Parking::Behind(seat);
        }
        self.numbers = self.numbers.wrapping_add(1);
        let (number, next) = (self.numbers, seat.next);
        let row = known.unwrap_or_else(|| self.open_row(at, next));
        let parked = Parked { seat, heard: now, is_blocked, rest, row, number, is_due: false };
        let place = self.parked.insert(parked) as u32;
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.count += 1;
            self.members.push(&mut row.members, place);
        }
        let opened = self.rows.get(row as usize).filter(|_| known.is_none());
        Parking::There(Id { place, number }, opened.map(|opened| Id { place: row, number: opened.number }))
    }

    /// A row that is busy from the beginning: whoever opens it lets it hear of news.
    fn open_row(&mut self, at: &Address, tail: Token) -> u32 {
        let row = Row {
            at: at.clone(),
            tail,
            number: self.numbers,
            count: 0,
            members: Head::default(),
            due: Head::default(),
            hook: None,
            is_busy: true,
            is_rung: false,
            is_deaf: true,
        };
        let place = self.rows.insert(row) as u32;
        self.by_stream.insert(at.clone(), place);
        place
    }

    /// One of them, if it is still there.
    pub fn get(&mut self, id: Id) -> Option<&mut Parked<T>> {
        self.parked.get_mut(id.place as usize).filter(|parked| parked.number == id.number)
    }

    /// Whether it lacks what its row has.
    pub fn is_behind(&self, id: Id) -> bool {
        let parked = self.parked.get(id.place as usize).filter(|parked| parked.number == id.number);
        let row = parked.and_then(|parked| self.rows.get(parked.row as usize));
        parked.zip(row).is_some_and(|(parked, row)| parked.seat.next < row.tail)
    }

    /// It is parked no more.
    pub fn leave(&mut self, id: Id) -> Option<(Address, Parked<T>)> {
        self.get(id)?;
        let parked = self.parked.try_remove(id.place as usize)?;
        self.wheel.take(id.place);
        let row = self.rows.get_mut(parked.row as usize)?;
        let head = if parked.is_due { &mut row.due } else { &mut row.members };
        self.members.take(head, id.place);
        row.count -= 1;
        let at = row.at.clone();
        self.close_row(parked.row);
        Some((at, parked))
    }

    /// A row without readers goes, unless somebody reads for it, who then sees that.
    fn close_row(&mut self, place: u32) {
        if self.rows.get(place as usize).is_some_and(|row| row.count == 0 && !row.is_busy)
            && let Some(row) = self.rows.try_remove(place as usize)
        {
            self.by_stream.remove(&row.at);
        }
    }

    /// Any of them.
    pub fn any(&self) -> Option<Id> {
        let (place, parked) = self.parked.iter().next()?;
        Some(Id { place: place as u32, number: parked.number })
    }

    /// The row of a reader is read although nobody knows of news; the row, if somebody must begin to.
    pub fn ring_for(&mut self, id: Id) -> Option<Id> {
        let place = self.get(id)?.row;
        let number = self.rows.get(place as usize)?.number;
        let row = Id { place, number };
        self.ring(row, false).then_some(row)
    }

    /// It is looked after in this second.
    pub fn look_after(&mut self, id: Id, second: u32) {
        if self.get(id).is_some() {
            self.wheel.set(id.place, second);
        }
    }

    /// Who is to be looked after by now.
    pub fn up(&mut self, now: u32) -> Option<Id> {
        let place = self.wheel.pop(now)?;
        let number = self.parked.get(place as usize)?.number;
        Some(Id { place, number })
    }

    /// Whether there is anybody to look after.
    pub fn has_time(&self) -> bool {
        !self.wheel.is_empty()
    }

    fn row(&mut self, id: Id) -> Option<&mut Row> {
        self.rows.get_mut(id.place as usize).filter(|row| row.number == id.number)
    }

    /// There may be news of a row; whether somebody must begin to read for it. `is_last`: it is not told any more.
    pub fn ring(&mut self, row: Id, is_last: bool) -> bool {
        let Some(row) = self.row(row) else { return false };
        row.is_rung = true;
        row.is_deaf |= is_last;
        !std::mem::replace(&mut row.is_busy, true)
    }

    /// What to do for a row that is busy: its stream, from where on, and whether it must listen again first. `None`: nothing, and it is
    /// not busy any more.
    pub fn task(&mut self, id: Id) -> Option<(Address, Token, bool)> {
        let row = self.row(id)?;
        if row.count > 0 && row.is_deaf {
            // One hook goes before the next one is there: both mean the same bell.
            (row.is_deaf, row.hook) = (false, None);
            return Some((row.at.clone(), row.tail, true));
        }
        if row.count > 0 && std::mem::take(&mut row.is_rung) {
            return Some((row.at.clone(), row.tail, false));
        }
        row.is_busy = false;
        self.close_row(id.place);
        None
    }

    /// It is told of news from now on; or it cannot be, and must be read to learn why.
    pub fn hang(&mut self, row: Id, hook: Option<Hook>) {
        if let Some(row) = self.row(row) {
            row.is_rung |= hook.is_none();
            row.hook = hook;
        }
    }

    /// What was read for a row was not enough, or it could not be told of more: it is read on.
    pub fn read_on(&mut self, row: Id) {
        if let Some(row) = self.row(row) {
            row.is_rung = true;
        }
    }

    /// The row has everything before `tail` from now on: each of its readers is due once.
    pub fn begin_round(&mut self, row: Id, tail: Token) {
        let known = self.rows.get_mut(row.place as usize).filter(|known| known.number == row.number);
        if let Some(row) = known {
            row.tail = row.tail.max(tail);
            while let Some(place) = self.members.pop(&mut row.members) {
                if let Some(parked) = self.parked.get_mut(place as usize) {
                    parked.is_due = true;
                }
                self.members.push(&mut row.due, place);
            }
        }
    }

    /// The next one of the round.
    pub fn next_due(&mut self, row: Id) -> Option<Id> {
        let row = self.rows.get_mut(row.place as usize).filter(|known| known.number == row.number)?;
        let place = self.members.pop(&mut row.due)?;
        self.members.push(&mut row.members, place);
        let parked = self.parked.get_mut(place as usize)?;
        parked.is_due = false;
        Some(Id { place, number: parked.number })
    }
}

#[cfg(test)]
mod tests;
