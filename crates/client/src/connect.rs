//! Opening connections to brokers.
//!
//! It resolves no name itself: the binary does it with the operating system, the simulator with its own world.

use env::{BoxFuture, Connection};
use std::io;

/// Opens byte streams.
pub trait Connect: Send + Sync {
    /// A stream to `addr`, a name or address with a port, as `localhost:9092` or `[::1]:9092`. The caller bounds the
    /// wait and may drop the future at any time.
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>>;
}
