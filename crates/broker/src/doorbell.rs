//! Whether anybody still listens where a broker did. A process that was killed refuses connections at once, long before its
//! session would end; one that lives, even if it hangs, does not.
//!
//! It fences nobody: it tells the sessions, and only while this node's controller is active. `connection` has it ring when a
//! broker's connection has ended, `controller` at all brokers when it becomes active, since it has no connections yet.

use crate::{
    images::Images,
    link::{Address, Links},
};
use coordinator::Now;
use env::World;
use metadata::Registration;
use model::NodeId;
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc};

/// How often a listener must refuse, one after the other, and the pause between: a broker that is just being restarted
/// may come in between.
const RINGS: usize = 2;
const PAUSE_MS: i64 = 20;
/// How long a connection may take. Who does not answer is not gone.
const CONNECT_MS_MAX: i64 = 500;

/// See the head of the file.
pub(crate) struct Doorbell {
    links: Arc<Links>,
    images: Arc<Images>,
    world: World,
    me: NodeId,
    /// By which brokers reach each other.
    listener: String,
    ringing: Mutex<BTreeSet<NodeId>>,
}

impl Doorbell {
    pub(crate) fn new(
        links: Arc<Links>,
        images: Arc<Images>,
        world: World,
        (me, listener): (NodeId, String),
    ) -> Arc<Self> {
        Arc::new(Self { links, images, world, me, listener, ringing: Mutex::default() })
    }

    /// Rings at every broker that is not fenced.
    pub(crate) fn ring_at_all(self: &Arc<Self>) {
        let image = self.images.newest();
        image.brokers_unfenced().for_each(|broker| self.ring(broker.id));
    }

    /// Rings at one; what comes of it is told to the sessions.
    pub(crate) fn ring(self: &Arc<Self>, node: NodeId) {
        let image = self.images.newest();
        let Some(known) = image.broker(node).filter(|known| !known.fenced && node != self.me) else { return };
        let Some(address) = self.address(known) else { return };
        if !self.ringing.lock().insert(node) {
            return;
        }
        let (bell, epoch) = (self.clone(), known.epoch);
        self.world.tasks.spawn(Box::pin(async move {
            let is_gone = bell.is_refused(&address).await;
            bell.ringing.lock().remove(&node);
            if is_gone {
                tracing::warn!(broker = node, %address, "nobody listens any more where the broker did");
                let now = Now { wall: bell.world.clock.wall(), monotonic: bell.world.clock.now() };
                bell.images.hasten_sessions(|sessions| sessions.on_refused(now, node, epoch));
            }
        }));
    }

    fn address(&self, broker: &Registration) -> Option<Address> {
        let endpoint = broker.endpoint(&self.listener).or(broker.endpoints.first())?;
        Some(Address { host: endpoint.host.clone(), port: endpoint.port })
    }

    /// Whether nobody listens there.
    pub(crate) async fn is_refused(&self, address: &Address) -> bool {
        let clock = &self.world.clock;
        for ring in 0..RINGS {
            if ring > 0 {
                clock.sleep_until(clock.after_millis(PAUSE_MS)).await;
            }
            if !self.links.is_refused(address, CONNECT_MS_MAX).await {
                return false;
            }
        }
        true
    }
}
