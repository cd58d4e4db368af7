//! One client's session at work: a task that feeds the core with packets, records and time, and carries out what it orders.
//!
//! It lives as long as there is a connection, or a session whose will or end is to be waited for. What the core decides is not
//! decided here.

use crate::{
    access::Grants,
    directory::Seen,
    durable::{Durable, Holding, Op},
    host::{Host, Seat},
    reading::{self, Event, Reading},
    stream::{Moved, Stream, drive},
};
use bytes::BytesMut;
use env::Deadline;
use mqtt::{
    codec::{Binary, Connect, Packet, Reason, Text, Version, decode, encode},
    session::{Authentication, Delivery, Effect, Input, Now, Session, State, refusal},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::{mpsc, watch};

/// While so much was not taken by the client, no record is read for it, ...
const OUT_BYTES: usize = 64 * 1024;
/// ... and nothing from it.
const OUT_BYTES_MAX: usize = 1 << 20;
/// A client that takes nothing for so long is gone.
const STALL_MS: i64 = 30_000;
/// How long the last words to a client may take.
const LAST_WORDS_MS: i64 = 5_000;
/// How long nothing may happen without a look at the clock.
const LOOK_MS: i64 = 60_000;

/// A client whose CONNECT was accepted.
pub(crate) struct Connecting {
    pub(crate) connect: Box<Connect>,
    pub(crate) data: Option<Binary>,
    pub(crate) grants: Grants,
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) input: BytesMut,
    pub(crate) seat: Seat,
}

/// What a runner is told.
pub(crate) enum Command {
    /// The client has a connection.
    Connect(Box<Connecting>),
    /// The session is this node's to look after.
    Adopt,
}

/// A connection.
struct Link {
    stream: Box<dyn Stream>,
    input: BytesMut,
    out: BytesMut,
    version: Version,
    packet_bytes_max: usize,
    /// When it is given up if nothing goes out.
    stalls_at: Deadline,
    _seat: Seat,
}

/// See the head of the file.
pub(crate) struct Runner {
    host: Arc<Host>,
    client: Text,
    session: Session,
    link: Option<Link>,
    /// The connection that takes over.
    next_link: Option<Link>,
    grants: Grants,
    durable: Durable,
    reading: Reading,
    seen: watch::Receiver<Seen>,
    overwritten: u64,
    is_lost: bool,
}

/// What has happened.
enum Happened {
    Told(Option<Command>),
    Moved(std::io::Result<Moved>),
    Safe(Option<Input>),
    Read(Box<Event>),
    Seen,
    Time,
    Stop,
}

impl Runner {
    pub(crate) fn new(host: Arc<Host>, client: Text) -> Self {
        let session = host.config.session.clone();
        let now = now(&host);
        Self {
            session: Session::new(session, client.clone(), None, now),
            link: None,
            next_link: None,
            grants: Grants::default(),
            durable: Durable::new(
                host.log.clone(),
                host.directory.clone(),
                host.world.clone(),
                client.clone(),
            ),
            reading: Reading::new(host.log.clone(), host.world.clone()),
            seen: watch::channel(Seen::default()).1,
            overwritten: 0,
            is_lost: false,
            host,
            client,
        }
    }

    /// Runs until there is nothing to be done for the client; commands that came too late are given back.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Vec<Command> {
        let mut closing = self.host.closing.subscribe();
        let mut has_begun = false;
        loop {
            if has_begun && self.is_over() && commands.is_empty() {
                break;
            }
            let happened = self.next(&mut commands, &mut closing).await;
            has_begun = true;
            match happened {
                Happened::Told(Some(command)) => self.on_command(command).await,
                Happened::Told(None) => break,
                Happened::Moved(moved) => self.on_moved(moved),
                Happened::Safe(input) => input.into_iter().for_each(|input| self.step(input)),
                Happened::Read(event) => self.on_read(*event),
                Happened::Seen => self.on_seen(),
                Happened::Time => self.on_time(),
                Happened::Stop => {
                    self.step(Input::Close(Reason::ServerShuttingDown));
                    self.finish().await;
                    break;
                }
            }
            self.go_on().await;
        }
        let claim = self.durable.holding.as_ref().map_or(0, |holding| holding.claim);
        self.host.directory.forget(self.client.bytes(), claim);
        commands.close();
        let mut late = Vec::new();
        while let Ok(command) = commands.try_recv() {
            late.push(command);
        }
        late
    }

    fn is_over(&self) -> bool {
        let is_gone = self.is_lost || (self.session.state().is_none() && self.durable.is_idle());
        self.link.is_none() && is_gone
    }

    /// Waits until something happens.
    async fn next(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        closing: &mut watch::Receiver<bool>,
    ) -> Happened {
        let clock = &self.host.world.clock;
        let now = now(&self.host);
        let mut wait_ms = self.session.tick_in_ms(now).unwrap_or(LOOK_MS).min(LOOK_MS);
        if let (Some(until), Some(_)) = (self.grants.until_ms(), &self.link) {
            wait_ms = wait_ms.min(until.saturating_sub(now.timestamp_ms).max(0));
        }
        let stalls_at = self.link.as_ref().filter(|link| !link.out.is_empty()).map(|link| link.stalls_at);
        let at = clock.after_millis(wait_ms.saturating_add(1));
        let at = stalls_at.map_or(at, |stalls_at| stalls_at.min(at));
        let may_hear = self.session.accepts() && !self.durable.is_full();
        let packet_bytes_max = self.host.config.session.packet_bytes_max as usize;
        let moved = async {
            match &mut self.link {
                Some(Link { stream, input, out, .. }) => {
                    let may_read = may_hear && out.len() < OUT_BYTES_MAX && input.len() <= packet_bytes_max;
                    drive(&mut **stream, input, out, may_read).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => Happened::Told(command),
            Ok(_) = closing.wait_for(|is_closing| *is_closing) => Happened::Stop,
            input = self.durable.next() => Happened::Safe(input),
            moved = moved => Happened::Moved(moved),
            event = self.reading.next() => Happened::Read(Box::new(event)),
            Ok(()) = self.seen.changed() => Happened::Seen,
            () = clock.sleep_until(at) => Happened::Time,
        }
    }

    /// Does what has become possible.
    async fn go_on(&mut self) {
        loop {
            self.hear();
            let ended = self.durable.advance(&self.grants).await;
            let has_ended = !ended.is_empty();
            ended.into_iter().for_each(|input| self.step(input));
            if !has_ended {
                break;
            }
        }
        if self.link.as_ref().is_some_and(|link| link.out.len() < OUT_BYTES) {
            for number in self.reading.start() {
                self.step(Input::RetainedSent(number));
            }
        }
    }

    /// Takes the packets that have come.
    fn hear(&mut self) {
        let max = self.host.config.session.packet_bytes_max as usize;
        while self.session.accepts() && !self.durable.is_full() {
            let Some(link) = &mut self.link else { return };
            if link.out.len() >= OUT_BYTES_MAX {
                return;
            }
            match decode(&mut link.input, max, link.version) {
                Ok(Some(packet)) => self.step(Input::Packet(packet)),
                Ok(None) => return,
                Err(error) => return self.step(Input::Violation(error)),
            }
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Adopt => {
                if self.durable.holding.is_none()
                    && let Err(why) = self.claim("").await
                {
                    tracing::debug!(%why, "a session of MQTT is not looked after yet");
                }
            }
            Command::Connect(connecting) => self.on_connect(*connecting).await,
        }
    }

    async fn on_connect(&mut self, connecting: Connecting) {
        let subject = connecting.grants.subject();
        let is_durable = match connecting.connect.version {
            Version::V5 => connecting.connect.properties.session_expiry_interval.is_some_and(|s| s > 0),
            Version::V311 => !connecting.connect.clean_start,
        };
        let kept = self.host.directory.subject_of(self.client.bytes());
        let is_others = kept.as_ref().is_some_and(|kept| *kept != subject)
            || (self.link.is_some() && self.grants.subject() != subject);
        if is_others {
            return self.refuse(connecting, Reason::NotAuthorized, "the client identifier is another one's");
        }
        if self.session.state().is_none() {
            self.finish().await; // what is left of a session before
        }
        let needs_claim = is_durable || kept.is_some() || self.host.is_one_of_several();
        let is_clear = self.session.state().is_some() || self.durable.is_idle();
        if !is_clear {
            return self.refuse(
                connecting,
                Reason::ServerUnavailable,
                "the session before has not ended yet",
            );
        }
        if needs_claim
            && self.durable.holding.is_none()
            && let Err(why) = self.claim(&subject).await
        {
            tracing::warn!(%why, "a client of MQTT cannot be connected");
            return self.refuse(connecting, Reason::ServerUnavailable, "sessions cannot be kept for now");
        }
        let Connecting { connect, data, grants, stream, input, seat } = connecting;
        let link = Link {
            stream,
            input,
            out: BytesMut::new(),
            version: connect.version,
            packet_bytes_max: connect
                .properties
                .maximum_packet_size
                .map_or(usize::MAX, |max| max.get() as usize),
            stalls_at: Deadline::MAX,
            _seat: seat,
        };
        match self.link {
            Some(_) => self.next_link = Some(link),
            None => self.link = Some(link),
        }
        self.grants = grants;
        let session_id = self.host.world.random.next_u64();
        self.step(Input::Connect { connect, authentication_data: data, session_id });
    }

    fn refuse(&self, connecting: Connecting, reason: Reason, why: &str) {
        let Connecting { connect, stream, seat, .. } = connecting;
        let packet = refusal(reason, Some(why), connect.version);
        let max = connect.properties.maximum_packet_size.map_or(usize::MAX, |max| max.get() as usize);
        self.host.say_and_close(stream, packet.as_ref(), (connect.version, max), seat);
    }

    /// Makes the session this node's.
    async fn claim(&mut self, subject: &str) -> Result<(), crate::Failure> {
        let claimed = self.host.directory.claim(self.client.bytes(), subject).await?;
        let subject =
            self.host.directory.subject_of(self.client.bytes()).unwrap_or_else(|| subject.to_owned());
        let state = claimed.state.as_ref().and_then(|bytes| match State::decode(bytes) {
            Ok(state) => Some(state),
            Err(why) => {
                tracing::error!(client = %self.client.as_str(), %why, "a session of MQTT is begun anew");
                None
            }
        });
        self.seen = claimed.seen.clone();
        let holding = Holding { claim: claimed.claim, subject, seen: claimed.seen };
        self.durable.hold(holding, claimed.state, &claimed.bounds);
        if state.is_some() {
            let config = self.host.config.session.clone();
            self.session = Session::new(config, self.client.clone(), state, now(&self.host));
        }
        Ok(())
    }

    fn on_moved(&mut self, moved: std::io::Result<Moved>) {
        match moved {
            Ok(Moved::Read) => {}
            Ok(Moved::Written) => {
                let stalls_at = self.host.world.clock.after_millis(STALL_MS);
                if let Some(link) = &mut self.link {
                    link.stalls_at = stalls_at;
                }
            }
            Ok(Moved::End) | Err(_) => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.link = None;
        self.reading.clear();
        self.step(Input::Lost);
    }

    fn on_seen(&mut self) {
        let seen = *self.seen.borrow();
        if seen.is_lost && !self.is_lost {
            self.step(Input::Close(Reason::SessionTakenOver));
            self.is_lost = true;
            self.durable.abandon();
            self.reading.clear();
        } else if seen.overwritten != self.overwritten {
            self.overwritten = seen.overwritten;
            self.durable.keep_again();
        }
    }

    fn on_time(&mut self) {
        let now = now(&self.host);
        if self.grants.until_ms().is_some_and(|until| until <= now.timestamp_ms) && self.link.is_some() {
            return self.step(Input::Close(Reason::NotAuthorized));
        }
        let clock = &self.host.world.clock;
        if self.link.as_ref().is_some_and(|link| !link.out.is_empty() && link.stalls_at <= clock.now()) {
            return self.lose();
        }
        self.step(Input::Tick);
    }

    fn on_read(&mut self, event: Event) {
        match event {
            Event::Aborted => {}
            Event::Begun { subscribing, result } => {
                let subscription = subscribing.number;
                let (is_resumed, is_new) = (subscribing.is_resumed, subscribing.is_new);
                let is_shared = subscribing.filter.group().is_some();
                match result {
                    Err(failure) => {
                        let result = Err(reading::refusal(&failure));
                        if !is_resumed {
                            self.step(Input::Subscribed { subscription, result });
                        }
                    }
                    Ok(begin) => {
                        let known = is_new && !is_shared;
                        let positions = if known { begin.positions.clone() } else { Default::default() };
                        self.reading.follow(subscribing, begin);
                        if !is_resumed {
                            let result = Ok(positions.into_iter().collect());
                            self.step(Input::Subscribed { subscription, result });
                        }
                    }
                }
            }
            Event::Chunk { subscription, partition, chunk } => {
                self.reading.ended(subscription, partition, false);
                self.deliver(subscription, partition, chunk);
            }
            Event::LastValue { subscription, partition, offset, record } => {
                self.reading.ended(subscription, partition, true);
                if let Some(record) = record {
                    let is_retained = true;
                    let delivery =
                        Delivery { subscription, partition, offset, follows: offset, is_retained, record };
                    self.step(Input::Deliver(Box::new(delivery)));
                }
            }
            Event::Reread { packet_id, record } => {
                self.step(Input::Reread { packet_id, record: record.map(Box::new) });
            }
        }
    }

    /// Gives the core the records of a piece, as long as it takes them.
    fn deliver(&mut self, subscription: u64, partition: i32, chunk: crate::Chunk) {
        for record in chunk.records {
            let Some(cursor) = self.reading.cursor(subscription, partition) else { return };
            let offset = record.offset;
            if offset < cursor || !self.reading.matches(subscription, record.key.as_deref()) {
                continue;
            }
            let record = crate::message::to_message(record);
            let delivery =
                Delivery { subscription, partition, offset, follows: cursor, is_retained: false, record };
            self.reading.advance(subscription, partition, offset + 1);
            self.step(Input::Deliver(Box::new(delivery)));
            let is_taken = self.reading.cursor(subscription, partition) == Some(offset + 1);
            if !is_taken || self.link.as_ref().is_none_or(|link| link.out.len() >= OUT_BYTES) {
                return;
            }
        }
        let Some(from) = self.reading.cursor(subscription, partition) else { return };
        if from < chunk.next {
            self.reading.advance(subscription, partition, chunk.next);
            self.step(Input::Passed { subscription, partition, from, to: chunk.next });
        }
    }

    /// Feeds the core, and carries out what it orders.
    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.session.step(now(&self.host), input, &mut effects);
            let mut answers: Vec<Input> =
                effects.into_iter().filter_map(|effect| self.carry_out(effect)).collect();
            answers.reverse();
            inputs.append(&mut answers);
        }
    }

    /// Gives what has come of it at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send(packet) => self.send(&packet),
            Effect::Save(number) => {
                if let Some(state) = self.session.state().filter(|_| !self.is_lost) {
                    let sequences = sequences(state);
                    self.durable.push(Op::Save { number, state: state.encode(), sequences });
                }
            }
            Effect::Discard if !self.is_lost => self.durable.push(Op::Discard),
            Effect::Discard => {}
            Effect::Store(publication) => {
                let is_lost = self.is_lost;
                let token = publication.token;
                let (rates, clock) = (&self.host.rates, &self.host.world.clock);
                match self.grants.may_write(&publication, rates, clock.now()) {
                    Ok(()) if !is_lost => self.durable.push(Op::Store(publication)),
                    Ok(()) => {}
                    Err(reason) => return Some(Input::Stored { token, result: Err(reason) }),
                }
            }
            Effect::Subscribe(subscribing) => {
                if !self.grants.may_read(&subscribing.reach) {
                    self.reading.end(subscribing.number);
                    let (subscription, result) = (subscribing.number, Err(Reason::NotAuthorized));
                    return (!subscribing.is_resumed).then_some(Input::Subscribed { subscription, result });
                }
                self.reading.begin(subscribing);
            }
            Effect::Unsubscribe(number) => self.reading.end(number),
            Effect::Reread { packet_id, source } => self.reading.reread(packet_id, &source),
            Effect::Again { subscription, partition, from, is_retained } => {
                let has_room = self.session.room() > 0;
                self.reading.again(subscription, partition, from, is_retained, has_room);
            }
            Effect::Room => self.reading.unblock(),
            Effect::Authenticate { .. } => {
                let refused = Authentication::Refused(Reason::BadAuthenticationMethod);
                return Some(Input::Authenticated(refused));
            }
            Effect::Commit { .. } => {} // of shared subscriptions
            Effect::Close(reason) => self.close(reason),
        }
        None
    }

    fn send(&mut self, packet: &Packet) {
        let stalls_at = self.host.world.clock.after_millis(STALL_MS);
        let Some(link) = &mut self.link else { return };
        if link.out.is_empty() {
            link.stalls_at = stalls_at;
        }
        if let Err(why) = encode(packet, link.version, link.packet_bytes_max, &mut link.out) {
            tracing::debug!(%why, "a packet of MQTT is not sent");
        }
    }

    fn close(&mut self, _: Reason) {
        self.reading.clear();
        if let Some(link) = self.link.take() {
            let Link { stream, out, _seat, .. } = link;
            self.host.flush_and_close(stream, out, _seat);
        }
        self.link = self.next_link.take();
    }

    /// Keeps what there is to keep, while the node stops.
    async fn finish(&mut self) {
        let clock = &self.host.world.clock;
        let end = clock.after_millis(LAST_WORDS_MS);
        let clock = clock.clone();
        loop {
            let ended = self.durable.advance(&self.grants).await;
            ended.into_iter().for_each(|input| self.step(input));
            if self.durable.is_idle() {
                return;
            }
            let input = tokio::select! {
                input = self.durable.next() => input,
                () = clock.sleep_until(end) => return,
            };
            input.into_iter().for_each(|input| self.step(input));
        }
    }
}

/// Of publications that may come again.
fn sequences(state: &State) -> BTreeSet<u64> {
    let received = state.received.values().map(|received| received.sequence);
    received.chain(state.will.as_ref().map(|will| will.sequence)).collect()
}

fn now(host: &Host) -> Now {
    let clock = &host.world.clock;
    Now { monotonic_ms: (clock.now() / 1_000_000) as i64, timestamp_ms: clock.wall() }
}
