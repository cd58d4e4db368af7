//! The connections that are open: how many there are, from where, how long each has been idle, and their end.
//!
//! It neither reads nor writes; [`crate::connection`] asks it before serving and listens to it while waiting.

use env::Nanos;
use parking_lot::Mutex;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// All open connections.
pub(crate) struct Connections {
    max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
    /// Whoever was last touched before this is idle.
    idle_before: AtomicU64,
}

#[derive(Default)]
struct Open {
    entries: slab::Slab<Arc<State>>,
    per_address: stdx::Map<IpAddr, usize>,
    stopping: bool,
}

struct State {
    address: IpAddr,
    touched: AtomicU64,
    stopping: AtomicBool,
    /// Told when the connection should look whether it must end.
    end: Notify,
}

/// One connection's place among the open ones; dropping it frees the place.
pub(crate) struct Entry {
    connections: Arc<Connections>,
    key: usize,
    state: Arc<State>,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has been idle for too long.
    Idle,
    /// The broker stops.
    Stopping,
}

impl Connections {
    /// At most `max` connections, and `per_address_max` from one address.
    pub(crate) fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        let idle_before = AtomicU64::new(0);
        Arc::new(Self { max, per_address_max, open: Mutex::default(), idle_before })
    }

    /// A place for a new connection, unless there are too many.
    pub(crate) fn admit(self: &Arc<Self>, peer: SocketAddr, now: Nanos) -> Option<Entry> {
        let mut open = self.open.lock();
        let address = peer.ip();
        let from_there = open.per_address.get(&address).copied().unwrap_or(0);
        if open.stopping || open.entries.len() >= self.max || from_there >= self.per_address_max {
            return None;
        }
        open.per_address.insert(address, from_there + 1);
        let state = Arc::new(State {
            address,
            touched: AtomicU64::new(now),
            stopping: AtomicBool::new(false),
            end: Notify::new(),
        });
        let key = open.entries.insert(state.clone());
        Some(Entry { connections: self.clone(), key, state })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().entries.len()
    }

    /// Ends those that were last touched before `since`.
    pub(crate) fn end_idle(&self, since: Nanos) {
        self.idle_before.store(since, Ordering::Release);
        for (_, state) in &self.open.lock().entries {
            if state.touched.load(Ordering::Relaxed) < since {
                state.end.notify_one();
            }
        }
    }

    /// Ends all and admits no more.
    pub(crate) fn stop(&self) {
        let mut open = self.open.lock();
        open.stopping = true;
        for (_, state) in &open.entries {
            state.stopping.store(true, Ordering::Release);
            state.end.notify_one();
        }
    }
}

impl Entry {
    /// The connection's number; another one may have it afterwards.
    pub(crate) fn number(&self) -> u64 {
        self.key as u64
    }

    /// The connection has done something.
    pub(crate) fn touch(&self, now: Nanos) {
        self.state.touched.store(now, Ordering::Relaxed);
    }

    /// Waits until the connection must end, for whichever reason. One that is touched again is not idle any more.
    pub(crate) async fn ended(&self) -> Ended {
        loop {
            if self.state.stopping.load(Ordering::Acquire) {
                return Ended::Stopping;
            }
            let idle_before = self.connections.idle_before.load(Ordering::Acquire);
            if self.state.touched.load(Ordering::Relaxed) < idle_before {
                return Ended::Idle;
            }
            self.state.end.notified().await;
        }
    }

    /// Waits until the broker stops; a request that takes long is not idle.
    pub(crate) async fn stopped(&self) -> Ended {
        while !self.state.stopping.load(Ordering::Acquire) {
            self.state.end.notified().await;
        }
        Ended::Stopping
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.entries.try_remove(self.key);
        let address = self.state.address;
        if let Some(count) = open.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.per_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn peer(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 1).into()
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let connections = Connections::new(2, 1);
        let first = connections.admit(peer(1), 0).unwrap();
        assert!(connections.admit(peer(1), 0).is_none(), "a second one from the same address");
        let _second = connections.admit(peer(2), 0).unwrap();
        assert!(connections.admit(peer(3), 0).is_none(), "a third one");
        drop(first);
        assert_eq!(connections.count(), 1);
        assert!(connections.admit(peer(1), 0).is_some());
    }

    #[test]
    fn idle_ones_end_and_a_request_under_way_is_not_idle() {
        let connections = Connections::new(9, 9);
        let (old, young) = (connections.admit(peer(1), 5).unwrap(), connections.admit(peer(1), 9).unwrap());
        connections.end_idle(7);
        assert_eq!(old.ended().now_or_never(), Some(Ended::Idle));
        assert_eq!(old.stopped().now_or_never(), None);
        assert_eq!(young.ended().now_or_never(), None);
        old.touch(10);
        assert_eq!(old.ended().now_or_never(), None, "its request was answered meanwhile");
        connections.stop();
        assert_eq!(old.stopped().now_or_never(), Some(Ended::Stopping));
        assert_eq!(young.ended().now_or_never(), Some(Ended::Stopping));
        assert!(connections.admit(peer(1), 0).is_none());
    }
}
