//! A WebSocket of the public port (RFC 6455): its frames, its signs of life, and how it ends.
//!
//! What messages mean `gateway::Socket` says. What a client publishes and follows passes the same limits as its requests would, and
//! nothing is read for it before its connection has taken what was read last.

use super::{Asked, PublicHttp, QUIET_SECONDS_MAX, Unread, clients::Seat, stalling::Stalling, until_closing};
use bytes::{Bytes, BytesMut};
use env::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use gateway::{Answer, Bearer, Entrant, Job, MESSAGE_BYTES_MAX, Outcome, Place, Problem, Socket, Work};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, StatusCode};
use std::{future::pending, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Error, Message,
        error::ProtocolError,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

/// A longer message is sent in so large parts: what sends them keeps no more than one.
const PART_BYTES: usize = 16 * 1024;
/// What a connection keeps for reading while nothing comes.
const READ_BYTES: usize = 1024;
/// Who has not been heard of for so long is gone; half of that before, it is asked for a sign of life.
const SILENCE_MS_MAX: i64 = 60_000;
/// How long the last word waits for its answer, and what is read until then.
const LAST_MS_MAX: i64 = 2_000;
const LAST_BYTES_MAX: usize = 1 << 20;
/// How long what was begun may take where the node stops.
const STOP_MS_MAX: i64 = 3_000;
/// When it is looked again whether there is room for what is sent.
const BUSY_MS: i64 = 500;
/// A subscription counts as many streams at least: on other nodes it may have a connection of its own.
const SEATS_MIN: usize = 8;
/// What another node answers to a publication is a line or two.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

type Working = BoxFuture<'static, Outcome<OwnedSemaphorePermit>>;

/// How a connection ends.
enum End {
    /// There is nobody any more, or all is said.
    Gone,
    /// With these last words.
    Close(CloseCode, &'static str),
}

struct Line {
    http: Arc<PublicHttp>,
    socket: Socket<OwnedSemaphorePermit>,
    stream: WebSocketStream<Stalling>,
    place: Option<Place>,
}

/// Serves a connection until it ends. `head`: what is sent before everything else; `read`: what its client has sent already.
pub(super) async fn serve(
    http: Arc<PublicHttp>,
    (mut stream, _seat, place): (Stalling, Seat, Option<Place>),
    (head, read): (BytesMut, Bytes),
    entrant: Entrant,
) {
    if stream.write_all(&head).await.is_err() {
        return;
    }
    drop(head);
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * PART_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let stream =
        WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(limits)).await;
    let socket = Socket::new(http.service.clone(), entrant);
    let mut line = Line { http, socket, stream, place };
    if let End::Close(code, why) = line.talk().await {
        line.close(code, why).await;
    }
}

impl Line {
    async fn talk(&mut self) -> End {
        let (clock, mut closing) = (self.http.clock.clone(), self.http.is_closing.subscribe());
        let mut working: Option<Working> = None;
        let (mut heard_at, mut is_asked) = (clock.now(), false);
        loop {
            if let Err(end) = self.begin(&mut working).await {
                return end;
            }
            let quiet = if is_asked { SILENCE_MS_MAX } else { i64::from(QUIET_SECONDS_MAX) * 1000 };
            let silence = clock.sleep_until(after(heard_at, quiet));
            let over = self.socket.until_ms().map(|until| until.saturating_sub(clock.wall()).max(0));
            let over = async {
                match over {
                    Some(left) => clock.sleep_until(clock.after_millis(left)).await,
                    None => pending().await,
                }
            };
            let is_read = !self.socket.is_full();
            let Self { stream, socket, .. } = self;
            // Whoever says much and whoever is sent much have their turns by chance.
            let said = tokio::select! {
                () = until_closing(&mut closing) => return self.stop(working).await,
                () = over => return End::Close(CloseCode::Library(4401), "the token is over; come again with another"),
                outcome = done(&mut working) => {
                    working = None;
                    let text = socket.finish(outcome);
                    self.say(text).await
                }
                message = stream.next(), if is_read => {
                    heard_at = clock.now();
                    let was_asked = std::mem::take(&mut is_asked);
                    self.on_message(message, was_asked).await
                }
                text = socket.next() => self.say(text).await,
                () = silence, if is_read => {
                    if is_asked {
                        return End::Close(CloseCode::Library(4408), "nothing was heard for too long");
                    }
                    is_asked = true;
                    self.stream.send(Message::Ping(Bytes::new())).await.map_err(|error| end_of(&error))
                }
            };
            if !is_read {
                heard_at = clock.now();
            }
            if let Err(end) = said {
                return end;
            }
        }
    }

    /// Begins what is to be done next, if nothing is being done.
    async fn begin(&mut self, working: &mut Option<Working>) -> Result<(), End> {
        while working.is_none()
            && let Some(job) = self.socket.next_job()
        {
            match job {
                Job::Say(text) => self.say(Some(text)).await?,
                Job::Do(work) => *working = Some(Box::pin(self.http.clone().work(*work, self.place))),
            }
        }
        Ok(())
    }

    /// `was_asked`: the client was asked for a sign of life.
    async fn on_message(
        &mut self,
        message: Option<Result<Message, Error>>,
        was_asked: bool,
    ) -> Result<(), End> {
        let message = match message {
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(end_of(&error)),
            // Nobody is to lose a connection because he has answered.
            Some(Ok(Message::Pong(_))) if was_asked => return Ok(()),
            Some(Ok(message)) => message,
        };
        let quota = self.place.and_then(|place| self.http.clients.take(place)).filter(|quota| !quota.is_kept);
        match message {
            Message::Text(text) => {
                let refused = quota
                    .map(|quota| quota.problem("too many messages come from this address; send less often"));
                let told = self.socket.on_text(&text, refused);
                self.say(told).await
            }
            Message::Ping(_) | Message::Pong(_) if quota.is_some() => {
                Err(End::Close(CloseCode::Policy, "too many frames come from this address"))
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
            Message::Binary(_) => Err(End::Close(CloseCode::Unsupported, "messages are texts in JSON")),
            Message::Close(_) => {
                // What answers it was made ready.
                let _ = self.stream.flush().await;
                Err(End::Gone)
            }
        }
    }

    /// Sends a message, with its share of what all may take.
    async fn say(&mut self, text: Option<String>) -> Result<(), End> {
        let Some(text) = text.map(Bytes::from) else { return Ok(()) };
        let mut text = loop {
            match self.http.answers.hold(text.clone()) {
                Some(held) => break held,
                None if self.http.is_closing() => return Ok(()),
                None => self.http.clock.sleep_until(self.http.clock.after_millis(BUSY_MS)).await,
            }
        };
        let mut kind = Data::Text;
        loop {
            let part = text.split_to(text.len().min(PART_BYTES));
            let frame = Frame::message(part, OpCode::Data(kind), text.is_empty());
            self.stream.send(Message::Frame(frame)).await.map_err(|error| end_of(&error))?;
            if text.is_empty() {
                return Ok(());
            }
            kind = Data::Continue;
        }
    }

    /// The node stops: what was begun is told, if it is soon done.
    async fn stop(&mut self, working: Option<Working>) -> End {
        let clock = self.http.clock.clone();
        if let Some(working) = working {
            tokio::select! {
                biased;
                outcome = working => {
                    let text = self.socket.finish(outcome);
                    if let Err(end) = self.say(text).await {
                        return end;
                    }
                }
                () = clock.sleep_until(clock.after_millis(STOP_MS_MAX)) => {}
            }
        }
        End::Close(CloseCode::Restart, "the node stops; come again")
    }

    /// Says the last words. Who is still sending when a connection ends may never see them.
    async fn close(mut self, code: CloseCode, why: &'static str) {
        let clock = self.http.clock.clone();
        let frame = CloseFrame { code, reason: why.into() };
        let last = async {
            if self.stream.close(Some(frame)).await.is_err() {
                return;
            }
            let stream = self.stream.get_mut();
            if stream.shutdown().await.is_err() {
                return;
            }
            // On the heap: what waits for this keeps it else.
            let (mut buffer, mut left) = (vec![0; READ_BYTES], LAST_BYTES_MAX);
            while left > 0
                && let Ok(count @ 1..) = stream.read(&mut buffer).await
            {
                left = left.saturating_sub(count);
            }
        };
        tokio::select! {
            biased;
            () = last => {}
            () = clock.sleep_until(clock.after_millis(LAST_MS_MAX)) => {}
        }
    }
}

impl PublicHttp {
    /// Does what a client of a WebSocket has asked for.
    async fn work(self: Arc<Self>, work: Work, place: Option<Place>) -> Outcome<OwnedSemaphorePermit> {
        match work {
            Work::Verify(token) => match self.tokens.caller(Some(&token), self.clock.wall()) {
                Err(problem) => Outcome::Refused(problem),
                Ok(None) => Outcome::Refused(Problem::malformed("token", "nobody is asked for a token here")),
                Ok(caller) => Outcome::Verified(Entrant { caller, bearer: Some(Bearer(token)) }),
            },
            Work::Subscribe(request) => match self.service.answer(request).await {
                Answer::Whole(response) => Outcome::Answered(response),
                Answer::Many(_, many) => match self.seats(many.count().max(SEATS_MIN)) {
                    Ok(seats) => Outcome::Follows(many, seats),
                    Err(problem) => Outcome::Refused(problem),
                },
                Answer::Follow(..) | Answer::Socket(..) => Outcome::Refused(unanswered()),
            },
            Work::Publish(request) => match self.publish(request, place).await {
                Ok(response) => Outcome::Answered(response),
                Err(problem) => Outcome::Refused(problem),
            },
        }
    }

    async fn publish(
        &self,
        request: Request<Bytes>,
        place: Option<Place>,
    ) -> Result<Response<Bytes>, Problem> {
        let rate = self.service.authorise(&request)?.and_then(|allowed| allowed.rate);
        if let Some((rate, subject)) = rate {
            let quota = self.clients.take_as(&subject, rate);
            if !quota.is_kept {
                return Err(quota.problem("the token does not allow this so often; do it less often"));
            }
        }
        let bytes_max = self.service.admit(&request)?;
        if request.body().len() > bytes_max {
            return Err(Unread::TooLarge(bytes_max).problem());
        }
        let elsewhere = self.service.elsewhere(&request);
        let (head, body) = request.into_parts();
        let Asked::Answered(response) = self.ask(elsewhere, head, body, place).await else {
            return Err(unanswered());
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| unanswered())?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn unanswered() -> Problem {
    let text = "what was answered is not understood; it is not known whether it was done";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).with("retry-after", 1)
}

/// Ends when what is being done is; never if nothing is.
async fn done(working: &mut Option<Working>) -> Outcome<OwnedSemaphorePermit> {
    match working {
        Some(working) => working.await,
        None => pending().await,
    }
}

/// So many milliseconds after a monotonic time.
fn after(nanos: u64, ms: i64) -> u64 {
    nanos.saturating_add(u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000))
}

/// What is said to a client that does not keep to the protocol.
fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Close(CloseCode::Size, "a message has at most 64 KiB"),
        Error::Utf8(_) => End::Close(CloseCode::Invalid, "a text is UTF-8"),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::SendAfterClosing
            | ProtocolError::ReceivedAfterClosing,
        ) => End::Gone,
        tungstenite::Error::Protocol(_) => End::Close(CloseCode::Protocol, "this is not RFC 6455"),
        _ => End::Gone,
    }
}
