//! Requests made by hand, `compare/requests.json`, and made from the schemas alone: each API at each of its versions.
//!
//! It only asks; the proxy keeps what was said. Called by `compare`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::judge::shown;
use super::message::{Request, read_response};
use super::proxy::read_frame;
use super::replay::{BY_HAND, is_put_off};
use super::schema::{Field, Kind, Schemas};
use super::settling::Settling;
use crate::raw;

/// How long the broker may take over an answer. Apache Kafka never answers some requests that ask for nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// How long what is put off is asked again.
const PUT_OFF_LIMIT: Duration = Duration::from_millis(600);

/// Until the coordinators' topics are there.
const COORDINATORS_LIMIT: Duration = Duration::from_secs(20);

const API_VERSIONS: i16 = 18;
const FIND_COORDINATOR: i16 = 10;
/// Apache Kafka never answers AddPartitionsToTxn from version 4 on if it names no transaction.
const NEVER_ANSWERED: (i16, bool) = (24, true);
/// The value of its record.
const BATCH: &[u8] = b"by hand";

/// A connection on which requests are made by hand.
#[derive(Debug)]
pub struct Sweep<'a> {
    schemas: &'a Schemas,
    address: String,
    settling: Settling<'a>,
    stream: Option<TcpStream>,
    correlation: i32,
    advertised: BTreeMap<i16, (i16, i16)>,
    unanswered: Vec<String>,
}

/// Requests that belong together, sent once for each version that any of them has.
#[derive(Debug)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    steps: Vec<Value>,
}

/// The scenarios of `compare/requests.json`.
pub fn scenarios() -> Result<Vec<Scenario>> {
    let all: Value = serde_json::from_str(include_str!("../../compare/requests.json"))?;
    let scenario = |one: &Value| {
        let name = one.get("name").and_then(Value::as_str).context("a scenario without a name")?.to_owned();
        let steps =
            one.get("steps").and_then(Value::as_array).with_context(|| format!("{name}: no steps"))?;
        Ok(Scenario { name, steps: steps.clone() })
    };
    all.as_array().context("a list of scenarios")?.iter().map(scenario).collect()
}

impl<'a> Sweep<'a> {
    /// Asks what is advertised at `address`; the same broker listens at `beside`, where nothing is recorded.
    pub fn start(schemas: &'a Schemas, address: &str, beside: &str) -> Result<Sweep<'a>> {
        let (settling, address) = (Settling::new(schemas, beside), address.to_owned());
        let (advertised, unanswered) = (BTreeMap::new(), Vec::new());
        let mut sweep =
            Sweep { schemas, address, settling, stream: None, correlation: 0, advertised, unanswered };
        let answer = sweep.ask(API_VERSIONS, 0, &json!({}))?.context("ApiVersions is not answered")?;
        for api in answer.get("ApiKeys").and_then(Value::as_array).context("no APIs")? {
            let number = |name: &str| api.get(name).and_then(Value::as_i64).context("no number");
            let key = i16::try_from(number("ApiKey")?)?;
            let existing = schemas.request(key).with_context(|| format!("API {key} is not known"))?.versions;
            let from = i16::try_from(number("MinVersion")?)?.max(existing.first);
            sweep.advertised.insert(key, (from, i16::try_from(number("MaxVersion")?)?));
        }
        Ok(sweep)
    }

    /// What was not answered since this was asked last.
    pub fn unanswered(&mut self) -> String {
        let all = std::mem::take(&mut self.unanswered);
        let each = all.iter().map(|one| format!("\n        not answered: {}", shown(one)));
        each.collect()
    }

    /// Leaves out what another broker does not advertise.
    pub fn keep_common(&mut self, other: &Sweep<'_>) {
        self.advertised.retain(|key, (from, to)| {
            let Some((other_from, other_to)) = other.advertised.get(key) else { return false };
            (*from, *to) = ((*from).max(*other_from), (*to).min(*other_to));
            from <= to
        });
    }

    /// Has the topics of all coordinators made, which other scenarios would have done before.
    pub fn await_coordinators(&mut self) -> Result<()> {
        for kind in 0..=2 {
            let body = json!({"KeyType": kind, "CoordinatorKeys": ["g:AAAAAAAAAAAAAAAAAAAAAQ:0"]});
            let started = Instant::now();
            while self.ask(FIND_COORDINATOR, 6, &body)?.as_ref().is_none_or(is_put_off) {
                ensure!(started.elapsed() < COORDINATORS_LIMIT, "no coordinator of kind {kind}");
            }
        }
        Ok(())
    }

    /// Every API at every version: with nothing in it, with nulls, and with one element in each list.
    pub fn every_api(&mut self) -> Result<()> {
        for (key, (from, to)) in self.advertised.clone() {
            let message = self.schemas.request(key).context("an API without a request")?;
            for version in from..=to {
                for body in [json!({}), nulls(&message.fields, version), elements(&message.fields, version)] {
                    if (key, version >= 4) == NEVER_ANSWERED && body.get("Transactions").is_none() {
                        continue;
                    }
                    self.ask(key, version, &body).with_context(|| format!("{} {version}", message.api))?;
                }
            }
        }
        Ok(())
    }

    /// Sends a scenario once for each version; beyond its highest, a request stays at that.
    pub fn play(&mut self, scenario: &Scenario) -> Result<()> {
        let mut turns = 0;
        let steps = scenario.steps.iter().map(|step| {
            let api = step.get("api").and_then(Value::as_str).context("a step without an api")?;
            let key = self.schemas.key(api)?;
            let (from, to) =
                *self.advertised.get(&key).with_context(|| format!("{api} is not advertised"))?;
            if let Some(at) = step.get("at").and_then(Value::as_i64) {
                let at = i16::try_from(at)?;
                return Ok((key, (at, at), step));
            }
            turns = turns.max(to - from);
            Ok((key, (from, to), step))
        });
        let steps = steps.collect::<Result<Vec<_>>>()?;
        for turn in 0..=turns {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            let mut names = BTreeMap::from([
                ("n".to_owned(), Value::from(turn.to_string())),
                // Older batches before markers, which are of now, would make a log roll; Kafka reads from one segment at a time.
                ("now".to_owned(), Value::from(u64::try_from(now)?)),
            ]);
            for (key, (from, to), step) in &steps {
                let mut body = step.get("body").cloned().unwrap_or_else(|| json!({}));
                fill(&mut body, &names)?;
                let answer =
                    self.ask(*key, (from + turn).min(*to), &body).with_context(|| format!("{step}"))?;
                for (name, path) in step.get("save").and_then(Value::as_object).into_iter().flatten() {
                    let found = answer.as_ref().and_then(|answer| answer.pointer(path.as_str()?));
                    let missing = || format!("{}: nothing at {path} of {answer:?}", scenario.name);
                    names.insert(name.clone(), found.with_context(missing)?.clone());
                }
            }
        }
        Ok(())
    }

    /// The answer, or `None` if the broker closed the connection or said nothing. What is put off is asked again.
    pub fn ask(&mut self, key: i16, version: i16, body: &Value) -> Result<Option<Value>> {
        let started = Instant::now();
        loop {
            let answer = self.ask_once(key, version, body)?;
            if !answer.as_ref().is_some_and(is_put_off) || started.elapsed() > PUT_OFF_LIMIT {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask_once(&mut self, key: i16, version: i16, body: &Value) -> Result<Option<Value>> {
        self.correlation += 1;
        let client = Some(BY_HAND.to_owned());
        let request = Request { key, version, correlation: self.correlation, client, body: body.clone() };
        let frame = request.write(self.schemas)?;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(&frame)?;
        if key == 0 && body.get("Acks").and_then(Value::as_i64).unwrap_or_default() == 0 {
            // Nobody answers this one: the next request shows whether the connection lives.
            self.stream = None;
            return Ok(None);
        }
        match read_frame(stream) {
            Ok(frame) => {
                self.settling.after(&request)?;
                Ok(Some(read_response(self.schemas, key, version, &frame)?))
            }
            Err(error) => {
                let api = self.schemas.request(key).map_or("", |message| message.api.as_str());
                self.unanswered.push(format!("{api} {version}: {error:#}: {body}"));
                self.stream = None;
                Ok(None)
            }
        }
    }
}

/// Puts `$name` in texts, and the value itself where a text is nothing else; `$batch` is a batch of one record.
fn fill(value: &mut Value, names: &BTreeMap<String, Value>) -> Result<()> {
    match value {
        Value::Object(fields) => fields.values_mut().try_for_each(|value| fill(value, names)),
        Value::Array(all) => all.iter_mut().try_for_each(|value| fill(value, names)),
        Value::String(text) if text == "$batch" => {
            *value = super::batches::read(&raw::batch(BATCH, true));
            Ok(())
        }
        Value::String(text) => {
            if let Some(whole) = text.strip_prefix('$').and_then(|name| names.get(name)) {
                *value = whole.clone();
                return Ok(());
            }
            for (name, found) in names {
                if let Some(found) = found.as_str() {
                    *text = text.replace(&format!("${name}"), found);
                }
            }
            ensure!(!text.contains('$'), "nobody has saved what {text:?} names");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Null in each field that may be null.
fn nulls(fields: &[Field], version: i16) -> Value {
    let nullable = fields.iter().filter(|field| field.nullable.contains(version));
    Value::Object(nullable.map(|field| (field.name.clone(), Value::Null)).collect())
}

/// One element in each list, and the same in that.
fn elements(fields: &[Field], version: i16) -> Value {
    let mut all = Map::new();
    for field in fields.iter().filter(|field| field.versions.contains(version)) {
        match &field.kind {
            Kind::List(element) => {
                let one = match &**element {
                    Kind::Struct(inner) => elements(inner, version),
                    Kind::Text | Kind::Bytes => Value::from(""),
                    Kind::Uuid => Value::from(stdx::Uuid::ZERO.to_string()),
                    _ => Value::from(0),
                };
                all.insert(field.name.clone(), json!([one]));
            }
            Kind::Struct(inner) => drop(all.insert(field.name.clone(), elements(inner, version))),
            _ => {}
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_as_text_and_as_values() {
        let names = BTreeMap::from([("n".to_owned(), json!("4")), ("id".to_owned(), json!(7))]);
        let mut body = json!({"Name": "t-$n", "ProducerId": "$id", "Records": "$batch"});
        fill(&mut body, &names).unwrap();
        assert_eq!((&body["Name"], &body["ProducerId"]), (&json!("t-4"), &json!(7)));
        assert!(body["Records"][0].get("Data").is_some(), "{body}");
        assert!(fill(&mut json!(["$unknown"]), &names).is_err());
    }

    #[test]
    fn the_requests_made_by_hand_can_be_read() {
        assert!(scenarios().unwrap().len() > 5);
    }
}
