//! Connections of readers that follow streams and have all there is: no task and no buffer for each, but a place in a slab and its
//! socket in an epoll of our own (docs/decisions/0022).
//!
//! What comes of a stream is read once for all its readers here, and put into events once for all that want the same. A connection
//! that takes nothing is a place in a stream until it has room; who is behind then reads on by itself (`reader`).

mod chains;
mod seats;
mod wheel;

use super::{
    PublicHttp, QUIET_SECONDS_MAX, head,
    reader::{COMMENT, Line, Reader, finish},
    until_closing,
    wire::Took,
};
use bytes::{Buf, Bytes, BytesMut};
use gateway::{Address, Bell, Bells, Chunk, EventShape, From, Token};
use parking_lot::Mutex;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};
use seats::{Id, Parked, Parking, Seats};
pub(super) use seats::{Rest, Seat};
use std::{io, os::fd::OwnedFd, sync::Arc};
use stdx::Map;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

/// How long a peer may take nothing.
const STALL_SECONDS_MAX: u32 = 30;
/// So many readers are looked after before others have their turn.
const AT_ONCE: usize = 256;

/// Some of the streams, and all their readers that are parked.
pub(super) struct Lot {
    seats: Mutex<Seats<Line>>,
    poller: AsyncFd<OwnedFd>,
    /// Rows of which there may be news; whether it is the last that is told of them.
    rung: Mutex<Map<u64, bool>>,
    wake: Notify,
}

/// How a reader wants its events, and whether its answer is in chunks.
type Framing = (EventShape, bool);

/// What was read for a row, as each of its readers wants it.
struct Round<'a> {
    http: &'a Arc<PublicHttp>,
    chunk: &'a Chunk,
    /// From where on it was read.
    from: Token,
    second: u32,
    sent: Vec<(Framing, Option<(Bytes, bool)>)>,
}

impl Bells for Lot {
    fn ring(&self, place: u64, is_last: bool) {
        *self.rung.lock().entry(place).or_default() |= is_last;
        self.wake.notify_one();
    }
}

impl Lot {
    /// Nobody is there.
    pub(super) fn new(second: u32) -> io::Result<Arc<Self>> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        #[allow(
            unsafe_code,
            reason = "the descriptor must stay open and the same, which tokio does not check"
        )]
        // SAFETY: the descriptor is owned by what is registered, which never gives another one.
        let poller = unsafe { AsyncFd::register_with_interest(poller, Interest::READABLE) }?;
        Ok(Arc::new(Self {
            seats: Mutex::new(Seats::new(second)),
            poller,
            rung: Mutex::default(),
            wake: Notify::new(),
        }))
    }

    /// Parks a reader that has everything, or whose connection has not taken `rest`. One that has not everything any more comes back.
    pub(super) fn park(
        self: &Arc<Self>,
        http: &Arc<PublicHttp>,
        at: &Address,
        seat: Seat<Line>,
        rest: Option<Rest>,
    ) -> Option<Seat<Line>> {
        let second = http.second();
        let mut seats = self.seats.lock();
        if http.is_closing() {
            drop(seats);
            if rest.is_none() {
                finish(http, seat, &[]);
            }
            return None;
        }
        let is_first = !seats.has_time();
        let (id, opened) = match seats.park(at, seat, (rest.is_some(), rest.map(Box::new)), second) {
            Parking::Behind(seat) => return Some(seat),
            Parking::There(id, opened) => (id, opened),
        };
        if let Some(parked) = seats.get(id) {
            let due = due(parked);
            let data = epoll::EventData::new_u64(id.to_u64());
            // What it sends stays in the socket until it is served again.
            let events = epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
            match epoll::add(&self.poller, &parked.seat.held.wire, data, events) {
                Ok(()) => seats.look_after(id, due),
                Err(error) => {
                    tracing::warn!(%error, "a connection that follows a stream cannot be waited for; see fs.epoll.max_user_watches");
                    seats.leave(id);
                }
            }
        }
        drop(seats);
        if is_first {
            self.wake.notify_one();
        }
        if let Some(row) = opened {
            self.begin(http, row);
        }
        None
    }

    /// Looks after everybody, until the node stops.
    pub(super) async fn keep(self: Arc<Self>, http: Arc<PublicHttp>) {
        let mut closing = http.is_closing.subscribe();
        let mut has_more = false;
        loop {
            let next = self.seats.lock().has_time().then(|| u64::from(http.second() + 1) * 1_000_000_000);
            let next = if has_more { Some(0) } else { next };
            let second = async {
                match next {
                    Some(deadline) => http.clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = until_closing(&mut closing) => return self.end_all(&http).await,
                () = self.wake.notified() => {}
                ready = self.poller.readable() => {
                    let Ok(mut ready) = ready else { return };
                    // Where there is nothing it is not ready any more, and is told so here.
                    if let Ok(Ok(events)) = ready.try_io(|poller| events_of(poller.get_ref())) {
                        self.on_events(&http, &events);
                    }
                }
                () = second => {}
            }
            // Whoever rings holds locks of its own: none of ours is held beside this one.
            let rung = std::mem::take(&mut *self.rung.lock());
            for (row, is_last) in rung {
                let row = Id::from_u64(row);
                let begins = self.seats.lock().ring(row, is_last);
                if begins {
                    self.begin(&http, row);
                }
            }
            has_more = self.on_second(&http);
            if has_more {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Somebody reads for a row from now on.
    fn begin(self: &Arc<Self>, http: &Arc<PublicHttp>, row: Id) {
        http.tasks.spawn(Box::pin(self.clone().serve(http.clone(), row)));
    }

    /// Reads for a row and sends what comes, as long as there is anything.
    async fn serve(self: Arc<Self>, http: Arc<PublicHttp>, row: Id) {
        let mailboxes = &http.service.mailboxes;
        loop {
            let task = self.seats.lock().task(row);
            let Some((at, tail, is_deaf)) = task else { return };
            if is_deaf {
                let bell = Bell { bells: self.clone(), place: row.to_u64() };
                let hook = mailboxes.listen(&at, tail, bell).await;
                self.seats.lock().hang(row, hook);
                continue;
            }
            let read = mailboxes.read(&at, From::At(tail), http.service.bytes_max).await;
            let chunk = read.ok();
            self.seats.lock().begin_round(row, chunk.as_ref().map_or(tail, |chunk| chunk.next));
            match &chunk {
                Some(chunk) => self.send(&http, row, (tail, chunk)).await,
                // Readers that cannot be served come again, and are told why.
                None => self.each_due(row, |seats, id| self.end(&http, seats, id)).await,
            }
            if chunk.is_some_and(|chunk| !chunk.is_up_to_date) {
                self.seats.lock().read_on(row);
            }
        }
    }

    async fn send(&self, http: &Arc<PublicHttp>, row: Id, (from, chunk): (Token, &Chunk)) {
        let mut round = Round { http, chunk, from, second: http.second(), sent: Vec::new() };
        self.each_due(row, |seats, id| self.send_one(seats, id, &mut round)).await;
    }

    /// All readers of a row, some at a time.
    async fn each_due(&self, row: Id, mut on_reader: impl FnMut(&mut Seats<Line>, Id)) {
        loop {
            {
                let mut seats = self.seats.lock();
                for _ in 0..AT_ONCE {
                    let Some(id) = seats.next_due(row) else { return };
                    on_reader(&mut seats, id);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn send_one(&self, seats: &mut Seats<Line>, id: Id, round: &mut Round<'_>) {
        let Some(parked) = seats.get(id) else { return };
        let (next, chunk) = (parked.seat.next, round.chunk);
        let is_closed = chunk.standing.life.is_closed;
        // Who is slow is where it is.
        if parked.is_blocked {
            return;
        }
        if round.second >= parked.seat.until {
            return self.end(round.http, seats, id);
        }
        // Who is elsewhere reads by itself, if it has not done so.
        if next != round.from {
            if next < chunk.next || is_closed {
                self.go_on(round.http, seats, id);
            }
            return;
        }
        if chunk.records.is_empty() && !is_closed {
            parked.seat.next = chunk.next;
            return;
        }
        let Some((bytes, is_over)) = round.sent_to(&parked.seat) else {
            return self.go_on(round.http, seats, id);
        };
        let took = parked.seat.held.send(&bytes);
        if !matches!(took, Took::Part(0)) {
            (parked.seat.next, parked.heard) = (round.chunk.next, round.second);
        }
        match took {
            Took::All if is_over => self.end(round.http, seats, id),
            Took::All => {}
            // Nothing is kept for it, but where it is.
            Took::Part(0) => (parked.is_blocked, parked.heard) = (true, round.second),
            Took::Part(count) => parked.block(bytes.slice(count..), is_over),
            Took::Broken => drop(seats.leave(id)),
        }
    }

    /// A reader that is behind reads by itself.
    fn go_on(&self, http: &Arc<PublicHttp>, seats: &mut Seats<Line>, id: Id) {
        if let Some((at, parked)) = self.leave(seats, id) {
            http.tasks.spawn(Box::pin(Reader::go_on(http.clone(), at, parked.seat).run()));
        }
    }

    /// Ends the answer to a reader; one whose connection has no room is cut off.
    fn end(&self, http: &Arc<PublicHttp>, seats: &mut Seats<Line>, id: Id) {
        if let Some((_, parked)) = self.leave(seats, id)
            && !parked.is_blocked
        {
            finish(http, parked.seat, &[]);
        }
    }

    /// Its connection goes where others wait for it.
    fn leave(&self, seats: &mut Seats<Line>, id: Id) -> Option<(Address, Parked<Line>)> {
        let (at, parked) = seats.leave(id)?;
        // Where that fails nothing is told of it any more, which is what is wanted.
        let _ = epoll::delete(&self.poller, &parked.seat.held.wire);
        Some((at, parked))
    }

    fn on_events(&self, http: &Arc<PublicHttp>, events: &[(Id, bool)]) {
        let (mut seats, second) = (self.seats.lock(), http.second());
        for (id, is_over) in events {
            match is_over {
                true => drop(seats.leave(*id)),
                false => self.on_room(http, &mut seats, *id, second),
            }
        }
    }

    /// A connection has room.
    fn on_room(&self, http: &Arc<PublicHttp>, seats: &mut Seats<Line>, id: Id, second: u32) {
        let Some(parked) = seats.get(id).filter(|parked| parked.is_blocked) else { return };
        if let Some(rest) = &mut parked.rest {
            match parked.seat.held.send(&rest.bytes) {
                Took::All => parked.heard = second,
                Took::Part(0) => return,
                Took::Part(count) => {
                    rest.bytes.advance(count);
                    parked.heard = second;
                    return;
                }
                Took::Broken => return drop(seats.leave(id)),
            }
        }
        parked.is_blocked = false;
        if parked.rest.take().is_some_and(|rest| rest.is_last) {
            self.end(http, seats, id);
        } else if seats.is_behind(id) {
            self.go_on(http, seats, id);
        }
    }

    /// Looks after those whose second has come; whether there are more.
    fn on_second(self: &Arc<Self>, http: &Arc<PublicHttp>) -> bool {
        let (mut seats, second) = (self.seats.lock(), http.second());
        for _ in 0..AT_ONCE {
            let Some(id) = seats.up(second) else { return false };
            let Some(parked) = seats.get(id) else { continue };
            let quiet = second.saturating_sub(parked.heard);
            if second >= parked.seat.until || parked.is_blocked && quiet >= STALL_SECONDS_MAX {
                self.end(http, &mut seats, id);
                continue;
            }
            let is_mortal = parked.seat.is_mortal;
            if !parked.is_blocked && quiet >= QUIET_SECONDS_MAX {
                parked.heard = second;
                let mut sign = BytesMut::new();
                head::piece(&mut sign, COMMENT.as_bytes(), parked.seat.held.is_chunked);
                match parked.seat.held.send(&sign) {
                    Took::All => {}
                    Took::Part(count) => parked.block(sign.freeze().slice(count..), false),
                    Took::Broken => {
                        seats.leave(id);
                        continue;
                    }
                }
            }
            let due = due(parked);
            seats.look_after(id, due);
            // To be followed is a use, and who follows learns of the end.
            if let Some(row) = is_mortal.then(|| seats.ring_for(id)).flatten() {
                self.begin(http, row);
            }
        }
        true
    }

    /// The node stops.
    async fn end_all(&self, http: &Arc<PublicHttp>) {
        loop {
            {
                let mut seats = self.seats.lock();
                for _ in 0..AT_ONCE {
                    let Some(id) = seats.any() else { return };
                    self.end(http, &mut seats, id);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Parked<Line> {
    fn block(&mut self, bytes: Bytes, is_last: bool) {
        self.is_blocked = true;
        self.rest = Some(Box::new(Rest { bytes, is_last }));
    }
}

impl Round<'_> {
    /// What a reader is sent, and whether nothing follows; `None`: there is no room for it now.
    fn sent_to(&mut self, seat: &Seat<Line>) -> Option<(Bytes, bool)> {
        let service = &self.http.service;
        let now = service.clock.wall();
        let wanted = (seat.shape.at(now), seat.held.is_chunked);
        if let Some((_, sent)) = self.sent.iter().find(|(shape, _)| *shape == wanted) {
            return sent.clone();
        }
        let sent = wanted.0.send(self.chunk, now, service.random.next_u64());
        let text = if sent.text.is_empty() { COMMENT } else { &sent.text };
        let mut out = BytesMut::new();
        head::piece(&mut out, text.as_bytes(), wanted.1);
        let bytes = self.http.answers.hold(out.freeze()).map(|bytes| (bytes, sent.is_over));
        self.sent.push((wanted, bytes.clone()));
        bytes
    }
}

/// Whose connections have room, or are over.
fn events_of(poller: &OwnedFd) -> io::Result<Vec<(Id, bool)>> {
    let mut events = Vec::with_capacity(AT_ONCE);
    epoll::wait(poller, spare_capacity(&mut events), Some(&Timespec::default()))?;
    if events.is_empty() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let over = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
    let read = |event: &epoll::Event| {
        let (data, flags) = (event.data, event.flags);
        (Id::from_u64(data.u64()), flags.intersects(over))
    };
    Ok(events.iter().map(read).collect())
}

/// The second in which a reader must be looked after.
fn due(parked: &Parked<Line>) -> u32 {
    let patience = if parked.is_blocked { STALL_SECONDS_MAX } else { QUIET_SECONDS_MAX };
    parked.seat.until.min(parked.heard.saturating_add(patience))
}
