//! Requests to other nodes: one at a time on a connection, which is kept for the next.
//!
//! It knows addresses and frames, not who is asked for what. Who asks sets the time limit.

use bytes::{Buf, Bytes, BytesMut};
use env::{Clock, Connection, Network};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};
use stdx::Parts;
use wire::{Decoder, Message, Request, header};

/// Connections to one address that are kept while nothing is under way.
const IDLE_MAX: usize = 2;
/// No answer is longer: a fetch of metadata asks for a part of this.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What this node calls itself.
const CLIENT_ID: &str = "odradek";

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The way to other nodes.
pub(crate) struct Links {
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
    idle: Mutex<BTreeMap<Address, Vec<Box<dyn Connection>>>>,
}

impl Links {
    pub(crate) fn new(network: Arc<dyn Network>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { network, clock, idle: Mutex::default() })
    }

    /// Asks, at the newest version of the API; gives up after `timeout_ms`.
    pub(crate) async fn call<R: Request>(
        &self,
        to: &Address,
        request: &R,
        timeout_ms: i64,
    ) -> io::Result<R::Response> {
        let version = R::KEY.highest_stable();
        let frame = header::encode_request(0, Some(CLIENT_ID), version, request).map_err(io::Error::other)?;
        let answer = self.exchange(to, frame.to_bytes().unwrap_or_default(), timeout_ms).await?;
        let mut decoder = Decoder::new(answer, ANSWER_BYTES_MAX);
        header::decode_response(&mut decoder, R::KEY, version).map_err(io::Error::other)?;
        R::Response::decode(&mut decoder, version).map_err(io::Error::other)
    }

    /// Sends a whole frame and gives the answer without its length.
    pub(crate) async fn exchange(&self, to: &Address, frame: Bytes, timeout_ms: i64) -> io::Result<Bytes> {
        let late = self.clock.sleep_until(self.clock.after_millis(timeout_ms));
        tokio::select! {
            biased;
            answer = self.exchange_patiently(to, frame) => answer,
            () = late => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn exchange_patiently(&self, to: &Address, frame: Bytes) -> io::Result<Bytes> {
        let kept = self.idle.lock().get_mut(to).and_then(Vec::pop);
        if let Some(mut connection) = kept
            && let Ok(answer) = exchange(&mut *connection, frame.clone()).await
        {
            self.keep(to, connection);
            return Ok(answer);
        }
        // A kept connection may have been closed meanwhile; what is sent twice is told apart by who receives it.
        let mut connection = self.network.connect(&to.host, to.port).await?;
        let answer = exchange(&mut *connection, frame).await?;
        self.keep(to, connection);
        Ok(answer)
    }

    fn keep(&self, to: &Address, connection: Box<dyn Connection>) {
        let mut idle = self.idle.lock();
        let kept = idle.entry(to.clone()).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(connection);
        }
    }
}

async fn exchange(connection: &mut dyn Connection, frame: Bytes) -> io::Result<Bytes> {
    connection.write(Parts::from(frame)).await?;
    read_frame(connection, ANSWER_BYTES_MAX).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The next frame without its length; `None` if the peer has closed its side before.
pub(crate) async fn read_frame(
    connection: &mut dyn Connection,
    bytes_max: usize,
) -> io::Result<Option<Bytes>> {
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        if let Some(len) = buffer.first_chunk().map(|len| u32::from_be_bytes(*len) as usize) {
            if len > bytes_max {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a frame of such a length is refused",
                ));
            }
            if buffer.len() > 4 + len {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "there is more than one frame"));
            }
            if buffer.len() == 4 + len {
                buffer.advance(4);
                return Ok(Some(buffer.freeze()));
            }
        }
        if buffer.capacity() == buffer.len() {
            buffer.reserve(buffer.len().max(4096));
        }
        if connection.read(&mut buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}
