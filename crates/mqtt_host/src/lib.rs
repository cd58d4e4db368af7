//! MQTT 3.1.1 and 5.0 over any byte stream (docs/mqtt.md): it runs the session core of `mqtt` for each client, and carries out what
//! that orders, with records of topics.
//!
//! It opens no socket: who listens hands streams to [`Host::serve`], be they TCP, TLS or WebSocket. What a client may do [`Access`]
//! says, and where records lie [`Log`]. Sessions that outlive connections are records of a compacted topic (docs/decisions/0023).

mod access;
mod cluster_log;
mod directory;
mod durable;
mod host;
mod log;
mod message;
mod reading;
mod runner;
mod stream;
#[cfg(test)]
mod tests;

pub use access::{Access, Everybody};
pub use cluster_log::ClusterLog;
pub use host::{Config, Host};
pub use log::{Appending, Chunk, Failure, Log};
pub use stream::Stream;
