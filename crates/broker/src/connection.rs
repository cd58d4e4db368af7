//! One client's connection: reads frames, hands them to `dispatch`, writes the answers in the order of the requests.
//!
//! It knows no API. Produce requests are begun one after the other and overlap only in their waiting, as an
//! idempotent producer with five requests in flight needs it; every other request is a barrier, as Kafka's one
//! request at a time per connection is.

use crate::{
    Broker,
    dispatch::{self, Begun, Refused},
    frame_budget::Share,
    frames::{FrameLimits, Frames},
};
use env::{BoxFuture, Incoming};
use futures_util::FutureExt;
use model::limits;
use std::{collections::VecDeque, io, sync::Arc};
use stdx::Parts;
use wire::frame::FrameError;

/// What a connection knows of its peer, for handlers, logs and metrics.
pub(crate) struct Peer {
    /// The listener that it came in by.
    pub(crate) listener: std::sync::Arc<str>,
    /// Its address.
    pub(crate) address: std::net::SocketAddr,
    /// Whether that is a listener of controllers.
    pub(crate) is_controller: bool,
    /// The broker that has sent heartbeats here.
    pub(crate) broker: Option<model::NodeId>,
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
    Io(#[from] io::Error),
    #[error("the connection was idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("a frame of {bytes} bytes did not arrive within {} ms", limits::LARGE_FRAME_MS_MAX)]
    Slow { bytes: usize },
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
    waiting: VecDeque<BoxFuture<'static, Parts>>,
    large: Option<LargeFrame>,
    guard: crate::connections::Entry,
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
    let listener = incoming.listener.as_str().into();
    let peer = Peer { listener, address, is_controller, broker: None, greeted: false };
    let mut serving =
        Serving { broker, link, frames: Frames::new(), peer, waiting: VecDeque::new(), large: None, guard };
    let Err(closed) = serving.run().await;
    if let Some(silent) = serving.peer.broker {
        serving.broker.on_broker_disconnected(silent);
    }
    match closed {
        Closed::Frame(_) | Closed::Refused(_) | Closed::Slow { .. } => {
            serving.broker.metrics.requests_refused.inc();
            tracing::warn!(peer = %address, reason = %closed, "closed a connection");
        }
        Closed::Io(_) | Closed::Idle | Closed::Eof | Closed::Stopping => {
            tracing::debug!(peer = %address, reason = %closed, "a connection has ended");
        }
    }
}

enum Never {}

impl Serving {
    async fn run(&mut self) -> Result<Never, Closed> {
        loop {
            while let Some(frame) = self.next_frame()? {
                self.guard.touch(self.broker.world.clock.now());
                let begun = dispatch::begin(&self.broker, &mut self.peer, frame)?;
                // Decoded or appended: other budgets count what is left of it.
                self.large = None;
                match begun {
                    Begun::Silent => self.room().await?,
                    Begun::Overlapping(answer) => {
                        self.waiting.push_back(answer);
                        self.room().await?;
                    }
                    Begun::Barrier(answer) => {
                        self.answer_all().await?;
                        let answer = self.watch(answer).await?;
                        self.link.write(answer).await?;
                    }
                }
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

    fn next_frame(&mut self) -> Result<Option<bytes::Bytes>, FrameError> {
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
    async fn answer_ready(&mut self) -> io::Result<()> {
        let mut out = Parts::new();
        while let Some(answer) = self.waiting.front_mut().and_then(|first| first.now_or_never()) {
            self.waiting.pop_front();
            out.append(answer);
        }
        if out.is_empty() { Ok(()) } else { self.link.write(out).await }
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
            reason = self.guard.ended() => Err(reason.into()),
        }
    }

    async fn answer_all(&mut self) -> io::Result<()> {
        while let Some(first) = self.waiting.front_mut() {
            let answer = first.await;
            self.waiting.pop_front();
            self.link.write(answer).await?;
            self.answer_ready().await?;
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
                    link.write(answer).await?;
                }
                given = wanted => {
                    *share = Waiting::ForBytes(given);
                    *deadline = broker.world.clock.after_millis(limits::LARGE_FRAME_MS_MAX);
                    frames.give_share();
                }
                reason = guard.ended() => return Err(reason.into()),
            }
            return Ok(());
        }
        let answer = tokio::select! {
            biased;
            answer = next_answer(waiting) => answer,
            read = link.read(frames.room()) => match read? {
                0 => return Err(Closed::Eof),
                read => {
                    frames.on_read(read);
                    return Ok(());
                }
            },
            reason = guard.ended() => return Err(reason.into()),
        };
        waiting.pop_front();
        link.write(answer).await?;
        Ok(())
    }

    /// Waits for the answer of a request that may park for long, and gives up when the peer has gone meanwhile.
    async fn watch(&mut self, mut answer: BoxFuture<'static, Parts>) -> Result<Parts, Closed> {
        const AHEAD_BYTES_MAX: usize = 128 * 1024;
        loop {
            let read = tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                read = self.link.read(self.frames.room()), if self.frames.len() < AHEAD_BYTES_MAX => read?,
                reason = self.guard.stopped() => return Err(reason.into()),
            };
            match read {
                0 => return Err(Closed::Eof),
                read => self.frames.on_read(read),
            }
        }
    }
}

async fn next_answer(waiting: &mut VecDeque<BoxFuture<'static, Parts>>) -> Parts {
    match waiting.front_mut() {
        Some(first) => first.await,
        None => std::future::pending().await,
    }
}

impl From<crate::connections::Ended> for Closed {
    fn from(ended: crate::connections::Ended) -> Self {
        match ended {
            crate::connections::Ended::Idle => Closed::Idle,
            crate::connections::Ended::Stopping => Closed::Stopping,
        }
    }
}
