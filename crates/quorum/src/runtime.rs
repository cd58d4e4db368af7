//! The Raft library's runtime, made of `env`: its time, tasks and dice are those of the node, so that the simulator owns
//! them.
//!
//! The library asks for all of these by functions without an argument. So each future of a node is polled with the
//! node's world at hand ([`in_world`]), in a variable of the thread; what it spawns is wrapped in the same way. It is
//! the only such variable of the program, and nothing but this module sees it.

mod channels;
mod instant;
mod task;

use crate::runtime::{
    channels::{EnvMpsc, EnvMutex, EnvOneshot, EnvWatch},
    task::{Ended, Handle, Timed, TimedOut},
};
pub(crate) use instant::EnvInstant;

use env::{BoxFuture, World};
use openraft::{OptionalSend, async_runtime::AsyncRuntime};
use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// The library yields by sleeps of a nanosecond and gathers completions by sleeps of a microsecond; timers would make a
/// millisecond of both.
const YIELD_NS_MAX: u128 = 10_000;

/// The runtime.
#[derive(Debug)]
pub(crate) struct EnvRuntime;

/// `future`, polled with `world` at hand.
pub(crate) fn in_world<F: Future>(world: World, future: F) -> InWorld<F> {
    InWorld { world, future: Box::pin(future) }
}

/// See [`in_world`].
pub(crate) struct InWorld<F> {
    world: World,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for InWorld<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = WORLD.with_borrow_mut(|current| current.replace(self.world.clone()));
        let _restore = Restore(before);
        self.future.as_mut().poll(context)
    }
}

/// Puts back what was at hand before, also if the future panics.
struct Restore(Option<World>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        WORLD.with_borrow_mut(|current| *current = before);
    }
}

/// The world at hand. Outside of [`in_world`] there is none, which is a mistake of ours.
fn world() -> Option<World> {
    let world = WORLD.with_borrow(Clone::clone);
    debug_assert!(world.is_some(), "the Raft library runs outside of a node's world");
    world
}

impl AsyncRuntime for EnvRuntime {
    type JoinError = Ended;
    type JoinHandle<T: OptionalSend + 'static> = Handle<T>;
    type Sleep = BoxFuture<'static, ()>;
    type Instant = EnvInstant;
    type TimeoutError = TimedOut;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timed<T>;
    type ThreadLocalRng = EnvRandom;
    type Mpsc = EnvMpsc;
    type Watch = EnvWatch;
    type Oneshot = EnvOneshot;
    type Mutex<T: OptionalSend + 'static> = EnvMutex<T>;

    fn spawn<T>(future: T) -> Handle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        if let Some(world) = world() {
            let task = in_world(world.clone(), async move {
                // Whoever waits for it may be gone.
                let _ = sender.send(future.await);
            });
            world.tasks.spawn(Box::pin(task));
        }
        Handle(receiver)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        if duration.as_nanos() <= YIELD_NS_MAX {
            return Box::pin(yield_now());
        }
        Self::sleep_until(<EnvInstant as openraft::Instant>::now() + duration)
    }

    /// A deadline is kept however near it is: who computes the next one from the time, as the library's ticks do, would
    /// come back to the same deadline until time has passed, and where nobody waits time does not pass in a simulation.
    fn sleep_until(deadline: EnvInstant) -> Self::Sleep {
        match world() {
            Some(world) if deadline.0 <= world.clock.now() => Box::pin(yield_now()),
            Some(world) => world.clock.sleep_until(deadline.0),
            None => Box::pin(std::future::pending()),
        }
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timed<F> {
        Timed::new(future, Self::sleep(duration))
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: EnvInstant, future: F) -> Timed<F> {
        Timed::new(future, Self::sleep_until(deadline))
    }

    fn is_panic(_: &Ended) -> bool {
        false
    }

    fn thread_rng() -> EnvRandom {
        EnvRandom
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    /// Only the library's own tests block on a runtime.
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        futures_util::FutureExt::now_or_never(future)
            .unwrap_or_else(|| unreachable!("nobody blocks on the node's runtime"))
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let world = world();
        async move {
            match world {
                Some(world) => on_lane(&world, work).await,
                None => Err(stopped()),
            }
        }
    }
}

/// Lets the other tasks have their turn once.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a blocking job on a disk lane; an error if the node stops meanwhile.
pub(crate) async fn on_lane<T: Send + 'static>(
    world: &World,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    world.tasks.run_on_lane(Box::new(move || {
        let _ = sender.send(work());
    }));
    receiver.await.map_err(|_| stopped())
}

fn stopped() -> io::Error {
    io::Error::other("the node stops")
}

/// The node's dice.
pub(crate) struct EnvRandom;

impl rand::TryRng for EnvRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|bits| bits as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(world().map_or(0, |world| world.random.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(bits).for_each(|(byte, bit)| *byte = bit);
        }
        Ok(())
    }
}
