//! `Idempotency-Key`: what is sent again is taken once, whichever way it came.

use super::*;
use serde_json::json;

fn with(key: &'static str) -> [(&'static str, &'static str); 2] {
    [TEXT[0], ("idempotency-key", key)]
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_again_is_answered_as_at_first() {
    let ground = Ground::new();
    ground.ask("PUT", KEY, &TEXT, "").await;
    let first = ground.ask("POST", KEY, &with("\"a\""), "one").await;
    assert_eq!((first.status().as_u16(), header(&first, "idempotency-replayed")), (204, None));
    ground.ask("POST", KEY, &with("b"), "two").await;
    for key in ["\"a\"", "a"] {
        let again = ground.ask("POST", KEY, &with(key), "one").await;
        assert_eq!((again.status().as_u16(), header(&again, "idempotency-replayed")), (204, Some("true")));
        assert_eq!(header(&again, "stream-next-offset"), header(&first, "stream-next-offset"));
    }
    let other = ground.ask("POST", KEY, &with("a"), "three").await;
    assert_eq!(other.status(), 422);
    assert!(String::from_utf8_lossy(other.body()).contains("/problems/idempotency-key-reused"));
    assert_eq!(ground.text(KEY).await, "onetwo");
    ground.ask("PUT", "/s/rides/u43", &TEXT, "").await;
    let elsewhere = ground.ask("POST", "/s/rides/u43", &with("a"), "three").await;
    assert_eq!((elsewhere.status().as_u16(), header(&elsewhere, "idempotency-replayed")), (204, None));
    let both =
        [&with("a")[..], &[("producer-id", "p"), ("producer-epoch", "0"), ("producer-seq", "0")]].concat();
    for (path, headers) in
        [(KEY, &both[..]), (KEY, &with("\"a")), ("/s/rides", &with("a")), ("/s/rides/-/p/0", &with("a"))]
    {
        assert_eq!(ground.ask("POST", path, headers, "x").await.status(), 400, "{path} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_taken_once_by_whichever_node_they_come() {
    let (one, other) = super::subscribe::two(true);
    let mut other = other;
    other.service.peers = super::subscribe::near("one", &one);
    // Of each of the two partitions.
    let event = |key: &str, data: u32| {
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "partitionkey": key, "data": data,
            "datacontenttype": "application/json", "time": "2026-12-01T00:00:00Z", "ext": "x\u{fc} \"%"})
    };
    let body = |data| -> &'static str { json!([event("a", data), event("b", data)]).to_string().leak() };
    let headers = [("content-type", "application/cloudevents-batch+json"), ("idempotency-key", "k")];
    let told = one.ask("POST", "/v1/events/rides", &headers, body(1)).await;
    assert_eq!((told.status().as_u16(), header(&told, "idempotency-replayed")), (202, None));
    for ground in [&one, &other] {
        let again = ground.ask("POST", "/v1/events/rides", &headers, body(1)).await;
        assert_eq!((again.status().as_u16(), header(&again, "idempotency-replayed")), (202, Some("true")));
        assert_eq!(ground.ask("POST", "/v1/events/rides", &headers, body(2)).await.status(), 422);
    }
    for (ground, path) in [(&one, "/s/rides/-/p/0"), (&other, "/s/rides/-/p/1")] {
        let all = ground.text(&format!("{path}?format=records")).await;
        assert_eq!(all.matches("\"offset\"").count(), 1, "{all}");
    }
    let unkeyed =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), headers[1]];
    assert_eq!(one.ask("POST", "/v1/events/rides", &unkeyed, "").await.status(), 400);
}
