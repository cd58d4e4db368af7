#![allow(clippy::disallowed_methods, reason = "a paused clock is no clock of the machine")]

use super::*;
use crate::{Asked, positions::STREAMS_MAX, testing::Memory};
use env::{BoxFuture, Deadline, Millis, Nanos};
use model::TopicName;
use std::{collections::BTreeMap, time::Duration};

mod call;
mod cloud_events;
mod latest;
mod once;
mod socket;
mod subscribe;
mod topics;

/// The paused clock of a test; it began at some time of day.
struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn wall(&self) -> Millis {
        1_798_131_600_000 + self.0.elapsed().as_millis() as i64
    }

    fn now(&self) -> Nanos {
        self.0.elapsed().as_nanos() as u64
    }

    fn sleep_until(&self, deadline: Deadline) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(self.0 + Duration::from_nanos(deadline)))
    }
}

struct Seven;

impl Random for Seven {
    fn next_u64(&self) -> u64 {
        7
    }
}

/// There is no other node.
struct Nobody;

impl Peers for Nobody {
    fn ask(&self, reach: Reach, _: Request<Bytes>) -> BoxFuture<'static, Asked> {
        panic!("{reach:?} is asked");
    }
}

struct Ground {
    service: Service,
    memory: Arc<Memory>,
}

const KEY: &str = "/s/rides/u42";

impl Ground {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(Paused(tokio::time::Instant::now()));
        let memory = Arc::new(Memory::new(clock.clone()));
        let service = Service {
            mailboxes: memory.clone(),
            peers: Arc::new(Nobody),
            clock,
            random: Arc::new(Seven),
            public_url: None,
            poll_ms: 20_000,
            bytes_max: 100,
        };
        Self { service, memory }
    }

    async fn answer(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "h:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.service.answer(request.body(Bytes::from_static(body.as_bytes())).unwrap()).await
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Response<Bytes> {
        match self.answer(method, path, headers, body).await {
            Answer::Whole(response) => response,
            _ => panic!("{method} {path} is followed"),
        }
    }

    async fn follow(&self, path: &str, headers: &[(&str, &str)]) -> (Response<()>, Follow) {
        match self.answer("GET", path, headers, "").await {
            Answer::Follow(response, follow) => (response, follow),
            Answer::Whole(response) => panic!("{path}: {}", response.status()),
            _ => panic!("{path} is several"),
        }
    }

    async fn several(&self, path: &str, headers: &[(&str, &str)]) -> (Response<()>, Box<Many>) {
        match self.answer("GET", path, headers, "").await {
            Answer::Many(response, many) => (response, many),
            Answer::Whole(response) => panic!("{path}: {response:?}"),
            _ => panic!("{path} is one stream"),
        }
    }

    /// What a follower is sent next.
    async fn next(&self, follow: &mut Follow) -> Sent {
        let chunk = self.memory.read(&follow.at, From::At(follow.next), 100).await.unwrap();
        follow.next = chunk.next;
        follow.shape.send(&chunk, self.service.clock.wall(), 7)
    }

    async fn text(&self, path: &str) -> String {
        let response = self.ask("GET", path, &[], "").await;
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body().to_vec()).unwrap()
    }
}

fn header<'a, T>(response: &'a Response<T>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];

#[tokio::test(start_paused = true)]
async fn a_stream_is_created_written_and_read_on_from_where_one_was() {
    let ground = Ground::new();
    let created = ground.ask("PUT", KEY, &TEXT, "one").await;
    assert_eq!(
        (created.status().as_u16(), header(&created, "location")),
        (201, Some("http://h:8080/s/rides/u42"))
    );
    assert_eq!(ground.ask("PUT", KEY, &TEXT, "").await.status(), 200);
    assert_eq!(ground.ask("PUT", KEY, &[], "").await.status(), 409, "another type");
    let end = header(&created, "stream-next-offset").unwrap().to_owned();
    let appended = ground.ask("POST", KEY, &TEXT, "two").await;
    assert_eq!(appended.status(), 204);
    assert_eq!(ground.text(KEY).await, "onetwo");
    assert_eq!(ground.text(&format!("{KEY}?offset={end}")).await, "two");
    let read = ground.ask("GET", KEY, &[], "").await;
    assert_eq!(header(&read, "stream-next-offset"), header(&appended, "stream-next-offset"));
    assert_eq!(header(&read, "stream-up-to-date"), Some("true"));
    assert_eq!(
        (header(&read, "content-type"), header(&read, "x-content-type-options")),
        (Some("text/plain"), Some("nosniff"))
    );
    let tag = header(&read, "etag").unwrap();
    assert_eq!(ground.ask("GET", KEY, &[("if-none-match", tag)], "").await.status(), 304);
    ground.ask("POST", KEY, &TEXT, "three").await;
    assert_eq!(ground.ask("GET", KEY, &[("if-none-match", tag)], "").await.status(), 200);
    let now = ground.ask("GET", &format!("{KEY}?offset=now"), &[], "").await;
    assert_eq!((now.body().len(), header(&now, "cache-control")), (0, Some("no-store")));
    assert_eq!(ground.ask("DELETE", KEY, &[], "").await.status(), 204);
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(ground.ask(method, KEY, &[], "").await.status(), 404, "{method}");
    }
    assert_eq!(ground.ask("POST", KEY, &TEXT, "x").await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_browser_learns_what_its_pages_may_do() {
    let ground = Ground::new();
    let allowed = ground.ask("OPTIONS", KEY, &[("access-control-request-method", "PUT")], "").await;
    assert_eq!(allowed.status(), 204);
    for (name, part) in [("methods", "DELETE"), ("headers", "Producer-Seq")] {
        let told = header(&allowed, &format!("access-control-allow-{name}")).unwrap();
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(ground.ask("OPTIONS", "/s/rides/../x", &[], "").await.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let ground = Ground::new();
    let admit = |method: &str, path: &str, length: &str| {
        let request = Request::builder().method(method).uri(path).header("content-length", length);
        ground.service.admit(&request.body(()).unwrap()).map_err(|problem| problem.status.as_u16())
    };
    assert_eq!(admit("POST", KEY, "1048576"), Ok(1 << 20));
    assert_eq!(admit("PUT", KEY, "1048577"), Err(413));
    assert_eq!(admit("POST", "/s/unknown/a", "1"), Err(404));
    assert_eq!(admit("POST", "/else", "1"), Err(404));
    assert_eq!(admit("GET", KEY, "9"), Ok(0), "a body that means nothing");
}

#[tokio::test(start_paused = true)]
async fn much_is_read_piece_by_piece() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &TEXT, "").await;
    for _ in 0..5 {
        ground.ask("POST", KEY, &TEXT, "forty bytes forty bytes forty bytes 4321").await;
    }
    let (mut path, mut pieces) = (KEY.to_owned(), Vec::new());
    loop {
        let piece = ground.ask("GET", &path, &[], "").await;
        pieces.push(piece.body().len());
        path = format!("{KEY}?offset={}", header(&piece, "stream-next-offset").unwrap());
        if header(&piece, "stream-up-to-date").is_some() {
            break;
        }
    }
    assert_eq!(pieces, [80, 80, 40]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_told_what_is_new_and_what_was_there() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &TEXT, "").await;
    let post = |epoch: &'static str, seq: &'static str| {
        let ground = &ground;
        async move {
            let all = [TEXT[0], ("producer-id", "p"), ("producer-epoch", epoch), ("producer-seq", seq)];
            ground.ask("POST", KEY, &all, "x").await
        }
    };
    let new = post("1", "0").await;
    assert_eq!((new.status().as_u16(), header(&new, "producer-seq")), (200, Some("0")));
    assert_eq!(post("1", "1").await.status(), 200);
    let again = post("1", "0").await;
    assert_eq!((again.status().as_u16(), header(&again, "producer-seq")), (204, Some("1")));
    let gap = post("1", "3").await;
    assert_eq!((gap.status().as_u16(), header(&gap, "producer-expected-seq")), (409, Some("2")));
    let stale = post("0", "0").await;
    assert_eq!((stale.status().as_u16(), header(&stale, "producer-epoch")), (403, Some("1")));
    assert_eq!(ground.text(KEY).await, "xx");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_what_comes_or_with_its_time() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &TEXT, "one").await;
    let waiting = format!("{KEY}?offset=now&live=long-poll");
    let began = tokio::time::Instant::now();
    let over = ground.ask("GET", &waiting, &[], "").await;
    assert_eq!((over.status().as_u16(), header(&over, "stream-up-to-date")), (204, Some("true")));
    assert!(header(&over, "stream-cursor").is_some() && began.elapsed() == Duration::from_secs(20));
    let (polled, _) = tokio::join!(ground.ask("GET", &waiting, &[], ""), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        ground.ask("POST", KEY, &TEXT, "two").await
    });
    assert_eq!((polled.status().as_u16(), &polled.body()[..]), (200, &b"two"[..]));
    assert_eq!(began.elapsed(), Duration::from_secs(23));
    let (closed, _) = tokio::join!(ground.ask("GET", &waiting, &[], ""), async {
        ground.ask("POST", KEY, &[("stream-closed", "true")], "").await
    });
    assert_eq!((closed.status().as_u16(), header(&closed, "stream-closed")), (204, Some("true")));
    assert_eq!(ground.ask("GET", &waiting, &[], "").await.status(), 204, "at once");
    let (gone, _) = tokio::join!(
        async {
            ground.ask("PUT", "/s/rides/other", &TEXT, "").await;
            ground.ask("GET", "/s/rides/other?offset=now&live=long-poll", &[], "").await
        },
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ground.ask("DELETE", "/s/rides/other", &[], "").await
        }
    );
    assert_eq!(gone.status(), 404);
    assert_eq!(began.elapsed(), Duration::from_secs(24));
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_sent_data_and_where_it_is() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &[("content-type", "application/json")], r#"[{"a":1},{"a":2}]"#).await;
    let (head, mut follow) = ground.follow(&format!("{KEY}?offset=-1&live=sse"), &[]).await;
    assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
    let first = ground.next(&mut follow).await;
    assert!(
        first.text.contains("event: data\ndata:[{\"a\":1},{\"a\":2}]\n\nevent: control\n"),
        "{}",
        first.text
    );
    assert!(first.text.contains("\"upToDate\":true") && first.text.contains("\"streamCursor\""));
    let quiet = ground.next(&mut follow).await;
    assert!(quiet.text.starts_with("event: control\n") && !quiet.is_over);
    ground.ask("POST", KEY, &[("content-type", "application/json"), ("stream-closed", "true")], "3").await;
    let last = ground.next(&mut follow).await;
    assert!(last.text.contains("data:[3]\n") && last.text.contains("\"streamClosed\":true") && last.is_over);
    assert!(!last.text.contains("streamCursor"));
    ground.ask("PUT", "/s/rides/raw", &[("content-type", "image/png")], "png").await;
    let (head, mut follow) = ground.follow("/s/rides/raw?offset=-1&live=sse", &[]).await;
    assert_eq!(header(&head, "stream-sse-data-encoding"), Some("base64"));
    assert!(ground.next(&mut follow).await.text.contains("data:cG5n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_plain_event_source_is_sent_records_and_resumes_behind_the_last() {
    let ground = Ground::new();
    let at = Address { topic: TopicName::new("rides").unwrap(), key: Bytes::from_static(b"u42") };
    ground.memory.produce(&at, Some(b"one"));
    ground.memory.produce(&at, None);
    ground.memory.produce(&at, Some(b"two\nlines"));
    let accept = ("accept", "text/event-stream");
    let (_, mut follow) = ground.follow(KEY, &[accept]).await;
    let sent = ground.next(&mut follow).await.text;
    let id = |number: u32| format!("id: 0000000000000000_{number:016}\n");
    let expected =
        [id(1) + "data:one\n\n", id(2) + "event: delete\ndata:\n\n", id(3) + "data:two\ndata:lines\n\n"];
    assert_eq!(sent, expected.concat());
    let seen = Token::new(0, 2).to_string();
    let (_, mut follow) = ground.follow(KEY, &[accept, ("last-event-id", &seen)]).await;
    assert_eq!(ground.next(&mut follow).await.text, expected[2]);
}

#[tokio::test(start_paused = true)]
async fn head_tells_all_and_keeps_nothing_alive() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &[TEXT[0], ("stream-ttl", "60")], "one").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(ground.text(KEY).await, "one");
    }
    let head = ground.ask("HEAD", KEY, &[], "").await;
    assert_eq!((head.status().as_u16(), header(&head, "stream-ttl")), (200, Some("60")));
    assert_eq!((header(&head, "cache-control"), head.body().len()), (Some("no-store"), 0));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(ground.ask("HEAD", KEY, &[], "").await.status(), 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gone = ground.ask("HEAD", KEY, &[], "").await;
    assert_eq!((gone.status().as_u16(), gone.body().len()), (404, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fork_has_what_was_there_and_goes_its_own_way() {
    let ground = Ground::new();
    let created = ground.ask("PUT", KEY, &TEXT, "one").await;
    let after_one = header(&created, "stream-next-offset").unwrap().to_owned();
    ground.ask("POST", KEY, &TEXT, "two").await;
    let fork = "/s/rides/fork";
    let from = [("stream-forked-from", KEY), ("stream-fork-offset", after_one.as_str())];
    let made = ground.ask("PUT", fork, &from, "").await;
    assert_eq!(
        (made.status().as_u16(), header(&made, "stream-next-offset")),
        (201, Some(after_one.as_str()))
    );
    ground.ask("POST", fork, &TEXT, "own").await;
    ground.ask("POST", KEY, &TEXT, "three").await;
    assert_eq!((ground.text(fork).await, ground.text(KEY).await), ("oneown".into(), "onetwothree".into()));
    assert_eq!(ground.ask("DELETE", KEY, &[], "").await.status(), 204);
    assert_eq!(ground.ask("GET", KEY, &[], "").await.status(), 410);
    assert_eq!(ground.ask("PUT", KEY, &TEXT, "").await.status(), 409);
    assert_eq!(ground.text(fork).await, "oneown");
    assert_eq!(ground.ask("DELETE", fork, &[], "").await.status(), 204);
    assert_eq!(ground.ask("GET", KEY, &[], "").await.status(), 404);
    let of_nothing = [("stream-forked-from", "/s/rides/none")];
    assert_eq!(ground.ask("PUT", fork, &of_nothing, "").await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_told_as_a_problem() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &[("content-type", "application/json")], "").await;
    for (method, path, body, status, kind) in [
        ("GET", "/", "", 404, "no-route"),
        ("GET", "/s/rides/__ds/subscriptions/a", "", 501, "not-served"),
        ("PATCH", KEY, "", 405, "method"),
        ("GET", "/s/rides/none", "", 404, "stream-not-found"),
        ("GET", "/s/rides/u42?offset=7", "", 400, "offset"),
        ("GET", "/s/rides/u42?live=sse", "", 400, "offset"),
        ("POST", KEY, "", 400, "empty-body"),
        ("POST", KEY, "[]", 400, "no-json"),
        ("POST", KEY, "{", 400, "no-json"),
    ] {
        let answer = ground.ask(method, path, &[("content-type", "application/json")], body).await;
        let told: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!((answer.status().as_u16(), &told["type"]), (status, &format!("/problems/{kind}").into()));
    }
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = "/s/rides/u42".parse().unwrap();
    *request.method_mut() = Method::POST;
    let value = HeaderValue::from_bytes(b"a\xffb").unwrap();
    request.headers_mut().insert("stream-seq", value);
    let Answer::Whole(answer) = ground.service.answer(request).await else { panic!() };
    assert_eq!(answer.status(), 400);
}
