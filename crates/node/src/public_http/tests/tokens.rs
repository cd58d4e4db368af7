//! Tokens over real sockets: who may do what, until when, how often, and what becomes of bad ones.

use super::{Ground, TEXT, request, settings, until};
use gateway::{Origins, Reach};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokens::testing::{SECRET, jwks, signed, token};
use tokio::io::AsyncWriteExt;

mod routes;

/// A server with keys in a file.
pub(super) struct Gate {
    pub(super) ground: Ground,
    dir: TempDir,
}

pub(super) fn now_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

/// A token of u42 for its rides, for a minute.
pub(super) fn claims() -> Value {
    json!({"sub": "u42", "iss": "https://id.example", "exp": now_seconds() + 60, "od": [
        {"do": ["read", "append", "create", "delete"], "topic": "rides", "key": "${sub}"},
    ]})
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

impl Gate {
    pub(super) async fn new() -> Self {
        Self::with(true, jwks()).await
    }

    async fn with(is_required: bool, keys: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, keys).unwrap();
        let mut settings = settings();
        let trust = &mut settings.trust;
        trust.tokens.keys_file = Some(file);
        trust.tokens.is_required = is_required;
        trust.screen.cookie = Some("od".into());
        trust.screen.origins = Origins::new(&["https://app.example".into()], None).unwrap();
        Self { ground: Ground::with(settings).await, dir }
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        self.ground.ask(&request(method, path, &format!("{TEXT}{headers}"), body)).await
    }
}

#[tokio::test]
async fn a_token_opens_its_own_keys_and_nothing_else() {
    let gate = Gate::new().await;
    let own = bearer(&token(&claims()));
    for (method, status) in [("PUT", 201), ("POST", 204), ("GET", 200), ("HEAD", 200), ("DELETE", 204)] {
        let body = if method == "POST" { "one" } else { "" };
        let answer = gate.ask(method, "/s/rides/u42", &own, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method}: {answer}");
        assert!(answer.contains("Origin, Authorization, Cookie\r\n"), "{answer}");
        let other = gate.ask(method, "/s/rides/u43", &own, body).await;
        assert!(other.starts_with("HTTP/1.1 403 "), "{method}: {other}");
        assert!(other.contains("insufficient_scope"), "{other}");
        let nobody = gate.ask(method, "/s/rides/u42", "", body).await;
        assert!(nobody.starts_with("HTTP/1.1 401 "), "{method}: {nobody}");
        assert!(nobody.contains("www-authenticate: Bearer realm=\"odradek\"\r\n"), "{nobody}");
    }
    for path in [
        "/s/gps/u42",
        "/s/rides/u42/x",
        "/s/rides",
        "/s/rides/-/p/0",
        "/s/rides/__ds/x",
        "/s/rides/U42",
        "/s/rides/u%342%00",
    ] {
        let answer = gate.ask("GET", path, &own, "").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
    }
    let told = gate.ask("POST", "/s/gps/u42", &own, "one").await;
    assert!(
        told.contains("/problems/not-granted")
            && told.contains(r#"{\"do\":[\"append\"],\"key\":\"u42\",\"topic\":\"gps\"}"#),
        "{told}"
    );
    let same = gate.ask("GET", "/s/rides/u%342", &own, "").await;
    assert!(same.starts_with("HTTP/1.1 404 "), "the same key, which is deleted: {same}");
    let encoded = gate.ask("GET", "/s/rides/u42%2Fx", &own, "").await;
    assert!(encoded.starts_with("HTTP/1.1 403 "), "{encoded}");
    let preflight = gate.ask("OPTIONS", "/s/rides/u42", "origin: https://app.example\r\n", "").await;
    assert!(preflight.starts_with("HTTP/1.1 204 "), "a browser asks without a token: {preflight}");
}

#[tokio::test]
async fn bad_tokens_of_every_kind_are_refused() {
    let gate = Gate::new().await;
    let hs = json!({"alg": "HS256"});
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let good = token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let bad: Vec<(String, &str)> = vec![
        (String::new(), "bearer"),
        ("x".into(), "three parts"),
        ("a.b.c.d.e".into(), "three parts"),
        (format!("{message}."), "signature"),
        (format!("{message}.{}", signature.to_lowercase()), "signature"),
        (format!("{message}x.{signature}"), "signature"),
        (signed(&hs, &claims(), b"another secret, just as long....."), "signature"),
        (signed(&json!({"alg": "none"}), &claims(), SECRET), "alg"),
        (signed(&json!({"alg": "RS256"}), &claims(), SECRET), "no known key"),
        (signed(&json!({"alg": "HS256", "kid": "two"}), &claims(), SECRET), "no known key"),
        (signed(&json!({"alg": "HS256", "crit": ["x"]}), &claims(), SECRET), "crit"),
        (token(&with("exp", json!(now_seconds() - 1))), "expired"),
        (token(&with("exp", Value::Null)), "exp"),
        (token(&with("nbf", json!(now_seconds() + 60))), "nbf"),
        (token(&with("aud", json!("another"))), "aud"),
        (token(&with("sub", json!(42))), "sub"),
        (token(&with("od", json!([{"do": ["all"], "topic": "*", "key": "*"}]))), "grant 1"),
        (token(&with("od", json!("*"))), "array"),
    ];
    for (token, part) in bad {
        let answer = gate.ask("PUT", "/s/rides/u42", &bearer(&token), "one").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{token}: {answer}");
        let told = answer.to_lowercase();
        assert!(told.contains("error=\"invalid_token\"") && told.contains(part), "{part}: {answer}");
    }
    for headers in ["authorization: Basic dTpw\r\n", "authorization: Bearer\r\n"] {
        let answer = gate.ask("PUT", "/s/rides/u42", headers, "one").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    let twice = gate.ask("GET", &format!("/s/rides/u42?token={good}"), &bearer(&good), "").await;
    assert!(twice.starts_with("HTTP/1.1 400 "), "{twice}");
    let missing = gate.ask("GET", "/s/rides/u42", &bearer(&good), "").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "nothing was made by any of them: {missing}");
}

#[tokio::test]
async fn an_event_source_has_its_token_in_the_query_or_in_a_cookie() {
    let gate = Gate::new().await;
    let good = token(&claims());
    gate.ask("PUT", "/s/rides/u42", &bearer(&good), "one").await;
    let asked = gate.ask("GET", &format!("/s/rides/u42?token={good}"), "", "").await;
    assert!(asked.starts_with("HTTP/1.1 200 ") && asked.ends_with("one"), "{asked}");
    let cookie = format!("cookie: od={good}\r\n");
    let page = gate.ask("GET", "/s/rides/u42", &format!("{cookie}origin: https://app.example\r\n"), "").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains("access-control-allow-credentials: true\r\n"), "{page}");
    let posted = gate.ask("POST", &format!("/s/rides/u42?token={good}"), "", "two").await;
    assert!(posted.starts_with("HTTP/1.1 401 "), "what changes something has it in a header: {posted}");
    let foreign =
        gate.ask("GET", "/s/rides/u42", &format!("{cookie}origin: https://evil.example\r\n"), "").await;
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
}

#[tokio::test]
async fn who_follows_or_waits_does_so_until_the_token_is_over() {
    let gate = Gate::new().await;
    gate.ask("PUT", "/s/rides/u42", &bearer(&token(&claims())), "one").await;
    let mut short = claims();
    short["exp"] = json!(now_seconds() + 3);
    let (begun, headers) = (std::time::Instant::now(), bearer(&token(&short)));
    let follow = request("GET", "/s/rides/u42?offset=-1&live=sse", &headers, "");
    let poll = request("GET", "/s/rides/u42?offset=now&live=long-poll", &headers, "");
    let (followed, polled) = tokio::join!(gate.ground.ask(&follow), gate.ground.ask(&poll));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(
        followed.contains("data:one\n") && followed.ends_with("0\r\n\r\n"),
        "it ends as one that is whole: {followed}"
    );
    assert!(polled.starts_with("HTTP/1.1 401 ") && polled.contains("expired"), "{polled}");
    let again = gate.ground.ask(&follow).await;
    assert!(again.starts_with("HTTP/1.1 401 "), "{again}");
}

#[tokio::test]
async fn a_subject_does_it_so_often_and_so_large() {
    let gate = Gate::new().await;
    let phone = |subject: &str| {
        let mut claims = claims();
        claims["sub"] = json!(subject);
        claims["od"] = json!([
            {"do": ["create", "read"], "topic": "gps", "key": "${sub}"},
            {"do": ["append"], "topic": "gps", "key": "${sub}", "rate": "2/m", "max_bytes": 8},
        ]);
        bearer(&token(&claims))
    };
    let (one, other) = (phone("u42"), phone("u43"));
    for (headers, key) in [(&one, "u42"), (&other, "u43")] {
        let made = gate.ask("PUT", &format!("/s/gps/{key}"), headers, "").await;
        assert!(made.starts_with("HTTP/1.1 201 ") && !made.contains("\"subject\""), "{made}");
    }
    let large = gate.ask("POST", "/s/gps/u42", &one, "123456789").await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    let first = gate.ask("POST", "/s/gps/u42", &one, "12345678").await;
    assert!(
        first.starts_with("HTTP/1.1 204 ") && first.contains("ratelimit: \"subject\";r=0;t=60\r\n"),
        "{first}"
    );
    // A new token is no new subject.
    let over = gate.ask("POST", "/s/gps/u42", &phone("u42"), "x").await;
    assert!(over.starts_with("HTTP/1.1 429 ") && over.contains("retry-after: 30\r\n"), "{over}");
    assert!(over.contains("ratelimit-policy: \"subject\";q=2;w=60\r\n"), "{over}");
    assert!(gate.ask("POST", "/s/gps/u43", &other, "x").await.starts_with("HTTP/1.1 204 "), "others may");
    assert!(gate.ask("GET", "/s/gps/u42", &one, "").await.ends_with("12345678"), "and it may read");
    let head = format!(
        "POST /s/gps/u43 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{TEXT}{other}transfer-encoding: chunked\r\n\r\n"
    );
    let chunked = gate.ground.ask(&format!("{head}9\r\n123456789\r\n0\r\n\r\n")).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
}

#[tokio::test]
async fn a_fork_is_made_of_what_its_maker_may_read() {
    let gate = Gate::new().await;
    let other = json!({"sub": "u43", "exp": now_seconds() + 60, "od": [
        {"do": ["create", "read"], "topic": "rides", "key": "${sub}"},
    ]});
    gate.ask("PUT", "/s/rides/u42", &bearer(&token(&claims())), "secret").await;
    for source in ["/s/rides/u42", "u42"] {
        let headers = format!("{}stream-forked-from: {source}\r\n", bearer(&token(&other)));
        let forked = gate.ask("PUT", "/s/rides/u43", &headers, "").await;
        assert!(forked.starts_with("HTTP/1.1 403 ") && forked.contains("u42"), "{forked}");
    }
}

#[tokio::test]
async fn keys_change_without_a_restart_and_a_broken_file_changes_nothing() {
    let gate = Gate::new().await;
    tokio::spawn(gate.ground.http.clone().follow_keys());
    let file = gate.dir.path().join("keys.json");
    let secret = b"the secret of tomorrow, also long";
    let hs = json!({"alg": "HS256"});
    let new = bearer(&signed(&hs, &claims(), secret));
    let old = bearer(&token(&claims()));
    let status = async |headers: &str| gate.ask("GET", "/s/rides/u42", headers, "").await[9..12].to_owned();
    assert_eq!((status(&old).await, status(&new).await), ("404".to_owned(), "401".to_owned()));
    std::fs::write(&file, "{").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(status(&old).await, "404");
    let keys = json!({"keys": [{"kty": "oct", "k": "dGhlIHNlY3JldCBvZiB0b21vcnJvdywgYWxzbyBsb25n"}]});
    std::fs::write(&file, keys.to_string()).unwrap();
    for _ in 0..100 {
        if status(&new).await == "404" {
            assert_eq!(status(&old).await, "401", "what is not in the file any more signs nothing");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new keys are not taken");
}

#[tokio::test]
async fn the_node_that_a_request_is_handed_on_to_verifies_the_token_itself() {
    let (one, other) = (Gate::new().await, Gate::new().await);
    let reach = Reach { host: "127.0.0.1".into(), port: other.ground.address.port() };
    one.ground.memory.lead_elsewhere(reach.clone());
    let own = bearer(&token(&claims()));
    let made = one.ask("PUT", "/s/rides/u42", &own, "one").await;
    assert!(made.starts_with("HTTP/1.1 201 "), "{made}");
    let foreign = one.ask("GET", "/s/rides/u43", &own, "").await;
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    let read = one.ask("GET", &format!("/s/rides/u42?token={}", token(&claims())), "", "").await;
    assert!(read.ends_with("one"), "{read}");
    // Whoever says that a request was handed on is believed no more than others.
    for headers in ["odradek-forwarded: 1\r\n", "odradek-forwarded: 1\r\nod-sub: u42\r\n"] {
        let direct = other.ask("GET", "/s/rides/u42", headers, "").await;
        assert!(direct.starts_with("HTTP/1.1 401 "), "{direct}");
    }
    let keys = json!({"keys": [{"kty": "oct", "k": "dGhlIHNlY3JldCBvZiB0b21vcnJvdywgYWxzbyBsb25n"}]});
    let lax = Gate::with(true, keys.to_string()).await;
    lax.ground.memory.lead_elsewhere(reach);
    let signed = bearer(&signed(&json!({"alg": "HS256"}), &claims(), b"the secret of tomorrow, also long"));
    let refused = lax.ask("GET", "/s/rides/u42", &signed, "").await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "the first has let it pass: {refused}");
}

#[tokio::test]
async fn where_no_token_is_required_one_that_is_sent_counts_all_the_same() {
    let gate = Gate::with(false, jwks()).await;
    assert!(gate.ask("PUT", "/s/rides/u43", "", "one").await.starts_with("HTTP/1.1 201 "));
    let own = bearer(&token(&claims()));
    assert!(gate.ask("GET", "/s/rides/u43", &own, "").await.starts_with("HTTP/1.1 403 "));
    assert!(gate.ask("GET", "/s/rides/u43", &bearer("x"), "").await.starts_with("HTTP/1.1 401 "));
    let ground = Ground::new(10).await;
    let ignored = ground.ask(&request("PUT", "/s/rides/u42", &format!("{TEXT}{}", bearer("x")), "")).await;
    assert!(ignored.starts_with("HTTP/1.1 201 "), "without keys nobody looks at tokens: {ignored}");
}

#[tokio::test]
async fn a_token_that_ends_while_a_body_comes_appends_nothing() {
    let gate = Gate::new().await;
    gate.ask("PUT", "/s/rides/u42", &bearer(&token(&claims())), "").await;
    let mut short = claims();
    short["exp"] = json!(now_seconds() + 2);
    let mut stream = gate.ground.connect().await;
    let head = format!(
        "POST /s/rides/u42 HTTP/1.1\r\nhost: h\r\n{TEXT}{}content-length: 3\r\n\r\no",
        bearer(&token(&short))
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    stream.write_all(b"ne").await.unwrap();
    let told = until(&mut stream, "\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    let read = gate.ask("GET", "/s/rides/u42", &bearer(&token(&claims())), "").await;
    assert!(read.ends_with("\r\n\r\n"), "{read}");
}
