//! Connections between clients and nodes and among nodes: bytes that arrive late, in pieces, and not at all once a
//! connection was reset; ways between two hosts that are cut, in one direction or both; hosts that fall silent. It knows
//! no frames. A node's end is an `env::Connection`; clients use the other one directly.

use crate::{
    dice::Dice,
    note,
    trace::Trace,
    world::{SimClock, SimFile},
};
use bytes::{Buf, Bytes, BytesMut};
use env::{BoxFuture, Clock, Connection, File, Nanos};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
};
use stdx::{Part, Parts};
use tokio::sync::Notify;

/// A host: the number of a node, or [`CLIENTS`].
pub type Host = i32;
/// Where all clients are.
pub const CLIENTS: Host = 0;

/// Takes the connections that come to a host.
pub trait Entrance: Send + Sync {
    /// A connection has come to a port; it is dropped if nobody listens there.
    fn accept(&self, port: u16, connection: SimConnection);
}

/// All connections.
pub struct Network {
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    state: Mutex<NetworkState>,
}

struct NetworkState {
    dice: Dice,
    opened: u64,
    delay_ms_max: u64,
    links: Vec<Wired>,
    listening: BTreeMap<Host, Arc<dyn Entrance>>,
    /// Nothing that the first sends arrives at the second.
    cut: BTreeSet<(Host, Host)>,
    /// Hosts without power: nobody is told that their connections have ended.
    silent: BTreeSet<Host>,
}

/// A connection: who has opened it to whom, and the ways there and back.
struct Wired {
    from: Host,
    to: Host,
    pipes: [Arc<Pipe>; 2],
}

/// The network as one node sees it: hosts are called by the name that [`name_of`] gives them.
pub struct Side {
    network: Arc<Network>,
    from: Host,
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
    /// Nothing arrives, not even the end: the way is cut or a host is silent.
    hidden: bool,
}

/// Bytes under way at which a writer waits, as a socket's buffers would make it.
const BYTES_MAX: usize = 256 * 1024;

/// How often a connection that cannot be opened is tried again, as SYNs are repeated.
const SYN_MS: u64 = 200;

/// What a host is called.
pub fn name_of(host: Host) -> String {
    format!("node{host}")
}

impl Network {
    /// No connections yet.
    pub fn new(clock: Arc<SimClock>, trace: Arc<Trace>, dice: Dice) -> Arc<Self> {
        let state = NetworkState {
            dice,
            opened: 0,
            delay_ms_max: 3,
            links: Vec::new(),
            listening: BTreeMap::new(),
            cut: BTreeSet::new(),
            silent: BTreeSet::new(),
        };
        Arc::new(Self { clock, trace, state: Mutex::new(state) })
    }

    /// Opens a connection from one host to another: the end of who opens it and the other end.
    pub fn connect(&self, from: Host, to: Host) -> (SimConnection, SimConnection) {
        let mut state = self.state.lock();
        state.opened += 1;
        let number = state.opened;
        let delay_ms_max = state.delay_ms_max;
        let pipe = |label: &str, from, to| {
            let dice = state.dice.fork(&format!("{label}{number}"));
            Pipe::new(dice, delay_ms_max, state.is_hidden(from, to))
        };
        let (there, back) = (pipe("there", from, to), pipe("back", to, from));
        state.links.retain(|Wired { pipes: [there, back], .. }| {
            Arc::strong_count(there) > 1 || Arc::strong_count(back) > 1
        });
        state.links.push(Wired { from, to, pipes: [there.clone(), back.clone()] });
        let end = |name: String, incoming: Arc<Pipe>, outgoing: Arc<Pipe>, lingers| SimConnection {
            clock: self.clock.clone(),
            trace: self.trace.clone(),
            name,
            peer: ([127, 0, 0, from as u8 + 1], 40_000 + (number % 20_000) as u16).into(),
            incoming,
            outgoing,
            lingers,
        };
        let is_node = from != CLIENTS;
        let mine = end(format!("c{number}"), back.clone(), there.clone(), is_node);
        (mine, end(format!("s{number}"), there, back, true))
    }

    /// Opens a connection to whoever listens at a host; an error if nobody does.
    pub async fn call(&self, from: Host, to: Host, port: u16) -> io::Result<SimConnection> {
        let delay = {
            let mut state = self.state.lock();
            let max = state.delay_ms_max;
            state.dice.range(0..=max)
        };
        self.clock.sleep_ms(delay).await;
        while self.state.lock().is_unreachable(from, to) {
            self.clock.sleep_ms(SYN_MS).await;
        }
        let entrance = self.state.lock().listening.get(&to).cloned();
        let entrance = entrance.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (mine, theirs) = self.connect(from, to);
        note!(self.trace, "net {} opens from {from} to {to}:{port}", mine.name);
        entrance.accept(port, theirs);
        Ok(mine)
    }

    /// From now on connections to `host` go there; what was silent of it is reset.
    pub fn listen(&self, host: Host, entrance: Arc<dyn Entrance>) {
        let mut state = self.state.lock();
        state.listening.insert(host, entrance);
        if state.silent.remove(&host) {
            let (old, rest) = state.links.drain(..).partition(|link| link.touches(host));
            state.links = rest;
            let old: Vec<Wired> = old;
            for pipe in old.iter().flat_map(|link| &link.pipes) {
                pipe.end(true);
                pipe.set_hidden(false);
            }
        }
    }

    /// Resets every connection with this chance in 100: nothing that is under way arrives.
    pub fn reset_some(&self, percent: u64) {
        let mut state = self.state.lock();
        let NetworkState { dice, links, .. } = &mut *state;
        for link in links.iter().filter(|_| dice.chance(percent)) {
            link.pipes.iter().for_each(|pipe| pipe.end(true));
        }
    }

    /// The process of a host is gone: its connections end, some with what it had sent, some without.
    pub fn end_all(&self, host: Host) {
        let mut state = self.state.lock();
        state.listening.remove(&host);
        let NetworkState { dice, links, .. } = &mut *state;
        for Wired { to, pipes: [there, back], .. } in links.iter().filter(|link| link.touches(host)) {
            let (towards, away) = if *to == host { (there, back) } else { (back, there) };
            towards.end(true);
            away.end(dice.chance(50));
        }
        // Where the way is cut, the other side hears of it once that is healed.
        links.retain(|link| !link.touches(host) || link.pipes.iter().any(|pipe| pipe.is_hidden()));
    }

    /// A host has no power: nobody hears anything of it until it listens again.
    pub fn fall_silent(&self, host: Host) {
        let mut state = self.state.lock();
        state.listening.remove(&host);
        state.silent.insert(host);
        for pipe in state.links.iter().filter(|link| link.touches(host)).flat_map(|link| &link.pipes) {
            pipe.set_hidden(true);
        }
    }

    /// How long bytes of connections that are opened from now on are under way at most.
    pub fn set_delay(&self, delay_ms_max: u64) {
        self.state.lock().delay_ms_max = delay_ms_max;
    }

    /// Cuts exactly these ways; all others are open.
    pub fn set_cut(&self, cut: BTreeSet<(Host, Host)>) {
        let mut state = self.state.lock();
        state.cut = cut;
        for Wired { from, to, pipes: [there, back] } in &state.links {
            there.set_hidden(state.is_hidden(*from, *to));
            back.set_hidden(state.is_hidden(*to, *from));
        }
    }
}

impl NetworkState {
    fn is_hidden(&self, from: Host, to: Host) -> bool {
        from != to && self.cut.contains(&(from, to))
            || self.silent.contains(&from)
            || self.silent.contains(&to)
    }

    fn is_unreachable(&self, from: Host, to: Host) -> bool {
        self.is_hidden(from, to) || self.is_hidden(to, from)
    }
}

impl Wired {
    fn touches(&self, host: Host) -> bool {
        self.from == host || self.to == host
    }
}

impl Side {
    /// The network of `from`.
    pub fn new(network: Arc<Network>, from: Host) -> Arc<Self> {
        Arc::new(Self { network, from })
    }
}

impl env::Network for Side {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let (network, from) = (self.network.clone(), self.from);
        let to = host.strip_prefix("node").and_then(|number| number.parse::<Host>().ok());
        Box::pin(async move {
            let to = to.ok_or(io::ErrorKind::NotFound)?;
            let connection = network.call(from, to, port).await?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }
}

impl Pipe {
    fn new(dice: Dice, delay_ms_max: u64, hidden: bool) -> Arc<Self> {
        let state = PipeState {
            dice,
            delay_ms_max,
            chunks: VecDeque::new(),
            bytes: 0,
            last_arrival: 0,
            closed: false,
            reset: false,
            hidden,
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

    fn set_hidden(&self, hidden: bool) {
        self.state.lock().hidden = hidden;
        self.arrived.notify_one();
        self.taken.notify_one();
    }

    fn is_hidden(&self) -> bool {
        self.state.lock().hidden
    }

    /// Takes what has arrived; says when to look again if there is nothing.
    fn take(&self, now: Nanos, buffer: &mut BytesMut) -> io::Result<Result<usize, Option<Nanos>>> {
        let mut state = self.state.lock();
        if state.hidden {
            return Ok(Err(None));
        }
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
        if state.closed && !state.hidden {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{trace::Keep, world::Clocked};

    struct Kept(Mutex<Vec<SimConnection>>);

    impl Entrance for Kept {
        fn accept(&self, _: u16, connection: SimConnection) {
            self.0.lock().push(connection);
        }
    }

    /// Two hosts with a connection from the first to the second.
    async fn connected() -> (Arc<SimClock>, Arc<Network>, SimConnection, SimConnection) {
        let clock = SimClock::new();
        let network = Network::new(clock.clone(), Trace::new(clock.clone(), Keep::All), Dice::new(1));
        let kept = Arc::new(Kept(Mutex::default()));
        network.listen(2, kept.clone());
        let mine = network.call(1, 2, 9).await.unwrap();
        let theirs = kept.0.lock().pop().unwrap();
        (clock, network, mine, theirs)
    }

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    /// What arrives within a second.
    async fn hear(clock: &SimClock, end: &mut SimConnection) -> Option<io::Result<Vec<u8>>> {
        let mut buffer = BytesMut::with_capacity(100);
        let read = end.read(&mut buffer).within(clock, 1000).await.ok()?;
        Some(read.map(|_| buffer.to_vec()))
    }

    async fn say(end: &mut SimConnection, what: &'static [u8]) {
        end.write(Bytes::from_static(what).into()).await.unwrap();
    }

    #[test]
    fn what_is_sent_over_a_cut_way_arrives_once_it_is_healed_and_the_other_way_is_open() {
        run(async {
            let (clock, network, mut mine, mut theirs) = connected().await;
            network.set_cut(BTreeSet::from([(1, 2)]));
            say(&mut mine, b"a").await;
            say(&mut theirs, b"b").await;
            assert!(hear(&clock, &mut theirs).await.is_none());
            assert_eq!(hear(&clock, &mut mine).await.unwrap().unwrap(), b"b");
            let opening = network.call(1, 2, 9).within(&clock, 1000).await;
            assert!(opening.is_err(), "nobody is reached who cannot be heard");
            network.set_cut(BTreeSet::new());
            assert_eq!(hear(&clock, &mut theirs).await.unwrap().unwrap(), b"a");
        });
    }

    #[test]
    fn the_end_of_a_process_is_noticed_and_that_of_a_machine_only_when_it_is_back() {
        run(async {
            let (clock, network, mut mine, theirs) = connected().await;
            network.fall_silent(2);
            drop(theirs);
            assert!(hear(&clock, &mut mine).await.is_none());
            network.listen(2, Arc::new(Kept(Mutex::default())));
            assert!(hear(&clock, &mut mine).await.unwrap().is_err());
            let mut next = network.call(1, 2, 9).await.unwrap();
            network.end_all(2);
            let heard = hear(&clock, &mut next).await.unwrap();
            assert!(heard.is_err() || heard.unwrap().is_empty());
            let refused = network.call(1, 2, 9).await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}
