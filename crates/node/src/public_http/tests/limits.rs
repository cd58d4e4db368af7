//! How much one address may have, over real sockets. The whole loopback belongs to this machine, so that it has as many addresses as a
//! test wants.

use super::{Ground, TEXT, request, rides, settings, until};
use gateway::{Origins, Proxies};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Limits of each address, which may have any number of what is 0.
async fn ground(connections: u32, requests_per_second: u32, proxies: &[&str]) -> Ground {
    let mut settings = settings();
    settings.connections_max = 200;
    let limits = &mut settings.trust.limits;
    (limits.connections_max, limits.requests_per_second) = (connections, requests_per_second);
    limits.proxies = Proxies::new(&proxies.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).unwrap();
    Ground::with(settings).await
}

async fn connect(ground: &Ground, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    socket.connect(ground.address).await.unwrap()
}

/// What is answered to an address of the loopback.
async fn ask(ground: &Ground, last: u8, request: &str) -> String {
    let mut stream = connect(ground, last).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(headers: &str) -> String {
    request("GET", "/s/rides/u42", headers, "")
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_others_have_theirs() {
    let ground = ground(2, 0, &[]).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&ground, 1).await;
        stream.write_all(b"GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        until(&mut stream, "stream-not-found").await;
        open.push(stream);
    }
    let over = ask(&ground, 1, "").await;
    assert!(over.starts_with("HTTP/1.1 429 ") && over.contains("retry-after: 1"), "{over}");
    let other = ask(&ground, 2, &get("")).await;
    assert!(other.starts_with("HTTP/1.1 404 ") && !other.contains("ratelimit"), "{other}");
    open.pop();
    for _ in 0..100 {
        // The server learns by itself that one is gone.
        if ask(&ground, 1, &get("")).await.starts_with("HTTP/1.1 404 ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what was given back cannot be had again");
}

#[tokio::test]
async fn an_address_asks_so_often_and_is_told_when_it_may_again() {
    let ground = ground(0, 1, &[]).await;
    for left in (0..10).rev() {
        let answer = ask(&ground, 1, &get("")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(answer.contains("ratelimit-policy: \"address\";q=10;w=10\r\n"), "{answer}");
        assert!(answer.contains(&format!("ratelimit: \"address\";r={left};t=")), "{answer}");
    }
    let over = ask(&ground, 1, &request("PUT", "/s/rides/u42", TEXT, "one")).await;
    assert!(over.starts_with("HTTP/1.1 429 ") && over.contains("/problems/too-many-requests"), "{over}");
    assert!(
        over.contains("retry-after: 1\r\n") && over.contains("ratelimit: \"address\";r=0;t=1\r\n"),
        "{over}"
    );
    let other = ask(&ground, 2, &get("")).await;
    assert!(other.starts_with("HTTP/1.1 404 "), "and nothing was made meanwhile: {other}");
}

#[tokio::test]
async fn a_proxy_asks_for_others_and_a_node_for_those_that_were_counted() {
    let ground = ground(1, 1, &["127.0.0.1"]).await;
    let mut last = String::new();
    for _ in 0..11 {
        last = ask(&ground, 1, &get("x-forwarded-for: 198.51.100.1, 203.0.113.9\r\n")).await;
    }
    assert!(last.starts_with("HTTP/1.1 429 "), "{last}");
    let made_up = ask(&ground, 1, &get("x-forwarded-for: 198.51.100.2, 203.0.113.9\r\n")).await;
    assert!(made_up.starts_with("HTTP/1.1 429 "), "what the client says itself changes nothing: {made_up}");
    for headers in ["x-forwarded-for: 203.0.113.10\r\n", ""] {
        let other = ask(&ground, 1, &get(headers)).await;
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    }
    let (_one, _two) = (connect(&ground, 1).await, connect(&ground, 1).await);
    assert!(
        ask(&ground, 1, &get("")).await.starts_with("HTTP/1.1 404 "),
        "its connections are many people's"
    );
    ground.http.clients.know_nodes([Ipv4Addr::new(127, 0, 0, 3).into()].into());
    for _ in 0..20 {
        let answer = ask(&ground, 3, &get("x-forwarded-for: 203.0.113.9\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}

#[tokio::test]
async fn an_address_that_sends_slowly_leaves_the_others_room() {
    let ground = ground(0, 0, &[]).await;
    ask(&ground, 2, &request("PUT", "/s/rides/u42", TEXT, "")).await;
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = connect(&ground, 1).await;
        let head = format!(
            "POST /s/rides/u42 HTTP/1.1\r\nhost: h\r\n{TEXT}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // All of them are read, or wait until they may be.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let large = request("POST", "/s/rides/u42", TEXT, &"x".repeat(100_000));
    let other = tokio::time::timeout(Duration::from_secs(2), ask(&ground, 2, &large)).await;
    assert!(other.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 204 ")), "{other:?}");
    let same = ask(&ground, 1, &large).await;
    assert!(same.starts_with("HTTP/1.1 429 ") && same.contains("/problems/too-many-bodies"), "{same}");
}

#[tokio::test]
async fn who_follows_is_counted_while_it_is_parked_and_afterwards() {
    let mut settings = settings();
    settings.trust.screen.origins = Origins::new(&["https://app.example".to_owned()], None).unwrap();
    (settings.trust.limits.connections_max, settings.trust.limits.requests_per_second) = (1, 1);
    let ground = Ground::with(settings).await;
    ground.memory.produce(&rides(), Some(b"one"));
    let mut reader = connect(&ground, 1).await;
    let get = |accept| {
        format!("GET /s/rides/u42 HTTP/1.1\r\nhost: h\r\norigin: https://app.example\r\n{accept}\r\n")
    };
    reader.write_all(get("accept: text/event-stream\r\n").as_bytes()).await.unwrap();
    let marks =
        ["access-control-allow-origin: https://app.example\r\n", "ratelimit: \"address\";r=", "vary: "];
    let head = until(&mut reader, "data:one\n").await;
    assert!(head.contains("text/event-stream") && marks.iter().all(|mark| head.contains(mark)), "{head}");
    ground.until("it is parked", || ground.memory.listeners(&rides()) == 1).await;
    let over = ask(&ground, 1, "").await;
    assert!(over.starts_with("HTTP/1.1 429 "), "its connection is still the one of its address: {over}");
    ask(&ground, 2, &request("DELETE", "/s/rides/u42", "", "")).await;
    until(&mut reader, "0\r\n\r\n").await;
    for _ in 0..30 {
        reader.write_all(get("").as_bytes()).await.unwrap();
        let next = until(&mut reader, "}").await;
        assert!(marks.iter().all(|mark| next.contains(mark)), "{next}");
        if next.starts_with("HTTP/1.1 429 ") {
            assert_eq!(ground.memory.listeners(&rides()), 0);
            return;
        }
        assert!(next.starts_with("HTTP/1.1 404 ") && next.contains("stream-not-found"), "{next}");
    }
    panic!("what it asks afterwards is not counted");
}
