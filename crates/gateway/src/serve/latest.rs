//! `/v1/latest/{topic}/{key}`: the last value of a key, and waiting for another one.

use super::{Service, caller, is_match, problem, put};
use crate::{
    cors,
    mailboxes::{Address, Latest},
    problem::Problem,
    request::{none_match, wait_seconds},
    token::Token,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

const METHODS: &str = "GET, HEAD, OPTIONS";

impl Service {
    pub(super) async fn latest(
        &self,
        at: &Address,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Problem> {
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Ok(cors::preflight()),
            _ => {
                let text = "the last value of a key is read with GET or HEAD; POST to /s/{topic}/{key} gives it another";
                let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", text);
                return Err(problem.with("allow", METHODS));
            }
        }
        let known = none_match(request.headers())?;
        let longest = u64::try_from(self.poll_ms / 1000).unwrap_or(0);
        let wait = wait_seconds(request.headers()).map(|seconds| seconds.min(longest));
        let seconds = i64::try_from(wait.unwrap_or(0)).unwrap_or(0);
        let left =
            caller(request).map_or(i64::MAX, |caller| caller.until_ms.saturating_sub(self.clock.wall()));
        let latest = self.latest_but(at, known, left.min(seconds * 1000)).await?;
        if let Some(caller) = caller(request) {
            caller.check_time(self.clock.wall())?;
        }
        let Some(latest) = latest else {
            let text = "the key has no value: it was never written, was deleted, or is not kept any more";
            return Err(applied(Problem::new(StatusCode::NOT_FOUND, "no-value", text), wait));
        };
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        let Token(mut next) = latest.at;
        next.offset = next.offset.saturating_add(1);
        put(headers, "etag", &tag(&latest));
        put(headers, "cache-control", "no-cache");
        put(headers, "stream-next-offset", &Token(next).to_string());
        if let Some(seconds) = wait {
            put(headers, "preference-applied", &format!("wait={seconds}"));
        }
        if known.is_some_and(|known| is_match(known, &tag(&latest))) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        put(headers, "content-type", &latest.content_type);
        *response.body_mut() = latest.value;
        Ok(response)
    }

    /// The last value; for so many milliseconds it may be waited for one that the client does not know.
    async fn latest_but(
        &self,
        at: &Address,
        known: Option<&str>,
        wait_ms: i64,
    ) -> Result<Option<Latest>, Problem> {
        let until = self.clock.after_millis(wait_ms);
        loop {
            let latest = self.mailboxes.latest(at).await.map_err(problem)?;
            // Who knows a value hears at once that there is none any more.
            let is_known = match &latest {
                None => known.is_none(),
                Some(latest) => known.is_some_and(|known| is_match(known, &tag(latest))),
            };
            if !is_known || self.clock.now() >= until {
                return Ok(latest);
            }
            tokio::select! {
                biased;
                () = self.mailboxes.latest_changed(at, latest.map(|latest| latest.at)) => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }
}

/// Where the value lies, and no more: it never changes.
fn tag(latest: &Latest) -> String {
    format!("\"{}\"", latest.at)
}

fn applied(problem: Problem, wait: Option<u64>) -> Problem {
    match wait {
        Some(seconds) => problem.with("preference-applied", format!("wait={seconds}")),
        None => problem,
    }
}
