//! CloudEvents as records.

use super::*;
use model::TopicPartition;

const EVENTS: &str = "/v1/events/rides";
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const MINIMAL: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/rides"), ("ce-type", "ride.asked")];

#[tokio::test(start_paused = true)]
async fn an_event_is_a_record_of_the_partition_of_its_key() {
    let ground = Ground::new();
    ground.memory.set_partitions(3);
    let mut headers = MINIMAL.to_vec();
    headers.extend([("ce-subject", "u42"), ("content-type", "text/plain")]);
    let told = ground.ask("POST", EVENTS, &headers, "hello").await;
    assert_eq!(told.status(), 202);
    let place = header(&told, "content-location").unwrap();
    assert_eq!(header(&told, "stream-next-offset"), Some(&*Token::new(0, 1).to_string()));
    let records = ground.text(&format!("{place}?format=records")).await;
    for part in [
        r#""key":"u42""#,
        r#""text":"hello""#,
        r#"{"name":"content-type","text":"text/plain"}"#,
        r#"{"name":"ce_id","text":"1"}"#,
    ] {
        assert!(records.contains(part), "{part}: {records}");
    }
    let one = |key: &str| {
        format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","partitionkey":"{key}","data":1}}"#)
    };
    let batch: &'static str = format!("[{},{},{}]", one("a"), one("b"), one("a")).leak();
    let told = ground.ask("POST", EVENTS, &[BATCH], batch).await;
    assert_eq!(
        (told.status().as_u16(), header(&told, "content-location")),
        (202, None),
        "of several partitions"
    );
    let (mut count, mut at) = (0, "-1".to_owned());
    loop {
        let read = ground.ask("GET", &format!("/s/rides?format=records&offset={at}"), &[], "").await;
        count += String::from_utf8_lossy(read.body()).matches("\"offset\"").count();
        at = header(&read, "stream-next-offset").unwrap().to_owned();
        if header(&read, "stream-up-to-date").is_some() {
            break;
        }
    }
    assert_eq!(count, 4);
    assert_eq!(ground.ask("POST", EVENTS, &[BATCH], "[]").await.status(), 202);
    let unkeyed = ground.ask("POST", EVENTS, &MINIMAL, "").await;
    assert!(header(&unkeyed, "content-location").is_some(), "any partition");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_refused() {
    let ground = Ground::new();
    for (method, path, headers, status, kind) in [
        ("POST", EVENTS, &[][..], 400, "event"),
        ("POST", "/v1/events/unknown", &MINIMAL, 404, "topic-not-found"),
        ("POST", "/v1/events/__consumer_offsets", &MINIMAL, 404, "topic-not-found"),
        ("POST", EVENTS, &[("content-type", "application/cloudevents+xml")], 415, "event-format"),
        ("GET", EVENTS, &MINIMAL, 405, "method"),
        ("POST", "/v1/events/rides/x", &MINIMAL, 404, "no-route"),
    ] {
        let refused = ground.ask(method, path, headers, "x").await;
        let told: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
        let kind = format!("/problems/{kind}");
        assert_eq!((refused.status().as_u16(), &told["type"]), (status, &kind.into()), "{method} {path}");
    }
    let asked = ground.ask("OPTIONS", EVENTS, &[("webhook-request-origin", "events.example.com")], "").await;
    assert_eq!((asked.status().as_u16(), header(&asked, "webhook-allowed-origin")), (204, Some("*")));
    let admit = |length: &str| {
        let request = Request::builder().method("POST").uri(EVENTS).header("content-length", length);
        ground.service.admit(&request.body(()).unwrap()).map_err(|problem| problem.status.as_u16())
    };
    assert_eq!((admit("1048576"), admit("1048577")), (Ok(1 << 20), Err(413)));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_partition_of_another_node_is_told_there() {
    let (one, other) = subscribe::two(true);
    let event =
        |key: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"{key}"}}"#);
    let batch: &'static str = format!("[{},{}]", event("a"), event("b")).leak();
    assert_eq!(one.ask("POST", EVENTS, &[BATCH], batch).await.status(), 202);
    let of = |partition| TopicPartition { topic: TopicName::new("rides").unwrap(), partition };
    for (ground, partition) in [(&one, 0), (&other, 1)] {
        let read =
            crate::Topics::read_records(&*ground.memory, &of(partition), From::Begin, 100).await.unwrap();
        assert_eq!(read.records.len(), 1, "{partition}");
    }
}
