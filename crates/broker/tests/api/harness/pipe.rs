//! An in-memory connection: what the client sends the broker reads, and the other way round.

use bytes::{Bytes, BytesMut};
use env::{BoxFuture, Connection};
use std::{io, net::SocketAddr};
use stdx::Parts;
use tokio::sync::mpsc;

/// Pieces on their way in one direction.
const PIECES_MAX: usize = 1024;

/// The client's end.
pub(crate) struct Wire {
    pub(crate) to_broker: Option<mpsc::Sender<Bytes>>,
    pub(crate) from_broker: mpsc::Receiver<Bytes>,
}

/// The broker's end.
pub(crate) struct Pipe {
    peer: SocketAddr,
    from_client: mpsc::Receiver<Bytes>,
    rest: Bytes,
    to_client: mpsc::Sender<Bytes>,
}

/// Both ends of a new connection.
pub(crate) fn connect() -> (Wire, Pipe) {
    connect_with_room(PIECES_MAX)
}

/// ... on which so many pieces may be on their way to the client.
pub(crate) fn connect_with_room(pieces_max: usize) -> (Wire, Pipe) {
    let (to_broker, from_client) = mpsc::channel(PIECES_MAX);
    let (to_client, from_broker) = mpsc::channel(pieces_max);
    let peer = ([127, 0, 0, 1], 50_000).into();
    let wire = Wire { to_broker: Some(to_broker), from_broker };
    (wire, Pipe { peer, from_client, rest: Bytes::new(), to_client })
}

impl Connection for Pipe {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            while self.rest.is_empty() {
                match self.from_client.recv().await {
                    Some(bytes) => self.rest = bytes,
                    None => return Ok(0),
                }
            }
            let room = buffer.capacity() - buffer.len();
            assert_ne!(room, 0, "a read without room");
            let taken = self.rest.split_to(room.min(self.rest.len()));
            buffer.extend_from_slice(&taken);
            Ok(taken.len())
        })
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let bytes = log::testing::bytes_of(&parts);
            assert_eq!(bytes.len(), parts.len(), "a file region that the disk does not have");
            let sent = self.to_client.send(bytes.into()).await;
            sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}
