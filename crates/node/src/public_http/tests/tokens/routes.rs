//! What tokens allow beyond single keys: whole topics, subscriptions, last values and events.

use super::*;
use model::{TopicName, TopicPartition};

const JSON: &str = "content-type: application/json\r\n";
const EVENT: &str = "content-type: application/cloudevents+json\r\n";

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("rides").unwrap(), partition }
}

/// A token of these grants.
fn granted(grants: &Value) -> String {
    bearer(&token(
        &json!({"sub": "u42", "iss": "https://id.example", "exp": now_seconds() + 60, "od": grants}),
    ))
}

fn own() -> String {
    granted(&json!([{"do": ["read", "append"], "topic": "rides", "key": "${sub}"}]))
}

fn all() -> String {
    granted(&json!([{"do": ["read", "append"], "topic": "rides", "key": "*"}]))
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

impl Gate {
    async fn status(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let request = request(method, path, headers, body);
        status(&self.ground.ask(&request).await).to_owned()
    }
}

#[tokio::test]
async fn whole_topics_are_for_those_who_may_read_all_keys() {
    let gate = Gate::new().await;
    for path in ["/s/rides", "/s/rides/-/p/0"] {
        for (headers, expected) in
            [(all(), ["200", "200", "204"]), (own(), ["403"; 3]), (String::new(), ["401"; 3])]
        {
            let headers = format!("{TEXT}{headers}");
            for (method, expected) in ["GET", "HEAD", "POST"].into_iter().zip(expected) {
                let body = if method == "POST" { "one" } else { "" };
                assert_eq!(gate.status(method, path, &headers, body).await, expected, "{method} {path}");
            }
        }
    }
    let records = gate.ask("GET", "/s/rides/-/p/0?format=records", &all(), "").await;
    assert!(records.contains(r#"{"name":"od-sub","text":"u42"}"#), "whose it is: {records}");
}

#[tokio::test]
async fn the_last_value_is_for_whoever_may_read_the_key() {
    let gate = Gate::new().await;
    for (headers, expected) in [(own(), "404"), (all(), "404"), (String::new(), "401")] {
        assert_eq!(gate.status("GET", "/v1/latest/rides/u42", &headers, "").await, expected);
    }
    assert_eq!(gate.status("GET", "/v1/latest/rides/u43", &own(), "").await, "403");
    assert_eq!(gate.status("GET", "/v1/latest/rides/u4%32", &own(), "").await, "404", "the same key");
}

#[tokio::test]
async fn a_subscription_has_only_streams_that_may_be_read() {
    let gate = Gate::new().await;
    let list = |streams: Value| json!({"streams": streams}).to_string();
    let mine = json!({"topic": "rides", "key": "u42"});
    let others = json!({"topic": "rides", "key": "u43"});
    let part = json!({"topic": "rides", "partition": 0});
    let whole = json!({"topic": "rides"});
    for streams in
        [json!([others]), json!([mine, others]), json!([part]), json!([whole]), json!([mine, whole])]
    {
        let asked = format!("{JSON}{}", own());
        assert_eq!(
            gate.status("QUERY", "/v1/subscribe", &asked, &list(streams.clone())).await,
            "403",
            "{streams}"
        );
    }
    assert_eq!(gate.status("QUERY", "/v1/subscribe", JSON, &list(json!([mine]))).await, "401");
    let slow = granted(&json!([{"do": ["read"], "topic": "rides", "key": "*", "rate": "1/h"}]));
    let refused = gate.status("QUERY", "/v1/subscribe", &format!("{JSON}{slow}"), &list(json!([mine]))).await;
    assert_eq!(refused, "403", "it would not be counted");
    for name in ["rides", "nosuch", "unknown"] {
        let asked = gate.status("GET", &format!("/v1/subscribe?stream={name}"), &own(), "").await;
        assert_eq!(asked, "403", "whether there is such a topic is nobody's business: {name}");
    }
    let forks = granted(&json!([
        {"do": ["read"], "topic": "rides", "key": "u42", "rate": "1/h"},
        {"do": ["create", "read"], "topic": "rides", "key": "mine*"},
    ]));
    let fork = format!("{TEXT}{forks}stream-forked-from: /s/rides/u42\r\n");
    assert_eq!(
        gate.status("PUT", "/s/rides/mine", &fork, "").await,
        "403",
        "nobody would count what is read there"
    );
    for (token, streams) in [(own(), json!([mine])), (all(), json!([mine, others, whole, part]))] {
        let body = list(streams);
        let mut stream = gate.ground.connect().await;
        let head = format!(
            "QUERY /v1/subscribe HTTP/1.1\r\nhost: h\r\n{JSON}{token}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let told = until(&mut stream, "event: here").await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
}

#[tokio::test]
async fn who_follows_many_streams_does_so_until_the_token_is_over() {
    let gate = Gate::new().await;
    let claims = json!({"exp": now_seconds() + 2, "od": [{"do": ["read"], "topic": "rides", "key": "*"}]});
    let began = std::time::Instant::now();
    let path = format!("/s/rides?live=sse&offset=now&token={}", token(&claims));
    let all = gate.ask("GET", &path, "", "").await;
    assert!(all.starts_with("HTTP/1.1 200 ") && all.ends_with("0\r\n\r\n"), "{all}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn events_are_taken_for_keys_that_may_be_appended_to() {
    let gate = Gate::new().await;
    let event = |key: Option<&str>, data: &str| {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "t", "data": data});
        key.into_iter().for_each(|key| event["partitionkey"] = json!(key));
        event
    };
    let tell = async |token: &str, event: &Value| {
        gate.status("POST", "/v1/events/rides", &format!("{EVENT}{token}"), &event.to_string()).await
    };
    assert_eq!(tell(&own(), &event(Some("u42"), "x")).await, "202");
    assert_eq!(tell(&own(), &event(Some("u43"), "x")).await, "403");
    assert_eq!(tell(&own(), &event(None, "x")).await, "403", "without a key it is anybody's");
    assert_eq!(tell(&all(), &event(None, "x")).await, "202");
    assert_eq!(tell("", &event(Some("u42"), "x")).await, "401");
    let batch = json!([event(Some("u42"), "x"), event(Some("u43"), "x")]);
    let headers = format!("content-type: application/cloudevents-batch+json\r\n{}", own());
    assert_eq!(gate.status("POST", "/v1/events/rides", &headers, &batch.to_string()).await, "403");
    let reads = granted(&json!([{"do": ["read"], "topic": "rides", "key": "*"}]));
    assert_eq!(tell(&reads, &event(Some("u42"), "x")).await, "403");
    let small = granted(&json!([{"do": ["append"], "topic": "rides", "key": "*", "max_bytes": 300}]));
    assert_eq!(tell(&small, &event(None, "x")).await, "202");
    assert_eq!(tell(&small, &event(None, &"x".repeat(301))).await, "413");
    let mut wide = event(None, "x");
    wide["ceext"] = json!("x".repeat(301));
    assert_eq!(tell(&small, &wide).await, "413", "what it says of itself counts, too");
    let two = granted(&json!([
        {"do": ["append"], "topic": "rides", "key": "a", "max_bytes": 300},
        {"do": ["append"], "topic": "rides", "key": "b"},
    ]));
    assert_eq!(tell(&two, &event(Some("b"), &"x".repeat(301))).await, "202", "each by its own grant");
    assert_eq!(tell(&two, &event(Some("a"), &"x".repeat(301))).await, "413");
    // What is counted before the key is known is the first grant of the topic.
    let rated = granted(&json!([
        {"do": ["append"], "topic": "rides", "key": "a", "rate": "100/s"},
        {"do": ["append"], "topic": "rides", "key": "b", "rate": "1/h"},
    ]));
    assert_eq!(tell(&rated, &event(Some("a"), "x")).await, "202");
    assert_eq!(tell(&rated, &event(Some("b"), "x")).await, "403", "it would not be counted as it must be");
    let records = gate.ask("GET", "/s/rides/-/p/0?format=records", &all(), "").await;
    assert!(records.contains(r#"{"name":"od-sub","text":"u42"}"#), "whose they are: {records}");
}

#[tokio::test]
async fn other_nodes_are_asked_in_the_name_of_the_caller() {
    let (one, other) = (Gate::new().await, Gate::new().await);
    for (gate, elsewhere, to) in [(&one, 1, &other), (&other, 0, &one)] {
        gate.ground.memory.set_partitions(2);
        let reach = Reach { host: "127.0.0.1".into(), port: to.ground.address.port() };
        gate.ground.memory.lead_partition_elsewhere(elsewhere, Some(reach));
    }
    other.ground.memory.write(&of(1), Some("k"), Some("b0"));
    let read = one.ask("GET", "/s/rides", &all(), "").await;
    assert!(read.starts_with("HTTP/1.1 200 ") && read.ends_with("b0"), "{read}");
    let asked =
        other.status("QUERY", "/v1/subscribe", &format!("{JSON}odradek-forwarded: 1\r\n"), "{}").await;
    assert_eq!(asked, "401", "whoever says to be a node is believed no more than others");
}
