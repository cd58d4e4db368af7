//! The operating system behind the traits of `env`: real time, real files, threads for disk lanes, tokio's reactor.
//!
//! It is the only place in the shipped code that touches any of them. `sim` has its counterpart.

mod clock;
mod disk;
mod lanes;
mod socket;
mod tasks;
mod uncached;
mod write_back;

pub use disk::RealFile;
pub use socket::{RealNetwork, Socket, accept, bind, connect};

use std::sync::Arc;

/// The real world.
pub fn world() -> env::World {
    env::World {
        clock: Arc::new(clock::RealClock::start()),
        disk: Arc::new(disk::RealDisk),
        random: Arc::new(RealRandom),
        tasks: Arc::new(tasks::RealTasks::new()),
    }
}

struct RealRandom;

impl env::Random for RealRandom {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}
