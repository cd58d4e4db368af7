//! Sends recorded requests to another broker, in the order and with the causes they had, and lets its answers be judged.
//!
//! An answer is awaited where the first broker's came, so what followed it follows here. What the first broker put off
//! (its coordinator was not there yet) is left out on both sides. Called by `compare`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::judge::{Asked, Judge, shown};
use super::message::{Request, head, read_response};
use super::proxy::{Event, read_frame};
use super::schema::Schemas;
use super::settling::Settling;

/// How long an answer may take that the first broker gave.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long the broker may put a request off.
const PUT_OFF_LIMIT: Duration = Duration::from_secs(10);

/// LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE,
/// NOT_COORDINATOR, CONCURRENT_TRANSACTIONS, UNSTABLE_OFFSET_COMMIT: what a client asks again for, because the broker is still at work. How often
/// depends on the moment.
const PUT_OFF: [i64; 7] = [5, 6, 14, 15, 16, 51, 88];

/// UNKNOWN_TOPIC_OR_PARTITION, which a client that has just had a topic made asks Metadata again for.
const UNKNOWN_TOPIC: i64 = 3;
const METADATA: i16 = 3;
/// What requests made by hand say of their client.
pub const BY_HAND: &str = "by-hand";

/// One broker to which requests are sent again.
#[derive(Debug)]
pub struct Replay<'a> {
    schemas: &'a Schemas,
    address: &'a str,
    settling: Settling<'a>,
    links: BTreeMap<usize, TcpStream>,
    session: String,
    requests: u64,
}

/// A recorded request, and what became of it.
struct Exchange {
    request: Request,
    answer: Option<Value>,
    is_refused: bool,
}

impl<'a> Replay<'a> {
    /// Nothing is sent yet.
    pub fn new(schemas: &'a Schemas, address: &'a str) -> Replay<'a> {
        let settling = Settling::new(schemas, address);
        Replay { schemas, address, settling, links: BTreeMap::new(), session: String::new(), requests: 0 }
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Sends everything and judges every answer.
    pub fn run(&mut self, events: &[Event], judge: &mut Judge) -> Result<()> {
        let mut open: BTreeMap<(usize, i32), Exchange> = exchanges(self.schemas, events)?;
        let mut turns: BTreeMap<usize, Vec<(usize, i32)>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            match event {
                Event::Session(name) => name.clone_into(&mut self.session),
                Event::Sent(link, frame) => {
                    let correlation = head(frame)?.2;
                    if let Some(exchange) = open.get(&(place, correlation)) {
                        turns.entry(*link).or_default().push((place, correlation));
                        self.send(*link, &exchange.request, judge).ok();
                    }
                }
                Event::Answered(link, frame) => {
                    let correlation = i32::from_be_bytes(*frame.first_chunk().context("a short frame")?);
                    let waiting = turns.entry(*link).or_default();
                    let Some(at) = waiting.iter().position(|(_, of)| *of == correlation) else {
                        continue;
                    };
                    if let Some(exchange) = open.remove(&waiting.remove(at)) {
                        self.answer(*link, &exchange, judge)?;
                    }
                }
                Event::Refused(link) => {
                    let refused = turns.remove(link).and_then(|all| all.first().copied());
                    if let Some(exchange) = refused.and_then(|one| open.remove(&one)) {
                        self.answer(*link, &exchange, judge)?;
                    }
                    self.close(*link);
                }
                Event::Left(link) => {
                    turns.remove(link);
                    self.close(*link);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, link: usize, recorded: &Request, judge: &Judge) -> Result<()> {
        let mut request = recorded.clone();
        judge.translate("", &mut request.body);
        let frame = request.write(self.schemas)?;
        let stream = match self.links.entry(link) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                new.insert(stream)
            }
        };
        self.requests += 1;
        Ok(stream.write_all(&frame)?)
    }

    /// Awaits the answer to a request that was sent, and has it judged.
    fn answer(&mut self, link: usize, exchange: &Exchange, judge: &mut Judge) -> Result<()> {
        let request = &exchange.request;
        let api = self.schemas.request(request.key).map_or("", |message| message.api.as_str());
        let words = format!("in {}: {}", self.session, shown(&request.body.to_string()));
        let asked = Asked { api, version: request.version, words: &words };
        let started = Instant::now();
        let ours = loop {
            let ours = self.receive(link, request);
            let is_put_off = ours.as_ref().is_ok_and(is_put_off);
            if !is_put_off || started.elapsed() > PUT_OFF_LIMIT {
                break ours;
            }
            std::thread::sleep(Duration::from_millis(20));
            self.send(link, request, judge)?;
        };
        self.settling.after(request)?;
        match (&exchange.answer, ours) {
            (Some(kafka), Ok(ours)) => judge.compare(&asked, kafka, &ours),
            (Some(kafka), Err(error)) => {
                judge.note(&asked, "answer", &shown(&kafka.to_string()), &format!("{error:#}"));
                self.close(link);
            }
            (None, Ok(ours)) if exchange.is_refused => {
                judge.note(&asked, "answer", "closes the connection", &shown(&ours.to_string()));
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn receive(&mut self, link: usize, request: &Request) -> Result<Value> {
        let stream = self.links.get_mut(&link).context("it takes no connection")?;
        let frame = read_frame(stream).context("closes the connection, or is silent")?;
        let correlation = i32::from_be_bytes(*frame.first_chunk().context("a short frame")?);
        if correlation != request.correlation {
            bail!("answers {correlation} where {} was asked", request.correlation);
        }
        read_answer(self.schemas, request, &frame)
    }

    fn close(&mut self, link: usize) {
        if let Some(stream) = self.links.remove(&link) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The answer to ApiVersions of a version that is not known comes at version 0.
fn read_answer(schemas: &Schemas, request: &Request, frame: &[u8]) -> Result<Value> {
    let read = read_response(schemas, request.key, request.version, frame);
    if request.key == 18 && read.is_err() { read_response(schemas, 18, 0, frame) } else { read }
}

/// The requests by their place and correlation id, with what became of them; without those that were put off.
fn exchanges(schemas: &Schemas, events: &[Event]) -> Result<BTreeMap<(usize, i32), Exchange>> {
    let (mut all, mut waiting) = (BTreeMap::new(), BTreeMap::<usize, Vec<(usize, i32)>>::new());
    let mut left = BTreeSet::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Session(_) => {}
            Event::Sent(link, frame) => {
                let request = Request::read(schemas, frame)?;
                let name = (place, request.correlation);
                // What is read must be written the same, or something else than the recorded is sent again.
                if request.write(schemas)?.get(4..) != Some(frame.as_slice()) {
                    bail!("{request:?} is not written as it was read");
                }
                waiting.entry(*link).or_default().push(name);
                all.insert(name, Exchange { request, answer: None, is_refused: false });
            }
            // On its way when its client left.
            Event::Answered(link, _) if left.contains(link) => {}
            Event::Answered(link, frame) => {
                let correlation = i32::from_be_bytes(*frame.first_chunk().context("a short frame")?);
                let waiting = waiting.entry(*link).or_default();
                let at = waiting.iter().position(|(_, of)| *of == correlation).context("nobody asked")?;
                let name = waiting.remove(at);
                if let Some(exchange) = all.get_mut(&name) {
                    let answer = read_answer(schemas, &exchange.request, frame)?;
                    if is_put_off(&answer) || is_early(&exchange.request, &answer) {
                        all.remove(&name);
                    } else {
                        exchange.answer = Some(answer);
                    }
                }
            }
            Event::Refused(link) => {
                for name in waiting.remove(link).unwrap_or_default() {
                    if let Some(exchange) = all.get_mut(&name) {
                        exchange.is_refused = true;
                    }
                }
            }
            Event::Left(link) => {
                waiting.remove(link);
                left.insert(*link);
            }
        }
    }
    Ok(all)
}

/// Whether a client heard nothing of a topic that Kafka has made and does not know everywhere yet.
fn is_early(request: &Request, answer: &Value) -> bool {
    let topics = answer.get("Topics").and_then(Value::as_array).into_iter().flatten();
    let mut codes = topics.map(|topic| topic.get("ErrorCode").and_then(Value::as_i64));
    request.key == METADATA
        && request.client.as_deref() != Some(BY_HAND)
        && codes.any(|code| code == Some(UNKNOWN_TOPIC))
}

/// Whether an answer only says that it is too early.
pub fn is_put_off(answer: &Value) -> bool {
    match answer {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let is_code =
                name.ends_with("ErrorCode") && value.as_i64().is_some_and(|code| PUT_OFF.contains(&code));
            is_code || is_put_off(value)
        }),
        Value::Array(all) => all.iter().any(is_put_off),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_to_a_client_that_has_left_is_nobodys() {
        let schemas = Schemas::load().unwrap();
        let request = Request { key: 18, version: 0, correlation: 7, client: None, body: json!({}) };
        let sent = request.write(&schemas).unwrap().split_off(4);
        let answer = || Event::Answered(0, 7_i32.to_be_bytes().to_vec());
        let events = [Event::Sent(0, sent), Event::Left(0), answer()];
        assert_eq!(exchanges(&schemas, &events).unwrap().len(), 1);
        assert!(exchanges(&schemas, &[answer()]).is_err());
    }

    #[test]
    fn only_clients_ask_again_for_a_topic_that_is_not_there() {
        let request = |client: &str| Request {
            key: METADATA,
            version: 12,
            correlation: 0,
            client: Some(client.to_owned()),
            body: json!({}),
        };
        let unknown = json!({"Topics": [{"ErrorCode": 0}, {"ErrorCode": 3}]});
        assert!(is_early(&request("java"), &unknown) && !is_early(&request(BY_HAND), &unknown));
        assert!(!is_early(&request("java"), &json!({"Topics": [{"ErrorCode": 0}]})));
    }

    #[test]
    fn what_is_put_off_is_seen_wherever_it_is_said() {
        assert!(is_put_off(&json!({"Topics": [{"ErrorCode": 5}]})));
        assert!(is_put_off(&json!({"Partitions": [{"PartitionErrorCode": 51}]})));
        assert!(!is_put_off(&json!({"Topics": [{"ErrorCode": 3, "Count": 5}]})));
    }
}
