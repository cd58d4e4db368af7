//! One client's connection: reads frames, hands them to `dispatch`, writes the answers in the order of the requests.
//!
//! It knows no API. Produce requests are begun one after the other and overlap only in their waiting, as an
//! idempotent producer with five requests in flight needs it; every other request is a barrier, as Kafka's one
//! request at a time per connection is.

use crate::{
    Broker,
    client_info::ClientInfo,
    connections::{Ended, Entry},
    context::ANONYMOUS,
    dispatch::{self, Answer, Begun, Refused, Unwritable},
    frame_budget::Share,
    frames::{FrameLimits, Frames},
    pace::Pace,
    share_partitions::SharePartitions,
};
use bytes::Bytes;
use env::{BoxFuture, Incoming};
use futures_util::FutureExt;
use model::limits;
use records::Budget;
use std::{collections::VecDeque, io, sync::Arc};
use stdx::Parts;
use wire::frame::FrameError;

/// What a connection knows of its peer, for handlers, logs and metrics.
pub(crate) struct Peer {
    /// The listener that it came in by.
    pub(crate) listener: std::sync::Arc<str>,
    /// Its address.
    pub(crate) address: std::net::SocketAddr,
    /// What it has told of itself.
    pub(crate) client: std::sync::Arc<ClientInfo>,
    /// The name of its principal.
    pub(crate) principal: std::sync::Arc<str>,
    /// How fast it may go on.
    pub(crate) pace: std::sync::Arc<Pace>,
    /// The connection, among those that are open.
    pub(crate) connection: u64,
    /// Whether it has spoken of a share session.
    pub(crate) has_shared: bool,
    /// Whether that is a listener of controllers.
    pub(crate) is_controller: bool,
    /// The broker that has sent heartbeats here.
    pub(crate) broker: Option<model::NodeId>,
    /// Whether another voter of the quorum has sent something here.
    pub(crate) is_voter: bool,
    /// Whether it has sent a request that made sense; until then its frames must be small.
    pub(crate) greeted: bool,
}

/// Why a connection was ended by this side.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the connection was idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("a frame of {bytes} bytes did not arrive within {} ms", limits::LARGE_FRAME_MS_MAX)]
    Slow { bytes: usize },
    #[error("a request could not be checked within {} ms", limits::CHECK_MS_MAX)]
    Unchecked,
    #[error("the peer has closed its side")]
    Eof,
    #[error("the broker is stopping")]
    Stopping,
}

struct Serving {
    broker: Arc<Broker>,
    link: Box<dyn env::Connection>,
    frames: Frames,
    peer: Peer,
    waiting: VecDeque<BoxFuture<'static, Answer>>,
    large: Option<LargeFrame>,
    guard: Entry,
    /// What may be read of records before others get their turn on the reactor.
    turn: Budget,
    /// Nothing is read any more.
    is_finished: bool,
}

/// A large frame that is being read.
struct LargeFrame {
    bytes: usize,
    share: Waiting,
    /// When it must be whole; counted from when there was a share for it.
    deadline: env::Deadline,
}

enum Waiting {
    ForShare(BoxFuture<'static, Option<Share>>),
    ForBytes(#[expect(dead_code, reason = "it is kept only to be dropped")] Option<Share>),
}

/// Serves a connection to its end.
pub async fn serve(broker: Arc<Broker>, incoming: Incoming) {
    let link = incoming.connection;
    let address = link.peer();
    let Some(guard) = broker.connections.admit(address, broker.world.clock.now()) else {
        broker.metrics.connections_refused.inc();
        return;
    };
    let is_controller = broker.config.controller_listeners.contains(&incoming.listener);
    // A storm of clients must not cut off the nodes that have their address.
    if !is_controller && is_turned_away(&broker, &guard, address).await {
        return;
    }
    let listener = incoming.listener.as_str().into();
    let (client, principal, pace) = (Arc::default(), ANONYMOUS.into(), Arc::default());
    let peer = Peer {
        listener,
        address,
        client,
        principal,
        pace,
        connection: guard.number(),
        has_shared: false,
        is_controller,
        broker: None,
        is_voter: false,
        greeted: false,
    };
    let mut serving = Serving {
        broker,
        link,
        frames: Frames::new(),
        peer,
        waiting: VecDeque::new(),
        large: None,
        guard,
        turn: Budget::new(limits::CHECKED_BYTES_PER_TURN),
        is_finished: false,
    };
    let Err(closed) = serving.run().await;
    let closed = serving.finish(closed).await;
    if let Some(silent) = serving.peer.broker {
        serving.broker.on_broker_disconnected(silent);
    }
    if let Some(instance) = serving.peer.client.instance() {
        serving.broker.client_metrics.clients.lock().on_disconnected(instance);
    }
    if serving.peer.has_shared {
        SharePartitions::on_disconnected(&serving.broker, serving.peer.connection);
    }
    if serving.peer.is_voter {
        serving.broker.on_voter_disconnected();
    }
    match closed {
        Closed::Frame(_) | Closed::Refused(_) | Closed::Slow { .. } | Closed::Unchecked => {
            serving.broker.metrics.requests_refused.inc();
            tracing::warn!(peer = %address, reason = %closed, "closed a connection");
        }
        Closed::Unwritable(_) => {
            serving.broker.metrics.requests_refused.inc();
            tracing::error!(peer = %address, reason = %closed, "closed a connection");
        }
        Closed::Io(_) | Closed::Idle | Closed::Eof | Closed::Stopping => {
            tracing::debug!(peer = %address, reason = %closed, "a connection has ended");
        }
    }
}

/// Whether so many connections come from there that this one is closed. It waits for that, or its client would be back at
/// once.
async fn is_turned_away(broker: &Broker, guard: &Entry, address: std::net::SocketAddr) -> bool {
    let clock = &broker.world.clock;
    let wait_ms = broker.client_quotas.try_connect(address.ip(), clock.now() / 1_000_000);
    if wait_ms > 0 {
        broker.metrics.connections_throttled.inc();
        tokio::select! {
            biased;
            _ = guard.stopped() => {}
            () = clock.sleep_until(clock.now().saturating_add(wait_ms.saturating_mul(1_000_000))) => {}
        }
    }
    wait_ms > 0
}

enum Never {}

impl Serving {
    async fn run(&mut self) -> Result<Never, Closed> {
        loop {
            while let Some(frame) = self.next_frame_in_time().await? {
                self.take(frame).await?;
            }
            match self.large_frame_deadline() {
                None => self.idle().await?,
                Some((deadline, bytes)) => {
                    let late = self.broker.world.clock.sleep_until(deadline);
                    // Also where the peer does not take its answers: closing is all that is left then.
                    tokio::select! {
                        biased;
                        ended = self.idle() => ended?,
                        () = late => return Err(Closed::Slow { bytes }),
                    }
                }
            }
        }
    }

    /// Begins what the frame asks for, and waits where nothing else may begin meanwhile.
    async fn take(&mut self, frame: Bytes) -> Result<(), Closed> {
        self.guard.touch(self.broker.world.clock.now());
        if self.turn.left() < limits::CHECKED_BYTES_PER_TURN / 2 {
            tokio::task::yield_now().await;
            self.turn = Budget::new(limits::CHECKED_BYTES_PER_TURN);
        }
        let begun = match dispatch::begin(&self.broker, &mut self.peer, frame, &mut self.turn)? {
            Begun::Checking(later) => self.check(later).await?,
            begun => begun,
        };
        // Decoded or appended: other budgets count what is left of it.
        self.large = None;
        match begun {
            Begun::Silent => self.room().await,
            Begun::Overlapping(answer) => {
                self.waiting.push_back(answer);
                self.room().await
            }
            Begun::Barrier(answer) => self.barrier(answer, true).await,
            Begun::Member(answer) => self.barrier(answer, false).await,
            // What was checked has become something else.
            Begun::Checking(_) => Ok(()),
        }
    }

    async fn barrier(
        &mut self,
        answer: BoxFuture<'static, Answer>,
        is_owed_at_the_end: bool,
    ) -> Result<(), Closed> {
        self.answer_all().await?;
        let answer = self.watch(answer, is_owed_at_the_end).await?;
        self.write(answer).await
    }

    /// Waits until a request is checked. Nothing is read meanwhile; answers to those before it go out.
    async fn check(
        &mut self,
        mut later: BoxFuture<'static, Result<Begun, Refused>>,
    ) -> Result<Begun, Closed> {
        let clock = self.broker.world.clock.clone();
        let mut late = clock.sleep_until(clock.after_millis(limits::CHECK_MS_MAX));
        loop {
            let answer = tokio::select! {
                biased;
                begun = &mut later => return Ok(begun?),
                answer = next_answer(&mut self.waiting) => answer,
                reason = self.guard.stopped() => return Err(reason.into()),
                () = &mut late => return Err(Closed::Unchecked),
            };
            self.waiting.pop_front();
            self.write(answer?).await?;
        }
    }

    /// Nothing more is read. A peer that may only have closed its sending side gets the answers to all that it has
    /// sent; one that has sent nonsense, the answers to what came before. Gives the reason of the end.
    async fn finish(&mut self, closed: Closed) -> Closed {
        let has_spoken = matches!(closed, Closed::Eof);
        if !has_spoken && !matches!(closed, Closed::Frame(_) | Closed::Refused(_)) {
            return closed;
        }
        (self.is_finished, self.large) = (true, None);
        let clock = self.broker.world.clock.clone();
        let last_words = async {
            self.answer_all().await?;
            while has_spoken && let Some(frame) = self.next_frame_in_time().await? {
                self.take(frame).await?;
            }
            self.answer_all().await
        };
        tokio::select! {
            biased;
            ended = last_words => match ended {
                Err(reason) if has_spoken => reason,
                _ => closed,
            },
            () = clock.sleep_until(clock.after_millis(limits::ANSWER_AFTER_END_MS_MAX)) => closed,
        }
    }

    /// The next frame, once the connection is not held back any more. Nothing is read meanwhile; answers that are owed go
    /// out.
    async fn next_frame_in_time(&mut self) -> Result<Option<Bytes>, Closed> {
        let clock = self.broker.world.clock.clone();
        loop {
            let until = self.peer.pace.muted_until();
            if until == 0 || clock.now() >= until {
                return Ok(self.next_frame()?);
            }
            let is_awaited = !self.waiting.is_empty();
            let answer = tokio::select! {
                biased;
                answer = next_answer(&mut self.waiting) => answer,
                reason = self.guard.ended(), if !is_awaited => return Err(reason.into()),
                reason = self.guard.stopped(), if is_awaited => return Err(reason.into()),
                () = clock.sleep_until(until) => continue,
            };
            self.waiting.pop_front();
            self.answer_ready_behind(answer?).await?;
        }
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let with_records = if self.peer.greeted {
            self.broker.config.request_bytes_max
        } else {
            limits::FRAME_BYTES_MAX_BEFORE_HELLO
        };
        let without_records = with_records.min(limits::FRAME_BYTES_MAX_WITHOUT_RECORDS);
        self.frames.next(FrameLimits { with_records, without_records })
    }

    /// Until when the large frame that is being read must have arrived.
    fn large_frame_deadline(&self) -> Option<(env::Deadline, usize)> {
        let large = self.large.as_ref()?;
        matches!(large.share, Waiting::ForBytes(_)).then_some((large.deadline, large.bytes))
    }

    /// There is no whole frame: answers what can be answered, and waits for something to happen.
    async fn idle(&mut self) -> Result<(), Closed> {
        self.answer_ready().await?;
        if let (None, Some(bytes)) = (&self.large, self.frames.share_wanted()) {
            let share = Waiting::ForShare(Box::pin(self.broker.frame_budget.share(bytes)));
            self.large = Some(LargeFrame { bytes, share, deadline: env::Deadline::MAX });
        }
        self.wait().await
    }

    /// Writes the answers that are there, up to the first that is not.
    async fn answer_ready(&mut self) -> Result<(), Closed> {
        self.answer_ready_behind(Parts::new()).await
    }

    async fn answer_ready_behind(&mut self, mut out: Parts) -> Result<(), Closed> {
        while let Some(answer) = self.waiting.front_mut().and_then(|first| first.now_or_never()) {
            self.waiting.pop_front();
            match answer {
                Ok(answer) => out.append(answer),
                Err(unwritable) => {
                    self.write(out).await?;
                    return Err(unwritable.into());
                }
            }
        }
        if out.is_empty() { Ok(()) } else { self.write(out).await }
    }

    /// Writes an answer, unless the peer does not take it or the broker stops; then the connection must be closed, for
    /// it may be cut inside a frame.
    async fn write(&mut self, answer: Parts) -> Result<(), Closed> {
        let Self { link, guard, broker, .. } = self;
        write(&mut **link, guard, &*broker.world.clock, answer).await
    }

    /// After a produce request: reads on only once there is room for what comes next. Answers may be there before it,
    /// since a request that waits too long for the disk is answered, and one without acks has none.
    async fn room(&mut self) -> Result<(), Closed> {
        if self.waiting.len() >= limits::REQUESTS_IN_FLIGHT_MAX || self.broker.backlog.is_full() {
            self.answer_all().await?;
        }
        tokio::select! {
            biased;
            () = self.broker.backlog.room() => Ok(()),
            reason = self.guard.stopped() => Err(reason.into()),
        }
    }

    async fn answer_all(&mut self) -> Result<(), Closed> {
        while let Some(first) = self.waiting.front_mut() {
            let answer = tokio::select! {
                biased;
                answer = first => answer,
                reason = self.guard.stopped() => return Err(reason.into()),
            };
            self.waiting.pop_front();
            self.answer_ready_behind(answer?).await?;
        }
        Ok(())
    }

    /// Waits for more bytes, for leave to read them, or for the next answer.
    async fn wait(&mut self) -> Result<(), Closed> {
        let Self { link, frames, waiting, large, guard, broker, .. } = self;
        if let Some(LargeFrame { share, deadline, .. }) = large
            && let Waiting::ForShare(wanted) = share
        {
            tokio::select! {
                biased;
                answer = next_answer(waiting) => {
                    waiting.pop_front();
                    write(&mut **link, guard, &*broker.world.clock, answer?).await?;
                }
                given = wanted => {
                    *share = Waiting::ForBytes(given);
                    *deadline = broker.world.clock.after_millis(limits::LARGE_FRAME_MS_MAX);
                    frames.give_share();
                }
                // Waiting for the broker is not idle.
                reason = guard.stopped() => return Err(reason.into()),
            }
            return Ok(());
        }
        let is_awaited = !waiting.is_empty();
        let answer = tokio::select! {
            biased;
            answer = next_answer(waiting) => answer,
            // Before reading: a client that never stops sending is told of the end all the same.
            reason = guard.ended(), if !is_awaited => return Err(reason.into()),
            reason = guard.stopped(), if is_awaited => return Err(reason.into()),
            read = link.read(frames.room()) => match read? {
                0 => return Err(Closed::Eof),
                read => {
                    frames.on_read(read);
                    return Ok(());
                }
            },
        };
        waiting.pop_front();
        // Those behind it that are there too go out with it.
        self.answer_ready_behind(answer?).await
    }

    /// Waits for the answer of a request that may park for long. If the peer ends its side meanwhile, the answer joins
    /// those that are owed, or is given up.
    async fn watch(
        &mut self,
        mut answer: BoxFuture<'static, Answer>,
        is_owed_at_the_end: bool,
    ) -> Result<Parts, Closed> {
        const AHEAD_BYTES_MAX: usize = 128 * 1024;
        loop {
            let may_read = !self.is_finished && self.frames.len() < AHEAD_BYTES_MAX;
            let read = tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer?),
                reason = self.guard.stopped() => return Err(reason.into()),
                read = self.link.read(self.frames.room()), if may_read => read?,
            };
            if read == 0 {
                if is_owed_at_the_end {
                    self.waiting.push_back(answer);
                }
                return Err(Closed::Eof);
            }
            self.frames.on_read(read);
        }
    }
}

/// Writes in runs. Each counts as a sign of life, so that a slow peer is served and one that has stopped reading is not.
async fn write(
    link: &mut dyn env::Connection,
    guard: &Entry,
    clock: &dyn env::Clock,
    answer: Parts,
) -> Result<(), Closed> {
    if answer.len() <= limits::WRITE_BYTES_AT_ONCE {
        return write_run(link, guard, clock, answer).await;
    }
    for run in answer.runs(limits::WRITE_BYTES_AT_ONCE) {
        write_run(link, guard, clock, run).await?;
    }
    Ok(())
}

async fn write_run(
    link: &mut dyn env::Connection,
    guard: &Entry,
    clock: &dyn env::Clock,
    run: Parts,
) -> Result<(), Closed> {
    guard.touch(clock.now());
    tokio::select! {
        biased;
        written = link.write(run) => Ok(written?),
        reason = guard.ended() => Err(reason.into()),
    }
}

async fn next_answer(waiting: &mut VecDeque<BoxFuture<'static, Answer>>) -> Answer {
    match waiting.front_mut() {
        Some(first) => first.await,
        None => std::future::pending().await,
    }
}

impl From<Ended> for Closed {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Idle => Closed::Idle,
            Ended::Stopping => Closed::Stopping,
        }
    }
}
