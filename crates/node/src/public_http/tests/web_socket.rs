//! WebSockets over real sockets: how they open, what breaks the protocol, and how they end.

use super::{
    Ground, TEXT, request, settings,
    tokens::{Gate, claims, now_seconds},
    until,
};
use futures_util::{SinkExt, StreamExt};
use gateway::Origins;
use serde_json::{Value, json};
use std::time::Duration;
use tokens::testing::token;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn opening(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n{UPGRADE}{headers}\r\n")
}

/// What is answered to a request that opens no WebSocket.
async fn refused(ground: &Ground, path: &str, headers: &str) -> String {
    let mut stream = ground.connect().await;
    stream.write_all(opening(path, headers).as_bytes()).await.unwrap();
    until(&mut stream, "}").await
}

/// A connection that is open, without a client on it.
async fn raw(ground: &Ground, path: &str, headers: &str) -> TcpStream {
    let mut stream = ground.connect().await;
    stream.write_all(opening(path, headers).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    stream
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn open(ground: &Ground) -> Self {
        Self::with(ground, "/v1/ws", "").await
    }

    async fn with(ground: &Ground, path: &str, headers: &str) -> Self {
        let stream = raw(ground, path, headers).await;
        Self(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What acknowledges a publication, and what has come of it, in whichever order.
    async fn hear_both(&mut self) -> (Value, Value) {
        let (mut ack, mut records) = (None, None);
        while ack.is_none() || records.is_none() {
            let told = self.hear().await;
            match told["op"].as_str() {
                Some("ack") => ack = Some(told),
                Some("records") => records = Some(told),
                _ => assert_eq!(told["op"], "here", "{told}"),
            }
        }
        (ack.unwrap(), records.unwrap())
    }

    /// The code with which it is closed.
    async fn end(&mut self) -> u16 {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Close(frame) => return frame.unwrap().code.into(),
                Message::Text(text) => panic!("{text}"),
                _ => {}
            }
        }
    }
}

fn subscribe(id: u64) -> Value {
    json!({"op": "subscribe", "id": id, "streams": [{"topic": "rides", "key": "u42"}]})
}

fn publish(id: u64, text: &str) -> Value {
    json!({"op": "publish", "id": id, "topic": "rides", "key": "u42", "text": text})
}

async fn ground() -> Ground {
    let ground = Ground::new(10).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "")).await;
    ground
}

#[tokio::test]
async fn streams_are_followed_and_written_on_one_connection() {
    let ground = ground().await;
    let mut client = Client::with(&ground, "/v1/ws", "sec-websocket-protocol: odradek.v1\r\n").await;
    client.say(&subscribe(1)).await;
    assert_eq!(client.hear().await["op"], "subscribed");
    assert_eq!(client.hear().await["op"], "here");
    client.say(&publish(2, "one")).await;
    let (ack, told) = client.hear_both().await;
    assert_eq!((&ack["id"], &told["records"][0]["text"]), (&2.into(), &"one".into()));
    // In more than one part.
    let long = "x\u{fc}".repeat(20_000);
    client.say(&publish(3, &long)).await;
    loop {
        let told = client.hear().await;
        if told["op"] == "records" {
            assert_eq!(told["records"][0]["text"], long);
            break;
        }
    }
    client.0.close(None).await.unwrap();
    while let Some(Ok(_)) = client.0.next().await {}
    let again = ground.ask(&request("GET", "/s/rides/u42", "", "")).await;
    assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
}

#[tokio::test]
async fn only_what_may_opens_one() {
    let mut some = settings();
    some.trust.screen.origins = Origins::new(&["https://app.example".into()], None).unwrap();
    let ground = Ground::with(some).await;
    for (headers, status, kind) in [
        ("origin: https://evil.example\r\n", 403, "other-origin"),
        ("origin: null\r\n", 403, "other-origin"),
        ("sec-fetch-site: cross-site\r\n", 403, "other-origin"),
        ("sec-websocket-protocol: mqtt\r\n", 400, "subprotocol"),
    ] {
        let answer = refused(&ground, "/v1/ws", headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(kind), "{answer}");
    }
    let plain = ground.ask(&request("GET", "/v1/ws", "", "")).await;
    assert!(plain.starts_with("HTTP/1.1 426 ") && plain.contains("upgrade: websocket\r\n"), "{plain}");
    let mut client = Client::with(&ground, "/v1/ws", "origin: https://app.example\r\n").await;
    client.say(&json!({"op": "ping"})).await;
    assert_eq!(client.hear().await, json!({"op": "pong"}));
}

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    [&frame[..], &[0; 4], payload].concat()
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection_with_the_reason() {
    let ground = ground().await;
    let huge = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let parts = [frame(0x01, &vec![b'x'; 60_000]), frame(0x80, &vec![b'x'; 60_000])].concat();
    for (what, bytes, code) in [
        ("not masked", vec![0x81, 0x02, b'{', b'}'], 1002_u16),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("a reserved opcode", frame(0x83, b"{}"), 1002),
        ("a ping in parts", frame(0x09, b""), 1002),
        ("a long ping", frame(0x89, &[b'x'; 126]), 1002),
        ("a part of nothing", frame(0x80, b"{}"), 1002),
        ("a message within another", [frame(0x01, b"{"), frame(0x81, b"}")].concat(), 1002),
        ("no UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("binary", frame(0x82, b"{}"), 1003),
        ("too long", frame(0x81, &vec![b'x'; 65_535])[..8].to_vec(), 0),
        ("far too long", huge, 1009),
        ("too long in parts", parts, 1009),
    ] {
        let mut stream = raw(&ground, "/v1/ws", "").await;
        stream.write_all(&bytes).await.unwrap();
        if code == 0 {
            // It waits for the rest, and nothing else does.
            continue;
        }
        let mut told = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut told)).await.unwrap();
        assert_eq!(told[0], 0x88, "{what}: {told:?}");
        assert_eq!(u16::from_be_bytes([told[2], told[3]]), code, "{what}");
    }
    let mut client = Client::open(&ground).await;
    for garbage in ["", "{", "nul", "[[[[", "{\"op\":\"\\ud800\"}", &"[".repeat(60_000)] {
        client.0.send(Message::Text(garbage.to_owned().into())).await.unwrap();
        assert_eq!(client.hear().await["problem"]["type"], "/problems/message", "{garbage}");
    }
    client.say(&json!({"op": "ping", "id": 1})).await;
    assert_eq!(client.hear().await["op"], "pong", "it goes on");
}

#[tokio::test]
async fn any_bytes_leave_the_server_alive() {
    let ground = Ground::new(300).await;
    ground.ask(&request("PUT", "/s/rides/u42", TEXT, "")).await;
    let mut random = 7_u64;
    let mut byte = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    for round in 0..200_u8 {
        let mut stream = raw(&ground, "/v1/ws", "").await;
        let mut bytes: Vec<u8> = (0..300).map(|_| byte()).collect();
        if round % 2 == 0 {
            // What looks like a message.
            bytes.splice(..2, [0x81, 0x80 | (round % 126)]);
        }
        let _ = stream.write_all(&bytes).await;
    }
    let mut client = Client::open(&ground).await;
    client.say(&publish(1, "one")).await;
    assert_eq!(client.hear().await["op"], "ack");
}

#[tokio::test]
async fn who_sends_too_often_is_not_listened_to() {
    let mut some = settings();
    some.trust.limits.requests_per_second = 1;
    let ground = Ground::with(some).await;
    let mut client = Client::open(&ground).await;
    for id in 0..20 {
        client.say(&json!({"op": "ping", "id": id})).await;
    }
    let mut last = Value::Null;
    for _ in 0..20 {
        last = client.hear().await;
    }
    assert_eq!((&last["id"], &last["problem"]["status"]), (&19.into(), &429.into()));
    assert!(last["headers"]["retry-after"].is_string(), "{last}");
    client.0.send(Message::Ping("x".into())).await.unwrap();
    assert_eq!(client.end().await, 1008);
}

#[tokio::test]
async fn a_token_opens_one_and_ends_it() {
    let gate = Gate::new().await;
    let without = refused(&gate.ground, "/v1/ws", "").await;
    assert!(without.starts_with("HTTP/1.1 401 "), "{without}");
    let short = || {
        let mut short = claims();
        short["exp"] = (now_seconds() + 2).into();
        token(&short)
    };
    let own = token(&claims());
    let mut client = Client::with(&gate.ground, &format!("/v1/ws?token={own}"), "").await;
    client.say(&json!({"op": "publish", "id": 1, "topic": "rides", "key": "u43", "text": "x"})).await;
    assert_eq!(client.hear().await["problem"]["type"], "/problems/not-granted");
    client.say(&json!({"op": "subscribe", "id": 2, "streams": [{"topic": "rides"}]})).await;
    assert_eq!(client.hear().await["problem"]["type"], "/problems/not-granted");
    client.say(&subscribe(3)).await;
    assert_eq!(client.hear().await["op"], "subscribed");
    let cookie = format!("cookie: od={}\r\n", short());
    let mut client = Client::with(&gate.ground, "/v1/ws", &cookie).await;
    client.say(&json!({"op": "token", "id": 1, "token": "x"})).await;
    assert_eq!(client.hear().await["problem"]["type"], "/problems/bad-token");
    assert_eq!(client.end().await, 4401);
    let header = format!("authorization: Bearer {}\r\n", short());
    let mut client = Client::with(&gate.ground, "/v1/ws", &header).await;
    client.say(&json!({"op": "token", "id": 1, "token": own})).await;
    assert_eq!(client.hear().await["op"], "token");
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.say(&json!({"op": "ping"})).await;
    assert_eq!(client.hear().await["op"], "pong", "the other token counts");
}

#[tokio::test]
async fn a_node_that_stops_says_so() {
    let ground = ground().await;
    let mut client = Client::open(&ground).await;
    client.say(&publish(1, "one")).await;
    assert_eq!(client.hear().await["op"], "ack");
    let (http, end) = (ground.http.clone(), client.end());
    let ((), code) = tokio::join!(http.drain(), end);
    assert_eq!(code, 1012);
}

#[tokio::test]
async fn what_a_client_takes_late_comes_then() {
    let ground = ground().await;
    let text = "x".repeat(60_000);
    for _ in 0..200 {
        ground.ask(&request("POST", "/s/rides/u42", TEXT, &text)).await;
    }
    let mut client = Client::open(&ground).await;
    client.say(&subscribe(1)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // All of it comes when it is taken.
    let mut count = 0;
    while count < 200 {
        let told = client.hear().await;
        count += told["records"].as_array().map_or(0, Vec::len);
    }
}

#[tokio::test]
async fn what_another_node_leads_is_followed_and_written_there() {
    let (one, other) = super::routes::two().await;
    let mut client = Client::open(&one).await;
    client.say(&json!({"op": "subscribe", "id": 1, "streams": [{"topic": "rides"}]})).await;
    assert_eq!(client.hear().await["op"], "subscribed");
    assert_eq!(client.hear().await["op"], "here");
    client.say(&json!({"op": "publish", "id": 2, "topic": "rides", "partition": 1, "text": "far"})).await;
    let (ack, told) = client.hear_both().await;
    assert_eq!((&ack["location"], &told["records"][0]["text"]), (&"/s/rides/-/p/1".into(), &"far".into()));
    // It stops, and what it had is here.
    other.http.drain().await;
    for text in ["far", "near"] {
        one.memory.write(&super::routes::of(1), None, Some(text));
    }
    one.memory.lead_partition_here(1);
    loop {
        let told = client.hear().await;
        if told["op"] == "records" {
            assert_eq!(told["records"][0]["text"], "near", "the connection lasts, and nothing comes twice");
            break;
        }
    }
}

#[tokio::test]
async fn who_gives_no_sign_of_life_is_gone() {
    // Ten seconds are one.
    let ground = super::followers::fast().await;
    let (mut silent, mut alive) = (raw(&ground, "/v1/ws", "").await, Client::open(&ground).await);
    let mut told = Vec::new();
    let heard = async { silent.read_to_end(&mut told).await.unwrap() };
    let living = async {
        let until = tokio::time::sleep(Duration::from_secs(8));
        tokio::pin!(until);
        loop {
            tokio::select! {
                message = alive.0.next() => assert!(message.unwrap().unwrap().is_ping()),
                () = &mut until => return,
            }
        }
    };
    tokio::join!(heard, living);
    assert_eq!((told[0], told[1], told[2]), (0x89, 0, 0x88), "a ping, and the end");
    assert_eq!(u16::from_be_bytes([told[4], told[5]]), 4408);
    alive.say(&json!({"op": "ping"})).await;
    assert_eq!(alive.hear().await["op"], "pong");
}
