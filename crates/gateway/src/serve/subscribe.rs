//! `/v1/subscribe`: many streams on one connection, as events that say which stream they are of.
//!
//! GET has the streams in its query, as an `EventSource` must; QUERY (RFC 10008) has them in its body. Nodes ask each other so, too, for
//! the streams that they do not have themselves.

use super::{Answer, Service, asker, problem, put};
use crate::{
    cors,
    mailboxes::{Denied, From},
    many::{Many, Show, Shown, Source},
    positions::{Positions, STREAMS_MAX},
    problem::Problem,
    request::{Query, Subscription, Wish, last_event_id, text, unknown_token},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use mailbox::media_type;
use model::TopicPartition;

const METHODS: &str = "GET, QUERY, OPTIONS";

impl Service {
    pub(super) async fn subscribe(&self, request: &Request<Bytes>) -> Result<Answer, Problem> {
        let query = Query::parse(request.uri().query())?;
        let subscription = match request.method() {
            &Method::OPTIONS => {
                let mut response = cors::preflight();
                put(response.headers_mut(), "allow", METHODS);
                put(response.headers_mut(), "access-control-allow-methods", METHODS);
                return Ok(Answer::Whole(response));
            }
            &Method::GET => Subscription::from_query(&query)?,
            method if method.as_str() == "QUERY" => {
                let told = text(request.headers(), "content-type")?.map(media_type);
                if told.as_deref() != Some("application/json") {
                    let text =
                        "a QUERY says what it asks for in application/json, and its Content-Type says so";
                    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "query-type", text);
                    return Err(problem.with("accept-query", "application/json"));
                }
                Subscription::from_json(request.body())?
            }
            _ => {
                let text = "streams are subscribed to with GET or QUERY";
                let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", text);
                return Err(problem.with("allow", METHODS));
            }
        };
        self.authorise_streams(request, &subscription)?;
        let mut wanted = self.expand(subscription)?;
        let sources: Vec<Source> = wanted.iter().map(|(source, _)| source.clone()).collect();
        let of = Source::hash(&sources);
        // A browser tells where it was cut off, whatever its address says.
        let offset = match last_event_id(request.headers())? {
            Some(id) => Some(id),
            None => query.one("offset")?,
        };
        match offset {
            None => {}
            Some("-1") => wanted.iter_mut().for_each(|(_, from)| *from = From::Begin),
            Some("now") => wanted.iter_mut().for_each(|(_, from)| *from = From::End),
            Some(token) => {
                let read = Positions::decode(token).ok_or_else(|| unknown_token("offset", token))?;
                if read.of != of || read.places.len() != wanted.len() {
                    let text = "the offset is of other streams: say where each of these begins";
                    return Err(Problem::malformed("offset", text));
                }
                wanted.iter_mut().zip(read.places).for_each(|((_, from), place)| *from = From::At(place));
            }
        }
        let show = Show { of: Shown::Numbered, is_one: false, is_plain: true, cursor: None };
        let many = Many::new(self, wanted, (of, asker(request)), show).await?;
        Ok(Answer::Many(many.head(), Box::new(many)))
    }

    /// Whole topics as their partitions.
    fn expand(&self, Subscription(wishes): Subscription) -> Result<Vec<(Source, From)>, Problem> {
        let mut all = Vec::new();
        for (wish, from) in wishes {
            match wish {
                Wish::One(source) => all.push((source, from)),
                Wish::Topic(topic) => {
                    let shape = self.mailboxes.shape(&topic).ok_or_else(|| problem(Denied::UnknownTopic))?;
                    let left = STREAMS_MAX.saturating_sub(all.len());
                    let count = i32::try_from(shape.partitions.min(left + 1)).unwrap_or(i32::MAX);
                    let one = |partition| {
                        (Source::Partition(TopicPartition { topic: topic.clone(), partition }), from)
                    };
                    all.extend((0..count).map(one));
                }
            }
            if all.len() > STREAMS_MAX {
                let text = format!("with all partitions there are more than {STREAMS_MAX} streams");
                return Err(Problem::malformed("streams", text));
            }
        }
        Ok(all)
    }
}
