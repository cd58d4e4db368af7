//! Connections of HTTP/2 (RFC 9113), which clients of TLS may ask for: many requests share one, as those of all tabs of a browser do.
//!
//! Requests come to the same answers as over HTTP/1.1. Nobody leaves the stack here: a reader that follows a stream is a body.

use super::{
    Asked, Body, HEAD_BYTES_MAX, HEAD_SECONDS_MAX, Origin, PublicHttp,
    clients::Seat,
    exit::{Exit, Leaving},
    followed::Followed,
    several::Source,
    stalling::{STALL_MS_MAX, Stalling},
    traffic::{Standing, Traffic},
    until_closing,
    wire::Wire,
};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, pin::pin, sync::Arc};

/// So many requests may be answered at once.
const STREAMS_MAX: u32 = 100;
/// So much of a request's body may be under way.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// ... and of all of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// So much of an answer may wait in the stack for its client to take it, but for one piece.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Requests that are taken back before they are looked at; more end the connection (CVE-2023-44487).
const RESETS_MAX: usize = 20;
/// How often the connection is looked at.
const LOOK_MS: i64 = 5_000;

impl PublicHttp {
    pub(super) async fn serve_http2(self: Arc<Self>, wire: Wire, from: Origin, _seat: Seat) {
        let traffic = Traffic::new(self.clock.clone());
        let io = TokioIo::new(Stalling::new(wire, self.clock.clone(), Arc::new(Exit::default())));
        let (http, counts) = (self.clone(), traffic.clone());
        let service = service_fn(move |request| {
            let (http, open) = (http.clone(), counts.open());
            async move {
                let response = http.receive_http2(request, from).await;
                Ok::<_, Infallible>(open.count(response))
            }
        });
        let mut serving = pin!(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_send_buf_size(SEND_BYTES_MAX)
                .max_pending_accept_reset_streams(RESETS_MAX)
                .serve_connection(io, service)
        );
        let mut closing = self.is_closing.subscribe();
        let mut is_closing = false;
        loop {
            let ended = tokio::select! {
                biased;
                () = until_closing(&mut closing), if !is_closing => {
                    is_closing = true;
                    serving.as_mut().graceful_shutdown();
                    continue;
                }
                ended = serving.as_mut() => ended,
                () = self.clock.sleep_until(self.clock.after_millis(LOOK_MS)) => {
                    match traffic.standing(HEAD_SECONDS_MAX * 1000, STALL_MS_MAX.unsigned_abs()) {
                        Standing::Well => {}
                        Standing::Idle => serving.as_mut().graceful_shutdown(),
                        Standing::Stalled => return,
                    }
                    continue;
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the public HTTP port has ended");
            }
            return;
        }
    }

    async fn receive_http2(&self, mut request: Request<Incoming>, from: Origin) -> Response<Body> {
        as_http1(&mut request);
        match self.receive(request, from).await {
            Asked::Answered(mut response) => {
                // It says nothing of a connection that others share.
                response.headers_mut().remove(header::CONNECTION);
                response
            }
            Asked::Left(Leaving { head, follow, .. }) => {
                let left = self.follow_ms(&follow);
                let followed = Source::One(Box::new(Followed::new(follow)));
                self.follow(head, (followed, left), 1)
            }
        }
    }
}

/// What HTTP/2 writes otherwise: the authority in its place (RFC 9113, section 8.3.1), and cookies in one header (section 8.2.3).
fn as_http1(request: &mut Request<Incoming>) {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let headers = request.headers_mut();
    if let Some(host) = authority.and_then(|authority| HeaderValue::try_from(authority).ok()) {
        headers.insert(header::HOST, host);
    }
    join_cookies(headers);
}

fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}
