//! Calls: a record that asks, and one that answers.

use super::*;
use crate::topics::Topics;
use model::TopicPartition;
use records::Record;

const CALL: &str = "/v1/call/rides/u42";

/// The record that asks for an answer, and a header of it.
async fn asked(ground: &Ground, count: usize) -> Vec<Record> {
    let of = TopicPartition { topic: TopicName::new("rides").unwrap(), partition: 0 };
    loop {
        let read = ground.memory.read_records(&of, From::Begin, 1 << 20).await.unwrap().records;
        if read.len() >= count {
            return read;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn said(record: &Record, name: &str) -> Option<String> {
    let found = record.headers.iter().find(|header| header.key[..] == *name.as_bytes());
    found.map(|header| String::from_utf8(header.value.clone().unwrap().to_vec()).unwrap())
}

/// What a service does: it answers each record that asks, after a while.
async fn serve(ground: &Ground, after: Duration) {
    let record = asked(ground, 1).await.remove(0);
    tokio::time::sleep(after).await;
    let (to, id) = (said(&record, "reply-to").unwrap(), said(&record, "correlation-id").unwrap());
    ground.ask("PUT", &format!("/s/{to}/{id}"), &TEXT, "here it is").await;
    // The first answer counts.
    ground.ask("POST", &format!("/s/{to}/{id}"), &TEXT, "and again").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_waited_for() {
    let ground = Ground::new();
    let began = tokio::time::Instant::now();
    let (answer, ()) =
        tokio::join!(ground.ask("POST", CALL, &TEXT, "where?"), serve(&ground, Duration::from_secs(3)));
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"here it is"[..]));
    assert_eq!(
        (header(&answer, "content-type"), header(&answer, "cache-control")),
        (Some("text/plain"), Some("no-store"))
    );
    assert!(began.elapsed() < Duration::from_secs(4));
    let record = asked(&ground, 1).await.remove(0);
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"u42"[..]), Some(&b"where?"[..])));
    assert_eq!(said(&record, "reply-to").as_deref(), Some("rides.replies"));
    assert_eq!(said(&record, "content-type").as_deref(), Some("text/plain"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_late_is_asked_for_where_it_will_be() {
    let ground = Ground::new();
    let began = tokio::time::Instant::now();
    let later = ground.ask("POST", CALL, &[TEXT[0], ("prefer", "wait=2")], "where?").await;
    assert_eq!((later.status().as_u16(), header(&later, "preference-applied")), (202, Some("wait=2")));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let location = header(&later, "location").unwrap();
    let location = location[location.find("/v1/").unwrap()..].to_owned();
    let none = ground.ask("GET", &location, &[], "").await;
    assert_eq!((none.status().as_u16(), header(&none, "location")), (202, header(&later, "location")));
    let wait = [("prefer", "wait=9")];
    let (answer, ()) =
        tokio::join!(ground.ask("GET", &location, &wait, ""), serve(&ground, Duration::from_secs(1)));
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"here it is"[..]));
    let again = ground.ask("GET", &location, &[], "").await;
    assert_eq!(&again.body()[..], b"here it is", "it stays as long as its topic keeps it");
    let began = tokio::time::Instant::now();
    let at_once = ground
        .ask("POST", CALL, &[TEXT[0], ("prefer", "respond-async"), ("idempotency-key", "k")], "x")
        .await;
    assert_eq!((at_once.status().as_u16(), began.elapsed()), (202, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_answers_says_what_the_answer_is() {
    let ground = Ground::new();
    let later = ground.ask("POST", CALL, &[TEXT[0], ("prefer", "respond-async")], "where?").await;
    let id = header(&later, "location").unwrap().split_once("id=").unwrap().1.to_owned();
    // What one of Kafka's producers writes is there as a stream and as a record.
    let topic = TopicName::new("rides.replies").unwrap();
    let header_of = |name: &'static str, value: &'static str| records::Header {
        key: Bytes::from_static(name.as_bytes()),
        value: Some(Bytes::from_static(value.as_bytes())),
    };
    let (key, headers) = (
        Bytes::from(id.clone()),
        vec![header_of("content-type", "application/problem+json"), header_of("od-status", "404")],
    );
    let record = crate::NewRecord { key: Some(key.clone()), value: Some("{}".into()), headers };
    let of = TopicPartition { topic: topic.clone(), partition: 0 };
    ground.memory.append_records(&of, vec![record], None).await.unwrap();
    ground.memory.produce(&Address { topic, key }, Some(b"{}"));
    let answer = ground.ask("GET", &format!("{CALL}?id={id}"), &[], "").await;
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (404, &b"{}"[..]));
    assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_made_again_is_the_same() {
    let ground = Ground::new();
    let headers = [TEXT[0], ("idempotency-key", "k"), ("prefer", "wait=1")];
    let first = ground.ask("POST", CALL, &headers, "where?").await;
    let again = ground.ask("POST", CALL, &headers, "where?").await;
    assert_eq!(header(&first, "location"), header(&again, "location"));
    assert_eq!(ground.ask("POST", CALL, &headers, "who?").await.status(), 422);
    let other = ground.ask("POST", "/v1/call/rides/u43", &headers, "where?").await;
    assert_ne!(
        header(&first, "location").unwrap().split('=').nth(1),
        header(&other, "location").unwrap().split('=').nth(1)
    );
    assert_eq!(asked(&ground, 2).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_call_is_refused() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides.replies/secret", &TEXT, "x").await;
    for (method, path, status) in [
        ("GET", CALL, 400),
        ("GET", "/v1/call/rides/u42?id=secret", 400),
        ("GET", "/v1/call/rides/u42?id=AAAA", 400),
        ("POST", "/v1/call/unknown/u42", 404),
        ("POST", "/v1/call/rides", 404),
        ("PUT", CALL, 405),
        ("OPTIONS", CALL, 204),
    ] {
        assert_eq!(ground.ask(method, path, &TEXT, "").await.status(), status, "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_node_is_asked_for_there() {
    let (one, other) = super::subscribe::two(true);
    one.memory.lead_elsewhere(Reach { host: "other".into(), port: 8080 });
    let wait = [TEXT[0], ("prefer", "wait=5")];
    // The key is of partition 0, which is here; its answer is not.
    let (answer, ()) = tokio::join!(one.ask("POST", "/v1/call/rides/b", &wait, "where?"), async {
        let record = asked(&one, 1).await.remove(0);
        let path = format!("/s/rides.replies/{}", said(&record, "correlation-id").unwrap());
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.ask("PUT", &path, &TEXT, "there it is").await;
    });
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"there it is"[..]));
    let wait = [wait[0], wait[1], ("idempotency-key", "another")];
    let late = one.ask("POST", "/v1/call/rides/b", &wait, "where?").await;
    assert_eq!((late.status().as_u16(), header(&late, "preference-applied")), (202, Some("wait=5")));
}
