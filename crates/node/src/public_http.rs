//! The public HTTP port: streams of keys, and nothing else (docs/http.md).
//!
//! Connections, bodies and time are bounded here; what a request means `gateway` says. A reader that follows a stream leaves the HTTP
//! stack, and is a place in the stream and a socket.

mod answers;
mod body;
mod certificates;
mod clients;
mod exit;
mod followed;
mod forward;
mod head;
mod http2;
mod parked;
mod peers;
mod reader;
mod several;
mod stalling;
mod tokens;
mod traffic;
mod web_socket;
mod wire;

use crate::{
    Error,
    listeners::Listener,
    settings::{GATEWAY_LISTENERS, Gateway},
};
use answers::Answers;
use body::{Budget, Room, Unread};
use bytes::Bytes;
use certificates::Certificates;
use clients::{Clients, Seat};
use env::{Clock, Disk, Tasks, World};
use exit::{Exit, Leaving, Then};
use forward::Passing;
use gateway::{
    Address, Answer, Bearer, Coding, Follow, Page, Place, Problem, Quota, Reach, Screen, Service, refusal,
};
use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version, body::Incoming, header, http::request::Parts,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metadata::Endpoint;
use parked::Lot;
use reader::Reader;
use several::{Several, Source};
use stalling::Stalling;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::{Future, poll_fn},
    hash::BuildHasher,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use wire::{Held, Wire};

pub(crate) use certificates::Files;
pub(crate) use clients::Limits;
pub(crate) use tokens::{TokenRules, Tokens};

/// Names of listeners.
pub(crate) const HTTP: &str = "HTTP";
pub(crate) const HTTPS: &str = "HTTPS";

/// How long a client may take to send the head of a request, or to begin the next one.
const HEAD_SECONDS_MAX: u64 = 30;
/// The head of a request has at most so many bytes, and so many headers.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
/// How long a client may take for the handshake of TLS.
const HANDSHAKE_MS_MAX: i64 = 10_000;
/// What one answer has at most, but for one larger record.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Of the streams that readers of several follow there are so many: each takes a few kilobytes while nothing comes.
const FOLLOWED_MAX: usize = 64 * 1024;
/// An answer that is followed ends after this, so that what lies between can give many readers one answer (PROTOCOL.md, section 5.8);
/// they come again by themselves.
const FOLLOW_SECONDS_MAX: u32 = 60;
/// ... or up to a tenth earlier, so that those that came at once do not come again at once.
const FOLLOW_SECONDS_JITTER: u32 = 6;
/// Readers that are sent nothing for so long are shown that the connection is alive.
const QUIET_SECONDS_MAX: u32 = 25;
/// How long those that are answered may take while the node stops.
const DRAIN_MS_MAX: i64 = 5_000;
/// How often it is looked where the cluster's nodes are.
const NODES_MS: i64 = 10_000;

/// Where a connection comes from.
#[derive(Clone, Copy)]
struct Origin {
    peer: IpAddr,
    /// Only this machine reaches the listener.
    is_local: bool,
    is_secure: bool,
}

/// What all listeners and their connections share.
pub(crate) struct PublicHttp {
    service: Service,
    screen: Screen,
    tokens: Arc<Tokens>,
    certificates: Certificates,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    clients: Arc<Clients>,
    connections_max: u32,
    budget: Budget,
    answers: Answers,
    /// Streams that those follow who follow several.
    followed: Arc<Semaphore>,
    lots: Vec<Arc<Lot>>,
    /// Turns true when the node stops.
    is_closing: watch::Sender<bool>,
}

type Body = Either<Full<Bytes>, Either<Passing, Several>>;

/// What a request comes to.
enum Asked {
    Answered(Response<Body>),
    /// It leaves the HTTP stack.
    Left(Leaving),
}

impl Asked {
    fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Answered(response) => response.headers_mut(),
            Self::Left(leaving) => leaving.head.headers_mut(),
        }
    }
}

impl PublicHttp {
    /// Nothing listens yet.
    pub(crate) fn new(
        mailboxes: Arc<dyn gateway::Mailboxes>,
        world: &World,
        settings: &Gateway,
        (tokens, certificates): (Arc<Tokens>, Certificates),
        files_max: usize,
    ) -> io::Result<Arc<Self>> {
        let connections_max =
            settings.connections_max.min(u32::try_from(files_max).unwrap_or(u32::MAX)).max(1);
        let second = second_of(world.clock.now());
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let lots = (0..cores).map(|_| Lot::new(second)).collect::<io::Result<_>>()?;
        let http = Arc::new(Self {
            service: Service {
                mailboxes,
                peers: Arc::new(peers::Others(world.clock.clone())),
                clock: world.clock.clone(),
                random: world.random.clone(),
                public_url: settings.public_url.clone(),
                poll_ms: settings.poll_ms,
                bytes_max: ANSWER_BYTES_MAX,
            },
            screen: settings.trust.screen.clone(),
            tokens,
            certificates,
            disk: world.disk.clone(),
            clock: world.clock.clone(),
            tasks: world.tasks.clone(),
            clients: Clients::new(
                settings.trust.limits.clone(),
                connections_max,
                world.clock.clone(),
                world.random.as_ref(),
            ),
            connections_max,
            budget: Budget::new(),
            answers: Answers::new(),
            followed: Arc::new(Semaphore::new(FOLLOWED_MAX)),
            lots,
            is_closing: watch::Sender::new(false),
        });
        for lot in &http.lots {
            http.tasks.spawn(Box::pin(lot.clone().keep(http.clone())));
        }
        Ok(http)
    }

    /// Serves until the node stops.
    pub(crate) fn listen(self: &Arc<Self>, listeners: Vec<Listener>) {
        if !listeners.is_empty() {
            self.tasks.spawn(Box::pin(self.clone().follow_nodes()));
            self.tasks.spawn(Box::pin(self.clone().follow_keys()));
            self.tasks.spawn(Box::pin(self.clone().follow_certificates()));
        }
        for listener in listeners {
            self.tasks.spawn(Box::pin(self.clone().accept(listener)));
        }
    }

    /// Has keys that sign tokens read again where only others ask for them.
    pub(crate) fn follow_only_keys(self: &Arc<Self>) {
        self.tasks.spawn(Box::pin(self.clone().follow_keys()));
    }

    /// Accepts connections until the node stops.
    async fn accept(self: Arc<Self>, listener: Listener) {
        let mut closing = self.is_closing.subscribe();
        let is_local = listener.address.ip().is_loopback();
        let is_secure = listener.name == HTTPS;
        loop {
            let accepted = tokio::select! {
                biased;
                () = until_closing(&mut closing) => return,
                accepted = listener.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => match self.clients.seat(from.ip()) {
                    Ok(seat) => {
                        let from = Origin { peer: from.ip(), is_local, is_secure };
                        self.tasks.spawn(Box::pin(self.clone().begin(stream, from, seat)));
                    }
                    // Nothing can be said before a handshake, which costs more than to be served.
                    Err(_) if is_secure => {}
                    Err(status) => turn_away(stream, status).await,
                },
                Err(error) => {
                    tracing::warn!(listener = %listener.name, %error, "a connection could not be accepted; see ulimit -n");
                    crate::listeners::pause().await;
                }
            }
        }
    }

    async fn begin(self: Arc<Self>, stream: TcpStream, from: Origin, seat: Seat) {
        // What a follower is sent is small and awaited.
        let _ = stream.set_nodelay(true);
        let wire = if from.is_secure { self.shake(stream).await } else { Some(Wire::Plain(stream)) };
        match wire {
            Some(wire) if wire.is_http2() => self.serve_http2(wire, from, seat).await,
            Some(wire) => self.serve(wire, from, seat).await,
            None => {}
        }
    }

    /// The handshake of TLS.
    async fn shake(&self, stream: TcpStream) -> Option<Wire> {
        let server = self.certificates.server()?;
        let mut closing = self.is_closing.subscribe();
        let shaking = TlsAcceptor::from(server.config()).accept(stream);
        let shaken = tokio::select! {
            biased;
            () = until_closing(&mut closing) => return None,
            shaken = shaking => shaken,
            () = self.clock.sleep_until(self.clock.after_millis(HANDSHAKE_MS_MAX)) => Err(io::ErrorKind::TimedOut.into()),
        };
        match shaken {
            Ok(stream) => Some(Wire::secure(stream)),
            Err(error) => {
                tracing::debug!(%error, "a connection to the public HTTP port has not begun TLS");
                None
            }
        }
    }

    async fn serve(self: Arc<Self>, wire: Wire, from: Origin, seat: Seat) {
        let mut closing = self.is_closing.subscribe();
        let exit = Arc::new(Exit::default());
        let io = TokioIo::new(Stalling::new(wire, self.clock.clone(), exit.clone()));
        let (http, out) = (self.clone(), exit.clone());
        let service = service_fn(move |request| {
            let (http, out) = (http.clone(), out.clone());
            async move {
                match http.receive(request, from).await {
                    Asked::Answered(response) => Ok::<_, Infallible>(response),
                    Asked::Left(leaving) => {
                        out.open(leaving);
                        std::future::pending().await
                    }
                }
            }
        });
        let mut serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX))
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(io, service);
        let mut until = pin!(until_closing(&mut closing));
        let mut is_closing = false;
        let served = poll_fn(|context| {
            if !is_closing && until.as_mut().poll(context).is_ready() {
                is_closing = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
            match Pin::new(&mut serving).poll(context) {
                Poll::Ready(served) => Poll::Ready(served.map(|()| None)),
                Poll::Pending => {
                    exit.leaving().map_or(Poll::Pending, |leaving| Poll::Ready(Ok(Some(leaving))))
                }
            }
        });
        match served.await {
            Ok(None) => {}
            Ok(Some(leaving)) => {
                let parts = serving.into_parts();
                let (stream, read) = (parts.io.into_inner(), parts.read_buf);
                self.leave(stream, (from, seat), leaving, read);
            }
            Err(error) => tracing::debug!(%error, "a connection to the public HTTP port has ended"),
        }
    }

    /// A connection that is no more of the HTTP stack; `read`: what its client has sent besides.
    fn leave(
        self: Arc<Self>,
        stream: Stalling,
        (from, seat): (Origin, Seat),
        Leaving { head, then }: Leaving,
        read: Bytes,
    ) {
        match then {
            Then::Follow { follow, version, is_kept } => {
                if let Ok(held) = stream.into_wire().hold() {
                    let (line, is_kept) = ((held, from, seat), is_kept && read.is_empty());
                    let reader = Reader::begin(self.clone(), line, (head, follow), version, is_kept);
                    self.tasks.spawn(Box::pin(reader.run()));
                }
            }
            Then::Socket(entrant, place) => {
                let head = head::switch(&head, self.clock.wall());
                let line = (stream, seat, place);
                self.tasks.clone().spawn(Box::pin(web_socket::serve(self, line, (head, read), entrant)));
            }
        }
    }

    /// A connection on which an answer has ended that was followed.
    fn serve_again(self: Arc<Self>, held: Held, from: Origin, seat: Seat) {
        self.tasks.clone().spawn(Box::pin(async move {
            match held.serve() {
                Ok(wire) => self.serve(wire, from, seat).await,
                Err(error) => {
                    tracing::debug!(%error, "a connection to the public HTTP port could not be served again")
                }
            }
        }));
    }

    /// Answers whoever may ask.
    async fn receive(&self, mut request: Request<Incoming>, from: Origin) -> Asked {
        if from.is_secure {
            let https = header::HeaderValue::from_static("https");
            request.headers_mut().insert(gateway::FORWARDED_PROTO, https);
        }
        let place = self.clients.place(from.peer, request.headers());
        let quota = place.and_then(|place| self.clients.take(place));
        let (page, allowed) = self.screen.look(&request, from.is_local);
        let within = match &quota {
            Some(quota) if !quota.is_kept => {
                Err(quota.problem("too many requests come from this address; ask less often"))
            }
            _ => Ok(()),
        };
        let of_subject = match within.and(allowed).and_then(|()| self.know(&mut request, &page)) {
            Ok(quota) => quota,
            Err(problem) => {
                let mut response = self.refuse(&problem, request.into_body()).await;
                self.mark(&page, [quota, None], response.headers_mut());
                return Asked::Answered(response);
            }
        };
        let over = of_subject.filter(|quota| !quota.is_kept);
        let mut asked = match over {
            Some(over) => {
                let text = "the token does not allow this so often; do it less often";
                Asked::Answered(self.refuse(&over.problem(text), request.into_body()).await)
            }
            None => self.answer(request, place).await,
        };
        self.mark(&page, [quota, of_subject], asked.headers_mut());
        asked
    }

    /// Whose request it is, and how that subject stands with what it asks for.
    fn know(&self, request: &mut Request<Incoming>, page: &Page) -> Result<Option<Quota>, Problem> {
        if !self.tokens.are_read() || *request.method() == Method::OPTIONS {
            return Ok(None);
        }
        let token = self.screen.token(request, page)?;
        if let Some(caller) = self.tokens.caller(token.as_deref(), self.clock.wall())? {
            request.extensions_mut().insert(caller);
            token.into_iter().for_each(|token| drop(request.extensions_mut().insert(Bearer(token))));
        }
        let allowed = self.service.authorise(request)?;
        let rate = allowed.and_then(|allowed| allowed.rate);
        Ok(rate.map(|(rate, subject)| self.clients.take_as(&subject, rate)))
    }

    fn mark(&self, page: &Page, quotas: [Option<Quota>; 2], headers: &mut HeaderMap) {
        self.screen.mark(page, self.tokens.are_read(), headers);
        for name in ["ratelimit", "ratelimit-policy"] {
            // Another node may have answered, which counts for itself.
            headers.remove(name);
        }
        for quota in quotas.into_iter().flatten() {
            quota.mark(headers);
        }
    }

    /// Refuses what is not read.
    async fn refuse(&self, problem: &Problem, body: Incoming) -> Response<Body> {
        let response = refusal(problem);
        let is_over = Budget::pass_over(body, &self.clock).await;
        whole(if is_over { response } else { closing(response) })
    }

    async fn answer(&self, request: Request<Incoming>, place: Option<Place>) -> Asked {
        let elsewhere = self.service.elsewhere(&request);
        let admitted = self.service.admit(&request);
        let (mut head, mut incoming) = request.into_parts();
        let read = match admitted {
            Ok(bytes_max) => self.read(&mut head, &mut incoming, bytes_max, place).await,
            Err(problem) => Err(problem),
        };
        let (body, _room) = match read {
            Ok(read) => read,
            Err(problem) => return Asked::Answered(self.refuse(&problem, incoming).await),
        };
        let mut closing = self.is_closing.subscribe();
        let is_call = head.uri.path().starts_with("/v1/call/");
        let is_read = head.method == Method::GET || head.method.as_str() == "QUERY" || is_call;
        let answering = self.ask(elsewhere, head, body, place);
        if is_read {
            // Who waits for news does not keep the node.
            tokio::select! {
                biased;
                asked = answering => asked,
                () = until_closing(&mut closing) => {
                    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the node stops; ask again");
                    Asked::Answered(whole(refusal(&problem.with("retry-after", 1))))
                }
            }
        } else {
            answering.await
        }
    }

    /// Reads a body, and unpacks it.
    async fn read(
        &self,
        head: &mut Parts,
        incoming: &mut Incoming,
        bytes_max: usize,
        place: Option<Place>,
    ) -> Result<(Bytes, Room), Problem> {
        let coding = Coding::of(&head.headers)?;
        let read = self.budget.read(incoming, bytes_max, place, &self.clock).await;
        let (packed, room) = read.map_err(|unread| unread.problem())?;
        let Some(coding) = coding.filter(|_| !packed.is_empty()) else { return Ok((packed, room)) };
        let body = coding.unpack(&packed, bytes_max)?;
        for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        // Nobody holds room and waits for more.
        drop((packed, room));
        let room = self.budget.room(body.len(), place, &self.clock).await;
        Ok((body, room.map_err(|unread| unread.problem())?))
    }

    /// Asks whoever has the stream.
    async fn ask(&self, elsewhere: Option<Reach>, head: Parts, body: Bytes, place: Option<Place>) -> Asked {
        if let Some(reach) = elsewhere {
            return Asked::Answered(match forward::forward(&reach, &head, &body, &self.clock).await {
                Ok(response) => response.map(|rest| Either::Right(Either::Left(rest))),
                Err(problem) => whole(refusal(&problem)),
            });
        }
        let (version, is_kept) = (head.version, head.version == Version::HTTP_11 && !asks_to_close(&head));
        match self.service.answer(Request::from_parts(head, body)).await {
            Answer::Whole(response) => {
                let (head, bytes) = response.into_parts();
                Asked::Answered(whole(match self.answers.hold(bytes) {
                    Some(bytes) => Response::from_parts(head, bytes),
                    None => refusal(&busy("too many large answers are being sent; ask again a little later")),
                }))
            }
            Answer::Follow(head, follow) => {
                Asked::Left(Leaving { head, then: Then::Follow { follow, version, is_kept } })
            }
            Answer::Socket(head, entrant) => {
                Asked::Left(Leaving { head, then: Then::Socket(entrant, place) })
            }
            Answer::Many(head, many) => {
                let left = many.left_ms(self.clock.wall(), i64::from(FOLLOW_SECONDS_MAX) * 1000);
                let count = many.count();
                Asked::Answered(self.follow(head, (Source::Many(many), left), count))
            }
        }
    }

    /// The answer to a reader that stays in the HTTP stack, and follows so many streams.
    fn follow(&self, head: Response<()>, what: (Source, i64), count: usize) -> Response<Body> {
        let seats = match self.seats(count) {
            Ok(seats) => seats,
            Err(told) => return whole(refusal(&told)),
        };
        let shared = (self.service.clone(), self.answers.clone());
        let several = Several::new(shared, what, seats, self.is_closing.subscribe());
        head.map(|()| Either::Right(Either::Right(several)))
    }

    /// Room for a reader of so many streams.
    fn seats(&self, count: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let seats = self.followed.clone().try_acquire_many_owned(count);
        seats.map_err(|_| busy("too many streams are being followed; ask again a little later"))
    }

    /// How long a reader of one stream may follow it, in milliseconds.
    fn follow_ms(&self, follow: &Follow) -> i64 {
        let jitter = self.service.random.next_u64() as u32 % (FOLLOW_SECONDS_JITTER + 1);
        follow.left_ms(self.clock.wall(), i64::from(FOLLOW_SECONDS_MAX - jitter) * 1000)
    }

    /// Looks again and again where the cluster's nodes are: they ask for clients that they have counted.
    async fn follow_nodes(self: Arc<Self>) {
        let mut closing = self.is_closing.subscribe();
        loop {
            let mut found = BTreeSet::new();
            for host in self.service.mailboxes.nodes() {
                // One that is not found is counted like any client.
                let looked = tokio::net::lookup_host((host, 0)).await;
                found.extend(looked.into_iter().flatten().map(|address| address.ip().to_canonical()));
            }
            self.clients.know_nodes(found);
            tokio::select! {
                biased;
                () = until_closing(&mut closing) => return,
                () = self.clock.sleep_until(self.clock.after_millis(NODES_MS)) => {}
            }
        }
    }

    /// Looks again and again at the keys for tokens.
    async fn follow_keys(self: Arc<Self>) {
        let mut closing = self.is_closing.subscribe();
        tokio::select! {
            biased;
            () = until_closing(&mut closing) => {}
            () = self.tokens.follow(self.disk.clone(), self.tasks.clone(), self.clock.clone()) => {}
        }
    }

    /// Looks again and again at the certificate.
    async fn follow_certificates(self: Arc<Self>) {
        let mut closing = self.is_closing.subscribe();
        tokio::select! {
            biased;
            () = until_closing(&mut closing) => {}
            () = self.certificates.follow(self.disk.clone(), self.tasks.clone(), self.clock.clone()) => {}
        }
    }

    /// Who follows a stream is parked there.
    fn lot(&self, at: &Address) -> &Arc<Lot> {
        let hash = stdx::FixedState::default().hash_one(at) as usize;
        let place = hash.checked_rem(self.lots.len()).unwrap_or(0);
        #[allow(clippy::indexing_slicing, reason = "there is one for each core")]
        &self.lots[place]
    }

    /// Monotonic time in seconds.
    fn second(&self) -> u32 {
        second_of(self.clock.now())
    }

    fn is_closing(&self) -> bool {
        *self.is_closing.borrow()
    }

    /// Takes nothing more, and waits for what is being answered, but not for long.
    pub(crate) async fn drain(&self) {
        self.is_closing.send_replace(true);
        let over = self.clock.sleep_until(self.clock.after_millis(DRAIN_MS_MAX));
        tokio::select! {
            biased;
            () = self.clients.until_none(self.connections_max) => {}
            () = over => tracing::info!("connections to the public HTTP port are cut off"),
        }
    }
}

/// Of a monotonic time.
fn second_of(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Whether a client ends its connection after this request.
fn asks_to_close(head: &Parts) -> bool {
    let all = head.headers.get_all(header::CONNECTION).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// Ends when the node stops.
async fn until_closing(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|is_closing| *is_closing).await;
}

fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Either::Left(Full::new(bytes)))
}

/// What a client sends after this is not read.
fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// Tells one more than are served to come again.
async fn turn_away(stream: TcpStream, status: StatusCode) {
    let text =
        format!("HTTP/1.1 {status}\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // A new connection has room for so few bytes.
    if stream.writable().await.is_ok() {
        let _ = stream.try_write(text.as_bytes());
    }
}

fn busy(text: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).with("retry-after", 1)
}

impl Unread {
    fn problem(&self) -> Problem {
        match self {
            Self::TooLarge(max) => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                format!("the topic, or the token, takes at most {max} bytes"),
            ),
            Self::TooSlow => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "too-slow",
                "the body came too slowly; send it again",
            ),
            Self::Broken => Problem::malformed("body", "the body ends before it is whole"),
            Self::NoRoom => busy("too many large bodies are being read; send it again a little later"),
            Self::NoShare => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-bodies",
                "too many large bodies from this address are being read; send them one after the other",
            )
            .with("retry-after", 1),
        }
    }
}

/// Where other nodes are told that streams are served: they speak HTTP without TLS.
pub(crate) fn endpoint(listeners: &[Listener]) -> Option<Endpoint> {
    let listener = listeners.iter().find(|listener| listener.name == HTTP)?;
    Some(Endpoint { name: broker::GATEWAY_LISTENER.to_owned(), ..listener.endpoint(&[]) })
}

/// Keys for tokens, and the certificate.
pub(crate) type Trusted = (Arc<Tokens>, Certificates);

/// Reads the keys for tokens and the certificate, where there are to be some.
pub(crate) fn open(settings: &Gateway, disk: &dyn Disk) -> Result<Trusted, Error> {
    let tokens = Tokens::open(&settings.trust.tokens, disk)?;
    Ok((tokens, Certificates::open(settings.certificate.as_ref(), disk)?))
}

/// Opens the listeners.
pub(crate) fn bind(settings: &Gateway) -> Result<Vec<Listener>, Error> {
    settings.listeners.iter().map(|listener| listener.bind_for(GATEWAY_LISTENERS)).collect()
}

#[cfg(test)]
mod tests;
