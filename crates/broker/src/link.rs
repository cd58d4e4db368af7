//! The way to other nodes, for everything that this one asks of them: calls of Kafka's APIs, single frames for the time
//! before there is a quorum, and connections for whoever keeps one to itself (fetchers, the consensus).
//!
//! It knows addresses and frames, not who is asked for what. Who asks sets the time limit.

use bytes::{Buf, Bytes, BytesMut};
use client::{Config, Connect, Error, Link};
use env::{BoxFuture, Connection, Network, World};
use parking_lot::Mutex;
use quorum::{Dial, Member, Replica};
use std::{collections::BTreeMap, fmt, future::ready, io, sync::Arc};
use stdx::Parts;
use wire::Request;

/// Connections to one address that are kept while nothing is under way.
const IDLE_MAX: usize = 4;
/// No call takes longer, whatever its limit.
const CALL_MS_MAX: i64 = 60_000;
/// No answer to a single frame is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
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

/// What comes of a connection on which nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knock {
    /// Nobody listens.
    Refused,
    /// It was accepted and has ended: the other side is closing everything, or has no place for one more.
    Ended,
    /// It stands, or there is no telling: who does not answer in time may still be there.
    Stands,
}

/// See the head of the file.
pub(crate) struct Links {
    network: Arc<dyn Network>,
    world: World,
    /// Each carries one call at a time: a call that waits at the other node holds up no other.
    idle: Mutex<BTreeMap<Address, Vec<Link>>>,
}

impl Links {
    pub(crate) fn new(network: Arc<dyn Network>, world: World) -> Arc<Self> {
        Arc::new(Self { network, world, idle: Mutex::default() })
    }

    /// Asks, at the newest version of the API that both sides have; gives up after `timeout_ms`.
    pub(crate) async fn call<R: Request>(
        &self,
        to: &Address,
        request: &R,
        timeout_ms: i64,
    ) -> io::Result<R::Response> {
        let clock = &self.world.clock;
        tokio::select! {
            biased;
            answer = self.call_patiently(to, request, timeout_ms) => answer.map_err(io::Error::other),
            () = clock.sleep_until(clock.after_millis(timeout_ms)) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn call_patiently<R: Request>(
        &self,
        to: &Address,
        request: &R,
        timeout_ms: i64,
    ) -> Result<R::Response, Error> {
        if let Some(link) = self.take_idle(to) {
            match link.call(request).await {
                // It may have ended while it was kept; what is sent twice is told apart by who receives it.
                Err(Error::Closed { .. }) => {}
                answer => return self.keep(to, link, answer),
            }
        }
        let config = Config {
            client_id: CLIENT_ID.into(),
            connect_timeout_ms: timeout_ms,
            // The link will serve others, whose limits are theirs.
            request_timeout_ms: CALL_MS_MAX,
            ..Config::new(Vec::new())
        };
        let link = Link::open(&self.world, self, &config, &to.to_string()).await?;
        let answer = link.call(request).await;
        self.keep(to, link, answer)
    }

    fn take_idle(&self, to: &Address) -> Option<Link> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(to)?;
        kept.retain(|link| !link.is_broken());
        kept.pop()
    }

    fn keep<T>(&self, to: &Address, link: Link, answer: Result<T, Error>) -> Result<T, Error> {
        if answer.is_ok() {
            let mut idle = self.idle.lock();
            let kept = idle.entry(to.clone()).or_default();
            if kept.len() < IDLE_MAX {
                kept.push(link);
            }
        }
        answer
    }

    /// Connects, says nothing, and tells what comes of it within `timeout_ms`.
    pub(crate) async fn knock(&self, address: &Address, timeout_ms: i64) -> Knock {
        let knocking = async {
            let mut connection = match self.network.connect(&address.host, address.port).await {
                Ok(connection) => connection,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Knock::Refused,
                Err(_) => return Knock::Stands,
            };
            match connection.read(&mut BytesMut::with_capacity(1)).await {
                Ok(0) | Err(_) => Knock::Ended,
                Ok(_) => Knock::Stands,
            }
        };
        let clock = &self.world.clock;
        tokio::select! {
            biased;
            found = knocking => found,
            () = clock.sleep_until(clock.after_millis(timeout_ms)) => Knock::Stands,
        }
    }

    /// Sends a whole frame on a connection of its own and gives the answer without its length.
    pub(crate) async fn exchange(&self, to: &Address, frame: Bytes, timeout_ms: i64) -> io::Result<Bytes> {
        let exchanging = async {
            let mut connection = self.network.connect(&to.host, to.port).await?;
            connection.write(Parts::from(frame)).await?;
            let answer = read_frame(&mut *connection, ANSWER_BYTES_MAX).await?;
            answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        let clock = &self.world.clock;
        tokio::select! {
            biased;
            answer = exchanging => answer,
            () = clock.sleep_until(clock.after_millis(timeout_ms)) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Connect for Links {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        let parsed = addr.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parsed {
            Some((host, port)) => self.network.connect(host.trim_matches(['[', ']']), port),
            None => Box::pin(ready(Err(io::ErrorKind::InvalidInput.into()))),
        }
    }
}

impl Dial for Links {
    fn dial(&self, to: Replica, member: &Member) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        match member.endpoints.first() {
            Some(endpoint) => self.network.connect(&endpoint.host, endpoint.port),
            None => Box::pin(ready(Err(io::Error::other(format!("{to} has named no listener"))))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
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
