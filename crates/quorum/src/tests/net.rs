//! A network in memory: delays, losses, and directions that are cut.

use crate::{
    Member, Quorum, RaftQuorum, Replica, Transport,
    tests::world::{Dice, TestClock, TestTasks},
};
use bytes::Bytes;
use env::{BoxFuture, Tasks};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};
use tokio::sync::oneshot;

pub(super) struct Net {
    clock: Arc<TestClock>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    delay_ms_max: u64,
    lost_percent: u64,
    cut: BTreeSet<(Replica, Replica)>,
    running: BTreeMap<Replica, (RaftQuorum, Arc<TestTasks>)>,
    /// Messages that arrived, and their checksums: two runs of a seed are compared by it.
    trace: u64,
}

/// The network as one replica sees it.
pub(super) struct Side {
    pub(super) net: Arc<Net>,
    pub(super) from: Replica,
}

impl Net {
    pub(super) fn new(clock: Arc<TestClock>, dice: Dice) -> Arc<Self> {
        let state = State {
            dice,
            delay_ms_max: 5,
            lost_percent: 0,
            cut: BTreeSet::new(),
            running: BTreeMap::new(),
            trace: 0,
        };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    pub(super) fn set_running(&self, replica: Replica, running: Option<(RaftQuorum, Arc<TestTasks>)>) {
        let mut state = self.state.lock();
        match running {
            Some(running) => drop(state.running.insert(replica, running)),
            None => drop(state.running.remove(&replica)),
        }
    }

    pub(super) fn set_weather(&self, delay_ms_max: u64, lost_percent: u64) {
        let mut state = self.state.lock();
        (state.delay_ms_max, state.lost_percent) = (delay_ms_max, lost_percent);
    }

    pub(super) fn cut(&self, from: Replica, to: Replica) {
        self.state.lock().cut.insert((from, to));
    }

    pub(super) fn heal(&self) {
        self.state.lock().cut.clear();
    }

    pub(super) fn trace(&self) -> u64 {
        self.state.lock().trace
    }

    /// Ends when the message has arrived; never if it is lost.
    async fn carry(&self, from: Replica, to: Replica, bytes: &Bytes) {
        let (lost, delay_ms) = {
            let mut state = self.state.lock();
            let (lost, delay) = (state.lost_percent, state.delay_ms_max + 1);
            (state.dice.chance(lost) || state.cut.contains(&(from, to)), state.dice.below(delay))
        };
        if lost {
            std::future::pending::<()>().await;
        }
        self.clock.sleep_ms(delay_ms).await;
        let mut state = self.state.lock();
        let word = u64::from(stdx::crc32c(bytes)) ^ self.clock.elapsed_ms() << 32;
        state.trace = Dice::new(state.trace ^ word).bits();
    }
}

impl Transport for Side {
    fn call(&self, to: Replica, _: &Member, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let (net, from) = (self.net.clone(), self.from);
        Box::pin(async move {
            net.carry(from, to, &request).await;
            let Some((quorum, tasks)) = net.state.lock().running.get(&to).cloned() else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (sender, receiver) = oneshot::channel();
            tasks.spawn(Box::pin(async move {
                let _ = sender.send(quorum.serve(request).await);
            }));
            let answer = receiver.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
            net.carry(to, from, &answer).await;
            Ok(answer)
        })
    }
}
