//! `POST /v1/events/{topic}`: CloudEvents that become records.
//!
//! An event with a key goes where Kafka's producers put that key, one without where this node leads. Those of one partition are one batch.

use super::{Service, asker, author, no_content, problem, put};
use crate::{
    caller::Author,
    cloud_event::CloudEvent,
    cors,
    mailboxes::{Denied, Reach},
    many::{Asker, with_bearer},
    problem::Problem,
    request::Once,
    token::Token,
    topics::NewRecord,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use model::{TopicName, TopicPartition};
use serde_json::Value;
use std::collections::BTreeMap;

const METHODS: &str = "POST, OPTIONS";
/// What another node answers to events is a line or two.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl Service {
    pub(super) async fn cloud_events(
        &self,
        topic: &TopicName,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Problem> {
        match *request.method() {
            Method::POST => {}
            Method::OPTIONS => return Ok(welcome(request)),
            _ => {
                let problem =
                    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "events are told with POST");
                return Err(problem.with("allow", METHODS));
            }
        }
        let shape = self.mailboxes.shape(topic).ok_or_else(|| problem(Denied::UnknownTopic))?;
        let once = Once::read(request.headers())?;
        let events = self.told_events(topic, once.as_ref(), request)?;
        let author = author(request);
        // Those of one partition in their order.
        let mut groups: BTreeMap<TopicPartition, Vec<CloudEvent>> = BTreeMap::new();
        let mut any = None;
        for event in events {
            let of = match event.key() {
                Some(key) => self.mailboxes.partition_of(topic, key.as_bytes()),
                None => {
                    if any.is_none() {
                        any = Some(self.any_or_elsewhere(topic, &shape)?);
                    }
                    any.clone()
                }
            };
            let of = of.ok_or_else(|| problem(Denied::UnknownTopic))?;
            groups.entry(of).or_default().push(event);
        }
        let is_forwarded = request.headers().contains_key(super::FORWARDED);
        let (mut last, mut is_new) = (None, once.is_none() || groups.is_empty());
        for (of, events) in &groups {
            let elsewhere = self.mailboxes.partition_elsewhere(of).filter(|_| !is_forwarded);
            let (next, is_taken) = match elsewhere {
                None => self.take_events(of, events, once.as_ref(), &author).await.map_err(problem)?,
                Some(reach) => self.tell(topic, events, once.as_ref(), (reach, asker(request))).await?,
            };
            last = next;
            is_new |= is_taken;
        }
        let mut response = no_content();
        *response.status_mut() = StatusCode::ACCEPTED;
        if !is_new {
            put(response.headers_mut(), super::REPLAYED, "true");
        }
        if let (Some(next), Some((of, _)), 1) = (last, groups.first_key_value(), groups.len()) {
            let headers = response.headers_mut();
            put(headers, "stream-next-offset", &next.to_string());
            put(headers, "content-location", &format!("/s/{}/-/p/{}", of.topic, of.partition));
        }
        Ok(response)
    }

    /// The events of a request, which may tell all of them.
    fn told_events(
        &self,
        topic: &TopicName,
        once: Option<&Once>,
        request: &Request<Bytes>,
    ) -> Result<Vec<CloudEvent>, Problem> {
        let events = CloudEvent::from_http(request.headers(), request.body())?;
        if once.is_some() && events.iter().any(|event| event.key().is_none()) {
            let text = "with an Idempotency-Key each event has a partitionkey or a subject, by which it is found again";
            return Err(Problem::malformed("idempotency-key", text));
        }
        for event in &events {
            let record = event.record();
            let said =
                record.headers.iter().map(|said| said.key.len() + said.value.as_ref().map_or(0, Bytes::len));
            let bytes = record.value.as_ref().map_or(0, Bytes::len) + said.sum::<usize>();
            self.authorise_event(request, topic, (event.key().map(str::as_bytes), bytes))?;
        }
        Ok(events)
    }

    /// Appends those of one partition, which is here; the place behind them, and whether they are new.
    async fn take_events(
        &self,
        of: &TopicPartition,
        events: &[CloudEvent],
        once: Option<&Once>,
        author: &Author,
    ) -> Result<(Option<Token>, bool), Denied> {
        let mut records: Vec<_> = events.iter().map(CloudEvent::record).collect();
        let sent = once.map(|once| once.sent(author, parts(&records)));
        let signature = author.headers();
        records.iter_mut().for_each(|record| record.headers.extend(signature.iter().cloned()));
        let (next, is_new) = match sent {
            Some(sent) => self.mailboxes.append_once(of, records, sent).await?,
            None => (self.mailboxes.append_records(of, records, None).await?, true),
        };
        Ok((Some(next), is_new))
    }

    /// Tells the node that leads the partition.
    async fn tell(
        &self,
        topic: &TopicName,
        events: &[CloudEvent],
        once: Option<&Once>,
        (reach, asker): (Reach, Asker),
    ) -> Result<(Option<Token>, bool), Problem> {
        let unavailable = |text: String| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).with("retry-after", 1)
        };
        let at = format!("the node at {}:{}", reach.host, reach.port);
        let events = Value::from(events.iter().map(CloudEvent::to_json).collect::<Vec<_>>());
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/v1/events/{topic}"))
            .header("content-type", "application/cloudevents-batch+json");
        let request = match once {
            Some(once) => request.header("idempotency-key", once.to_header()),
            None => request,
        };
        let request = with_bearer(request, asker.bearer.as_ref())
            .body(Bytes::from(events.to_string()))
            .map_err(|error| unavailable(error.to_string()))?;
        let (head, mut rest) = self.peers.ask(reach, request).await?;
        if head.status() == StatusCode::ACCEPTED {
            let next = head.headers().get("stream-next-offset").and_then(|text| text.to_str().ok());
            return Ok((next.and_then(Token::parse), !head.headers().contains_key(super::REPLAYED)));
        }
        let mut body = Vec::new();
        while let Some(Ok(piece)) = rest.next().await {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        let told: Option<Value> = serde_json::from_slice(&body).ok();
        let detail = told.as_ref().and_then(|told| told.get("detail")?.as_str()).unwrap_or_default();
        let text = format!("{at} has answered {}: {detail}", head.status());
        match head.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(head.status(), "too-large", text)),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Problem::new(head.status(), "idempotency-key-reused", text))
            }
            StatusCode::BAD_REQUEST => Err(Problem::malformed("not-taken", text)),
            _ => Err(unavailable(text)),
        }
    }
}

/// What tells records from others, whichever node they came by.
fn parts(records: &[NewRecord]) -> Vec<Option<&[u8]>> {
    let mut all = Vec::new();
    for NewRecord { key, value, headers } in records {
        all.extend([key.as_deref(), value.as_deref()]);
        all.extend(headers.iter().flat_map(|header| [Some(&header.key[..]), header.value.as_deref()]));
    }
    all
}

/// The answer to OPTIONS, by which a browser asks first, or one who would send events (CloudEvents, HTTP 1.1 Web Hooks, section 4).
fn welcome(request: &Request<Bytes>) -> Response<Bytes> {
    let mut response = cors::preflight();
    let headers = response.headers_mut();
    put(headers, "allow", METHODS);
    if request.headers().contains_key("webhook-request-origin") {
        put(headers, "webhook-allowed-origin", "*");
    }
    response
}
