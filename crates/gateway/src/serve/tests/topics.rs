//! Partitions and whole topics.

use super::*;
use crate::positions::Positions;
use model::TopicPartition;

const ONE: &str = "/s/rides/-/p/0";
const ALL: &str = "/s/rides";

fn of(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new(topic).unwrap(), partition }
}

fn token(offset: u64) -> String {
    Token::new(0, offset).to_string()
}

impl Ground {
    /// Three partitions, with two records in the first, one in the second.
    fn with_three() -> Self {
        let ground = Self::new();
        ground.memory.set_partitions(3);
        for (partition, value) in [(0, "a0"), (1, "b0"), (0, "a1")] {
            ground.memory.write(&of("rides", partition), Some("k"), Some(value));
        }
        ground
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_appended_to_and_read_on_from_where_one_was() {
    let ground = Ground::new();
    let posted = ground.ask("POST", ONE, &TEXT, "one").await;
    assert_eq!((posted.status().as_u16(), header(&posted, "stream-next-offset")), (204, Some(&*token(1))));
    assert_eq!(header(&posted, "content-location"), Some(ONE));
    ground.ask("POST", ALL, &[], "two").await;
    ground.memory.write(&of("rides", 0), Some("k"), None);
    ground.memory.write(&of("rides", 0), None, Some("three"));
    for path in [ONE, ALL] {
        assert_eq!(ground.text(path).await, "onetwothree");
        assert_eq!(ground.text(&format!("{path}?offset={}", token(1))).await, "twothree");
        let read = ground.ask("GET", path, &[], "").await;
        assert_eq!(
            header(&read, "stream-next-offset"),
            Some(&*token(4)),
            "one partition has tokens that sort"
        );
        assert_eq!(
            (header(&read, "stream-up-to-date"), header(&read, "content-type")),
            (Some("true"), Some("text/plain"))
        );
        let tag = header(&read, "etag").unwrap();
        assert_eq!(ground.ask("GET", path, &[("if-none-match", tag)], "").await.status(), 304);
        let head = ground.ask("HEAD", path, &[], "").await;
        assert_eq!((head.body().len(), header(&head, "stream-next-offset")), (0, Some(&*token(4))));
        let now = ground.ask("GET", &format!("{path}?offset=now"), &[], "").await;
        assert_eq!((now.body().len(), header(&now, "cache-control")), (0, Some("no-store")));
    }
    let records = ground.text(&format!("{ONE}?format=records&offset={}", token(2))).await;
    let expected = concat!(
        r#"[{"topic":"rides","partition":0,"key":"k","offset":2,"next":"0000000000000000_0000000000000003","timestamp":7},"#,
        r#"{"topic":"rides","partition":0,"offset":3,"next":"0000000000000000_0000000000000004","timestamp":7,"text":"three"}]"#
    );
    assert_eq!(records, expected);
}

#[tokio::test(start_paused = true)]
async fn json_is_as_many_records_as_its_array_has() {
    let ground = Ground::new();
    let json = [("content-type", "application/json")];
    assert_eq!(ground.ask("POST", "/s/json", &json, "[1, {\"a\": 2}]").await.status(), 204);
    assert_eq!(ground.ask("POST", "/s/json", &[], "3").await.status(), 204);
    assert_eq!(ground.text("/s/json").await, "[1,{\"a\": 2},3]");
    for (body, kind) in [("[", "no-json"), ("[]", "empty-body"), ("", "empty-body")] {
        let refused = ground.ask("POST", "/s/json", &json, body).await;
        let told: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
        assert_eq!((refused.status().as_u16(), &told["type"]), (400, &format!("/problems/{kind}").into()));
    }
    assert_eq!(ground.ask("POST", "/s/json", &TEXT, "x").await.status(), 409);
    assert_eq!(ground.text("/s/json?format=records").await.matches("\"value\":").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_read_whole_and_on_from_its_token() {
    let ground = Ground::with_three();
    let all = ground.ask("GET", ALL, &[], "").await;
    let mut text = String::from_utf8(all.body().to_vec()).unwrap();
    assert!(text.contains("a0a1") && text.contains("b0") && text.len() == 6, "{text}");
    let next = header(&all, "stream-next-offset").unwrap().to_owned();
    let places = Positions::decode(&next).unwrap().places;
    assert_eq!(places, [Token::new(0, 2), Token::new(0, 1), Token::new(0, 0)]);
    assert_eq!(ground.text(&format!("{ALL}?offset={next}")).await, "");
    ground.memory.write(&of("rides", 2), None, Some("c0"));
    ground.memory.set_partitions(4);
    ground.memory.write(&of("rides", 3), None, Some("d0"));
    text = ground.text(&format!("{ALL}?offset={next}")).await;
    assert!(text == "c0d0" || text == "d0c0", "a partition that was added is begun: {text}");
    // It had one partition once.
    text = ground.text(&format!("{ALL}?offset={}", token(1))).await;
    assert!(!text.contains("a0") && text.len() == 8, "{text}");
    for (path, says) in [
        (format!("/s/other?offset={next}"), "another topic"),
        (format!("{ALL}?offset=AAAA"), "none that this server"),
        (format!("{ALL}?format=avro"), "records"),
        (format!("{ONE}?offset={next}"), "another topic"),
    ] {
        let refused = ground.ask("GET", &path, &[], "").await;
        assert_eq!(refused.status(), 400, "{path}");
        assert!(String::from_utf8_lossy(refused.body()).contains(says), "{path}");
    }
    ground.memory.set_partitions(2);
    assert_eq!(ground.ask("GET", &format!("{ALL}?offset={next}"), &[], "").await.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn much_of_a_topic_is_read_piece_by_piece_and_no_partition_is_left_behind() {
    let ground = Ground::new();
    ground.memory.set_partitions(3);
    for _ in 0..20 {
        for (partition, value) in [(0, "aaaaaaaaa"), (1, "bbbbbbbbb"), (2, "ccccccccc")] {
            ground.memory.write(&of("rides", partition), None, Some(value));
        }
    }
    let (mut path, mut text, mut pieces) = (ALL.to_owned(), String::new(), 0);
    loop {
        let piece = ground.ask("GET", &path, &[], "").await;
        assert!(piece.body().len() <= 120, "{}", piece.body().len());
        text.push_str(&String::from_utf8_lossy(piece.body()));
        path = format!("{ALL}?offset={}", header(&piece, "stream-next-offset").unwrap());
        pieces += 1;
        if header(&piece, "stream-up-to-date").is_some() {
            break;
        }
        ground.memory.write(&of("rides", 0), None, Some("zzzzzzzzz"));
        assert!(pieces < 60, "{text}");
    }
    for letter in ["a", "b", "c"] {
        assert_eq!(text.matches(letter).count(), 180, "{letter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_of_a_topic_waits_for_any_of_its_partitions() {
    let ground = Ground::with_three();
    let next = header(&ground.ask("HEAD", ALL, &[], "").await, "stream-next-offset").unwrap().to_owned();
    let poll = format!("{ALL}?offset={next}&live=long-poll");
    let began = tokio::time::Instant::now();
    let none = ground.ask("GET", &poll, &[], "").await;
    assert_eq!((none.status().as_u16(), header(&none, "stream-next-offset")), (204, Some(&*next)));
    assert!(header(&none, "stream-cursor").is_some());
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    let (some, ()) = tokio::join!(ground.ask("GET", &poll, &[], ""), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        ground.memory.abort_record(&of("rides", 0));
        tokio::time::sleep(Duration::from_secs(3)).await;
        ground.memory.write(&of("rides", 2), None, Some("c0"));
    });
    assert_eq!((some.status().as_u16(), &some.body()[..]), (200, &b"c0"[..]));
    assert_eq!(began.elapsed(), Duration::from_secs(26));
    let places = Positions::decode(header(&some, "stream-next-offset").unwrap()).unwrap().places;
    assert_eq!(places, [Token::new(0, 3), Token::new(0, 1), Token::new(0, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_followed_with_data_and_where_one_is() {
    let ground = Ground::with_three();
    let (head, mut many) = ground.several(&format!("{ALL}?offset=-1&live=sse"), &[]).await;
    assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
    let mut text = String::new();
    while !text.contains("\"upToDate\":true") {
        text.push_str(&many.send(&ground.service).await.unwrap().text);
    }
    assert!(
        text.contains("event: data\ndata:a0a1\n\nevent: control\n") && text.contains("data:b0\n"),
        "{text}"
    );
    ground.memory.write(&of("rides", 1), Some("k"), None);
    let deleted = many.send(&ground.service).await.unwrap().text;
    assert!(deleted.starts_with("event: control\n"), "{deleted}");
    let (_, mut plain) = ground.several(ONE, &[("accept", "text/event-stream")]).await;
    let sent = plain.send(&ground.service).await.unwrap();
    assert_eq!(sent.text, format!("id: {}\ndata:a0\n\nid: {}\ndata:a1\n\n", token(1), token(2)));
    let here = plain.send(&ground.service).await.unwrap();
    assert_eq!((here.text, here.is_over), (format!("id: {}\nevent: here\n\n", token(2)), false));
    let resumed = [("accept", "text/event-stream"), ("last-event-id", &*token(1))];
    let (_, mut plain) = ground.several(&format!("{ONE}?format=records"), &resumed).await;
    let sent = plain.send(&ground.service).await.unwrap().text;
    assert!(sent.contains("\"offset\":1") && !sent.contains("\"offset\":0"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_any_more_is_gone_and_the_earliest_is_told() {
    let ground = Ground::with_three();
    ground.memory.retain_from(&of("rides", 0), 1);
    assert_eq!(ground.text(ONE).await, "a1", "who wants all that is kept begins later");
    for _ in 0..3 {
        ground.memory.write(&of("rides", 0), None, Some("x"));
    }
    ground.memory.retain_from(&of("rides", 0), 3);
    for query in ["", "&live=sse", "&live=long-poll"] {
        let gone = ground.ask("GET", &format!("{ONE}?offset={}{query}", token(2)), &[], "").await;
        assert_eq!(
            (gone.status().as_u16(), header(&gone, "stream-earliest-offset")),
            (410, Some(&*token(3)))
        );
    }
    let ahead = ground.ask("GET", &format!("{ONE}?offset={}", token(99)), &[], "").await;
    assert_eq!(ahead.status(), 410, "behind the end");
    for ahead in [2, 99] {
        // What other partitions have may be told first.
        let mut path = format!("{ALL}?offset={}", token(ahead));
        let gone = loop {
            let answer = ground.ask("GET", &path, &[], "").await;
            if answer.status() != 200 {
                break answer;
            }
            path = format!("{ALL}?offset={}", header(&answer, "stream-next-offset").unwrap());
        };
        let earliest = Positions::decode(header(&gone, "stream-earliest-offset").unwrap()).unwrap().places;
        assert_eq!((gone.status().as_u16(), earliest.len(), earliest[0]), (410, 3, Token::new(0, 3)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_topic_does_not_know_is_refused() {
    let ground = Ground::with_three();
    for (method, path, headers, status, kind) in [
        ("GET", "/s/unknown", &[][..], 404, "topic-not-found"),
        ("GET", "/s/__consumer_offsets", &[], 404, "topic-not-found"),
        ("POST", "/s/__consumer_offsets/-/p/0", &[], 404, "topic-not-found"),
        ("GET", "/s/rides/-/p/3", &[], 404, "partition-not-found"),
        ("POST", "/s/rides/-/p/3", &[], 404, "partition-not-found"),
        ("PUT", "/s/rides", &[], 405, "method"),
        ("DELETE", "/s/rides/-/p/0", &[], 405, "method"),
        ("POST", "/s/rides", &[("stream-closed", "true")], 400, "header"),
        ("POST", "/s/rides", &[("stream-seq", "a")], 400, "header"),
        ("POST", "/s/rides", &[("expected-offset", "0000000000000000_0000000000000000")], 400, "header"),
        ("POST", ONE, &[("producer-id", "p"), ("producer-epoch", "0"), ("producer-seq", "0")], 400, "header"),
        ("POST", ONE, &[("expected-offset", "0000000000000000_0000000000000001")], 412, "other-offset"),
        ("GET", "/s/rides?live=sse", &[], 400, "offset"),
        ("GET", "/s/rides?live=x", &[], 400, "live"),
    ] {
        let refused = ground.ask(method, path, headers, "x").await;
        let told: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
        let kind = format!("/problems/{kind}");
        assert_eq!((refused.status().as_u16(), &told["type"]), (status, &kind.into()), "{method} {path}");
    }
    let right = [("expected-offset", "0000000000000000_0000000000000002")];
    assert_eq!(ground.ask("POST", ONE, &right, "x").await.status(), 204);
    assert_eq!(ground.ask("OPTIONS", ALL, &[], "").await.status(), 204);
    ground.memory.set_partitions(STREAMS_MAX + 1);
    assert_eq!(ground.ask("GET", ALL, &[], "").await.status(), 501);
    assert_eq!(ground.ask("POST", ALL, &[], "x").await.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_key_goes_where_this_node_leads() {
    let ground = Ground::with_three();
    let elsewhere = || {
        let request = Request::builder().method("POST").uri(ALL).body(()).unwrap();
        ground.service.elsewhere(&request)
    };
    ground.memory.lead_partition_elsewhere(0, None);
    let reach = Reach { host: "other".into(), port: 8080 };
    ground.memory.lead_partition_elsewhere(1, Some(reach.clone()));
    assert_eq!(elsewhere(), None);
    for _ in 0..9 {
        let posted = ground.ask("POST", ALL, &[], "x").await;
        assert_eq!(header(&posted, "content-location"), Some("/s/rides/-/p/2"));
    }
    ground.memory.lead_partition_elsewhere(2, None);
    assert_eq!(elsewhere(), Some(reach));
    assert_eq!(ground.ask("POST", ALL, &[], "x").await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn what_pages_may_do_says_nothing_of_which_topics_there_are() {
    let ground = Ground::new();
    for path in ["/s/rides", "/s/unknown", "/s/unknown/-/p/0", "/s/unknown/u42", "/v1/events/unknown"] {
        let told = ground.ask("OPTIONS", path, &[], "").await;
        assert_eq!(told.status(), 204, "{path}");
        assert_eq!(header(&told, "content-security-policy"), Some("sandbox; default-src 'none'"));
    }
}
