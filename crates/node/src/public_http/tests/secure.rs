//! TLS, and HTTP/2 under it.

use super::{
    followers::{Fast, PLAIN},
    *,
};
use hyper::body::Body as _;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use std::{path::Path, time::Instant};
use tls::testing::SelfSigned;
use tokio_rustls::{TlsConnector, client::TlsStream};

const H1: &[&[u8]] = &[b"http/1.1"];
const H2: &[&[u8]] = &[b"h2"];

/// A server under TLS, and its files.
struct Secure {
    ground: Ground,
    own: SelfSigned,
    dir: tempfile::TempDir,
}

type Client = SendRequest<Full<Bytes>>;

impl Secure {
    async fn new(haste: u64) -> Self {
        let (own, dir) = (SelfSigned::new(&["localhost"]), tempfile::tempdir().unwrap());
        write(dir.path(), &own);
        let certificate = Files { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        let mut world = system::world();
        world.clock = Arc::new(Fast(world.clock, haste));
        let ground = Ground::of(world, Gateway { certificate: Some(certificate), ..settings() }).await;
        Self { ground, own, dir }
    }

    async fn connect(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_connect(&self.own, protocols).await.unwrap()
    }

    async fn try_connect(
        &self,
        trusted: &SelfSigned,
        protocols: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(trusted.client(protocols));
        connector.connect("localhost".try_into().unwrap(), self.ground.connect().await).await
    }

    /// What is answered on a connection of its own, to its end, which is told by TLS.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect(H1).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A reader that has everything and is parked.
    async fn parked(&self) -> TlsStream<TcpStream> {
        self.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
        let mut stream = self.connect(H1).await;
        stream.write_all(FOLLOW).await.unwrap();
        until(&mut stream, "data:one\n").await;
        self.ground.until("it is parked", || self.ground.memory.listeners(&rides()) == 1).await;
        stream
    }

    async fn http2(&self) -> (Client, tokio::task::JoinHandle<hyper::Result<()>>) {
        let stream = TokioIo::new(self.connect(H2).await);
        // A client that takes little before it says so.
        let (client, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 * 1024)
            .handshake(stream)
            .await
            .unwrap();
        (client, tokio::spawn(connection))
    }
}

fn write(dir: &Path, own: &SelfSigned) {
    std::fs::write(dir.join("c.pem"), &own.certificate).unwrap();
    std::fs::write(dir.join("k.pem"), &own.key).unwrap();
}

async fn send(client: &mut Client, method: &str, path: &str, body: &'static str) -> Response<Incoming> {
    let request = Request::builder().method(method).uri(format!("https://h{path}"));
    let request = request.header("content-type", "text/plain").body(Full::new(body.into())).unwrap();
    client.send_request(request).await.unwrap()
}

/// Reads on until the text is there.
async fn read(body: &mut Incoming, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let frame = body.frame().await.unwrap_or_else(|| panic!("it ends before {text:?}: {read}"));
        read.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    read
}

#[tokio::test]
async fn streams_are_served_under_tls() {
    let secure = Secure::new(1).await;
    let created = secure.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    assert!(created.starts_with("HTTP/1.1 201 "), "{created}");
    assert!(created.contains("location: https://h/s/rides/u42\r\n"), "{created}");
    let read = secure.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.ends_with("one"), "{read}");
    let plain = secure.ground.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(!plain.contains("HTTP/"), "without TLS nothing is answered: {plain}");
    assert!(secure.try_connect(&secure.own, &[b"mqtt"]).await.is_err(), "nothing else is spoken");
}

#[tokio::test]
async fn who_follows_under_tls_is_parked_and_then_served_again() {
    let secure = Secure::new(20).await;
    let mut stream = secure.parked().await;
    secure.ask(&request("POST", "/s/rides/u42", TEXT, "two")).await;
    until(&mut stream, "data:two\n").await;
    // It is shown that it is alive, and its time is over after three seconds of this clock.
    until(&mut stream, ":\n\n").await;
    until(&mut stream, "0\r\n\r\n").await;
    stream.write_all(request("GET", "/s/rides/u42", "", "").as_bytes()).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("onetwo"), "{rest}");
}

#[tokio::test]
async fn who_goes_while_parked_under_tls_leaves_nothing() {
    let secure = Secure::new(1).await;
    let stream = secure.parked().await;
    let memory = secure.ground.memory.clone();
    drop(stream);
    secure.ground.until("it is gone", || memory.listeners(&rides()) == 0).await;
}

#[tokio::test]
async fn a_slow_reader_under_tls_gets_everything_once() {
    let secure = Secure::new(1).await;
    secure.ask(&request("PUT", "/s/rides/u42", TEXT, "begin")).await;
    let mut stream = secure.connect(H1).await;
    stream.write_all(PLAIN).await.unwrap();
    until(&mut stream, "data:begin\n").await;
    let memory = secure.ground.memory.clone();
    secure.ground.until("it is parked", || memory.listeners(&rides()) == 1).await;
    // More than sockets and the session of TLS hold, in pieces of many sizes.
    let count = 200;
    for place in 0..count {
        let text = format!("{place}:{}", "x".repeat(1 + place * 7919 % 60_000));
        memory.produce(&rides(), Some(text.leak().as_bytes()));
        if place % 40 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let (mut all, mut buffer, last) = (Vec::new(), vec![0; 65_536], format!("data:{}:x", count - 1));
    let is_there = |all: &[u8]| {
        let tail = &all[all.len().saturating_sub(2 * 65_536)..];
        tail.windows(last.len()).any(|window| window == last.as_bytes())
    };
    while !is_there(&all) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "it ends");
        all.extend_from_slice(&buffer[..read]);
    }
    let all = String::from_utf8(all).unwrap();
    let seen: Vec<usize> = all
        .split("data:")
        .filter_map(|piece| piece.split_once(":x").and_then(|(place, _)| place.parse().ok()))
        .collect();
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let secure = Secure::new(20).await;
    tokio::spawn(secure.ground.http.clone().follow_certificates());
    let mut old = secure.connect(H1).await;
    let new = SelfSigned::new(&["localhost"]);
    // Files that do not belong together change nothing.
    std::fs::write(secure.dir.path().join("c.pem"), &new.certificate).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(secure.try_connect(&secure.own, H1).await.is_ok());
    write(secure.dir.path(), &new);
    let begun = Instant::now();
    while secure.try_connect(&new, H1).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(secure.try_connect(&secure.own, H1).await.is_err());
    old.write_all(b"GET /s/rides/none HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    until(&mut old, "stream-not-found").await;
}

#[tokio::test]
async fn files_that_are_no_certificate_keep_the_node_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (SelfSigned::new(&["a"]), SelfSigned::new(&["a"]));
    let files = Files { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
    let told = || {
        let opened = Certificates::open(Some(&files), system::world().disk.as_ref());
        opened.err().unwrap().to_string()
    };
    assert!(told().contains("c.pem cannot be read"), "{}", told());
    write(dir.path(), &one);
    std::fs::write(dir.path().join("k.pem"), &other.key).unwrap();
    assert!(told().contains("k.pem is not the key") && told().contains("tls.key.file"), "{}", told());
}

#[tokio::test]
async fn who_does_not_begin_is_not_waited_for() {
    let secure = Secure::new(20).await;
    let mut silent = secure.ground.connect().await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty());
    let mut garbage = secure.ground.connect().await;
    garbage.write_all(&[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    garbage.write_all(&vec![7; 70_000]).await.ok();
    let ended = tokio::time::timeout(Duration::from_secs(10), garbage.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn many_requests_share_a_connection_of_http2() {
    let secure = Secure::new(1).await;
    let (mut client, connection) = secure.http2().await;
    let created = send(&mut client, "PUT", "/s/rides/u42", "one").await;
    assert_eq!(created.status(), 201);
    assert_eq!(created.headers().get("location").unwrap(), "https://h/s/rides/u42");
    let mut followed: Vec<Incoming> = Vec::new();
    for _ in 0..20 {
        let answer = send(&mut client, "GET", "/s/rides/u42?offset=-1&live=sse", "").await;
        assert_eq!(answer.headers().get("content-type").unwrap(), "text/event-stream");
        followed.push(answer.into_body());
    }
    for body in &mut followed {
        read(body, "data:one\n").await;
    }
    assert_eq!(send(&mut client, "POST", "/s/rides/u42", "two").await.status(), 204);
    for body in &mut followed {
        read(body, "data:two\n").await;
    }
    let wrong = send(&mut client, "GET", "/s/rides/%2e%2e/x", "").await;
    assert_eq!(wrong.status(), 400);
    let other = Request::get("https://stranger/s/rides/u42").body(Full::default()).unwrap();
    assert_eq!(client.send_request(other).await.unwrap().status(), 421, "the authority is looked at");
    tokio::join!(secure.ground.http.drain(), async {
        for body in &mut followed {
            while let Some(frame) = body.frame().await {
                frame.unwrap();
            }
        }
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn many_subscriptions_and_polls_go_over_http2() {
    let secure = Secure::new(1).await;
    let (mut client, _connection) = secure.http2().await;
    send(&mut client, "PUT", "/s/rides/u42", "one").await;
    let path = "/v1/subscribe?stream=rides/u42&offset=-1";
    let mut several = send(&mut client, "GET", path, "").await;
    assert_eq!(several.status(), 200, "{:?}", several.body_mut().collect().await);
    read(several.body_mut(), "one").await;
    let mut other = client.clone();
    let (polled, _) =
        tokio::join!(send(&mut client, "GET", "/s/rides/u42?offset=now&live=long-poll", ""), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            send(&mut other, "POST", "/s/rides/u42", "two").await
        });
    assert_eq!(polled.into_body().collect().await.unwrap().to_bytes(), "two");
}

#[tokio::test]
async fn a_web_socket_is_served_under_tls_and_not_over_http2() {
    let secure = Secure::new(1).await;
    let mut stream = secure.connect(H1).await;
    let upgrade = "GET /v1/ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let head = until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ping = br#"{"op":"ping","id":4}"#;
    // A text with a mask of zeros.
    let frame = [&[0x81, 0x80 | ping.len() as u8, 0, 0, 0, 0][..], ping].concat();
    stream.write_all(&frame).await.unwrap();
    until(&mut stream, r#""op":"pong""#).await;
    let (mut client, _connection) = secure.http2().await;
    assert_eq!(send(&mut client, "GET", "/v1/ws", "").await.status(), 426);
}

#[tokio::test]
async fn a_connection_of_http2_without_requests_ends() {
    let secure = Secure::new(20).await;
    let (mut client, connection) = secure.http2().await;
    send(&mut client, "GET", "/s/rides/none", "").await;
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    ended.unwrap().unwrap().unwrap();
    assert!(client.ready().await.is_err());
}

#[tokio::test]
async fn who_takes_nothing_over_http2_is_cut_off() {
    let secure = Secure::new(20).await;
    let (mut client, connection) = secure.http2().await;
    send(&mut client, "PUT", "/s/rides/u42", "one").await;
    let large: &'static [u8] = vec![b'x'; 200_000].leak();
    secure.ground.memory.produce(&rides(), Some(large));
    // More than its window, of which it takes nothing.
    let untaken = send(&mut client, "GET", "/s/rides/u42?offset=-1", "").await;
    assert_eq!(untaken.status(), 200);
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    ended.expect("it is kept, with all that was read for it").unwrap().unwrap_or_default();
    drop(untaken);
    let all = secure.ground.http.answers.hold(vec![0; answers::BUDGET_BYTES].into());
    assert!(all.is_some(), "what was read for it is not kept");
}

#[tokio::test]
async fn a_slow_follower_of_http2_is_a_place_in_its_stream() {
    let secure = Secure::new(1).await;
    let (mut client, _connection) = secure.http2().await;
    send(&mut client, "PUT", "/s/rides/u42", "begin").await;
    let asked = Request::get("https://h/s/rides/u42").header("accept", "text/event-stream");
    let asked = asked.body(Full::default()).unwrap();
    let mut slow = client.send_request(asked).await.unwrap().into_body();
    read(&mut slow, "data:begin\n").await;
    let count = 300;
    for place in 0..count {
        let text = format!("{place}:{}", "x".repeat(20_000));
        secure.ground.memory.produce(&rides(), Some(text.leak().as_bytes()));
    }
    // Another answer comes while this one is not taken.
    assert_eq!(send(&mut client, "HEAD", "/s/rides/u42", "").await.status(), 200);
    let all = read(&mut slow, &format!("data:{}:x", count - 1)).await;
    let seen: Vec<usize> = all
        .split("data:")
        .filter_map(|piece| piece.split_once(":x").and_then(|(place, _)| place.parse().ok()))
        .collect();
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

#[test]
fn what_goes_on_on_a_connection_is_known() {
    let clock: Arc<dyn Clock> = Arc::new(Fast(system::world().clock, 1));
    let traffic = traffic::Traffic::new(clock);
    let standing = |idle_ms, stall_ms| traffic.standing(idle_ms, stall_ms);
    assert_eq!(standing(1000, 1000), traffic::Standing::Well);
    assert_eq!(standing(0, 0), traffic::Standing::Idle);
    let open = traffic.open();
    assert_eq!(standing(0, 0), traffic::Standing::Well, "nothing waits to be sent");
    let mut answer = open.count(Response::new(Full::new(Bytes::from_static(b"x")))).into_body();
    assert_eq!(answer.size_hint().exact(), Some(1));
    let frame = std::pin::pin!(answer.frame());
    let Poll::Ready(Some(Ok(frame))) =
        frame.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    else {
        panic!("it is there")
    };
    let piece = frame.into_data().unwrap();
    drop(answer);
    assert_eq!(standing(1000, 0), traffic::Standing::Stalled);
    assert_eq!(standing(1000, 1000), traffic::Standing::Well);
    drop(piece);
    assert_eq!(standing(1000, 0), traffic::Standing::Well);
}
