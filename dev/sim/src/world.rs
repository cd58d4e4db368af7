//! The simulated world: what `env` promises, made of a paused clock, memory and dice.
//!
//! It knows nothing of Kafka. One thread runs everything, so that a seed decides every order.

mod clock;
mod damage;
mod disk;
mod faults;
mod file_system;
mod network;
mod random;
mod tasks;

pub use clock::{Clocked, SimClock};
pub use damage::Damage;
pub use disk::{DiskHost, SimFile};
pub use faults::{DiskFaults, Plant};
pub use file_system::FileSystem;
pub use network::{CLIENTS, Entrance, Host, Network, Side, SimConnection, name_of};
pub use random::SimRandom;
pub use tasks::{Gate, LaneSpeed, SimTasks};
