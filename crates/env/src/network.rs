//! Byte streams between this node and one peer, and the way to other nodes.
//!
//! It knows no frames: `broker` cuts them. Listening belongs to `node` and `sim`, which hand over accepted connections.

use crate::BoxFuture;
use bytes::BytesMut;
use std::{io, net::SocketAddr};
use stdx::Parts;

/// An accepted connection.
pub trait Connection: Send {
    /// The peer's address.
    fn peer(&self) -> SocketAddr;
    /// Waits for bytes and appends them to `buffer`, at most as many as it has spare capacity (which must not be
    /// zero); 0 means that the peer has closed its side. May be cancelled without losing bytes.
    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>>;
    /// Writes all parts. Must not be cancelled: the stream would be cut inside a frame.
    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>>;
}

/// A connection and the listener it came from.
pub struct Incoming {
    /// The name of the listener, as configured.
    pub listener: String,
    /// The stream.
    pub connection: Box<dyn Connection>,
}

/// The way to other nodes.
pub trait Network: Send + Sync {
    /// Opens a connection. It is up to the caller to give up when it takes too long.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;
}

/// A network without anybody in it: for a node that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNetwork;

impl Network for NoNetwork {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::NetworkUnreachable.into())))
    }
}
