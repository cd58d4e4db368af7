//! The simulated world: the real `broker` crate on one machine or a cluster of them that a seed governs, with clients that
//! produce, consume, commit and administer, trouble of every kind, and checks over what the clients saw.
//!
//! It is not a model of the broker and knows nothing of its insides. Read [`run()`] first; `docs/invariants.md` lists
//! what is checked.

#![allow(unreachable_pub, reason = "a tool: what its own command does not use stays inside")]

mod checks;
mod client;
mod cluster;
mod cluster_run;
mod dice;
mod drawing;
mod history;
mod node;
mod plan;
mod plant;
mod planted_link;
mod planted_start;
mod run;
mod schedule;
mod storms;
mod trace;
mod value;
mod world;

pub use history::Violation;
pub use run::{Options, Report, run};
pub use trace::Keep;
pub use world::Plant;
