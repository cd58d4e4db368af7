//! What each address has open and how often it asks, so that one alone cannot keep others from being served.
//!
//! Who counts as one, and how a rate is kept, `gateway` says. Nodes of the cluster ask for clients that were counted before, and
//! proxies for those whom they name.

use env::{Clock, Random};
use gateway::{Place, Proxies, Quota, Rate, Rates};
use hyper::{HeaderMap, StatusCode};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many addresses and subjects are told apart by how often they ask: 1 MiB.
const RATES_MAX: usize = 65_536;
/// In so many seconds an address may ask as often as its rate allows, and as often at once.
const WINDOW_SECONDS: u32 = 10;

/// How much one address may have, or 0 for any number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Connections.
    pub(crate) connections_max: u32,
    /// Requests in a second.
    pub(crate) requests_per_second: u32,
    /// Who asks for others.
    pub(crate) proxies: Proxies,
}

/// See the head of the file.
pub(crate) struct Clients {
    limits: Limits,
    clock: Arc<dyn Clock>,
    all: Arc<Semaphore>,
    held: Mutex<Held>,
    /// Addresses of the cluster's nodes.
    nodes: RwLock<BTreeSet<IpAddr>>,
}

struct Held {
    /// Connections of each address that has some.
    connections: BTreeMap<Place, u32>,
    rates: Rates,
}

/// The room of one connection, given back when it is dropped.
pub(crate) struct Seat {
    clients: Arc<Clients>,
    /// Whose it is, if it is counted.
    place: Option<Place>,
    _permit: OwnedSemaphorePermit,
}

impl Clients {
    pub(super) fn new(
        limits: Limits,
        connections_max: u32,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
    ) -> Arc<Self> {
        let rates = Rates::new(RATES_MAX, (random.next_u64(), random.next_u64()));
        let held = Mutex::new(Held { connections: BTreeMap::new(), rates });
        let all = Arc::new(Semaphore::new(connections_max as usize));
        Arc::new(Self { limits, clock, all, held, nodes: RwLock::default() })
    }

    /// Room for one more connection of a peer, or with which status it is turned away.
    pub(super) fn seat(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, StatusCode> {
        let permit = self.all.clone().try_acquire_owned().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let is_counted =
            self.limits.connections_max > 0 && !self.is_node(peer) && !self.limits.proxies.contains(peer);
        let place = is_counted.then(|| Place::of(peer));
        if let Some(place) = place {
            let mut held = self.held.lock();
            let count = held.connections.entry(place).or_default();
            if *count >= self.limits.connections_max {
                return Err(StatusCode::TOO_MANY_REQUESTS);
            }
            *count += 1;
        }
        Ok(Seat { clients: self.clone(), place, _permit: permit })
    }

    /// For whom a peer asks, if they are counted.
    pub(super) fn place(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Place> {
        if self.is_node(peer) { None } else { self.limits.proxies.client(peer, headers) }
    }

    /// One more request of an address.
    pub(super) fn take(&self, place: Place) -> Option<Quota> {
        let count = self.limits.requests_per_second.saturating_mul(WINDOW_SECONDS);
        let rate = Rate { count, seconds: WINDOW_SECONDS };
        let now = self.clock.now();
        (count > 0).then(|| self.held.lock().rates.take("address", &place.bytes(), rate, now))
    }

    /// One more request of a subject, which a token allows so often.
    pub(super) fn take_as(&self, subject: &[u8], rate: Rate) -> Quota {
        let now = self.clock.now();
        self.held.lock().rates.take("subject", subject, rate, now)
    }

    /// Where the cluster's nodes are known to be.
    pub(super) fn know_nodes(&self, nodes: BTreeSet<IpAddr>) {
        *self.nodes.write() = nodes;
    }

    /// Ends when no connection is open.
    pub(super) async fn until_none(&self, connections_max: u32) {
        let _ = self.all.acquire_many(connections_max).await;
    }

    fn is_node(&self, peer: IpAddr) -> bool {
        self.nodes.read().contains(&peer.to_canonical())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut held = self.clients.held.lock();
        if let Some(count) = held.connections.get_mut(&place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.connections.remove(&place);
            }
        }
    }
}
