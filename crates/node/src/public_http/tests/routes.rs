//! Whole topics, subscriptions and last values over sockets, on one node and on two.

use super::*;
use gateway::Topics;
use model::TopicPartition;

pub(super) fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("rides").unwrap(), partition }
}

/// Two nodes of which each has one of two partitions.
pub(super) async fn two() -> (Ground, Ground) {
    let (one, other) = (Ground::new(10).await, Ground::new(10).await);
    for (ground, elsewhere, to) in [(&one, 1, &other), (&other, 0, &one)] {
        ground.memory.set_partitions(2);
        let reach = Reach { host: "127.0.0.1".into(), port: to.address.port() };
        ground.memory.lead_partition_elsewhere(elsewhere, Some(reach));
    }
    (one, other)
}

#[tokio::test]
async fn a_topic_is_read_from_all_nodes_that_have_a_part_of_it() {
    let (one, other) = two().await;
    let posted = one.ask(&request("POST", "/s/rides/-/p/1", TEXT, "b0")).await;
    assert!(posted.starts_with("HTTP/1.1 204 "), "it is handed on: {posted}");
    let posted = one.ask(&request("POST", "/s/rides", TEXT, "a0")).await;
    assert!(posted.contains("content-location: /s/rides/-/p/0"), "{posted}");
    let all = one.ask(&request("GET", "/s/rides", "", "")).await;
    assert!(all.ends_with("\r\n\r\na0b0") || all.ends_with("\r\n\r\nb0a0"), "{all}");
    assert!(all.contains("stream-up-to-date: true"), "{all}");
    let mut stream = one.connect().await;
    stream.write_all(b"GET /s/rides?offset=now&live=sse HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    until(&mut stream, "\"upToDate\":true").await;
    // Larger than what is read at once, and with lines of its own.
    let large: &'static str = format!("begin\n\n{}end", "x".repeat(100_000)).leak();
    other.memory.write(&of(1), Some("k"), Some(large));
    let read = until(&mut stream, "xend\n").await;
    assert!(read.contains("data:begin\ndata:\ndata:xxx"), "{}", &read[..200]);
    one.memory.write(&of(0), Some("k"), Some("a1"));
    until(&mut stream, "data:a1\n").await;
    other.http.drain().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let gone = one.ask(&request("GET", "/s/rides", "", "")).await;
    assert!(gone.starts_with("HTTP/1.1 503 "), "nothing is passed over: {gone}");
}

#[tokio::test]
async fn many_streams_come_on_one_connection_and_are_resumed() {
    let (one, other) = two().await;
    let list = r#"{"streams":[{"topic":"rides"},{"topic":"rides","key":"u42"}]}"#;
    let typed = "content-type: application/json\r\n";
    let query = format!(
        "QUERY /v1/subscribe HTTP/1.1\r\nhost: h\r\n{typed}content-length: {}\r\n\r\n{list}",
        list.len()
    );
    let mut stream = one.connect().await;
    stream.write_all(query.as_bytes()).await.unwrap();
    until(&mut stream, "event: here").await;
    one.ask(&request("PUT", "/s/rides/u42", TEXT, "one")).await;
    let first = until(&mut stream, "\"text\":\"one\"").await;
    assert!(first.contains("\"stream\":2,\"topic\":\"rides\",\"key\":\"u42\""), "{first}");
    let id = first.lines().rfind(|line| line.starts_with("id: ")).unwrap()[4..].to_owned();
    other.memory.write(&of(1), None, Some("b0"));
    until(&mut stream, "\"partition\":1").await;
    drop(stream);
    let mut stream = one.connect().await;
    let resumed = format!(
        "GET /v1/subscribe?streams=[%7B%22topic%22:%22rides%22%7D,%7B%22topic%22:%22rides%22,%22key%22:%22u42%22%7D] HTTP/1.1\r\n\
         host: h\r\naccept: text/event-stream\r\nlast-event-id: {id}\r\n\r\n"
    );
    stream.write_all(resumed.as_bytes()).await.unwrap();
    let rest = until(&mut stream, "event: here").await;
    assert!(rest.contains("\"text\":\"b0\"") && !rest.contains("\"text\":\"one\""), "{rest}");
    let (_, ended) = tokio::join!(one.http.drain(), async {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.map(|_| rest)
    });
    assert!(ended.unwrap().ends_with(b"0\r\n\r\n"), "it goes with the node");
}

#[tokio::test]
async fn what_a_query_asks_for_is_bounded() {
    let ground = Ground::new(10).await;
    let head =
        "QUERY /v1/subscribe HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let long = " ".repeat(300_000);
    let told = ground.ask(&format!("{head}content-length: {}\r\n\r\n{long}", long.len())).await;
    assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("named in at most"), "{told}");
    let deep = "[".repeat(100_000);
    let told = ground.ask(&format!("{head}content-length: {}\r\n\r\n{deep}", deep.len())).await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
}

#[tokio::test]
async fn who_waits_for_a_last_value_is_answered_when_the_node_stops() {
    let ground = Ground::new(10).await;
    let mut stream = ground.connect().await;
    stream
        .write_all(request("GET", "/v1/latest/rides/u42", "prefer: wait=20\r\n", "").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (_, told) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(2), ground.http.drain()),
        until(&mut stream, "\r\n\r\n")
    );
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
}

#[tokio::test]
async fn an_event_is_taken_by_the_node_that_has_its_partition() {
    let (one, other) = two().await;
    let headers = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: s\r\nce-type: t\r\nce-subject: a\r\ncontent-type: text/plain\r\n";
    for ground in [&one, &other] {
        let told = ground.ask(&request("POST", "/v1/events/rides", headers, "hello")).await;
        assert!(told.starts_with("HTTP/1.1 202 ") && told.contains("/s/rides/-/p/1"), "{told}");
    }
    let read = one.ask(&request("GET", "/s/rides/-/p/1", "", "")).await;
    assert!(read.ends_with("hellohello"), "{read}");
}

#[tokio::test]
async fn a_call_that_waits_does_not_keep_a_node_that_stops() {
    let ground = Ground::new(10).await;
    let mut stream = ground.connect().await;
    stream.write_all(request("POST", "/v1/call/rides/u42", TEXT, "where?").as_bytes()).await.unwrap();
    let read = ground.memory.clone();
    while read.read_records(&of(0), gateway::From::Begin, 1).await.unwrap().records.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ground.http.drain().await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
