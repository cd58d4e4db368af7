//! How the client of `crates/client` reaches a broker of the tests: over pipes that can be cut at a chosen request.
//!
//! It reads no answers; it only looks at which request is written.

use super::{
    node::Node,
    pipe::{self, Wire},
};
use broker::Broker;
use bytes::{Bytes, BytesMut};
use client::Connect;
use env::{BoxFuture, Connection, Incoming, Tasks};
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use stdx::Parts;
use wire::ApiKey;

/// The way to a broker, which may be another one later.
#[derive(Clone, Default)]
pub(crate) struct Reach(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    broker: Option<(Arc<Broker>, Arc<dyn Tasks>)>,
    cuts: VecDeque<(ApiKey, Cut)>,
    connections: usize,
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The broker never sees the request.
    Request,
    /// The broker answers, and nobody hears it.
    Answer,
}

/// The client's end of a pipe.
struct End {
    reach: Reach,
    wire: Option<Wire>,
    rest: Bytes,
}

impl Reach {
    /// The way to this node from now on.
    pub(crate) fn point_at(&self, node: &Node) {
        self.0.lock().unwrap().broker = Some((node.broker.clone(), node.tasks.clone()));
    }

    /// Nobody is there.
    pub(crate) fn point_nowhere(&self) {
        self.0.lock().unwrap().broker = None;
    }

    /// Cuts the connection at the next request of this kind; several are cut in their order.
    pub(crate) fn cut(&self, key: ApiKey, cut: Cut) {
        self.0.lock().unwrap().cuts.push_back((key, cut));
    }

    /// Every cut was made.
    pub(crate) fn assert_cut(&self) {
        assert_eq!(self.0.lock().unwrap().cuts.len(), 0, "cuts that no request met");
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.0.lock().unwrap().connections
    }

    fn cut_of(&self, frame: &[u8]) -> Option<Cut> {
        let mut inner = self.0.lock().unwrap();
        let key = i16::from_be_bytes([frame[4], frame[5]]);
        let due = inner.cuts.front().filter(|(cut_at, _)| cut_at.to_i16() == key)?.1;
        inner.cuts.pop_front();
        Some(due)
    }
}

impl Connect for Reach {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let mut inner = self.0.lock().unwrap();
            let (broker, tasks) = inner.broker.clone().ok_or(io::ErrorKind::ConnectionRefused)?;
            inner.connections += 1;
            let (wire, pipe) = pipe::connect();
            let incoming = Incoming { listener: "PLAINTEXT".into(), connection: Box::new(pipe) };
            tasks.spawn(Box::pin(broker.serve(incoming)));
            let end = End { reach: self.clone(), wire: Some(wire), rest: Bytes::new() };
            Ok(Box::new(end) as Box<dyn Connection>)
        })
    }
}

impl Connection for End {
    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 9092).into()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            while self.rest.is_empty() {
                let Some(wire) = &mut self.wire else { return Ok(0) };
                match wire.from_broker.recv().await {
                    Some(bytes) => self.rest = bytes,
                    None => return Ok(0),
                }
            }
            let room = buffer.capacity() - buffer.len();
            let taken = self.rest.split_to(room.min(self.rest.len()));
            buffer.extend_from_slice(&taken);
            Ok(taken.len())
        })
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let bytes = log::testing::bytes_of(&parts);
            let cut = self.reach.cut_of(&bytes);
            if cut == Some(Cut::Request) {
                self.wire = None;
            }
            let to_broker = self.wire.as_ref().and_then(|wire| wire.to_broker.clone());
            let to_broker = to_broker.ok_or(io::ErrorKind::BrokenPipe)?;
            let sent = to_broker.send(bytes.into()).await;
            if cut == Some(Cut::Answer) {
                // The broker reads what was sent before it sees the end.
                self.wire = None;
            }
            sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}
