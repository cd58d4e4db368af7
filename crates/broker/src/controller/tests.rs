//! The host of the controller over a quorum that does as it is told: who waits for what, and what becomes of a decision
//! whose leader is cut off.

#![allow(clippy::disallowed_methods, reason = "a test is the world of the host that it tests")]

use super::*;
use crate::{
    fetchers::tests::world::{LocalTasks, PausedClock, SeededRandom},
    link::Links,
};
use bytes::Bytes;
use env::{BoxFuture, Millis, NoNetwork, Tasks};
use log::testing::MemoryDisk;
use metadata::{ControllerRegistration, Position, config::Statics};
use model::NodeId;
use parking_lot::Mutex;
use quorum::{
    ChangeError, Checkpoint, Committed, Description, Member, Placed, ProposeError, Replica, SnapshotId,
};
use records::{Batch, Decompressor};
use stdx::Uuid;

const ME: Replica = Replica { node: 1, directory: Uuid([1; 16]) };
const EPOCH: LeaderEpoch = 7;

/// A quorum that commits at once, or when it is released.
struct Told {
    leadership: Watched<Leadership>,
    images: Arc<Images>,
    is_holding: Mutex<bool>,
    held: Mutex<Vec<(Bytes, oneshot::Sender<Placed>)>>,
    proposals: Mutex<usize>,
}

struct Ground {
    quorum: Arc<Told>,
    images: Arc<Images>,
    host: Arc<ControllerHost>,
    clock: Arc<dyn Clock>,
    tasks: Arc<LocalTasks>,
}

fn leads(is_active: bool, high_watermark: Offset) -> Leadership {
    Leadership { leader: is_active.then_some(ME), epoch: EPOCH, high_watermark, is_active }
}

impl Told {
    fn commit(&self, batch: Bytes) -> Placed {
        let mut image = Image::clone(&self.images.newest());
        let base_offset = image.position().offset + 1;
        let mut last_offset = base_offset - 1;
        let batch = Batch::split_off(&mut batch.clone()).unwrap();
        for record in batch.records(1 << 20, &mut Decompressor::default()).unwrap() {
            image.apply(metadata_records::decode(&record.value.unwrap()).unwrap());
            last_offset += 1;
        }
        image.place(Position { offset: last_offset, epoch: EPOCH });
        self.images.publish(image, &[]);
        Placed { base_offset, last_offset, epoch: EPOCH }
    }

    fn release(&self) {
        *self.is_holding.lock() = false;
        for (batch, placed) in std::mem::take(&mut *self.held.lock()) {
            let _ = placed.send(self.commit(batch));
        }
    }
}

impl Quorum for Told {
    fn replica(&self) -> Replica {
        ME
    }

    fn leadership(&self) -> Watching<Leadership> {
        self.leadership.subscribe()
    }

    fn propose(&self, _: LeaderEpoch, batch: Bytes) -> BoxFuture<'_, Result<Pending, ProposeError>> {
        *self.proposals.lock() += 1;
        let (sender, receiver) = oneshot::channel();
        if *self.is_holding.lock() {
            self.held.lock().push((batch, sender));
        } else {
            let _ = sender.send(self.commit(batch));
        }
        let pending: Pending =
            Box::pin(async { receiver.await.map_err(|_| ProposeError::Unknown { leader: None }) });
        Box::pin(std::future::ready(Ok(pending)))
    }

    fn read(&self, _: Offset, _: usize) -> BoxFuture<'_, io::Result<Committed>> {
        unreachable!("the host does not read")
    }

    fn snapshot(&self) -> Option<Arc<Checkpoint>> {
        None
    }

    fn write_snapshot(&self, _: Offset, _: Vec<Bytes>) -> BoxFuture<'_, io::Result<SnapshotId>> {
        unreachable!("the host writes no snapshots")
    }

    fn describe(&self) -> Description {
        let leadership = *self.leadership.borrow();
        Description { leadership, voters: Vec::new(), observers: Vec::new() }
    }

    fn add_voter(&self, _: Replica, _: Member) -> BoxFuture<'_, Result<(), ChangeError>> {
        unreachable!("the host adds no voters")
    }

    fn remove_voter(&self, _: Replica) -> BoxFuture<'_, Result<(), ChangeError>> {
        unreachable!("the host removes no voters")
    }

    fn update_voter(&self, _: Replica, _: Member) -> BoxFuture<'_, Result<(), ChangeError>> {
        unreachable!("the host updates no voters")
    }

    fn transfer_leadership(&self, _: Replica) -> BoxFuture<'_, Result<(), ChangeError>> {
        unreachable!("the host hands nothing over")
    }

    fn serve(&self, _: Bytes) -> BoxFuture<'_, Bytes> {
        unreachable!("nobody else is there")
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Ground {
    /// A host at work; the quorum says of this node what `known` says.
    fn new(known: Leadership) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock::new());
        let tasks = Arc::new(LocalTasks::default());
        let world = World {
            clock: clock.clone(),
            disk: Arc::new(MemoryDisk::new()),
            random: Arc::new(SeededRandom::default()),
            tasks: tasks.clone(),
        };
        let images = Images::new("cluster");
        let quorum = Arc::new(Told {
            leadership: watch(known).0,
            images: images.clone(),
            is_holding: Mutex::new(false),
            held: Mutex::default(),
            proposals: Mutex::default(),
        });
        let statics = Arc::new(Statics::new(std::iter::empty()));
        let settings = Settings { cluster_id: "cluster".into(), node: ME.node, statics };
        let links = Links::new(Arc::new(NoNetwork), world.clone());
        let doorbell = Doorbell::new(links, images.clone(), world.clone(), (ME.node, "PLAINTEXT".into()));
        let sessions = SessionPolicy { timeout_ms: 1500, own_is_alive: true };
        let (host, work) =
            ControllerHost::new(world, settings, quorum.clone(), images.clone(), (sessions, doorbell));
        tasks.spawn(Box::pin(work.run()));
        Self { quorum, images, host: Arc::new(host), clock, tasks }
    }

    /// A small decision: the second time there is nothing to write.
    fn introduce(node: NodeId) -> Request {
        Request::RegisterController(ControllerRegistration { id: node, ..ControllerRegistration::default() })
    }

    /// Asks in a task of its own.
    fn ask(&self, request: Request) -> oneshot::Receiver<Result<Reply, Error>> {
        let (sender, receiver) = oneshot::channel();
        let host = self.host.clone();
        self.tasks.spawn(Box::pin(async move {
            let _ = sender.send(host.ask_for_another(request).await);
        }));
        receiver
    }

    fn now_ms(&self) -> Millis {
        (self.clock.now() / 1_000_000) as Millis
    }

    async fn pass(&self, ms: i64) {
        self.clock.sleep_until(self.clock.after_millis(ms)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_asks_for_this_nodes_clients_waits_for_its_broker_and_not_for_ever() {
    let ground = Ground::new(leads(true, 0));
    // The broker follows nothing: its disk hangs.
    assert_eq!(ground.host.ask_for_another(Ground::introduce(5)).await, Ok(Reply::RegisterController));
    assert_eq!(ground.now_ms(), 0);
    let own = ground.host.ask(Ground::introduce(6));
    let others = async {
        ground.pass(1000).await;
        let answered = ground.host.ask_for_another(Ground::introduce(7)).await;
        (answered, ground.now_ms())
    };
    let (own, others) = futures_util::future::join(own, others).await;
    assert_eq!(others, (Ok(Reply::RegisterController), 1000));
    assert_eq!((own, ground.now_ms()), (Ok(Reply::RegisterController), IN_LINE_MS_MAX));
    ground.images.set_followed(ground.images.newest().position().offset);
    ground.host.ask(Ground::introduce(7)).await.unwrap();
    assert_eq!(ground.now_ms(), IN_LINE_MS_MAX, "it is in line");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_loses_its_office_before_it_has_replayed_all_says_so_at_once() {
    let ground = Ground::new(leads(true, 100));
    let asked = ground.ask(Ground::introduce(5));
    ground.pass(50).await;
    ground.quorum.leadership.send(leads(false, 100));
    ground.pass(1).await;
    assert!(matches!(asked.await.unwrap(), Err(Error::NotController(_))));
    assert_eq!(*ground.quorum.proposals.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_a_controller_was_cut_off_is_known_before_it_decides_again() {
    let ground = Ground::new(leads(true, 0));
    ground.host.ask_for_another(Ground::introduce(4)).await.unwrap();
    let before = *ground.quorum.proposals.lock();
    *ground.quorum.is_holding.lock() = true;
    let asked = ground.ask(Ground::introduce(5));
    ground.pass(50).await;
    assert!(ground.host.is_active());
    // No quorum follows it: whoever asked need not wait for one.
    ground.quorum.leadership.send(leads(false, 0));
    assert!(matches!(asked.await.unwrap(), Err(Error::NotController(_))));
    assert!(!ground.host.is_active());
    // One does again, in the same epoch.
    ground.quorum.leadership.send(leads(true, 0));
    ground.pass(50).await;
    assert!(!ground.host.is_active(), "it does not know yet what it decides on");
    let again = ground.ask(Ground::introduce(5));
    ground.pass(50).await;
    ground.quorum.release();
    assert_eq!(again.await.unwrap(), Ok(Reply::RegisterController));
    assert_eq!(*ground.quorum.proposals.lock(), before + 1, "it was decided already");
}
