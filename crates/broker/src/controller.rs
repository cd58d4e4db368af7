//! The host of the controller: while this node leads the quorum, it asks the controller one request after the other,
//! proposes the records, and answers once they are committed and replayed. Whoever asks for this node's own clients waits
//! besides until its broker is in line; nobody else waits for that, for its disk may hang.
//!
//! It decides nothing about metadata and keeps none: the controller is made of the committed image for each request, so
//! that there is nothing to take back when a proposal fails.

use crate::{doorbell::Doorbell, elections::Elections, images::Images, metadata_records};
use coordinator::{Now, Shard};
use env::{Clock, Nanos, World};
use metadata::{
    Controller, Error, Heartbeat, Heartbeats, Image, Record, Reply, Request, Settings, config::Configs,
};
use model::{LeaderEpoch, Offset};
use quorum::{Leadership, Pending, ProposeError, Quorum, Watched, Watching, watch};
use std::{cell::Cell, io, ops::ControlFlow, pin::pin, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the controller at once; more wait at their connections.
const REQUESTS_MAX: usize = 1024;
/// How long an answer to this node's own clients waits until its broker is in line with what was decided. It is decided
/// whether the broker is or not.
const IN_LINE_MS_MAX: i64 = 5000;
/// Behind which no broker is.
const NOTHING: Offset = -1;

/// How to ask the controller.
pub(crate) struct ControllerHost {
    orders: mpsc::Sender<Order>,
    active: Watching<Option<LeaderEpoch>>,
    images: Arc<Images>,
    clock: Arc<dyn Clock>,
}

pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Decided, Error>>,
}

/// What was decided, and the offset of the last record of it.
pub(crate) type Decided = (Reply, Offset);

/// The side that works: taken by the task that runs it.
pub(crate) struct ControllerLoop {
    world: World,
    settings: Settings,
    quorum: Arc<dyn Quorum>,
    images: Arc<Images>,
    orders: mpsc::Receiver<Order>,
    active: Watched<Option<LeaderEpoch>>,
    sessions: SessionPolicy,
    doorbell: Arc<Doorbell>,
    /// What this node has proposed in an epoch in which it stopped leading before it knew what came of it. It may go on
    /// leading in that epoch.
    unsettled: Option<(LeaderEpoch, Pending)>,
}

/// How the active controller watches brokers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionPolicy {
    /// `broker.session.timeout.ms`.
    pub(crate) timeout_ms: u32,
    /// The broker of this process sends no heartbeats: it is alive whenever anybody can ask.
    pub(crate) own_is_alive: bool,
}

/// Why a decision was not carried out.
enum Failed {
    Refused(Error),
    /// Nobody decides here any more, at least not in this epoch.
    Deposed(String),
}

impl ControllerHost {
    /// A host of the controller that decides with these settings.
    pub(crate) fn new(
        world: World,
        settings: Settings,
        quorum: Arc<dyn Quorum>,
        images: Arc<Images>,
        (sessions, doorbell): (SessionPolicy, Arc<Doorbell>),
    ) -> (Self, ControllerLoop) {
        let (sender, orders) = mpsc::channel(REQUESTS_MAX);
        let (active, watching) = watch(None);
        let host =
            Self { orders: sender, active: watching, images: images.clone(), clock: world.clock.clone() };
        let unsettled = None;
        let work =
            ControllerLoop { world, settings, quorum, images, orders, active, sessions, doorbell, unsettled };
        (host, work)
    }

    /// A host without a controller: what it is asked goes elsewhere.
    #[cfg(test)]
    pub(crate) fn elsewhere(images: Arc<Images>, clock: Arc<dyn Clock>) -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(REQUESTS_MAX);
        (Self { orders: sender, active: watch(None).1, images, clock }, orders)
    }

    /// Asks for a client of this node: when the answer is there, its broker is in line with it, unless that takes too
    /// long.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Error> {
        let (reply, upto) = self.decide(request).await?;
        tokio::select! {
            biased;
            () = self.images.until_followed(upto) => {}
            () = self.clock.sleep_until(self.clock.after_millis(IN_LINE_MS_MAX)) => {
                tracing::warn!("this node's broker is not in line yet with what its controller has decided");
            }
        }
        Ok(reply)
    }

    /// Asks for whoever does not depend on this node's broker.
    pub(crate) async fn ask_for_another(&self, request: Request) -> Result<Reply, Error> {
        Ok(self.decide(request).await?.0)
    }

    async fn decide(&self, request: Request) -> Result<Decided, Error> {
        let gone = || Error::NotController("the controller has stopped; see the broker's log".into());
        let (reply, answer) = oneshot::channel();
        let decided = match self.orders.send(Order { request, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        if let Err(Error::NotController(_)) = decided {
            // Nobody may have asked to know.
            let _ = WAS_DEPOSED.try_with(|was| was.set(true));
        }
        decided
    }

    /// Whether this node's controller decides.
    pub(crate) fn is_active(&self) -> bool {
        self.active.borrow().is_some()
    }

    /// Waits until this node's controller decides; an error if it has stopped.
    pub(crate) async fn until_active(&self) -> Result<(), quorum::Closed> {
        self.active.clone().wait_for(Option::is_some).await.map(drop)
    }
}

impl ControllerLoop {
    /// Works until the host is dropped or the quorum has stopped.
    pub(crate) async fn run(mut self) {
        let mut leadership = self.quorum.leadership();
        loop {
            let known = *leadership.borrow_and_update();
            if known.is_active {
                if self.lead(known, &mut leadership).await.is_break() {
                    return;
                }
                continue;
            }
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() { return },
                order = self.orders.recv() => match order {
                    // Whoever asked may have gone.
                    Some(order) => drop(order.reply.send(Err(not_here("another node decides")))),
                    None => return,
                },
            }
        }
    }

    /// Decides as long as this node leads in this epoch; breaks when nobody can ask any more.
    async fn lead(&mut self, known: Leadership, leadership: &mut Watching<Leadership>) -> ControlFlow<()> {
        // The first in a cluster says what it starts with.
        let begun = match self.settle(known, leadership).await {
            Ok(()) => self.decide(known.epoch, leadership, Request::Bootstrap).await.map(drop),
            Err(deposed) => Err(deposed),
        };
        if let Err(Failed::Deposed(why)) = begun {
            tracing::warn!(%why, epoch = known.epoch, "this node's controller could not begin");
            // Not again before something has changed.
            return match leadership.changed().await {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
        }
        tracing::info!(epoch = known.epoch, "this node's controller is active");
        let (now, timeout_ms) = (self.now(), self.sessions.timeout_ms);
        self.images.set_sessions(Some(|image: &Image| Heartbeats::new(timeout_ms, now, image)));
        // Whoever was killed with the last controller has no connection here that could end.
        self.doorbell.ring_at_all();
        self.active.send(Some(known.epoch));
        let ended = self.decide_all(known, leadership).await;
        self.active.send(None);
        self.images.set_sessions(None::<fn(&Image) -> Heartbeats>);
        ended
    }

    /// Answers orders and does what is due by itself, until this node leads no more.
    async fn decide_all(
        &mut self,
        known: Leadership,
        leadership: &mut Watching<Leadership>,
    ) -> ControlFlow<()> {
        let mut elections = Elections::new(self.now().monotonic, &self.configs(&self.images.newest()));
        loop {
            let due_at = self.check_at().min(elections.next_at());
            let order = tokio::select! {
                biased;
                changed = leadership.changed() => {
                    let now = *leadership.borrow_and_update();
                    if changed.is_err() || !now.is_active || now.epoch != known.epoch {
                        return ControlFlow::Continue(());
                    }
                    continue;
                }
                // When to look is to be reckoned anew.
                () = self.images.sessions_hastened() => continue,
                // Before the orders, or a flood of them would keep silent brokers in office.
                () = self.world.clock.sleep_until(due_at) => {
                    self.fence_silent(known.epoch, leadership).await;
                    self.elect_due(known.epoch, leadership, &mut elections).await;
                    continue;
                }
                order = self.orders.recv() => order,
            };
            let Some(order) = order else { return ControlFlow::Break(()) };
            let answer = match self.decide(known.epoch, leadership, order.request).await {
                Ok((reply, upto)) => {
                    elections.on_reply(self.now().monotonic, &reply);
                    Ok((reply, upto))
                }
                Err(Failed::Refused(error)) => Err(error),
                Err(Failed::Deposed(why)) => {
                    tracing::warn!(%why, epoch = known.epoch, "a decision was not committed");
                    Err(not_here(&why))
                }
            };
            let _ = order.reply.send(answer);
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() }
    }

    /// When to look for silent brokers; never if there is nobody but this process.
    fn check_at(&self) -> Nanos {
        let node = self.settings.node;
        let check_at = self.images.with_sessions(|sessions, image| {
            let alone = self.sessions.own_is_alive && image.brokers().all(|broker| broker.id == node);
            if alone { Nanos::MAX } else { sessions.check_at(image) }
        });
        check_at.unwrap_or(Nanos::MAX)
    }

    async fn fence_silent(&mut self, epoch: LeaderEpoch, leadership: &Watching<Leadership>) {
        let (now, node) = (self.now(), self.settings.node);
        loop {
            let silent = self.images.with_sessions(|sessions, image| {
                if let Some(own) = image.broker(node).filter(|_| self.sessions.own_is_alive) {
                    let (broker_epoch, metadata_offset) = (own.epoch, image.position().offset);
                    let beat =
                        Heartbeat { broker: node, broker_epoch, metadata_offset, ..Heartbeat::default() };
                    // It is registered under this epoch.
                    let _ = sessions.on_heartbeat(now, image, beat);
                }
                sessions.next_silent(now, image)
            });
            let Some(request) = silent.flatten() else { return };
            tracing::warn!(?request, "a broker is silent");
            if self.decide(epoch, leadership, request).await.is_err() {
                return;
            }
        }
    }

    async fn elect_due(
        &mut self,
        epoch: LeaderEpoch,
        leadership: &Watching<Leadership>,
        elections: &mut Elections,
    ) {
        loop {
            let now = self.now().monotonic;
            let Some(request) = elections.due(now, &self.configs(&self.images.newest())) else { return };
            // One thing at a time: others have orders, too.
            match self.decide(epoch, leadership, request).await {
                Ok((reply, _)) => elections.on_reply(now, &reply),
                Err(_) => return,
            }
            if elections.next_at() <= now {
                return;
            }
        }
    }

    fn configs<'a>(&'a self, image: &'a Image) -> Configs<'a> {
        Configs { image, statics: &self.settings.statics, node: self.settings.node }
    }

    async fn decide(
        &mut self,
        epoch: LeaderEpoch,
        leadership: &Watching<Leadership>,
        request: Request,
    ) -> Result<Decided, Failed> {
        let now = self.now();
        let image = Image::clone(&self.images.newest());
        let outcome = Controller::at(self.settings.clone(), image).handle(now, request);
        let outcome = outcome.map_err(Failed::Refused)?;
        if outcome.records.is_empty() {
            return Ok((outcome.reply, NOTHING));
        }
        let last = self.commit(now, (epoch, leadership), &outcome.records).await?;
        while_leading(epoch, leadership, self.images.until_replayed(last)).await?;
        Ok((outcome.reply, last))
    }

    /// Gives the offset of the last record.
    async fn commit(
        &mut self,
        now: Now,
        (epoch, leadership): (LeaderEpoch, &Watching<Leadership>),
        records: &[Record],
    ) -> Result<Offset, Failed> {
        let mut builder = records::BatchBuilder::new();
        for record in records {
            builder.push(now.wall, None, Some(&metadata_records::encode(record)), &[]);
        }
        let batch = builder.build().map_err(|error: io::Error| refused(&error.to_string()))?;
        let failed = |error: ProposeError| match error {
            ProposeError::Refused(why) => refused(&why),
            error => Failed::Deposed(error.to_string()),
        };
        let mut pending = self.quorum.propose(epoch, batch.bytes).await.map_err(failed)?;
        match while_leading(epoch, leadership, &mut pending).await {
            Ok(placed) => Ok(placed.map_err(failed)?.last_offset),
            Err(deposed) => {
                self.unsettled = Some((epoch, pending));
                Err(deposed)
            }
        }
    }

    /// Waits until everything is known and replayed that this node may decide on: what it has proposed itself earlier in
    /// this epoch may still be committed.
    async fn settle(&mut self, known: Leadership, leadership: &Watching<Leadership>) -> Result<(), Failed> {
        let mut upto = known.high_watermark - 1;
        if let Some((epoch, mut pending)) = self.unsettled.take_if(|(epoch, _)| *epoch == known.epoch) {
            match while_leading(epoch, leadership, &mut pending).await {
                Ok(Ok(placed)) => upto = upto.max(placed.last_offset),
                // It was not taken, or somebody else has led since: then it is before the high watermark or nowhere.
                Ok(Err(_)) => {}
                Err(deposed) => {
                    self.unsettled = Some((epoch, pending));
                    return Err(deposed);
                }
            }
        }
        self.unsettled = None;
        while_leading(known.epoch, leadership, self.images.until_replayed(upto)).await
    }
}

/// Waits for something as long as this node leads in this epoch: what a quorum must agree to may never come.
async fn while_leading<T>(
    epoch: LeaderEpoch,
    leadership: &Watching<Leadership>,
    awaited: impl Future<Output = T>,
) -> Result<T, Failed> {
    let (mut awaited, mut leadership) = (pin!(awaited), leadership.clone());
    loop {
        let leads = {
            let known = leadership.borrow_and_update();
            known.is_active && known.epoch == epoch
        };
        tokio::select! {
            biased;
            done = &mut awaited => return Ok(done),
            changed = leadership.changed(), if leads => {
                if changed.is_err() {
                    return Err(Failed::Deposed("the consensus has stopped".into()));
                }
            }
            () = std::future::ready(()), if !leads => {
                return Err(Failed::Deposed("no quorum follows this node any more".into()));
            }
        }
    }
}

tokio::task_local! {
    /// Whether a controller of this node that was asked has turned out not to decide any more.
    static WAS_DEPOSED: Cell<bool>;
}

/// Answers a request; and whether this node's controller, which was asked for it, does not decide any more: then another one has to
/// be asked, as Kafka's brokers do, whose clients never see NOT_CONTROLLER (KIP-590).
pub(crate) async fn unless_deposed<T>(answering: impl Future<Output = T>) -> (T, bool) {
    let answering = async {
        let answer = answering.await;
        (answer, WAS_DEPOSED.with(Cell::get))
    };
    WAS_DEPOSED.scope(Cell::new(false), answering).await
}

fn refused(why: &str) -> Failed {
    Failed::Refused(Error::UnknownServerError(why.to_owned()))
}

fn not_here(why: &str) -> Error {
    Error::NotController(format!("this node's controller does not decide: {why}"))
}

#[cfg(test)]
mod tests;
