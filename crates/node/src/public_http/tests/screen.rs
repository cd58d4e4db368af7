//! Whose requests are looked at, over a real socket.

use super::{Ground, TEXT, request, settings};
use gateway::{Hosts, Origins};

/// On the loopback, called by its own names, with pages of these origins.
async fn ground(origins: &[&str]) -> Ground {
    let mut settings = settings();
    let origins: Vec<_> = origins.iter().map(|one| (*one).to_owned()).collect();
    settings.trust.screen.origins = Origins::new(&origins, None).unwrap();
    settings.trust.screen.hosts = Hosts::default();
    Ground::with(settings).await
}

/// As a page's browser or a client sends it.
fn asked(method: &str, host: &str, headers: &str) -> String {
    request(method, "/s/rides/u42", &format!("{TEXT}{headers}"), "")
        .replace("host: h\r\n", &format!("host: {host}\r\n"))
}

#[tokio::test]
async fn a_foreign_page_neither_reads_nor_changes_anything_on_the_loopback() {
    let ground = ground(&["loopback"]).await;
    let made = ground.ask(&asked("PUT", "localhost:8080", "")).await;
    assert!(made.starts_with("HTTP/1.1 201 "), "who is no page goes on: {made}");
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
        let foreign = ground.ask(&asked(method, "localhost:8080", "origin: https://evil.example\r\n")).await;
        assert!(foreign.starts_with("HTTP/1.1 403 "), "{method}: {foreign}");
        assert!(
            !foreign.contains("access-control-allow-origin") && foreign.contains("vary: Origin"),
            "{foreign}"
        );
        let rebound = ground.ask(&asked(method, "evil.example:8080", "")).await;
        assert!(rebound.starts_with("HTTP/1.1 421 "), "{method}: {rebound}");
    }
    let told = ground.ask(&asked("GET", "localhost", "origin: null\r\n")).await;
    assert!(
        told.contains("/problems/other-origin") && told.contains("odradek.gateway.cors.origins"),
        "{told}"
    );
    let told = ground.ask(&asked("GET", "evil.example", "")).await;
    assert!(told.contains("/problems/other-host") && told.contains("odradek.gateway.hosts"), "{told}");
    let kept = ground.ask(&asked("GET", "127.0.0.1", "")).await;
    assert!(kept.starts_with("HTTP/1.1 200 "), "it is still there: {kept}");
}

#[tokio::test]
async fn a_page_that_may_reads_every_answer() {
    let ground = ground(&["loopback", "https://app.example.com"]).await;
    for origin in ["http://localhost:5173", "https://app.example.com"] {
        for (method, status) in [("OPTIONS", "204"), ("GET", "404"), ("PUT", "201"), ("DELETE", "204")] {
            let answer = ground.ask(&asked(method, "localhost", &format!("origin: {origin}\r\n"))).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method}: {answer}");
            assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{answer}");
            assert!(answer.contains("access-control-expose-headers: Accept-Query"), "{answer}");
        }
    }
    let foreign = ground.ask(&asked("OPTIONS", "localhost", "origin: https://evil.example\r\n")).await;
    assert!(
        foreign.starts_with("HTTP/1.1 204 ") && !foreign.contains("access-control-allow-origin"),
        "{foreign}"
    );
}

#[tokio::test]
async fn any_page_may_where_that_is_said() {
    let ground = ground(&["*"]).await;
    let answer = ground.ask(&asked("GET", "localhost", "origin: https://a.example\r\n")).await;
    assert!(answer.contains("access-control-allow-origin: *\r\n"), "{answer}");
    let rebound = ground.ask(&asked("GET", "evil.example", "origin: http://evil.example\r\n")).await;
    assert!(rebound.starts_with("HTTP/1.1 421 "), "it is called by its own name all the same: {rebound}");
}
