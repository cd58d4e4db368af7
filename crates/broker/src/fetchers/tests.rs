//! Several brokers in one simulated world, led by one controller: what was acknowledged outlives leaders, logs are
//! equal, and who falls behind leaves.

#![allow(clippy::disallowed_methods, reason = "a test is the world of the brokers that it tests")]

#[allow(dead_code, reason = "shared with the tests of the API")]
#[path = "../../tests/api/harness/batches.rs"]
pub(crate) mod batches;
mod chaos;
#[allow(dead_code, reason = "shared with the tests of the API")]
#[path = "../../tests/api/harness/client.rs"]
pub(crate) mod client;
mod cluster;
mod coordinators;
mod failover;
mod in_sync;
#[allow(dead_code, reason = "shared with the tests of the API")]
#[path = "../../tests/api/harness/pipe.rs"]
pub(crate) mod pipe;
#[allow(dead_code, reason = "shared with the tests of the API")]
#[path = "../../tests/api/harness/world.rs"]
pub(crate) mod world;

use batches::{batch, values};
use cluster::Cluster;
