#![allow(clippy::disallowed_methods, reason = "tests of real sockets")]

use super::*;
use crate::system;
use gateway::{Address, Hosts, Reach, testing::Memory};
use http_body_util::BodyExt;
use model::TopicName;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

mod followers;
mod limits;
mod routes;
mod screen;
mod secure;
mod tokens;

struct Ground {
    memory: Arc<Memory>,
    http: Arc<PublicHttp>,
    address: SocketAddr,
}

impl Ground {
    async fn new(connections_max: u32) -> Self {
        let settings = Gateway { connections_max, ..settings() };
        Self::with(settings).await
    }

    async fn with(settings: Gateway) -> Self {
        Self::of(system::world(), settings).await
    }

    async fn of(world: World, settings: Gateway) -> Self {
        let memory = Arc::new(Memory::new(world.clock.clone()));
        let tokens = Tokens::open(&settings.trust.tokens, world.disk.as_ref()).unwrap();
        let certificates = Certificates::open(settings.certificate.as_ref(), world.disk.as_ref()).unwrap();
        let name = if certificates.server().is_some() { HTTPS } else { HTTP };
        let http = PublicHttp::new(memory.clone(), &world, &settings, (tokens, certificates), 1000).unwrap();
        let listener = system::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener { name: name.into(), address, listener };
        tokio::spawn(http.clone().accept(listener));
        Self { memory, http, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered on a connection of its own, to its end.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The server is called `h`.
fn settings() -> Gateway {
    let mut settings = Gateway { poll_ms: 20_000, connections_max: 10, ..Gateway::default() };
    settings.trust.screen.hosts = Hosts::new(&["h".into(), "other".into()], None).unwrap();
    settings
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Reads until the text is there.
async fn until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "it ends before {text:?}: {read}");
        read.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    read
}

const TEXT: &str = "content-type: text/plain\r\n";

#[tokio::test]
async fn streams_are_served_and_nothing_else_is() {
    let ground = Ground::new(10).await;
    let created = ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    assert!(
        created.starts_with("HTTP/1.1 201 ") && created.contains("location: http://h/s/rides/u42"),
        "{created}"
    );
    let read = ground.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.ends_with("\r\n\r\none"), "{read}");
    for path in ["/", "/metrics", "/healthz", "/s", "/s/rides/%2e%2e/x", "/S/rides/u42", "//s/rides/u42"] {
        let answer = ground.ask(&request("GET", path, "", "")).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "),
            "{path}: {answer}"
        );
    }
    let unsaid =
        ground.ask("GET http://other/s/rides/u42 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(unsaid.starts_with("HTTP/1.1 200 "), "the absolute form is the same stream: {unsaid}");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let ground = Ground::new(1).await;
    let mut stream = ground.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /s/rides/none HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        until(&mut stream, "stream-not-found").await;
    }
    let busy = ground.ask(&request("GET", "/s/rides/none", "", "")).await;
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("retry-after: 1"), "{busy}");
    drop(stream);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let ground = Ground::new(10).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "")).await;
    let head = format!("POST /s/rides/u42 HTTP/1.1\r\nhost: h\r\n{TEXT}");
    // Who goes on sending hears it, too.
    let large = "x".repeat(2 << 20);
    let told = ground
        .ask(&format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n{large}", large.len()))
        .await;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    let mut stream = ground.connect().await;
    stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    for _ in 0..17 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut told = vec![0; 12];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(told, b"HTTP/1.1 413");
    let long = format!("GET /s/rides/{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000));
    let told = ground.ask(&long).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
    let many = "a: b\r\n".repeat(100);
    let told = ground.ask(&format!("GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\n{many}\r\n")).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{told}");
}

#[tokio::test]
async fn a_follower_is_sent_what_comes_and_goes_with_the_node() {
    let ground = Ground::new(10).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    let mut stream = ground.connect().await;
    let follow = "GET /s/rides/u42?offset=-1&live=sse HTTP/1.1\r\nhost: h\r\n\r\n";
    stream.write_all(follow.as_bytes()).await.unwrap();
    let first = until(&mut stream, "\"upToDate\":true").await;
    assert!(first.contains("content-type: text/event-stream") && first.contains("data:one\n"), "{first}");
    ground.ask(&request("POST", "/s/rides/u42", TEXT, "two")).await;
    until(&mut stream, "data:two\n").await;
    ground.http.drain().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the answer ends as one that is whole");
    assert!(TcpStream::connect(ground.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn a_request_is_handed_on_once_and_its_answer_comes_back() {
    let (one, other) = (Ground::new(10).await, Ground::new(10).await);
    let reach = |ground: &Ground| Reach { host: "127.0.0.1".into(), port: ground.address.port() };
    one.memory.lead_elsewhere(reach(&other));
    // Each believes of the other that it leads; it is asked once.
    other.memory.lead_elsewhere(reach(&one));
    let created = one.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    assert!(
        created.starts_with("HTTP/1.1 201 ") && created.contains("location: http://h/s/rides/u42"),
        "{created}"
    );
    let read = one.ask(&request("GET", "/s/rides/u42?offset=-1", "", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.ends_with("one"), "{read}");
    let head = one.ask(&request("HEAD", "/s/rides/u42", "", "")).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let mut stream = one.connect().await;
    stream.write_all(b"GET /s/rides/u42?offset=-1&live=sse HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    until(&mut stream, "data:one\n").await;
    let posted = one.ask(&request("POST", "/s/rides/u42", TEXT, "two")).await;
    assert!(posted.starts_with("HTTP/1.1 204 "), "{posted}");
    until(&mut stream, "data:two\n").await;
    drop(stream);
    other.http.drain().await;
    let gone = one.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(gone.starts_with("HTTP/1.1 503 ") && gone.contains("retry-after: 1"), "{gone}");
}

fn rides() -> Address {
    Address { topic: TopicName::new("rides").unwrap(), key: Bytes::from_static(b"u42") }
}

const FOLLOW: &[u8] = b"GET /s/rides/u42?offset=-1&live=sse HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn what_nobody_sees_keeps_no_follower_busy() {
    let ground = Ground::new(10).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    let mut stream = ground.connect().await;
    stream.write_all(FOLLOW).await.unwrap();
    until(&mut stream, "data:one\n").await;
    ground.memory.abort(&rides());
    let begun = std::time::Instant::now();
    ground.ask(&request("POST", "/s/rides/u42", TEXT, "two")).await;
    until(&mut stream, "data:two\n").await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it looked again and again, and nobody else was served"
    );
}

#[tokio::test]
async fn a_follower_that_is_behind_goes_with_the_node_too() {
    let ground = Ground::new(10).await;
    let large: &'static [u8] = vec![b'x'; 1 << 20].leak();
    for _ in 0..64 {
        ground.memory.produce(&rides(), Some(large));
    }
    let mut stream = ground.connect().await;
    stream.write_all(FOLLOW).await.unwrap();
    until(&mut stream, "data:x").await;
    let mut rest = Vec::new();
    let (_, read) = tokio::join!(ground.http.drain(), stream.read_to_end(&mut rest));
    read.unwrap();
    assert!(rest.len() < 32 << 20, "it was sent {} bytes more", rest.len());
}

#[tokio::test]
async fn what_slow_readers_have_not_taken_is_bounded() {
    let ground = Ground::new(10).await;
    let large: &'static [u8] = vec![b'x'; 100_000].leak();
    ground.memory.produce(&rides(), Some(large));
    let held = ground.http.answers.hold(vec![0; answers::BUDGET_BYTES].into()).unwrap();
    let busy = ground.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("retry-after: 1"), "{busy}");
    let head = ground.ask(&request("HEAD", "/s/rides/u42", "", "")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "what is small is served: {head}");
    let mut stream = ground.connect().await;
    stream.write_all(FOLLOW).await.unwrap();
    until(&mut stream, "\r\n\r\n").await;
    drop(held);
    until(&mut stream, "\"upToDate\":true").await;
    let read = ground.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.len() > large.len(), "and then what is large");
    drop(stream);
    let all = ground.http.answers.hold(vec![0; answers::BUDGET_BYTES].into());
    assert!(all.is_some(), "what was sent takes nothing more");
}

#[tokio::test]
async fn who_waits_for_news_is_answered_when_the_node_stops() {
    let (one, other) = (Ground::new(10).await, Ground::new(10).await);
    let port = other.address.port();
    one.memory.lead_elsewhere(Reach { host: "127.0.0.1".into(), port });
    other.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    for asked in [&one, &other] {
        let mut stream = asked.connect().await;
        let poll = request("GET", "/s/rides/u42?offset=now&live=long-poll", "", "");
        stream.write_all(poll.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (_, told) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(2), asked.http.drain()),
            until(&mut stream, "\r\n\r\n")
        );
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: 1"), "{told}");
    }
}

/// A clock on which all that is waited for comes soon.
struct Hasty;

impl Clock for Hasty {
    fn wall(&self) -> env::Millis {
        0
    }

    fn now(&self) -> env::Nanos {
        0
    }

    fn sleep_until(&self, _: env::Deadline) -> env::BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(500)))
    }
}

#[tokio::test]
async fn a_node_that_falls_silent_is_not_waited_for_without_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\ndata:one\n\n").await.unwrap();
        stream
    });
    let (head, ()) = Request::get("/s/rides/u42?offset=-1&live=sse").body(()).unwrap().into_parts();
    let clock: Arc<dyn Clock> = Arc::new(Hasty);
    let reach = Reach { host: "127.0.0.1".into(), port };
    let answer = forward::forward(&reach, &head, &Bytes::new(), &clock).await.unwrap();
    let mut stream = silent.await.unwrap();
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&first[..], b"data:one\n\n");
    stream.write_all(b"data:two\n\n").await.unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    let silence = tokio::time::timeout(Duration::from_secs(5), body.frame()).await;
    assert!(silence.unwrap().unwrap().is_err(), "it is not taken for the end");
}
