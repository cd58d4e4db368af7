//! Which brokers are alive: the sessions that their heartbeats keep (KIP-631), and what each heartbeat asks of the
//! controller.
//!
//! It changes no metadata: it answers with [`Request`]s that its host puts to the [`crate::Controller`], one after the
//! other. It is no shard: sessions are not replicated, a new controller begins them anew. The host of the active
//! controller owns it.

use std::collections::BTreeMap;

use coordinator::Now;
use model::{NodeId, Offset};
use stdx::Uuid;

use crate::{ChangeDirectories, Error, Image, Record, RegisterBroker, Registration, Request};

/// The part of the session timeout that a broker has to come back after its connection has ended.
const GRACE_DIVISOR: u64 = 5;
/// The host looks for silent brokers this many times per session timeout, as Kafka does.
const CHECKS_PER_SESSION: u64 = 8;

/// The sessions of all brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeats {
    /// Nanoseconds.
    session_timeout: u64,
    sessions: BTreeMap<NodeId, Session>,
    /// When the host last looked for silent brokers, in monotonic nanoseconds.
    checked_at: u64,
}

/// What is known of one incarnation of a broker. Times are monotonic nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    epoch: i64,
    /// When it was last heard; `None` if not in this incarnation.
    heard_at: Option<u64>,
    /// How long it is silent between heartbeats: the longest that was seen, slowly forgotten.
    rhythm: u64,
    /// When its connection ended, unless it was heard since.
    lost_at: Option<u64>,
    /// When its listener refused connections after that, unless it was heard since.
    refused_at: Option<u64>,
    /// How far it has read the metadata; -1 if it has not said so.
    metadata_offset: Offset,
    /// It may be unfenced once it has read that far.
    registered_at: Offset,
    /// Others know of its controlled shutdown once they have read that far.
    shut_down_at: Option<Offset>,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The broker.
    pub broker: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// How far it has read the metadata.
    pub metadata_offset: Offset,
    /// Whether it wants to be fenced.
    pub wants_fence: bool,
    /// Whether it wants to stop.
    pub wants_shutdown: bool,
    /// Its failed log directories (KIP-858).
    pub offline: Vec<Uuid>,
    /// Its log directories that take no new partitions; `None` if it does not know yet (KIP-1066).
    pub cordoned: Option<Vec<Uuid>>,
}

/// What a heartbeat leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// What to ask the controller, in this order. The answer leaves when all of it is committed.
    pub requests: Vec<Request>,
    /// Whether the broker has read the metadata up to its own registration.
    pub is_caught_up: bool,
    /// Whether the broker is fenced when `requests` are done.
    pub is_fenced: bool,
    /// Whether the broker may stop: it leads nothing and everybody knows.
    pub should_shut_down: bool,
}

impl Heartbeats {
    /// The sessions when a controller becomes active, with its own image: each unfenced broker gets a whole session to
    /// find the new controller. `session_timeout_ms` is `broker.session.timeout.ms`.
    pub fn new(session_timeout_ms: u32, now: Now, image: &Image) -> Self {
        let known_to = image.position().offset;
        let session = |broker: &Registration| Session {
            heard_at: (!broker.fenced).then_some(now.monotonic),
            shut_down_at: broker.shutting_down.then_some(known_to),
            ..Session::new(broker.epoch, known_to)
        };
        Self {
            session_timeout: u64::from(session_timeout_ms) * 1_000_000,
            sessions: image.brokers().map(|broker| (broker.id, session(broker))).collect(),
            checked_at: now.monotonic,
        }
    }

    /// Takes note of a record that the controller has replayed, and of its offset.
    pub fn replay(&mut self, record: &Record, offset: Offset) {
        match record {
            Record::RegisterBroker(broker) => {
                let known = self.sessions.get_mut(&broker.id).filter(|known| known.epoch == broker.epoch);
                match known {
                    Some(session) => session.registered_at = offset,
                    None => {
                        // One that leads at once has a session without having been heard.
                        let heard_at = (!broker.fenced).then_some(self.checked_at);
                        let session = Session { heard_at, ..Session::new(broker.epoch, offset) };
                        self.sessions.insert(broker.id, session);
                    }
                }
            }
            Record::UnregisterBroker { broker, .. } => {
                self.sessions.remove(broker);
            }
            Record::BrokerChange { broker, shutting_down: Some(true), .. } => {
                if let Some(session) = self.sessions.get_mut(broker) {
                    session.shut_down_at = Some(offset);
                }
            }
            _ => {}
        }
    }

    /// Refuses a registration while another incarnation of the broker is alive: two nodes with one id. A node that is
    /// the whole quorum does not ask this for itself: the lock on its directory has shown that it is alone.
    pub fn check_registration(&self, now: Now, image: &Image, request: &RegisterBroker) -> Result<(), Error> {
        let other = image.broker(request.broker).filter(|known| known.incarnation != request.incarnation);
        match other {
            Some(other) if self.is_alive(now, other) => Err(Error::DuplicateBrokerRegistration(format!(
                "Another broker with the id {} is alive. If it was just restarted, this passes by itself within {} ms; \
                 else give one of them another node.id.",
                other.id,
                self.session_timeout / 1_000_000
            ))),
            _ => Ok(()),
        }
    }

    /// A broker says that it is alive, as soon as the request arrives, before anything that may have to wait. It says
    /// how far it has read and what it wants, and gets what comes of it.
    pub fn on_heartbeat(
        &mut self,
        now: Now,
        image: &Image,
        mut heartbeat: Heartbeat,
    ) -> Result<Pulse, Error> {
        let broker = heartbeat.broker;
        let stale = || Error::StaleBrokerEpoch(format!("Broker {broker} must register again."));
        let known = image.broker(broker).filter(|known| known.epoch == heartbeat.broker_epoch);
        let known = known.ok_or_else(stale)?;
        let session = self.sessions.get_mut(&broker).filter(|session| session.epoch == known.epoch);
        let session = session.ok_or_else(stale)?;
        session.hear(now.monotonic);
        session.metadata_offset = heartbeat.metadata_offset;
        let is_caught_up = heartbeat.metadata_offset >= session.registered_at;
        let shut_down_at = session.shut_down_at;
        let is_gone = |dir: &Uuid| heartbeat.offline.contains(dir);
        // A broker without any directory can do nothing, whatever it wants.
        heartbeat.wants_fence |= !known.directories.is_empty() && known.directories.iter().all(is_gone);
        let mut pulse = self.next(image, known, &heartbeat, is_caught_up, shut_down_at);
        if pulse.should_shut_down
            && let Some(session) = self.sessions.get_mut(&broker)
        {
            // It has taken its leave: its next incarnation need not wait until the session is over.
            session.heard_at = None;
        }
        let fails = known.directories.iter().any(|dir| heartbeat.offline.contains(dir));
        let cordons = heartbeat.cordoned.as_ref().is_some_and(|cordoned| *cordoned != known.cordoned);
        if fails || cordons {
            let Heartbeat { broker_epoch, offline, cordoned, .. } = heartbeat;
            // Before it leads anything, it must be known what it cannot lead.
            let change = ChangeDirectories { broker, broker_epoch, offline, cordoned };
            pulse.requests.insert(0, Request::ChangeDirectories(change));
        }
        Ok(pulse)
    }

    /// The connection of a broker has ended, for the host has seen its end or a reset. A process that was killed does
    /// not come back at once; one that lives does, within its own rhythm or a fifth of the session.
    pub fn on_disconnected(&mut self, now: Now, broker: NodeId) {
        if let Some(session) = self.sessions.get_mut(&broker) {
            session.lost_at.get_or_insert(now.monotonic);
        }
    }

    /// Nobody listens any more where this incarnation of a broker did: its process has ended. Only to be said of one that
    /// has lost its connection, or has none to a controller that has just become active.
    pub fn on_refused(&mut self, now: Now, broker: NodeId, broker_epoch: i64) {
        if let Some(session) = self.sessions.get_mut(&broker).filter(|session| session.epoch == broker_epoch)
        {
            session.refused_at.get_or_insert(now.monotonic);
        }
    }

    /// What to ask the controller because a broker was silent too long: the fencing of one, so that the next is judged
    /// after it has happened. The host calls it again at once while it gets something, and otherwise at
    /// [`Heartbeats::check_at`].
    ///
    /// If the host itself was not there for long, nobody was heard in that time, and nobody is blamed for it.
    pub fn next_silent(&mut self, now: Now, image: &Image) -> Option<Request> {
        let away = now.monotonic.saturating_sub(self.checked_at);
        self.checked_at = self.checked_at.max(now.monotonic);
        if away > self.session_timeout / 2 {
            self.sessions.values_mut().for_each(|session| session.excuse(away, now.monotonic));
        }
        let unfenced = image.brokers_unfenced().map(|broker| {
            let session = self.sessions.get(&broker.id).filter(|session| session.epoch == broker.epoch);
            (session.map_or(0, |session| session.ends_at(self.session_timeout)), broker)
        });
        let (ends_at, broker) = unfenced.min_by_key(|(ends_at, broker)| (*ends_at, broker.id))?;
        let silent = ends_at < now.monotonic;
        silent.then(|| Request::FenceBroker { broker: broker.id, broker_epoch: broker.epoch })
    }

    /// When to look for silent brokers next, in monotonic nanoseconds: when the first session ends, and in any case
    /// after an eighth of a session, since a connection may end meanwhile.
    pub fn check_at(&self, image: &Image) -> u64 {
        let soonest = self.checked_at.saturating_add(1);
        let regular = self.checked_at.saturating_add(self.session_timeout / CHECKS_PER_SESSION).max(soonest);
        let ends = image.brokers_unfenced().filter_map(|broker| self.sessions.get(&broker.id));
        let first = ends.map(|session| session.ends_at(self.session_timeout).saturating_add(1)).min();
        first.map_or(regular, |first| first.clamp(soonest, regular))
    }

    fn is_alive(&self, now: Now, broker: &Registration) -> bool {
        let session = self.sessions.get(&broker.id).filter(|session| session.epoch == broker.epoch);
        session.is_some_and(|session| {
            session.heard_at.is_some() && session.ends_at(self.session_timeout) >= now.monotonic
        })
    }

    fn next(
        &self,
        image: &Image,
        known: &Registration,
        heartbeat: &Heartbeat,
        is_caught_up: bool,
        shut_down_at: Option<Offset>,
    ) -> Pulse {
        let Heartbeat { broker, broker_epoch, wants_fence, wants_shutdown, .. } = *heartbeat;
        let pulse = |requests, is_fenced, should_shut_down| Pulse {
            requests,
            is_caught_up,
            is_fenced,
            should_shut_down,
        };
        let fence = || vec![Request::FenceBroker { broker, broker_epoch }];
        if known.fenced {
            let unfence = !wants_shutdown && !wants_fence && is_caught_up;
            let requests = match unfence {
                true => vec![Request::UnfenceBroker { broker, broker_epoch }],
                false => Vec::new(),
            };
            return pulse(requests, !unfence, wants_shutdown);
        }
        if known.shutting_down {
            let done = !leads_any(image, broker) && shut_down_at <= self.read_by_all(image, broker);
            let requests = if done { fence() } else { Vec::new() };
            return pulse(requests, done, done);
        }
        match (wants_fence, wants_shutdown) {
            (true, stops) => pulse(fence(), true, stops),
            (false, true) if leads_any(image, broker) => {
                pulse(vec![Request::ShutDownBroker { broker, broker_epoch }], false, false)
            }
            (false, true) => pulse(fence(), true, true),
            (false, false) => pulse(Vec::new(), false, false),
        }
    }

    /// How far every other active broker has read.
    fn read_by_all(&self, image: &Image, but: NodeId) -> Option<Offset> {
        let others = image.brokers_active().filter(|broker| broker.id != but);
        let read = others.map(|broker| self.sessions.get(&broker.id).map_or(-1, |one| one.metadata_offset));
        Some(read.min().unwrap_or(Offset::MAX))
    }
}

impl Session {
    fn new(epoch: i64, registered_at: Offset) -> Self {
        Self {
            epoch,
            heard_at: None,
            rhythm: 0,
            lost_at: None,
            refused_at: None,
            metadata_offset: -1,
            registered_at,
            shut_down_at: None,
        }
    }

    fn hear(&mut self, now: u64) {
        if let Some(before) = self.heard_at {
            self.rhythm = now.saturating_sub(before).max(self.rhythm - self.rhythm / 8);
        }
        self.heard_at = Some(self.heard_at.unwrap_or(0).max(now));
        (self.lost_at, self.refused_at) = (None, None);
    }

    /// When the broker counts as dead if it is not heard before.
    fn ends_at(&self, session_timeout: u64) -> u64 {
        let silent = self.heard_at.unwrap_or(0).saturating_add(session_timeout);
        let grace = (session_timeout / GRACE_DIVISOR).max(self.rhythm.saturating_mul(2));
        let lost = self.lost_at.map_or(u64::MAX, |lost_at| lost_at.saturating_add(grace));
        silent.min(lost).min(self.refused_at.unwrap_or(u64::MAX))
    }

    /// Moves what happened before the host was away to the end of that time.
    fn excuse(&mut self, away: u64, now: u64) {
        let later = |at: u64| at.saturating_add(away).min(now).max(at);
        self.heard_at = self.heard_at.map(later);
        self.lost_at = self.lost_at.map(later);
    }
}

fn leads_any(image: &Image, broker: NodeId) -> bool {
    image.topics().any(|topic| topic.partitions.iter().any(|partition| partition.leader == broker))
}

#[cfg(test)]
mod tests;
