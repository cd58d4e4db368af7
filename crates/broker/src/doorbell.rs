//! Whether anybody still listens where a broker did. A process that was killed refuses connections long before its session
//! would end; one that lives, even if it hangs, does not.
//!
//! It fences nobody: it tells the sessions, and only while this node's controller is active. `connection` has it ring when a
//! broker's connection has ended, `controller` at all brokers when it becomes active, since it has no connections yet.

use crate::{
    images::Images,
    link::{Address, Knock, Links},
};
use coordinator::Now;
use env::World;
use metadata::Registration;
use model::NodeId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// How often a listener must refuse, one after the other, and the pause between: a broker that is just being restarted
/// may come in between.
const RINGS: usize = 2;
const PAUSE_MS: i64 = 20;
/// How long it is tried. Who does not refuse in that time is not gone.
const TRY_MS_MAX: i64 = 500;
/// How long a connection is watched for its end before the next is tried.
const WATCH_MS_MAX: i64 = 100;

/// See the head of the file.
pub(crate) struct Doorbell {
    links: Arc<Links>,
    images: Arc<Images>,
    world: World,
    me: NodeId,
    /// By which brokers reach each other.
    listener: String,
    /// At whom it rings, and whether another has asked for it meanwhile.
    ringing: Mutex<BTreeMap<NodeId, bool>>,
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
        if let Some(is_asked_again) = self.ringing.lock().get_mut(&node) {
            *is_asked_again = true;
            return;
        }
        self.ringing.lock().insert(node, false);
        let (bell, epoch) = (self.clone(), known.epoch);
        self.world.tasks.spawn(Box::pin(async move {
            let is_gone = bell.is_refused(&address).await;
            let is_asked_again = bell.ringing.lock().remove(&node).unwrap_or(false);
            if is_gone {
                tracing::warn!(broker = node, %address, "nobody listens any more where the broker did");
                let now = Now { wall: bell.world.clock.wall(), monotonic: bell.world.clock.now() };
                bell.images.hasten_sessions(|sessions| sessions.on_refused(now, node, epoch));
            } else if is_asked_again {
                bell.ring(node);
            }
        }));
    }

    fn address(&self, broker: &Registration) -> Option<Address> {
        let endpoint = broker.endpoint(&self.listener).or(broker.endpoints.first())?;
        Some(Address { host: endpoint.host.clone(), port: endpoint.port })
    }

    /// Whether nobody listens there.
    ///
    /// The kernel closes what a killed process had open one after the other, and until it comes to the listener it goes on
    /// to accept connections for it, which end then or are just not heard of again: they tell nothing, and the next is tried.
    pub(crate) async fn is_refused(&self, address: &Address) -> bool {
        let clock = &self.world.clock;
        let until = clock.after_millis(TRY_MS_MAX);
        let mut refused = 0;
        while clock.now() < until || refused > 0 {
            refused = match self.links.knock(address, WATCH_MS_MAX).await {
                Knock::Refused => refused + 1,
                Knock::Ended | Knock::Stands => 0,
            };
            if refused == RINGS {
                return true;
            }
            clock.sleep_until(clock.after_millis(PAUSE_MS)).await;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetchers::tests::world::{LocalTasks, PausedClock, SeededRandom};
    use bytes::BytesMut;
    use env::{BoxFuture, Clock, Connection, Network};
    use log::testing::MemoryDisk;
    use std::{collections::VecDeque, future::pending, io, net::SocketAddr};
    use stdx::Parts;

    /// Listens as planned; after the plan, the last of it for ever.
    struct Listener(Mutex<VecDeque<Knock>>);

    /// Says nothing; ends, or does not.
    struct Silent {
        ends: bool,
    }

    impl Network for Listener {
        fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
            let mut plan = self.0.lock();
            let next = if plan.len() > 1 { plan.pop_front() } else { plan.front().copied() };
            let connected: io::Result<Box<dyn Connection>> = match next {
                Some(Knock::Ended) => Ok(Box::new(Silent { ends: true })),
                Some(Knock::Stands) => Ok(Box::new(Silent { ends: false })),
                Some(Knock::Refused) | None => Err(io::ErrorKind::ConnectionRefused.into()),
            };
            Box::pin(std::future::ready(connected))
        }
    }

    impl Connection for Silent {
        fn peer(&self) -> SocketAddr {
            SocketAddr::from(([127, 0, 0, 1], 9092))
        }

        fn read<'a>(&'a mut self, _: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
            match self.ends {
                true => Box::pin(std::future::ready(Ok(0))),
                false => Box::pin(pending()),
            }
        }

        fn write(&mut self, _: Parts) -> BoxFuture<'_, io::Result<()>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    /// Whether a listener of this plan is taken for gone, and after how many milliseconds.
    async fn ring(plan: &[Knock]) -> (bool, i64) {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock::new());
        let world = World {
            clock: clock.clone(),
            disk: Arc::new(MemoryDisk::new()),
            random: Arc::new(SeededRandom::default()),
            tasks: Arc::new(LocalTasks::default()),
        };
        let network = Arc::new(Listener(Mutex::new(plan.iter().copied().collect())));
        let links = Links::new(network, world.clone());
        let bell = Doorbell::new(links, Images::new("cluster"), world, (1, "PLAINTEXT".into()));
        let is_refused = bell.is_refused(&Address { host: "localhost".into(), port: 9092 }).await;
        (is_refused, clock.now() as i64 / 1_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_accepts_while_it_dies_is_gone_as_soon_as_it_refuses() {
        assert_eq!(ring(&[Knock::Refused]).await, (true, PAUSE_MS));
        let late = [&[Knock::Ended; 24][..], &[Knock::Refused]].concat();
        assert_eq!(ring(&late).await, (true, 25 * PAUSE_MS), "the second is waited for");
        assert_eq!(ring(&[Knock::Ended, Knock::Ended, Knock::Refused]).await, (true, 3 * PAUSE_MS));
        assert_eq!(ring(&[Knock::Stands, Knock::Refused]).await, (true, WATCH_MS_MAX + 2 * PAUSE_MS));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_connections_open_or_ends_every_one_is_not_gone() {
        for lives in [Knock::Stands, Knock::Ended] {
            let (is_refused, took) = ring(&[Knock::Refused, lives]).await;
            assert!(!is_refused);
            assert!((TRY_MS_MAX..TRY_MS_MAX + WATCH_MS_MAX + PAUSE_MS).contains(&took), "{took} ms");
        }
    }
}
