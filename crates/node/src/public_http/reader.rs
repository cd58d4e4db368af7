//! A reader that follows a stream, while it is behind: its task reads from the log and sends, until the reader has everything or its
//! connection has no room. Then it is parked, and the task ends.
//!
//! What is sent `gateway` says. Nothing is kept for a reader that is slow but what its connection has taken a part of.

use super::{
    Origin, PublicHttp,
    clients::Seat as Room,
    exit::Leaving,
    head,
    parked::{Rest, Seat},
    second_of,
    wire::{Held, Took},
};
use bytes::{Buf, Bytes, BytesMut};
use gateway::{Address, Chunk, From};
use std::sync::Arc;

/// When it is looked again whether there is room for what it is sent.
const BUSY_MS: i64 = 1_000;
/// What an `EventSource` passes over.
pub(super) const COMMENT: &str = ":\n\n";

/// The connection of a reader.
pub(super) struct Line {
    pub(super) wire: Held,
    pub(super) is_chunked: bool,
    /// Whether other requests may come on it.
    is_kept: bool,
    from: Origin,
    /// Its room, among all connections and among those of its address.
    room: Room,
}

/// See the head of the file.
pub(super) struct Reader {
    http: Arc<PublicHttp>,
    at: Address,
    seat: Seat<Line>,
    /// What is sent before everything else.
    head: BytesMut,
    /// Whether it was sent anything.
    has_begun: bool,
}

impl Reader {
    /// One that has asked. `has_more`: it has sent something behind its request, which nobody reads here.
    pub(super) fn begin(
        http: Arc<PublicHttp>,
        (wire, from, room): (Held, Origin, Room),
        leaving: Leaving,
        has_more: bool,
    ) -> Self {
        let Leaving { head, follow, version, is_kept } = leaving;
        let is_kept = is_kept && !has_more;
        let head = head::head(&head, version, is_kept, http.clock.wall());
        // The second in which a token is over does not belong to it.
        let until = http.clock.after_millis(http.follow_ms(&follow));
        let seat = Seat {
            held: Line { wire, is_chunked: head::is_chunked(version), is_kept, from, room },
            next: follow.next,
            shape: follow.shape,
            until: second_of(until),
            is_mortal: false,
        };
        Self { http, at: follow.at, seat, head, has_begun: false }
    }

    /// One that was parked.
    pub(super) fn go_on(http: Arc<PublicHttp>, at: Address, seat: Seat<Line>) -> Self {
        Self { http, at, seat, head: BytesMut::new(), has_begun: true }
    }

    /// Reads and sends.
    pub(super) async fn run(mut self) {
        loop {
            let is_late = self.has_begun && self.http.second() >= self.seat.until;
            if is_late || self.http.is_closing() {
                return self.finish();
            }
            let read = self.http.service.mailboxes.read(
                &self.at,
                From::At(self.seat.next),
                self.http.service.bytes_max,
            );
            // A reader that cannot be served comes again, and is told why.
            let Ok(chunk) = read.await else { return self.finish() };
            self.seat.is_mortal = chunk.standing.is_mortal();
            let is_news = !chunk.records.is_empty() || chunk.standing.life.is_closed;
            let has_moved = self.seat.next != chunk.next || !self.has_begun;
            if is_news || !self.has_begun {
                let Some((bytes, is_over)) = self.piece(&chunk) else {
                    if !self.wait_for_room().await {
                        return self.finish();
                    }
                    continue;
                };
                (self.seat.next, self.has_begun) = (chunk.next, true);
                match self.seat.held.send(&bytes) {
                    Took::All if is_over => return self.finish(),
                    Took::All => {}
                    Took::Part(count) => return self.park_blocked(bytes.slice(count..), is_over),
                    Took::Broken => return,
                }
            }
            self.seat.next = chunk.next;
            if chunk.is_up_to_date {
                let lot = self.http.lot(&self.at).clone();
                match lot.park(&self.http, &self.at, self.seat, None) {
                    None => return,
                    // News have come meanwhile.
                    Some(seat) => self.seat = seat,
                }
                if !has_moved {
                    // What the others have is not there any more: whoever comes again is told why.
                    return self.finish();
                }
            }
        }
    }

    /// What it is sent of what was read, with a share of what all may take; `None`: there is none.
    fn piece(&mut self, chunk: &Chunk) -> Option<(Bytes, bool)> {
        let (service, shape) = (&self.http.service, &self.seat.shape);
        let sent = shape.send(chunk, service.clock.wall(), service.random.next_u64());
        let mut text = match self.has_begun {
            true => String::new(),
            false => shape.retry(false, service.random.next_u64()),
        };
        text.push_str(&sent.text);
        if text.is_empty() {
            text.push_str(COMMENT);
        }
        let mut out = BytesMut::from(&self.head[..]);
        head::piece(&mut out, text.as_bytes(), self.seat.held.is_chunked);
        let bytes = self.http.answers.hold(out.freeze())?;
        self.head.clear();
        Some((bytes, sent.is_over))
    }

    /// Whether it may try again whether there is room for what it is sent.
    async fn wait_for_room(&mut self) -> bool {
        // That it is answered it learns at once. A new connection has room for so few bytes.
        match self.seat.held.send(&self.head) {
            Took::All => self.head.clear(),
            Took::Part(count) => self.head.advance(count),
            Took::Broken => return false,
        }
        let mut closing = self.http.is_closing.subscribe();
        let clock = &self.http.clock;
        tokio::select! {
            biased;
            () = super::until_closing(&mut closing) => false,
            () = clock.sleep_until(clock.after_millis(BUSY_MS)) => self.http.second() < self.seat.until,
        }
    }

    fn park_blocked(self, bytes: Bytes, is_last: bool) {
        let lot = self.http.lot(&self.at).clone();
        // Where it is behind it stays until its connection has room.
        let _ = lot.park(&self.http, &self.at, self.seat, Some(Rest { bytes, is_last }));
    }

    fn finish(self) {
        finish(&self.http, self.seat, &self.head);
    }
}

impl Line {
    /// Sends what there is room for.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Took {
        self.wire.send(bytes)
    }
}

/// Ends an answer. Its connection waits for other requests, if it may.
pub(super) fn finish(http: &Arc<PublicHttp>, seat: Seat<Line>, before: &[u8]) {
    let Seat { held: mut line, shape, .. } = seat;
    let is_closing = http.is_closing();
    let retry = if is_closing { shape.retry(true, http.service.random.next_u64()) } else { String::new() };
    let end = [before, &head::end(retry.as_bytes(), line.is_chunked)].concat();
    let is_told = matches!(line.send(&end), Took::All);
    match is_told && line.is_kept && !is_closing {
        true => http.clone().serve_again(line.wire, line.from, line.room),
        false => line.wire.end(),
    }
}
