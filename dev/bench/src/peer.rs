//! A connection on which requests are made field by field, at a fixed version, by Kafka's own schemas.
//!
//! It is for what librdkafka does not do or hides: transactions of the second protocol, members that join, shares. Both
//! contestants get the same bytes. Called by `transactions`, `joins`, `shares`, `compaction` and `groups`.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::compare::message::{Request, read_response};
use conformance::compare::proxy::read_frame;
use conformance::compare::schema::Schemas;
use serde_json::{Value, json};

use crate::contestant::Contestant;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a broker may put a request off.
const PUT_OFF_LIMIT: Duration = Duration::from_secs(60);
/// LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE,
/// NOT_COORDINATOR, CONCURRENT_TRANSACTIONS.
const PUT_OFF: [i64; 6] = [5, 6, 14, 15, 16, 51];

/// The name of an API and the version used.
pub type Api = (&'static str, i16);

/// One connection.
#[derive(Debug)]
pub struct Peer<'a> {
    schemas: &'a Schemas,
    stream: BufReader<TcpStream>,
    correlation: i32,
}

impl<'a> Peer<'a> {
    /// Connects.
    pub fn connect(schemas: &'a Schemas, address: &str) -> Result<Peer<'a>> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Peer { schemas, stream: BufReader::new(stream), correlation: 0 })
    }

    /// The first broker of a contestant.
    pub fn of(schemas: &'a Schemas, contestant: &Contestant) -> Result<Peer<'a>> {
        Peer::connect(schemas, contestant.addresses().into_iter().next().context("there is no broker")?)
    }

    /// A request as bytes, to be sent as often as wanted.
    pub fn frame(&mut self, (api, version): Api, body: &Value) -> Result<Vec<u8>> {
        self.correlation += 1;
        let (key, client) = (self.schemas.key(api)?, Some("bench".to_owned()));
        Request { key, version, correlation: self.correlation, client, body: body.clone() }
            .write(self.schemas)
    }

    /// Sends bytes.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(frame)?)
    }

    /// The next answer, as bytes.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        read_frame(&mut self.stream).context("waiting for an answer")
    }

    /// The next answer, field by field.
    pub fn receive_of(&mut self, (api, version): Api) -> Result<Value> {
        let frame = self.receive()?;
        read_response(self.schemas, self.schemas.key(api)?, version, &frame)
    }

    /// Asks and waits for the answer.
    pub fn call(&mut self, api: Api, body: &Value) -> Result<Value> {
        let frame = self.frame(api, body)?;
        self.send(&frame)?;
        self.receive_of(api)
    }

    /// The same; what is put off is asked again, and an error ends it.
    pub fn insist(&mut self, api: Api, body: &Value) -> Result<Value> {
        let started = Instant::now();
        loop {
            let answer = self.call(api, body)?;
            match first_error(&answer) {
                None => return Ok(answer),
                Some(code) if PUT_OFF.contains(&code) && started.elapsed() < PUT_OFF_LIMIT => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Some(code) => bail!("{api:?} {body}: error code {code} in {answer}"),
            }
        }
    }

    /// Waits until there is a coordinator of a group, which the first question for one makes.
    pub fn find_coordinator(&mut self, group: &str) -> Result<()> {
        self.insist(("FindCoordinator", 4), &json!({"KeyType": 0, "CoordinatorKeys": [group]}))?;
        self.insist(("DescribeGroups", 5), &json!({"Groups": [group]})).map(drop)
    }

    /// Sets configurations of a resource: 2 is a topic, 4 a broker, 32 a group.
    pub fn configure(&mut self, kind: i8, name: &str, configs: &[(&str, &str)]) -> Result<()> {
        let configs: Vec<Value> = configs
            .iter()
            .map(|(name, value)| json!({"Name": name, "ConfigOperation": 0, "Value": value}))
            .collect();
        let resource = json!({"ResourceType": kind, "ResourceName": name, "Configs": configs});
        self.insist(("IncrementalAlterConfigs", 1), &json!({"Resources": [resource]})).map(drop)
    }

    /// The id of a topic.
    pub fn topic_id(&mut self, topic: &str) -> Result<Value> {
        let answer = self.insist(("Metadata", 12), &json!({"Topics": [{"Name": topic}]}))?;
        let id = answer.pointer("/Topics/0/TopicId").cloned();
        id.with_context(|| format!("no id in {answer}"))
    }
}

/// The first error code that an answer carries.
pub fn first_error(answer: &Value) -> Option<i64> {
    match answer {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match value.as_i64() {
            Some(code) if name.ends_with("ErrorCode") && code != 0 => Some(code),
            _ => first_error(value),
        }),
        Value::Array(all) => all.iter().find_map(first_error),
        _ => None,
    }
}

/// A number of an answer.
pub fn number(answer: &Value, name: &str) -> Result<i64> {
    answer.get(name).and_then(Value::as_i64).with_context(|| format!("no number {name} in {answer}"))
}

/// A text of an answer.
pub fn text(answer: &Value, name: &str) -> Result<String> {
    let text = answer.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no text {name} in {answer}"))?.to_owned())
}

/// Times, and what share of them was not longer.
#[derive(Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// One more, of a moment until now.
    pub fn add_since(&mut self, started: Instant) {
        self.0.push(started.elapsed().as_secs_f64() * 1e3);
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    /// The milliseconds within which this share of them ended.
    pub fn ms(&mut self, share: f64) -> Result<f64> {
        self.0.sort_by(f64::total_cmp);
        let at = (self.0.len() as f64 * share) as usize;
        ensure!(!self.0.is_empty(), "nothing was timed");
        Ok(self.0.get(at.min(self.0.len() - 1)).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_wherever_it_stands() {
        assert_eq!(first_error(&json!({"ErrorCode": 0, "Topics": [{"PartitionErrorCode": 7}]})), Some(7));
        assert_eq!(first_error(&json!({"ErrorCode": 0, "Count": 7})), None);
    }

    #[test]
    fn the_share_of_times_is_taken_from_the_sorted() {
        let mut times = Times(vec![3.0, 1.0, 2.0, 4.0]);
        assert_eq!((times.ms(0.5).unwrap(), times.ms(0.99).unwrap()), (3.0, 4.0));
        assert!(Times::default().ms(0.5).is_err());
    }
}
