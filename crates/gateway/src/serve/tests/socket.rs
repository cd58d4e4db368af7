//! One connection with many streams on it, as whoever holds the connection drives it.

use super::*;
use crate::socket::{Entrant, Job, Outcome, Socket, Work};
use model::TopicPartition;
use serde_json::{Value, json};

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("rides").unwrap(), partition }
}

/// A connection, and what it was told.
struct Line {
    service: Service,
    socket: Socket<()>,
}

impl Line {
    fn new(ground: &Ground) -> Self {
        let service = ground.service.clone();
        Self { socket: Socket::new(service.clone(), Entrant::default()), service }
    }

    async fn work(&self, work: Work) -> Outcome<()> {
        let request = match work {
            Work::Publish(request) | Work::Subscribe(request) => request,
            Work::Verify(token) => {
                let caller =
                    Caller::new(Some(token), None, 2_000_000_000_000, &serde_json::Map::new()).unwrap();
                return Outcome::Verified(Entrant { caller: Some(Arc::new(caller)), bearer: None });
            }
        };
        match self.service.answer(request).await {
            Answer::Whole(response) => Outcome::Answered(response),
            Answer::Many(_, many) => Outcome::Follows(many, ()),
            _ => panic!("one stream"),
        }
    }

    /// Does all that is to be done.
    async fn work_off(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        while let Some(job) = self.socket.next_job() {
            match job {
                Job::Say(text) => told.push(text),
                Job::Do(work) => {
                    let outcome = self.work(*work).await;
                    told.extend(self.socket.finish(outcome));
                }
            }
        }
        told.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// Says something, and hears what is answered to that.
    async fn say(&mut self, message: &Value) -> Vec<Value> {
        let now = self.socket.on_text(&message.to_string(), None);
        let mut told: Vec<Value> = now.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        told.extend(self.work_off().await);
        told
    }

    /// What comes next of what is followed.
    async fn next(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Some(text) => return serde_json::from_str(&text).unwrap(),
                None => assert_eq!(self.work_off().await, Vec::<Value>::new()),
            }
        }
    }

    /// Whether nothing comes, for as long as anybody would wait.
    async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(3600), self.next()).await.is_err()
    }
}

/// The values or texts of a message of records.
fn values(told: &Value) -> Vec<Value> {
    let records = told["records"].as_array().unwrap_or_else(|| panic!("{told}"));
    records
        .iter()
        .map(|record| record.get("value").or(record.get("text")).cloned().unwrap_or_default())
        .collect()
}

fn kind(told: &Value) -> (&str, &str, u64) {
    let kind = told["problem"]["type"].as_str().unwrap_or_default();
    (told["op"].as_str().unwrap(), kind, told["problem"]["status"].as_u64().unwrap_or(0))
}

fn subscribe(id: u64, more: &Value) -> Value {
    let mut message = json!({"op": "subscribe", "id": id, "streams": [{"topic": "rides", "key": "a"}]});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

#[tokio::test(start_paused = true)]
async fn what_is_published_on_a_connection_is_followed_on_it() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &[("content-type", "application/json")], "").await;
    let mut line = Line::new(&ground);
    let begun = line.say(&subscribe(1, &json!({}))).await;
    assert_eq!((&begun[0]["op"], &begun[0]["id"]), (&"subscribed".into(), &1.into()));
    assert_eq!(line.next().await["op"], "here");
    let producer = json!({"id": "p", "epoch": 0, "seq": 0});
    let publish = json!({"op": "publish", "id": 7, "topic": "rides", "key": "a", "value": [{"x": 1}, 2],
        "producer": producer});
    let ack = line.say(&publish).await;
    let next = Token::new(0, 2).to_string();
    let expected = json!({"op": "ack", "id": 7, "next": next, "duplicate": false, "seq": 0});
    assert_eq!(ack, [expected]);
    assert_eq!(line.say(&publish).await[0]["duplicate"], true, "it is sent again");
    let told = line.next().await;
    assert_eq!(values(&told), [json!({"x": 1}), json!(2)]);
    let record = &told["records"][1];
    assert_eq!((&record["stream"], &record["key"], &record["next"]), (&0.into(), &"a".into(), &json!(next)));
    assert_eq!(line.next().await["op"], "here");
    assert!(line.is_quiet().await);
    let resumed = line.say(&subscribe(2, &json!({"offset": told["offset"]}))).await;
    assert_eq!(resumed[0]["offset"], told["offset"]);
    assert_eq!(line.next().await["op"], "here", "it goes on behind that");
    assert_eq!(
        line.say(&json!({"op": "unsubscribe", "id": 1})).await,
        [json!({"op": "unsubscribed", "id": 1})]
    );
    line.say(&json!({"op": "publish", "id": 8, "topic": "rides", "key": "a", "value": 3, "closes": true}))
        .await;
    let told = line.next().await;
    assert_eq!((&told["id"], values(&told)), (&2.into(), vec![json!(3)]));
    let end = line.next().await;
    assert_eq!((&end["op"], &end["last"], &end["stream"]["key"]), (&"end".into(), &true.into(), &"a".into()));
    assert!(line.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_grants_nothing_is_a_place_and_no_buffer() {
    let ground = Ground::new();
    for _ in 0..10 {
        ground.memory.write(&of(0), None, Some("0123456789"));
    }
    let mut line = Line::new(&ground);
    let whole = json!({"streams": [{"topic": "rides"}], "credit": {"messages": 3}});
    line.say(&subscribe(1, &whole)).await;
    let told = line.next().await;
    assert_eq!(values(&told).len(), 3);
    assert!(line.is_quiet().await);
    let place = crate::positions::Positions::decode(told["offset"].as_str().unwrap()).unwrap();
    assert_eq!(place.places, [Token::new(0, 3)], "of what was not granted nothing is passed");
    assert_eq!(line.say(&json!({"op": "credit", "id": 1, "messages": 2})).await, Vec::<Value>::new());
    assert_eq!(values(&line.next().await).len(), 2);
    assert!(line.is_quiet().await);
    // A record is larger than what is granted, and comes all the same.
    let bytes = json!({"streams": [{"topic": "rides"}], "credit": {"bytes": 1}});
    line.say(&subscribe(2, &bytes)).await;
    assert_eq!(values(&line.next().await).len(), 1);
    assert!(line.is_quiet().await);
    line.say(&json!({"op": "credit", "id": 2, "bytes": 1000})).await;
    let some = values(&line.next().await).len();
    assert!((2..9).contains(&some), "{some}");
    // Others are not held up by that.
    line.say(&subscribe(3, &json!({"streams": [{"topic": "rides", "partition": 0}]}))).await;
    assert_eq!(values(&line.next().await).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn messages_are_answered_in_their_order() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &TEXT, "one").await;
    let mut line = Line::new(&ground);
    // All before anything is done.
    for message in [
        subscribe(1, &json!({"credit": {"messages": 0}})),
        json!({"op": "credit", "id": 1, "messages": 1}),
        json!({"op": "publish", "id": 2, "topic": "rides", "key": "a", "text": "two"}),
        json!({"op": "unsubscribe", "id": 5}),
    ] {
        assert_eq!(line.socket.on_text(&message.to_string(), None), None);
    }
    let told = line.work_off().await;
    let ops: Vec<_> = told.iter().map(kind).collect();
    assert_eq!(ops, [("subscribed", "", 0), ("ack", "", 0), ("error", "/problems/no-subscription", 404)]);
    assert_eq!(values(&line.next().await), ["one"]);
    assert_eq!(line.say(&json!({"op": "ping"})).await, [json!({"op": "pong"})]);
    assert_eq!(line.say(&json!({"op": "ping", "id": 4})).await, [json!({"op": "pong", "id": 4})]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_told_as_over_http() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &TEXT, "one").await;
    let mut line = Line::new(&ground);
    let publish = |more: Value| {
        let mut message = json!({"op": "publish", "id": 1, "topic": "rides", "key": "a", "text": "x"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    for (message, expected) in [
        (json!([]), ("error", "/problems/message", 400)),
        (json!({"op": "subscribe", "id": 1, "streams": []}), ("error", "/problems/streams", 400)),
        (
            subscribe(1, &json!({"streams": [{"topic": "unknown"}]})),
            ("error", "/problems/topic-not-found", 404),
        ),
        (
            subscribe(1, &json!({"streams": [{"topic": "rides", "partition": 9}]})),
            ("error", "/problems/partition-not-found", 404),
        ),
        (subscribe(1, &json!({"offset": "xyz"})), ("error", "/problems/offset", 400)),
        (
            subscribe(1, &json!({"streams": [{"topic": "rides", "key": "a", "offset": "7"}]})),
            ("error", "/problems/offset", 400),
        ),
        (publish(json!({"topic": "unknown"})), ("error", "/problems/stream-not-found", 404)),
        (publish(json!({"key": "b"})), ("error", "/problems/stream-not-found", 404)),
        (publish(json!({"contentType": "application/json"})), ("error", "/problems/other-content-type", 409)),
        (
            publish(json!({"expectedOffset": Token::new(0, 9).to_string()})),
            ("error", "/problems/other-offset", 412),
        ),
        (
            publish(json!({"producer": {"id": "p", "epoch": 0, "seq": 3}})),
            ("error", "/problems/sequence-gap", 409),
        ),
    ] {
        let told = line.say(&message).await;
        assert_eq!(kind(&told[0]), expected, "{message}");
    }
    let gap = line.say(&publish(json!({"producer": {"id": "p", "epoch": 0, "seq": 3}}))).await;
    assert_eq!(gap[0]["headers"]["producer-expected-seq"], "0");
    line.say(&subscribe(1, &json!({}))).await;
    assert_eq!(kind(&line.say(&subscribe(1, &json!({}))).await[0]), ("error", "/problems/id-in-use", 409));
    let flood = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "").with("retry-after", 3);
    let text = line.socket.on_text(&publish(json!({})).to_string(), Some(flood)).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["id"], &told["headers"]["retry-after"]), (&1.into(), &"3".into()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_an_end_of_everything() {
    let ground = Ground::new();
    let mut line = Line::new(&ground);
    for id in 0..64 {
        assert_eq!(kind(&line.say(&subscribe(id, &json!({}))).await[0]).0, "subscribed");
    }
    assert_eq!(kind(&line.say(&subscribe(64, &json!({}))).await[0]), ("error", "/problems/streams", 400));
    let mut line = Line::new(&ground);
    let most = vec![json!({"topic": "rides", "key": "a"}); crate::positions::STREAMS_MAX];
    assert_eq!(kind(&line.say(&subscribe(1, &json!({"streams": most}))).await[0]).0, "subscribed");
    assert_eq!(kind(&line.say(&subscribe(2, &json!({}))).await[0]), ("error", "/problems/streams", 400));
    let publish = |text: &str| json!({"op": "publish", "id": 1, "topic": "rides", "text": text}).to_string();
    for _ in 0..32 {
        assert!(!line.socket.is_full());
        assert_eq!(line.socket.on_text(&publish("x"), None), None);
    }
    assert!(line.socket.is_full());
    line.work_off().await;
    assert!(!line.socket.is_full());
    line.socket.on_text(&publish(&"x".repeat(64 * 1024)), None);
    assert!(line.socket.is_full(), "so many bytes are enough, too");
}

#[tokio::test(start_paused = true)]
async fn retention_leaves_a_gap_that_is_told() {
    let ground = Ground::new();
    for _ in 0..5 {
        ground.memory.write(&of(0), None, Some("x"));
    }
    let mut line = Line::new(&ground);
    line.say(&subscribe(1, &json!({"streams": [{"topic": "rides"}], "credit": {"messages": 1}}))).await;
    line.next().await;
    ground.memory.retain_from(&of(0), 4);
    line.say(&json!({"op": "credit", "id": 1, "messages": 9})).await;
    let gone = line.next().await;
    assert_eq!(
        (&gone["op"], &gone["stream"]["next"]),
        (&"gone".into(), &json!(Token::new(0, 4).to_string()))
    );
    assert_eq!(values(&line.next().await).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_was_never_given_out_is_a_gap() {
    let ground = Ground::new();
    ground.memory.write(&of(0), None, Some("x"));
    let mut line = Line::new(&ground);
    for offset in [Token::new(0, 99), Token::new(0, 9_999_999_999_999_999)] {
        let from = json!({"streams": [{"topic": "rides", "partition": 0, "offset": offset.to_string()}]});
        line.say(&subscribe(1, &from)).await;
        let gone = line.next().await;
        assert_eq!(
            (&gone["op"], &gone["stream"]["next"]),
            (&"gone".into(), &json!(Token::BEGIN.to_string()))
        );
        assert_eq!(values(&line.next().await), ["x"], "with the earliest that is kept");
        line.say(&json!({"op": "unsubscribe", "id": 1})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publication_with_a_key_is_taken_once() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &TEXT, "").await;
    let mut line = Line::new(&ground);
    let publish = |text: &str| json!({"op": "publish", "id": 1, "topic": "rides", "key": "a", "text": text, "idempotencyKey": "k"});
    let first = line.say(&publish("one")).await.remove(0);
    let again = line.say(&publish("one")).await.remove(0);
    assert_eq!((&first["next"], first.get("duplicate")), (&again["next"], None));
    assert_eq!(again["duplicate"], true);
    let other = line.say(&publish("two")).await;
    assert_eq!(kind(&other[0]), ("error", "/problems/idempotency-key-reused", 422));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_on_where_a_node_was_away() {
    let (one, other) = super::subscribe::two(true);
    other.memory.write(&of(1), None, Some("b0"));
    let mut line = Line::new(&one);
    line.say(&subscribe(1, &json!({"streams": [{"topic": "rides"}]}))).await;
    assert_eq!(values(&line.next().await), ["b0"]);
    assert_eq!(line.next().await["op"], "here");
    // The leader moves, with what the other had.
    one.memory.write(&of(1), None, Some("b0"));
    one.memory.write(&of(1), None, Some("b1"));
    other.memory.lead_partition_elsewhere(1, None);
    let began = tokio::time::Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_secs(20), line.next()).await.is_err(),
        "nobody has it for a while"
    );
    one.memory.lead_partition_here(1);
    assert_eq!(values(&line.next().await), ["b1"], "nothing twice, and nothing lost");
    assert!(began.elapsed() < Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn another_token_is_of_the_same_subject_and_asks_anew() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &TEXT, "one").await;
    let mut line = Line::new(&ground);
    line.say(&subscribe(1, &json!({}))).await;
    assert_eq!(values(&line.next().await), ["one"]);
    let told = line.say(&json!({"op": "token", "id": 9, "token": "u42"})).await;
    assert_eq!(told, [json!({"op": "token", "id": 9, "until": 2_000_000_000_000_i64})]);
    assert_eq!(line.socket.until_ms(), Some(2_000_000_000_000));
    // It has no grant at all.
    assert_eq!(line.socket.next().await, None);
    let told = line.work_off().await;
    assert_eq!((kind(&told[0]), &told[0]["id"]), (("error", "/problems/not-granted", 403), &1.into()));
    let other = line.say(&json!({"op": "token", "id": 9, "token": "u43"})).await;
    assert_eq!(kind(&other[0]), ("error", "/problems/other-subject", 403));
}
