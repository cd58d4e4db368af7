//! Why a request is not answered as it wishes: an RFC 9457 problem, and the headers that a client acts on.

use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use mailbox::Refusal;

/// See the head of the file. `Display` gives its detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Of the answer.
    pub status: StatusCode,
    /// The last part of its `type`, by which programs know it and under which it is explained.
    pub kind: &'static str,
    /// For people: what was wrong and what would be right.
    pub detail: String,
    /// Headers beside.
    pub headers: Vec<(&'static str, String)>,
}

/// What the `type` of a problem begins with.
const TYPES: &str = "/problems/";

impl Problem {
    /// 400.
    pub fn malformed(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    /// With any status.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), headers: Vec::new() }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// What a mailbox refuses. `end` is its end, which some refusals tell.
    pub fn refused(refusal: &Refusal, end: impl ToString) -> Self {
        use StatusCode as S;
        let detail = refusal.to_string();
        let of = |status, kind| Self::new(status, kind, detail);
        match refusal {
            Refusal::NotFound => of(S::NOT_FOUND, "stream-not-found"),
            Refusal::Deleted => of(S::GONE, "stream-deleted"),
            Refusal::InUse => of(S::CONFLICT, "stream-in-use"),
            Refusal::OtherConfiguration(_) => of(S::CONFLICT, "other-configuration"),
            Refusal::Closed => {
                let closed = of(S::CONFLICT, "stream-closed");
                closed.with("stream-closed", true).with("stream-next-offset", end)
            }
            Refusal::NoContentType => of(S::BAD_REQUEST, "no-content-type"),
            Refusal::ContentType(_) => of(S::CONFLICT, "other-content-type"),
            Refusal::Empty => of(S::BAD_REQUEST, "empty-body"),
            Refusal::TooLong { .. } => of(S::BAD_REQUEST, "header-too-long"),
            Refusal::StaleEpoch { current } => {
                of(S::FORBIDDEN, "stale-epoch").with("producer-epoch", current)
            }
            Refusal::OtherRequest => of(S::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
            Refusal::NotFirst => of(S::BAD_REQUEST, "epoch-begins-with-0"),
            Refusal::Gap { expected, received } => {
                let gap = of(S::CONFLICT, "sequence-gap").with("producer-expected-seq", expected);
                gap.with("producer-received-seq", received)
            }
            Refusal::SeqNotHigher(_) => of(S::CONFLICT, "sequence-not-higher"),
            Refusal::OtherOffset { .. } => {
                of(S::PRECONDITION_FAILED, "other-offset").with("stream-next-offset", end)
            }
            Refusal::TooDeep(_) => of(S::BAD_REQUEST, "too-deep"),
            Refusal::TooManyForks(_) => of(S::TOO_MANY_REQUESTS, "too-many-forks"),
        }
    }

    /// As an answer.
    pub fn response(&self) -> Response<Vec<u8>> {
        let body = serde_json::json!({
            "type": format!("{TYPES}{}", self.kind),
            "title": self.kind.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(body.to_string().into_bytes());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in &self.headers {
            // What a client has sent never comes here; what could not be a header is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_a_client_acts_on() {
        let response = Problem::refused(&Refusal::Gap { expected: 3, received: 7 }, "x").response();
        assert_eq!(response.status(), 409);
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("producer-expected-seq"), Some("3"));
        assert_eq!(header("producer-received-seq"), Some("7"));
        assert_eq!(header("content-type"), Some("application/problem+json"));
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((&body["type"], &body["status"]), (&"/problems/sequence-gap".into(), &409.into()));
        assert!(body["detail"].as_str().unwrap().contains("is 3, not 7"));
        let closed = Problem::refused(&Refusal::Closed, "0000000000000000_0000000000000009").response();
        assert_eq!(closed.headers()["stream-closed"], "true");
        assert_eq!(closed.headers()["stream-next-offset"], "0000000000000000_0000000000000009");
    }
}
