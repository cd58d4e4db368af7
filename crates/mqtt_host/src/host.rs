//! All clients of MQTT of one node: it takes streams, reads the CONNECT, finds out who it is, and hands the connection to the session of its
//! client identifier.

use crate::{
    access::{Access, Grants},
    directory::Directory,
    log::Log,
    runner::{Command, Connecting, Runner},
    stream::{Moved, Stream, drive},
};
use bytes::{Bytes, BytesMut};
use env::World;
use gateway::{Place as Origin, Rates};
use model::NodeId;
use mqtt::{
    codec::{Connect, Packet, Reason, Text, Version, decode, encode},
    session::{Authentication, Greeting, Handshake, refusal},
    topics::Place,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{mpsc, watch};

/// How long a client may take until its CONNECT is there.
const CONNECT_MS: i64 = 10_000;
/// The largest CONNECT: with a will and a password of 64 KiB each.
const CONNECT_BYTES_MAX: usize = 256 * 1024;
/// How long the last words to a client may take.
const LAST_WORDS_MS: i64 = 5_000;
/// Connections to one session that wait for each other.
const COMMANDS_MAX: usize = 4;
/// Grants with a rate whose uses are counted.
const RATES: usize = 64 * 1024;
/// How often it is looked which nodes are up.
const NODES_MS: i64 = 10_000;
/// How long a client waits for a node that has just started.
const READY_MS: i64 = 5_000;
/// How long it is waited until sessions are read, if they cannot be.
const PAUSE_MS: i64 = 500;

/// What a host is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// What sessions may have.
    pub session: mqtt::session::Config,
    /// How many connections there may be.
    pub connections_max: usize,
    /// How many of one address; 0: any number.
    pub address_connections_max: usize,
    /// How many sessions this node looks after, with connections or without.
    pub sessions_max: usize,
}

/// See the head of the file.
pub struct Host {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) rates: Mutex<Rates>,
    /// Turns true when the node stops.
    pub(crate) closing: watch::Sender<bool>,
    access: Arc<dyn Access>,
    runners: Mutex<BTreeMap<Bytes, mpsc::Sender<Command>>>,
    seats: Arc<Mutex<BTreeMap<Origin, usize>>>,
    /// The sessions of before are known.
    is_ready: watch::Sender<bool>,
    is_one_of_several: AtomicBool,
}

/// A connection that is counted until this is dropped.
pub(crate) struct Seat {
    seats: Arc<Mutex<BTreeMap<Origin, usize>>>,
    origin: Origin,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock();
        if let Some(count) = seats.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                seats.remove(&self.origin);
            }
        }
    }
}

impl Host {
    /// Nobody is served before [`Self::start`] has come to something.
    pub fn new(
        config: Config,
        world: World,
        log: Arc<dyn Log>,
        access: Arc<dyn Access>,
    ) -> Result<Arc<Self>, model::InvalidName> {
        let directory = Directory::new(log.clone(), world.clone(), config.node)?;
        let seeds = (world.random.next_u64(), world.random.next_u64());
        Ok(Arc::new(Self {
            config,
            log,
            directory,
            rates: Mutex::new(Rates::new(RATES, seeds)),
            closing: watch::Sender::new(false),
            access,
            runners: Mutex::default(),
            seats: Arc::default(),
            is_ready: watch::Sender::new(false),
            is_one_of_several: AtomicBool::new(false),
            world,
        }))
    }

    /// Begins to read the sessions; clients that come before all are known are told to come again.
    pub fn start(self: &Arc<Self>) {
        let this = self.clone();
        self.world.tasks.spawn(Box::pin(async move { this.look_after().await }));
    }

    async fn look_after(self: Arc<Self>) {
        while let Err(why) = self.directory.open().await {
            tracing::debug!(%why, "the topic of MQTT's sessions is not there yet");
            self.pause(PAUSE_MS).await;
        }
        for partition in self.directory.partitions() {
            self.world.tasks.spawn(Box::pin(self.directory.clone().follow(partition)));
        }
        loop {
            match self.adopt().await {
                Ok(()) => {
                    self.is_ready.send_replace(true);
                    self.pause(NODES_MS).await;
                }
                Err(why) => {
                    tracing::debug!(%why, "the sessions of MQTT cannot be looked after for now");
                    self.pause(PAUSE_MS).await;
                }
            }
        }
    }

    /// Sessions that nobody looks after get a runner, so that their wills and ends come in time.
    async fn adopt(self: &Arc<Self>) -> Result<(), crate::Failure> {
        let nodes = self.log.nodes().await?;
        self.is_one_of_several.store(nodes.len() > 1, Ordering::Relaxed);
        self.directory.until_read().await?;
        for client in self.directory.orphans(&nodes) {
            let Some(client) = Text::of(client) else { continue };
            let is_known = self.runners.lock().contains_key(client.bytes());
            if !is_known {
                self.tell(client, Command::Adopt).await;
            }
        }
        Ok(())
    }

    pub(crate) fn is_one_of_several(&self) -> bool {
        self.is_one_of_several.load(Ordering::Relaxed)
    }

    async fn pause(&self, millis: i64) {
        let clock = &self.world.clock;
        clock.sleep_until(clock.after_millis(millis)).await;
    }

    /// Serves a client until its session has its connection; ends early for what is no client.
    pub async fn serve(self: Arc<Self>, mut stream: Box<dyn Stream>, peer: IpAddr) {
        let Some(seat) = self.sit(peer) else { return };
        let clock = self.world.clock.clone();
        let mut input = BytesMut::new();
        let mut closing = self.closing.subscribe();
        let greeted = tokio::select! {
            greeted = self.greet(&mut *stream, &mut input) => greeted,
            () = clock.sleep_until(clock.after_millis(CONNECT_MS)) => return,
            _ = closing.wait_for(|is_closing| *is_closing) => return,
        };
        let (connect, data) = match greeted {
            Greeted::Lost => return,
            Greeted::Refused(packet, version, max) => {
                return self.say_and_close(stream, packet.as_ref(), (version, max), seat);
            }
            Greeted::Accepted(connect, data) => (connect, data),
        };
        let (version, max) = (connect.version, takes(&connect));
        self.until_ready().await;
        let grants = match self.admit(&connect) {
            Ok(grants) => grants,
            Err((reason, why)) => {
                let packet = refusal(reason, Some(&why), version);
                return self.say_and_close(stream, packet.as_ref(), (version, max), seat);
            }
        };
        let client =
            if connect.client_id.is_empty() { self.new_client() } else { connect.client_id.detached() };
        let connecting = Connecting { connect, data, grants, stream, input, seat };
        self.tell(client, Command::Connect(Box::new(connecting))).await;
    }

    /// Waits a little for a node that has just started.
    async fn until_ready(&self) {
        let mut ready = self.is_ready.subscribe();
        tokio::select! {
            _ = ready.wait_for(|is_ready| *is_ready) => {}
            () = self.pause(READY_MS) => {}
        }
    }

    /// A place for a connection, if there is one.
    fn sit(&self, peer: IpAddr) -> Option<Seat> {
        let origin = Origin::of(peer);
        let mut seats = self.seats.lock();
        let (all, max) = (seats.values().sum::<usize>(), self.config.address_connections_max);
        let count = seats.get(&origin).copied().unwrap_or(0);
        if all >= self.config.connections_max || (max > 0 && count >= max) {
            return None;
        }
        seats.insert(origin, count + 1);
        drop(seats);
        Some(Seat { seats: self.seats.clone(), origin })
    }

    /// Reads the CONNECT.
    async fn greet(&self, stream: &mut dyn Stream, input: &mut BytesMut) -> Greeted {
        let mut handshake = Handshake::new(self.config.session.clone());
        let max = CONNECT_BYTES_MAX.min(self.config.session.packet_bytes_max as usize);
        loop {
            let mut greeting = match decode(input, max, Version::V5) {
                Ok(None) => {
                    match drive(stream, input, &mut BytesMut::new(), true).await {
                        Ok(Moved::Read) => continue,
                        Ok(Moved::End | Moved::Written) | Err(_) => return Greeted::Lost,
                    };
                }
                Ok(Some(Packet::Connect(connect))) => {
                    let (version, max) = (connect.version, takes(&connect));
                    match handshake.on_packet(Packet::Connect(connect)) {
                        Greeting::Refused { connack, .. } => return Greeted::Refused(connack, version, max),
                        greeting => greeting,
                    }
                }
                Ok(Some(packet)) => handshake.on_packet(packet),
                Err(error) => match handshake.on_violation(&error) {
                    Greeting::Refused { connack, .. } => {
                        return Greeted::Refused(connack, error.version, usize::MAX);
                    }
                    greeting => greeting,
                },
            };
            // No method is offered, so that the handshake refuses those that name one.
            if let Greeting::Authenticate { .. } = greeting {
                let refused = Authentication::Refused(Reason::BadAuthenticationMethod);
                greeting = handshake.on_authenticated(refused);
            }
            match greeting {
                Greeting::Accepted { connect, authentication_data } => {
                    return Greeted::Accepted(connect, authentication_data);
                }
                Greeting::Refused { connack, .. } => {
                    return Greeted::Refused(connack, Version::V5, usize::MAX);
                }
                Greeting::Send(_) | Greeting::Authenticate { .. } => return Greeted::Lost,
            }
        }
    }

    /// Who it is, by the token in its password, and whether it may leave that will.
    fn admit(&self, connect: &Connect) -> Result<Grants, (Reason, String)> {
        if !*self.is_ready.borrow() {
            return Err((Reason::ServerUnavailable, "sessions are not known yet; come again".into()));
        }
        let password = connect.password.as_ref().map(|password| String::from_utf8_lossy(password.bytes()));
        let token = password.as_deref().filter(|token| !token.is_empty());
        let caller = self.access.caller(token, self.world.clock.wall()).map_err(|why| {
            (if token.is_some() { Reason::BadUserNameOrPassword } else { Reason::NotAuthorized }, why)
        })?;
        let grants = Grants(caller);
        let Some(will) = &connect.will else { return Ok(grants) };
        let bytes = will.payload.bytes().len();
        match Place::of(&will.topic) {
            Ok(place) if !grants.may_leave(&place, bytes) => {
                Err((Reason::NotAuthorized, "the token does not allow the will".into()))
            }
            _ => Ok(grants),
        }
    }

    fn new_client(&self) -> Text {
        let random = &self.world.random;
        Text::new(&format!("od-{:016x}{:016x}", random.next_u64(), random.next_u64())).unwrap_or_default()
    }

    /// Tells the runner of a client, and makes one if there is none.
    async fn tell(self: &Arc<Self>, client: Text, command: Command) {
        let mut command = command;
        loop {
            let Some(runner) = self.runner_of(&client) else {
                if let Command::Connect(connecting) = command {
                    let Connecting { connect, stream, seat, .. } = *connecting;
                    let packet =
                        refusal(Reason::QuotaExceeded, Some("there are too many sessions"), connect.version);
                    self.say_and_close(stream, packet.as_ref(), (connect.version, takes(&connect)), seat);
                }
                return;
            };
            match runner.send(command).await {
                Ok(()) => return,
                Err(mpsc::error::SendError(back)) => command = back,
            }
        }
    }

    /// `None`: there are too many.
    fn runner_of(self: &Arc<Self>, client: &Text) -> Option<mpsc::Sender<Command>> {
        let mut runners = self.runners.lock();
        if let Some(runner) = runners.get(client.bytes()).filter(|runner| !runner.is_closed()) {
            return Some(runner.clone());
        }
        if runners.len() >= self.config.sessions_max {
            return None;
        }
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        runners.insert(client.bytes().clone(), sender.clone());
        let (this, client, own) = (self.clone(), client.clone(), sender.clone().downgrade());
        self.world.tasks.spawn(Box::pin(async move {
            let late = Runner::new(this.clone(), client.clone()).run(commands).await;
            {
                let mut runners = this.runners.lock();
                let is_own = own.upgrade().is_none_or(|own| {
                    runners.get(client.bytes()).is_some_and(|runner| runner.same_channel(&own))
                });
                if is_own && runners.get(client.bytes()).is_some_and(mpsc::Sender::is_closed) {
                    runners.remove(client.bytes());
                }
            }
            for command in late {
                Box::pin(this.tell(client.clone(), command)).await;
            }
        }));
        Some(sender)
    }

    /// Sends the last packet, if there is one, and closes.
    pub(crate) fn say_and_close(
        &self,
        stream: Box<dyn Stream>,
        packet: Option<&Packet>,
        (version, max): (Version, usize),
        seat: Seat,
    ) {
        let mut out = BytesMut::new();
        if let Some(packet) = packet {
            let _ = encode(packet, version, max, &mut out);
        }
        self.flush_and_close(stream, out, seat);
    }

    /// Sends what is left, and closes.
    pub(crate) fn flush_and_close(&self, mut stream: Box<dyn Stream>, mut out: BytesMut, seat: Seat) {
        let clock = self.world.clock.clone();
        self.world.tasks.spawn(Box::pin(async move {
            let _seat = seat;
            let sending = async {
                while !out.is_empty() {
                    if drive(&mut *stream, &mut BytesMut::new(), &mut out, false).await.is_err() {
                        return;
                    }
                }
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
                // What the client still sends is read, so that its system does not throw away what was said to it.
                let mut rest = BytesMut::new();
                while let Ok(Moved::Read) = drive(&mut *stream, &mut rest, &mut BytesMut::new(), true).await {
                    rest.clear();
                }
            };
            tokio::select! {
                () = sending => {}
                () = clock.sleep_until(clock.after_millis(LAST_WORDS_MS)) => {}
            }
        }));
    }

    /// Ends all connections, and keeps the sessions; ends when that is done.
    pub async fn stop(&self) {
        self.closing.send_replace(true);
        let clock = &self.world.clock;
        let end = clock.after_millis(LAST_WORDS_MS);
        while !self.runners.lock().is_empty() && clock.now() < end {
            self.pause(20).await;
        }
    }
}

/// What came of a connection's first packet.
enum Greeted {
    Accepted(Box<Connect>, Option<mqtt::codec::Binary>),
    Refused(Option<Packet>, Version, usize),
    Lost,
}

/// The largest packet that the client takes.
fn takes(connect: &Connect) -> usize {
    connect.properties.maximum_packet_size.map_or(usize::MAX, |max| max.get() as usize)
}
