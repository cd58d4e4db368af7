//! A cluster of real processes in network namespaces of its own, faults drawn from a seed, and a judgement over all that
//! unmodified clients did and saw meanwhile. Not a simulator: time, disks and sockets are the machine's, and a seed says
//! which faults come, not how they end. Called as `cargo xtask torture`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness lives outside the simulated world: it may use files, threads and the clock of the machine"
)]

pub mod checks;
pub mod drawing;
pub mod faults;
pub mod history;
pub mod kernel;
pub mod nemesis;
pub mod node;
pub mod origins;
pub mod place;
pub mod recorder;
pub mod run;
pub mod slow_link;
