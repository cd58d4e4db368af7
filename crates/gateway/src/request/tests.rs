use super::*;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

#[test]
fn paths_mean_topics_keys_and_partitions() {
    let key = |key: &[u8]| Ok(Path::Key(name("rides"), key.to_vec()));
    for (path, expected) in [
        ("/s/rides", Ok(Path::Topic(name("rides")))),
        ("/s/rides/", Ok(Path::Topic(name("rides")))),
        ("/s/rides/u42", key(b"u42")),
        ("/s/rides/eu/u42", key(b"eu/u42")),
        ("/s/rides/eu%2Fu42", key(b"eu/u42")),
        ("/s/rides//u42", key(b"/u42")),
        ("/s/rides/u+42", key(b"u+42")),
        ("/s/rides/%ff%00", key(&[255, 0])),
        ("/s/rides/...", key(b"...")),
        ("/s/rid%65s/%2d", Err(404)),
        ("/s/rides/-/p/7", Ok(Path::Partition(name("rides"), 7))),
        ("/s/rides/-/p/-1", Err(400)),
        ("/s/rides/-/p/+1", Err(400)),
        ("/s/rides/-/p/99999999999", Err(400)),
        ("/s/rides/-/x", Err(404)),
        ("/s/rides/-", Err(404)),
        (
            "/s/rides/__ds/subscriptions/a",
            Ok(Path::Control(name("rides"), vec!["subscriptions".into(), "a".into()])),
        ),
        ("/s/rides/.", Err(400)),
        ("/s/rides/a/../b", Err(400)),
        ("/s/rides/a%2F%2e%2e%2fb", Err(400)),
        ("/s/rides/a%2", Err(400)),
        ("/s/rides/a%zz", Err(400)),
        ("/s/", Err(400)),
        ("/s/..", Err(400)),
        ("/s/a b", Err(400)),
        ("/s/%ff", Err(400)),
        ("/s", Err(404)),
        ("/S/rides", Err(404)),
        ("", Err(404)),
    ] {
        let read = Path::parse(path).map_err(|problem| problem.status.as_u16());
        assert_eq!(read, expected, "{path}");
    }
    let long = format!("/s/rides/{}", "x".repeat(1025));
    assert!(Path::parse(&long).unwrap_err().detail.contains("1025 bytes"));
    assert!(Path::parse(&long[..long.len() - 1]).is_ok());
}

fn read(query: &str, pairs: &[(&'static str, &str)]) -> Result<Read, String> {
    Read::parse(Some(query), &headers(pairs)).map_err(|problem| {
        assert_eq!(problem.status, 400);
        problem.detail
    })
}

#[test]
fn readers_say_where_they_are_and_how_they_wait() {
    let token = Token::new(0, 9);
    let at = "0000000000000000_0000000000000009";
    let start = |query: &str| read(query, &[]).map(|read| (read.start, read.live));
    assert_eq!(start(""), Ok((Start::Begin, None)));
    assert_eq!(start("offset=-1&x=y"), Ok((Start::Begin, None)));
    assert_eq!(start("offset=%2D1"), Ok((Start::Begin, None)));
    assert_eq!(start("offset=now&live=sse"), Ok((Start::Now, Some(Live::Sse))));
    assert_eq!(start(&format!("offset={at}&live=long-poll")), Ok((Start::At(token), Some(Live::LongPoll))));
    for (query, says) in [
        ("offset=", "none that this server"),
        ("offset", "none that this server"),
        ("offset=-1&offset=now", "more than once"),
        ("offset=1,2", "none that this server"),
        ("offset=NOW", "none that this server"),
        ("live=sse", "from where on"),
        ("live=long-poll&cursor=4", "from where on"),
        ("offset=-1&live=", "long-poll or sse"),
        ("offset=%ff", "no UTF-8"),
        ("offset=%f", "two hexadecimal digits"),
    ] {
        assert!(start(query).unwrap_err().contains(says), "{query}");
    }
    let browser = [("accept", "text/event-stream")];
    let plain = read("", &browser).unwrap();
    assert_eq!((plain.start, plain.live), (Start::Begin, Some(Live::EventSource)));
    let resumed = read("offset=now", &[("accept", "text/event-stream"), ("last-event-id", at)]).unwrap();
    assert_eq!(resumed.start, Start::At(token), "what it has seen counts more than its address");
    let other = read("offset=-1", &[("last-event-id", "from elsewhere")]).unwrap();
    assert_eq!((other.start, other.live), (Start::Begin, None), "nobody else is asked for it");
    assert!(read("", &[("accept", "text/event-stream"), ("last-event-id", "7")]).is_err());
}

#[test]
fn a_put_says_what_a_stream_is_to_be() {
    let put = |pairs: &[(&'static str, &str)]| CreateHead::parse(&headers(pairs));
    let plain = put(&[("content-type", "Text/Plain; charset=utf-8")]).unwrap();
    assert_eq!(plain.content_type.as_deref(), Some("Text/Plain; charset=utf-8"));
    for none in ["", "text", "text/", "/plain", "a b/c", "<script>/x"] {
        assert_eq!(put(&[("content-type", none)]).unwrap().content_type, None, "{none}");
    }
    assert_eq!(put(&[("stream-ttl", "0")]).unwrap().lifetime, Some(Lifetime::Idle(0)));
    for wrong in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "18446744073709551616", "x"] {
        assert!(put(&[("stream-ttl", wrong)]).is_err(), "{wrong}");
    }
    let until = put(&[("stream-expires-at", "2026-12-24T18:00:00+01:00")]).unwrap().lifetime;
    let text = "2026-12-24T18:00:00+01:00".to_owned();
    assert_eq!(until, Some(Lifetime::Until { at_ms: 1_798_131_600_000, text }));
    for wrong in ["", "tomorrow", "2026-12-24", "2026-13-01T00:00:00Z", "1798131600"] {
        assert!(put(&[("stream-expires-at", wrong)]).is_err(), "{wrong}");
    }
    assert!(put(&[("stream-ttl", "1"), ("stream-expires-at", "2026-12-24T18:00:00Z")]).is_err());
    for (says, is_closed) in [("true", true), ("TRUE", true), ("false", false), ("1", false), ("", false)] {
        assert_eq!(put(&[("stream-closed", says)]).unwrap().is_closed, is_closed, "{says}");
    }
    let fork = put(&[
        ("stream-forked-from", "/s/t/k"),
        ("stream-fork-offset", "0000000000000000_0000000000000009"),
        ("stream-fork-sub-offset", "3"),
    ]);
    let offset = Some(Token::new(0, 9));
    assert_eq!(fork.unwrap().fork, Some(Forked { path: "/s/t/k".into(), offset, sub_offset: 3 }));
    assert!(put(&[("stream-fork-sub-offset", "0")]).is_err(), "of nothing");
    assert!(put(&[("stream-forked-from", "/s/t/k"), ("stream-fork-sub-offset", "")]).is_err());
    assert!(put(&[("stream-forked-from", "/s/t/k"), ("stream-fork-offset", "-1")]).is_err());
}

#[test]
fn a_producer_names_itself_whole_or_not_at_all() {
    let post = |pairs: &[(&'static str, &str)]| AppendHead::parse(&headers(pairs)).map(|head| head.sent);
    let whole = [("producer-id", "p"), ("producer-epoch", "0"), ("producer-seq", "9007199254740991")];
    let sent = Sent { id: "p".into(), epoch: 0, seq: limits::NUMBER_MAX };
    assert_eq!(post(&whole), Ok(Some(sent)));
    assert_eq!(post(&[]), Ok(None));
    for left_out in 0..3 {
        let mut part = whole.to_vec();
        part.remove(left_out);
        assert!(post(&part).is_err(), "{left_out}");
    }
    assert!(post(&[("producer-id", ""), whole[1], whole[2]]).is_err());
    for wrong in ["", "-1", "1abc", "1e3", "1.5", "9007199254740992", "99999999999999999999", " 1"] {
        assert!(post(&[whole[0], ("producer-epoch", wrong), whole[2]]).is_err(), "{wrong}");
        assert!(post(&[whole[0], whole[1], ("producer-seq", wrong)]).is_err(), "{wrong}");
    }
    assert!(post(&[whole[0], whole[0], whole[1], whole[2]]).is_err(), "twice");
}

proptest! {
    #[test]
    fn every_key_has_a_path(key in prop::collection::vec(any::<u8>(), 1..40)) {
        let encoded: String = key.iter().map(|byte| format!("%{byte:02x}")).collect();
        let dots = key.split(|byte| *byte == b'/').any(|part| part == b"." || part == b"..");
        match Path::parse(&format!("/s/t/{encoded}")) {
            Ok(Path::Key(_, read)) => prop_assert_eq!(read, key),
            Ok(Path::Control(..)) => prop_assert!(key.starts_with(b"__ds")),
            Err(_) => prop_assert!(dots || key == b"-"),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_words_are_read_or_refused(path in ".{0,60}", query in ".{0,60}") {
        let _ = Path::parse(&path);
        let _ = Path::parse(&format!("/s/{path}"));
        let _ = Read::parse(Some(&query), &HeaderMap::new());
    }
}
