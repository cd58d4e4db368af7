//! The tasks of one start of a node, all of which end when it crashes, and its disk lanes: jobs that run after a delay
//! that the seed draws, so that jobs of different partitions overtake each other. It does not interrupt a job; the disk
//! can crash between two operations of one. A panic in any of them is caught and told. A [`Gate`] holds all tasks of a
//! machine where they are, as SIGSTOP does.

use crate::{dice::Dice, note, trace::Trace, world::SimClock};
use env::{BoxFuture, Job, Tasks};
use futures_util::FutureExt;
use parking_lot::Mutex;
use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::task::JoinSet;

/// How long jobs wait for their lane; shared by all starts of a node.
pub struct LaneSpeed {
    delay_ms_max: AtomicU64,
}

/// Whether the tasks of a machine may run; shared by all starts of its node.
#[derive(Default)]
pub struct Gate(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    is_shut: bool,
    wakers: Vec<Waker>,
}

/// A task behind a gate.
struct Gated {
    gate: Arc<Gate>,
    inner: BoxFuture<'static, ()>,
}

impl Gate {
    /// Stops all tasks where they are, or lets them go on; time goes on in any case.
    pub fn set_shut(&self, is_shut: bool) {
        let wakers = {
            let mut waiting = self.0.lock();
            waiting.is_shut = is_shut;
            if is_shut { Vec::new() } else { std::mem::take(&mut waiting.wakers) }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn holds(&self, context: &Context<'_>) -> bool {
        let mut waiting = self.0.lock();
        if waiting.is_shut {
            waiting.wakers.push(context.waker().clone());
        }
        waiting.is_shut
    }
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.gate.holds(context) { Poll::Pending } else { self.inner.as_mut().poll(context) }
    }
}

/// Runs what one start of a node spawns.
pub struct SimTasks {
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    speed: Arc<LaneSpeed>,
    gate: Arc<Gate>,
    dice: Mutex<Dice>,
    set: Mutex<JoinSet<()>>,
    ended: AtomicBool,
    panics: Arc<Mutex<Vec<String>>>,
}

impl LaneSpeed {
    /// Jobs wait up to `delay_ms_max`.
    pub fn new(delay_ms_max: u64) -> Arc<Self> {
        Arc::new(Self { delay_ms_max: AtomicU64::new(delay_ms_max) })
    }

    /// Makes the disk slower or faster.
    pub fn set(&self, delay_ms_max: u64) {
        self.delay_ms_max.store(delay_ms_max, Ordering::Relaxed);
    }
}

impl SimTasks {
    /// No tasks yet. What panics is noted in `panics`.
    pub fn new(
        clock: Arc<SimClock>,
        trace: Arc<Trace>,
        (speed, gate): (Arc<LaneSpeed>, Arc<Gate>),
        dice: Dice,
        panics: Arc<Mutex<Vec<String>>>,
    ) -> Arc<Self> {
        let (dice, set) = (Mutex::new(dice), Mutex::new(JoinSet::new()));
        Arc::new(Self { clock, trace, speed, gate, dice, set, ended: AtomicBool::new(false), panics })
    }

    /// Ends all tasks where they are, and waits until they are gone. Nothing can be spawned any more.
    pub async fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let mut set = std::mem::take(&mut *self.set.lock());
        set.shutdown().await;
    }

    fn add(&self, future: impl Future<Output = ()> + Send + 'static) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let (panics, trace) = (self.panics.clone(), self.trace.clone());
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        let inner = Box::pin(async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                let text = panic_text(&*panic);
                note!(trace, "PANIC {text}");
                panics.lock().push(text);
            }
        });
        set.spawn(Gated { gate: self.gate.clone(), inner });
    }
}

impl Tasks for SimTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.add(future);
    }

    fn run_on_lane(&self, job: Job) {
        let max = self.speed.delay_ms_max.load(Ordering::Relaxed);
        let delay = self.dice.lock().range(0..=max);
        let clock = self.clock.clone();
        self.add(async move {
            clock.sleep_ms(delay).await;
            job();
        });
    }

    fn run_on_worker(&self, job: Job) {
        // What overtakes what is drawn too: a computation may take as long as a slow disk.
        self.run_on_lane(job);
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Keep;

    #[test]
    fn tasks_behind_a_shut_gate_go_on_when_it_opens() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
            let (clock, gate) = (SimClock::new(), Arc::new(Gate::default()));
            let trace = Trace::new(clock.clone(), Keep::All);
            let pace = (LaneSpeed::new(0), gate.clone());
            let tasks = SimTasks::new(clock.clone(), trace, pace, Dice::new(1), Arc::default());
            let (ticks, waits) = (Arc::new(AtomicU64::new(0)), clock.clone());
            let counted = ticks.clone();
            tasks.spawn(Box::pin(async move {
                loop {
                    waits.sleep_ms(10).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }));
            clock.sleep_ms(55).await;
            gate.set_shut(true);
            clock.sleep_ms(100).await;
            assert_eq!(ticks.load(Ordering::Relaxed), 5);
            gate.set_shut(false);
            clock.sleep_ms(25).await;
            assert_eq!(ticks.load(Ordering::Relaxed), 8);
        });
    }
}
