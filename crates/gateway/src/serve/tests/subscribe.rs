//! Many streams on one connection, on one node and on several.

use super::*;
use crate::positions::Positions;
use model::TopicPartition;
use serde_json::{Value, json};

const SUBSCRIBE: &str = "/v1/subscribe";
const TYPE: (&str, &str) = ("content-type", "application/json");

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("rides").unwrap(), partition }
}

/// An event: its id, kind and data.
type Sse = (String, String, Option<Value>);

fn events(text: &str) -> Vec<Sse> {
    let one = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = field("data:").map(|data| serde_json::from_str(&data).unwrap());
        (field("id: ").unwrap_or_default(), field("event: ").unwrap_or_default(), data)
    };
    text.split_terminator("\n\n").map(one).collect()
}

impl Ground {
    async fn query(&self, list: &Value) -> (Response<()>, Box<Many>) {
        let mut request = Request::builder().method("QUERY").uri(SUBSCRIBE).header(TYPE.0, TYPE.1);
        request = request.header("host", "h");
        match self.service.answer(request.body(list.to_string().into()).unwrap()).await {
            Answer::Many(response, many) => (response, many),
            Answer::Whole(response) => panic!("{response:?}"),
            _ => panic!("one stream"),
        }
    }

    /// What is sent until there is nothing more.
    async fn heard(&self, many: &mut Many) -> Vec<Sse> {
        let mut all = Vec::new();
        loop {
            all.extend(events(&many.send(&self.service).await.unwrap().text));
            if all.last().is_some_and(|(_, kind, _)| kind == "here") {
                return all;
            }
        }
    }
}

/// What of an event is told: the key or partition, and the value.
fn told(event: &Sse) -> Option<(String, String)> {
    let data = event.2.as_ref()?;
    let stream = data.get("key").or(data.get("partition"))?.to_string();
    Some((stream, data.get("text").or(data.get("value")).map(Value::to_string).unwrap_or_default()))
}

#[tokio::test(start_paused = true)]
async fn events_name_their_stream_and_each_is_a_place_to_resume_all() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &TEXT, "one").await;
    ground.ask("PUT", "/s/rides/b", &[("content-type", "application/json")], "[{\"x\":1},2]").await;
    ground.memory.write(&of(0), None, Some("raw"));
    let list = json!({"streams": [
        {"topic": "rides", "key": "a"},
        {"topic": "rides", "key": "b"},
        {"topic": "rides", "key": "later"},
        {"topic": "rides", "partition": 0},
    ]});
    let (head, mut many) = ground.query(&list).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-type")), (200, Some("text/event-stream")));
    let first = ground.heard(&mut many).await;
    assert_eq!((&first[0].1, &first[0].2), (&String::new(), &None), "where it begins");
    let mut all: Vec<_> = first.iter().filter_map(told).collect();
    all.sort();
    let expected = [("\"a\"", "\"one\""), ("\"b\"", "2"), ("\"b\"", "{\"x\":1}"), ("0", "\"raw\"")];
    assert_eq!(all, expected.map(|(stream, value)| (stream.to_owned(), value.to_owned())));
    ground.ask("PUT", "/s/rides/later", &TEXT, "now").await;
    let late = ground.heard(&mut many).await;
    let data = late[0].2.clone().unwrap();
    assert_eq!(
        (&data["stream"], &data["topic"], &data["key"], &data["text"]),
        (&2.into(), &"rides".into(), &"later".into(), &"now".into())
    );
    // From every event on the rest comes, and nothing twice.
    let whole: Vec<_> = first.iter().chain(&late).cloned().collect();
    for (number, (id, ..)) in whole.iter().enumerate() {
        let query = format!("{SUBSCRIBE}?stream=rides/a&stream=rides/b&stream=rides/later");
        let wrong = ground.ask("GET", &query, &[("last-event-id", id)], "").await;
        assert_eq!(wrong.status(), 400, "it is of other streams");
        let query = format!("{SUBSCRIBE}?streams={}", list["streams"].to_string().replace('"', "%22"));
        let (_, mut resumed) = ground.several(&query, &[("last-event-id", id)]).await;
        let mut rest: Vec<_> = ground.heard(&mut resumed).await.iter().filter_map(told).collect();
        let mut expected: Vec<_> = whole[number + 1..].iter().filter_map(told).collect();
        rest.sort();
        expected.sort();
        assert_eq!(rest, expected, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_topic_is_all_of_its_partitions() {
    let ground = Ground::new();
    ground.memory.set_partitions(2);
    ground.memory.write(&of(1), Some("k"), Some("b0"));
    let (_, mut many) = ground.several(&format!("{SUBSCRIBE}?stream=rides&offset=now"), &[]).await;
    assert_eq!(ground.heard(&mut many).await.iter().filter_map(told).count(), 0);
    ground.memory.write(&of(0), None, Some("a0"));
    let some = ground.heard(&mut many).await;
    assert_eq!(some.iter().filter_map(told).collect::<Vec<_>>(), [("0".to_owned(), "\"a0\"".to_owned())]);
    let places = Positions::decode(&some[0].0).unwrap().places;
    assert_eq!(places, [Token::new(0, 1), Token::new(0, 1)]);
}

#[tokio::test(start_paused = true)]
async fn ends_and_gaps_are_events() {
    let ground = Ground::new();
    ground.ask("PUT", "/s/rides/a", &TEXT, "one").await;
    for _ in 0..3 {
        ground.memory.write(&of(0), None, Some("x"));
    }
    ground.memory.retain_from(&of(0), 2);
    let list = json!([
        {"topic": "rides", "key": "a"},
        {"topic": "rides", "partition": 0, "offset": Token::new(0, 1).to_string()},
    ]);
    let (_, mut many) = ground.query(&list).await;
    let first = ground.heard(&mut many).await;
    let gone = first.iter().find(|(_, kind, _)| kind == "gone").unwrap().2.clone().unwrap();
    assert_eq!((&gone["stream"], &gone["partition"]), (&1.into(), &0.into()));
    assert_eq!(gone["next"], Token::new(0, 2).to_string());
    assert_eq!(
        first.iter().filter_map(told).filter(|(stream, _)| stream == "0").count(),
        2,
        "the gap, and the rest"
    );
    ground.ask("POST", "/s/rides/a", &[("stream-closed", "true")], "").await;
    let last = many.send(&ground.service).await.unwrap();
    assert!(last.text.contains("event: end\n") && !last.is_over, "{}", last.text);
    let (_, mut alone) = ground.several(&format!("{SUBSCRIBE}?stream=rides/a"), &[]).await;
    let mut is_over = false;
    for _ in 0..3 {
        is_over |= alone.send(&ground.service).await.unwrap().is_over;
    }
    assert!(is_over, "with all of its streams it ends");
    ground.ask("DELETE", "/s/rides/a", &[], "").await;
    let (_, mut again) = ground.several(&format!("{SUBSCRIBE}?stream=rides/a"), &[]).await;
    assert_eq!(ground.heard(&mut again).await.iter().filter_map(told).count(), 0);
    ground.ask("PUT", "/s/rides/a", &TEXT, "new").await;
    assert_eq!(ground.heard(&mut again).await.iter().filter_map(told).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_subscribed_to_is_refused_before_it_begins() {
    let ground = Ground::new();
    for (method, path, headers, body, status, kind) in [
        ("GET", "/v1/subscribe", &[][..], "", 400, "streams"),
        ("GET", "/v1/subscribe?stream=unknown/a", &[], "", 404, "topic-not-found"),
        ("GET", "/v1/subscribe?stream=__consumer_offsets", &[], "", 404, "topic-not-found"),
        ("GET", "/v1/subscribe?stream=rides/a&offset=AAAA", &[], "", 400, "offset"),
        ("GET", "/v1/subscribe?stream=rides/a", &[("last-event-id", "x y")], "", 400, "offset"),
        (
            "QUERY",
            "/v1/subscribe",
            &[TYPE],
            "[{\"topic\":\"rides\",\"partition\":1}]",
            404,
            "partition-not-found",
        ),
        ("QUERY", "/v1/subscribe", &[TYPE], "{", 400, "streams"),
        ("QUERY", "/v1/subscribe", &[], "[]", 415, "query-type"),
        ("QUERY", "/v1/subscribe", &[("content-type", "text/plain")], "[]", 415, "query-type"),
        ("POST", "/v1/subscribe", &[TYPE], "[]", 405, "method"),
    ] {
        let refused = ground.ask(method, path, headers, body).await;
        let told: Value = serde_json::from_slice(refused.body()).unwrap();
        let kind = format!("/problems/{kind}");
        assert_eq!(
            (refused.status().as_u16(), &told["type"]),
            (status, &kind.into()),
            "{method} {path} {body}"
        );
    }
    ground.memory.set_partitions(STREAMS_MAX + 1);
    assert_eq!(ground.ask("GET", "/v1/subscribe?stream=rides", &[], "").await.status(), 400);
    let admit = |method: &str| {
        let request = Request::builder().method(method).uri(SUBSCRIBE).body(()).unwrap();
        ground.service.admit(&request).unwrap()
    };
    assert_eq!((admit("QUERY"), admit("GET")), (256 * 1024, 0));
}

#[tokio::test(start_paused = true)]
async fn many_records_are_sent_a_few_at_a_time() {
    let ground = Ground::new();
    for _ in 0..20 {
        ground.memory.write(&of(0), None, Some("x"));
    }
    let (_, mut many) = ground.several(&format!("{SUBSCRIBE}?stream=rides"), &[]).await;
    let (mut all, mut longest) = (Vec::new(), 0);
    while all.last().is_none_or(|(_, kind, _): &Sse| kind != "here") {
        let text = many.send(&ground.service).await.unwrap().text;
        longest = longest.max(text.len());
        all.extend(events(&text));
    }
    assert_eq!(all.iter().filter_map(told).count(), 20);
    assert!(longest < 500, "{longest}");
}

/// Other nodes that are near: each is reached under its name.
struct Near(BTreeMap<String, Service>);

/// What a node that is near sends.
struct Sending(Service, Box<Many>, bool);

impl crate::Rest for Sending {
    fn next(&mut self) -> BoxFuture<'_, Option<std::io::Result<Bytes>>> {
        Box::pin(async move {
            if self.2 {
                return None;
            }
            let sent = self.1.send(&self.0).await.ok()?;
            self.2 = sent.is_over;
            // In pieces that have nothing to do with events.
            Some(Ok(Bytes::from(sent.text)))
        })
    }
}

impl Peers for Near {
    fn ask(&self, reach: Reach, mut request: Request<Bytes>) -> BoxFuture<'static, crate::Asked> {
        let service = self.0.get(&reach.host).cloned();
        Box::pin(async move {
            let unavailable = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "it is away");
            let service = service.ok_or_else(unavailable)?;
            request.headers_mut().insert(FORWARDED, HeaderValue::from_static("1"));
            match service.answer(request).await {
                Answer::Many(head, many) => {
                    Ok((head, Box::new(Sending(service, many, false)) as Box<dyn crate::Rest>))
                }
                Answer::Whole(response) => {
                    let (head, body) = response.into_parts();
                    let rest = Box::new(Some(body)) as Box<dyn crate::Rest>;
                    Ok((Response::from_parts(head, ()), rest))
                }
                _ => panic!("one stream"),
            }
        })
    }
}

impl crate::Rest for Option<Bytes> {
    fn next(&mut self) -> BoxFuture<'_, Option<std::io::Result<Bytes>>> {
        let bytes = self.take().map(Ok);
        Box::pin(async move { bytes })
    }
}

/// Another node that is near.
pub(super) fn near(name: &str, ground: &Ground) -> Arc<dyn Peers> {
    Arc::new(Near([(name.to_owned(), ground.service.clone())].into()))
}

/// Two nodes of which each has one partition of three, and nobody the third.
pub(super) fn two(is_third_led: bool) -> (Ground, Ground) {
    let (mut one, other) = (Ground::new(), Ground::new());
    for (ground, elsewhere, name) in [(&one, 1, "other"), (&other, 0, "one")] {
        ground.memory.set_partitions(if is_third_led { 2 } else { 3 });
        let reach = Some(Reach { host: name.into(), port: 8080 });
        ground.memory.lead_partition_elsewhere(elsewhere, reach);
        ground.memory.lead_partition_elsewhere(2, None);
    }
    one.service.peers = Arc::new(Near([("other".to_owned(), other.service.clone())].into()));
    (one, other)
}

#[tokio::test(start_paused = true)]
async fn what_other_nodes_have_is_read_from_them() {
    let (one, other) = two(true);
    one.memory.write(&of(0), Some("k"), Some("a0"));
    other.memory.write(&of(1), Some("k"), Some("b0\nlines"));
    other.memory.write(&of(1), Some("k"), None);
    let all = one.ask("GET", "/s/rides", &[], "").await;
    let text = String::from_utf8(all.body().to_vec()).unwrap();
    assert!(text == "a0b0\nlines" || text == "b0\nlinesa0", "{text}");
    assert_eq!(header(&all, "stream-up-to-date"), Some("true"));
    let next = header(&all, "stream-next-offset").unwrap().to_owned();
    let places = Positions::decode(&next).unwrap().places;
    assert_eq!(places, [Token::new(0, 1), Token::new(0, 2)]);
    let head = one.ask("HEAD", "/s/rides", &[], "").await;
    assert_eq!(header(&head, "stream-next-offset"), Some(&*next));
    let poll = format!("/s/rides?offset={next}&live=long-poll");
    let began = tokio::time::Instant::now();
    assert_eq!(one.ask("GET", &poll, &[], "").await.status(), 204);
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    let (some, ()) = tokio::join!(one.ask("GET", &poll, &[], ""), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        other.memory.write(&of(1), None, Some("b2"));
    });
    assert_eq!((&some.body()[..], began.elapsed()), (&b"b2"[..], Duration::from_secs(23)));
    let (_, mut many) = one.several(&format!("/s/rides?offset={next}&live=sse"), &[]).await;
    let sent = many.send(&one.service).await.unwrap().text;
    assert!(sent.contains("\nevent: data\ndata:b2\n\nevent: control\n"), "{sent}");
    let records = one.text("/s/rides?format=records").await;
    let read: Value = serde_json::from_str(&records).unwrap();
    let deleted = read.as_array().unwrap().iter().find(|record| record["offset"] == 1).unwrap();
    let expected = json!({"topic": "rides", "partition": 1, "key": "k", "offset": 1, "next": Token::new(0, 2).to_string(), "timestamp": 7});
    assert_eq!(deleted, &expected);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_has_streams_of_several_nodes_and_one_place_for_all() {
    let (one, other) = two(true);
    let list =
        json!([{"topic": "rides", "partition": 1, "offset": "now"}, {"topic": "rides", "partition": 0}]);
    other.memory.write(&of(1), None, Some("old"));
    let (_, mut many) = one.query(&list).await;
    let first = events(&many.send(&one.service).await.unwrap().text);
    let places = Positions::decode(&first[0].0).unwrap().places;
    assert_eq!(places[0], Token::new(0, 1), "where now is another node knows");
    one.memory.write(&of(0), None, Some("a0"));
    other.memory.write(&of(1), None, Some("b1"));
    let mut all: Vec<_> = Vec::new();
    while all.len() < 2 {
        all.extend(
            events(&many.send(&one.service).await.unwrap().text).into_iter().filter(|one| one.2.is_some()),
        );
    }
    let last = Positions::decode(&all[1].0).unwrap().places;
    assert_eq!(last, [Token::new(0, 2), Token::new(0, 1)]);
    let number = |event: &Sse| event.2.as_ref().unwrap()["stream"].as_u64().unwrap();
    let mut numbers: Vec<_> = all.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    for _ in 0..3 {
        other.memory.write(&of(1), None, Some("x"));
    }
    other.memory.retain_from(&of(1), 4);
    let list = json!([{"topic": "rides", "partition": 1, "offset": Token::new(0, 1).to_string()}]);
    let (_, mut many) = one.query(&list).await;
    let heard = one.heard(&mut many).await;
    assert_eq!((heard[1].1.as_str(), heard.iter().filter_map(told).count()), ("gone", 2));
}

#[tokio::test(start_paused = true)]
async fn where_a_partition_cannot_be_reached_nothing_is_passed_over() {
    let (one, other) = two(false);
    one.memory.write(&of(0), None, Some("a0"));
    let refused = one.ask("GET", "/s/rides", &[], "").await;
    assert!(refused.status() == 503 || header(&refused, "stream-up-to-date").is_none());
    let (mut one, other) = {
        drop((one, other));
        two(true)
    };
    let (_, mut many) = one.several("/s/rides?offset=-1&live=sse", &[]).await;
    // It is led by yet another node.
    other.memory.lead_partition_elsewhere(1, None);
    let mut is_ended = false;
    for _ in 0..4 {
        is_ended |= many.send(&one.service).await.is_err();
        if is_ended {
            break;
        }
    }
    assert!(is_ended, "the reader comes again");
    one.service.peers = Arc::new(Near(BTreeMap::new()));
    assert_eq!(one.ask("GET", "/s/rides", &[], "").await.status(), 503);
}
