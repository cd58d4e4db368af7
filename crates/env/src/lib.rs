//! The world as small traits: the clock, the disk, randomness, tasks and the network.
//!
//! It decides nothing and implements nothing real: `node` implements these traits with the operating system, `sim`
//! with a simulated world. Everything above reaches the world through them and through nothing else.

mod clock;
mod disk;
mod network;
mod random;
mod tasks;

pub use clock::{Clock, Deadline, Millis, Nanos};
pub use disk::{Disk, Entry, File, Lock, Open, replace_whole, write_whole};
pub use network::{Connection, Incoming, Network, NoNetwork};
pub use random::Random;
pub use tasks::{Job, Tasks};

use std::{future::Future, pin::Pin, sync::Arc};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// All of the world that one node may touch. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Tasks on the reactor and jobs on disk lanes.
    pub tasks: Arc<dyn Tasks>,
}
