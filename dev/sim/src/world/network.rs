//! Connections between clients and the node: bytes that arrive late, in pieces, and not at all once a connection was
//! reset. It knows no frames. The node's end is an `env::Connection`; clients use the other one directly.

use crate::{
    dice::Dice,
    note,
    trace::Trace,
    world::{SimClock, SimFile},
};
use bytes::{Buf, Bytes, BytesMut};
use env::{BoxFuture, Clock, Connection, File, Nanos};
use parking_lot::Mutex;
use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc};
use stdx::{Part, Parts};
use tokio::sync::Notify;

/// All connections to the node.
pub struct Network {
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    state: Mutex<NetworkState>,
}

struct NetworkState {
    dice: Dice,
    opened: u64,
    delay_ms_max: u64,
    links: Vec<[Arc<Pipe>; 2]>,
}

/// One end of a connection.
pub struct SimConnection {
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    name: String,
    peer: SocketAddr,
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    /// Whether what was sent still arrives after this end is gone.
    lingers: bool,
}

/// Bytes on their way in one direction.
struct Pipe {
    state: Mutex<PipeState>,
    arrived: Notify,
    taken: Notify,
}

struct PipeState {
    dice: Dice,
    delay_ms_max: u64,
    chunks: VecDeque<(Nanos, Bytes)>,
    bytes: usize,
    last_arrival: Nanos,
    closed: bool,
    reset: bool,
}

/// Bytes under way at which a writer waits, as a socket's buffers would make it.
const BYTES_MAX: usize = 256 * 1024;

impl Network {
    /// No connections yet.
    pub fn new(clock: Arc<SimClock>, trace: Arc<Trace>, dice: Dice) -> Arc<Self> {
        let state = NetworkState { dice, opened: 0, delay_ms_max: 3, links: Vec::new() };
        Arc::new(Self { clock, trace, state: Mutex::new(state) })
    }

    /// Opens a connection: the client's end and the node's.
    pub fn connect(&self) -> (SimConnection, SimConnection) {
        let mut state = self.state.lock();
        state.opened += 1;
        let number = state.opened;
        let delay_ms_max = state.delay_ms_max;
        let pipe = |label: &str| {
            let dice = state.dice.fork(&format!("{label}{number}"));
            Pipe::new(dice, delay_ms_max)
        };
        let (there, back) = (pipe("there"), pipe("back"));
        state.links.retain(|[there, back]| Arc::strong_count(there) > 1 || Arc::strong_count(back) > 1);
        state.links.push([there.clone(), back.clone()]);
        let end = |name: String, incoming: Arc<Pipe>, outgoing: Arc<Pipe>, lingers| SimConnection {
            clock: self.clock.clone(),
            trace: self.trace.clone(),
            name,
            peer: ([127, 0, 0, 1], 40_000 + (number % 20_000) as u16).into(),
            incoming,
            outgoing,
            lingers,
        };
        let client = end(format!("c{number}"), back.clone(), there.clone(), false);
        (client, end(format!("s{number}"), there, back, true))
    }

    /// Resets every connection with this chance in 100: nothing that is under way arrives.
    pub fn reset_some(&self, percent: u64) {
        let mut state = self.state.lock();
        let NetworkState { dice, links, .. } = &mut *state;
        for link in links.iter().filter(|_| dice.chance(percent)) {
            link.iter().for_each(|pipe| pipe.end(true));
        }
    }

    /// The node is gone: its connections end, some with what it had sent, some without.
    pub fn end_all(&self) {
        let mut state = self.state.lock();
        let NetworkState { dice, links, .. } = &mut *state;
        for [there, back] in links.drain(..) {
            there.end(true);
            back.end(dice.chance(50));
        }
    }

    /// How long bytes of connections that are opened from now on are under way at most.
    pub fn set_delay(&self, delay_ms_max: u64) {
        self.state.lock().delay_ms_max = delay_ms_max;
    }
}

impl Pipe {
    fn new(dice: Dice, delay_ms_max: u64) -> Arc<Self> {
        let state = PipeState {
            dice,
            delay_ms_max,
            chunks: VecDeque::new(),
            bytes: 0,
            last_arrival: 0,
            closed: false,
            reset: false,
        };
        Arc::new(Self { state: Mutex::new(state), arrived: Notify::new(), taken: Notify::new() })
    }

    fn end(&self, reset: bool) {
        let mut state = self.state.lock();
        state.closed = true;
        if reset {
            state.reset = true;
            state.chunks.clear();
        }
        self.arrived.notify_one();
        self.taken.notify_one();
    }

    /// Takes what has arrived; says when to look again if there is nothing.
    fn take(&self, now: Nanos, buffer: &mut BytesMut) -> io::Result<Result<usize, Option<Nanos>>> {
        let mut state = self.state.lock();
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let split = state.dice.chance(20);
        let PipeState { chunks, bytes, dice, closed, .. } = &mut *state;
        match chunks.front_mut() {
            Some((at, chunk)) if *at <= now => {
                let room = (buffer.capacity() - buffer.len()).min(chunk.len());
                let len = if split { dice.range(1..=room.max(1) as u64) as usize } else { room }.min(room);
                buffer.extend_from_slice(chunk.get(..len).unwrap_or_default());
                chunk.advance(len);
                *bytes -= len;
                if chunk.is_empty() {
                    chunks.pop_front();
                }
                self.taken.notify_one();
                Ok(Ok(len))
            }
            Some((at, _)) => Ok(Err(Some(*at))),
            None if *closed => Ok(Ok(0)),
            None => Ok(Err(None)),
        }
    }

    /// Puts bytes on their way; false if there is no room yet.
    fn put(&self, now: Nanos, bytes: &Bytes) -> io::Result<bool> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.bytes >= BYTES_MAX {
            return Ok(false);
        }
        let max = state.delay_ms_max;
        let at = (now + state.dice.range(0..=max) * 1_000_000).max(state.last_arrival);
        state.last_arrival = at;
        state.bytes += bytes.len();
        state.chunks.push_back((at, bytes.clone()));
        self.arrived.notify_one();
        Ok(true)
    }
}

impl SimConnection {
    /// Whether what was sent still arrives when this end is dropped. If not, dropping resets the connection.
    pub fn set_lingers(&mut self, lingers: bool) {
        self.lingers = lingers;
    }

    async fn read_some(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            match self.incoming.take(self.clock.now(), buffer)? {
                Ok(read) => return Ok(read),
                Err(None) => self.incoming.arrived.notified().await,
                Err(Some(at)) => {
                    tokio::select! {
                        biased;
                        () = self.incoming.arrived.notified() => {}
                        () = self.clock.sleep_until(at) => {}
                    }
                }
            }
        }
    }

    async fn write_all(&mut self, parts: Parts) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Memory(memory) => bytes.extend_from_slice(&memory),
                Part::File(region) => {
                    let file = region.file.downcast::<SimFile>();
                    let file = file.map_err(|_| io::Error::other("a region of a file of another world"))?;
                    let mut buffer = vec![0; region.len];
                    let read = file.read_at(&mut buffer, region.position)?;
                    if read < region.len {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    bytes.extend_from_slice(&buffer);
                }
            }
        }
        note!(self.trace, "net {} sends {} bytes {:08x}", self.name, bytes.len(), stdx::crc32c(&bytes));
        let bytes = Bytes::from(bytes);
        while !self.outgoing.put(self.clock.now(), &bytes)? {
            self.outgoing.taken.notified().await;
        }
        Ok(())
    }
}

impl Connection for SimConnection {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(self.read_some(buffer))
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.write_all(parts))
    }
}

impl Drop for SimConnection {
    /// Who goes away without reading what has arrived resets the connection.
    fn drop(&mut self) {
        self.outgoing.end(!self.lingers);
        self.incoming.end(true);
    }
}
