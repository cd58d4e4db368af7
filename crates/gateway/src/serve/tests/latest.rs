//! The last value of a key.

use super::*;

const LATEST: &str = "/v1/latest/rides/u42";

#[tokio::test(start_paused = true)]
async fn the_last_value_is_told_with_where_it_lies_and_where_to_go_on() {
    let ground = Ground::new();
    assert_eq!(ground.ask("GET", LATEST, &[], "").await.status(), 404);
    ground.ask("PUT", KEY, &TEXT, "one").await;
    let end = ground.ask("POST", KEY, &TEXT, "two").await;
    let read = ground.ask("GET", LATEST, &[], "").await;
    assert_eq!((read.status().as_u16(), &read.body()[..]), (200, &b"two"[..]));
    let tag = "\"0000000000000000_0000000000000001\"";
    assert_eq!((header(&read, "etag"), header(&read, "content-type")), (Some(tag), Some("text/plain")));
    assert_eq!(header(&read, "cache-control"), Some("no-cache"));
    assert_eq!(header(&read, "stream-next-offset"), header(&end, "stream-next-offset"));
    assert_eq!(header(&read, "preference-applied"), None);
    let head = ground.ask("HEAD", LATEST, &[], "").await;
    assert_eq!((head.status().as_u16(), head.body().len(), header(&head, "etag")), (200, 0, Some(tag)));
    for known in [tag, "W/\"x\", W/\"0000000000000000_0000000000000001\"", "*"] {
        let same = ground.ask("GET", LATEST, &[("if-none-match", known)], "").await;
        assert_eq!((same.status().as_u16(), same.body().len(), header(&same, "etag")), (304, 0, Some(tag)));
    }
    assert_eq!(ground.ask("GET", LATEST, &[("if-none-match", "\"x\"")], "").await.status(), 200);
    ground.ask("DELETE", KEY, &[], "").await;
    let gone = ground.ask("GET", LATEST, &[("if-none-match", tag)], "").await;
    let told: serde_json::Value = serde_json::from_slice(gone.body()).unwrap();
    assert_eq!((gone.status().as_u16(), &told["type"]), (404, &"/problems/no-value".into()));
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_of_kafkas_producers_is_no_value() {
    let ground = Ground::new();
    let at = Address { topic: TopicName::new("rides").unwrap(), key: Bytes::from_static(b"u42") };
    ground.memory.produce(&at, Some(b"one"));
    assert_eq!(&ground.ask("GET", LATEST, &[], "").await.body()[..], b"one");
    ground.memory.produce(&at, None);
    assert_eq!(ground.ask("GET", LATEST, &[], "").await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn who_knows_the_last_value_waits_for_another_one() {
    let ground = Ground::new();
    let wait = ("prefer", "wait=5");
    let began = tokio::time::Instant::now();
    let none = ground.ask("GET", LATEST, &[wait], "").await;
    assert_eq!((none.status().as_u16(), header(&none, "preference-applied")), (404, Some("wait=5")));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    let waits = [wait];
    let (first, _) = tokio::join!(ground.ask("GET", LATEST, &waits, ""), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        ground.ask("PUT", "/s/rides/other", &TEXT, "x").await;
        ground.ask("PUT", KEY, &TEXT, "one").await
    });
    assert_eq!((&first.body()[..], began.elapsed()), (&b"one"[..], Duration::from_secs(8)));
    let known = ("if-none-match", header(&first, "etag").unwrap());
    let same = ground.ask("GET", LATEST, &[wait, known], "").await;
    assert_eq!((same.status().as_u16(), header(&same, "preference-applied")), (304, Some("wait=5")));
    assert_eq!(began.elapsed(), Duration::from_secs(13));
    let mut tag = known.1.to_owned();
    for (method, status) in [("POST", 200), ("DELETE", 404)] {
        let waits = [wait, ("if-none-match", &*tag)];
        let (read, _) = tokio::join!(ground.ask("GET", LATEST, &waits, ""), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ground.ask(method, KEY, &TEXT, if method == "POST" { "two" } else { "" }).await
        });
        assert_eq!(read.status(), status);
        tag = header(&read, "etag").unwrap_or_default().to_owned();
    }
    assert_eq!(began.elapsed(), Duration::from_secs(15));
    // There is none: who has known one hears that at once.
    assert_eq!(ground.ask("GET", LATEST, &[wait, known], "").await.status(), 404);
    assert_eq!(began.elapsed(), Duration::from_secs(15));
    let long = ground.ask("GET", LATEST, &[("prefer", "wait=86400")], "").await;
    assert_eq!(header(&long, "preference-applied"), Some("wait=20"), "as long as a long poll waits");
    assert_eq!(began.elapsed(), Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn a_value_is_only_read() {
    let ground = Ground::new();
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let refused = ground.ask(method, LATEST, &TEXT, "").await;
        assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    assert_eq!(ground.ask("OPTIONS", LATEST, &[], "").await.status(), 204);
    let unknown = ground.ask("GET", "/v1/latest/rides/-/p/0", &[], "").await;
    assert_eq!(unknown.status(), 404);
}
