//! One grant of a token: who may do what with which keys of which topics, how often, and how large.
//!
//! `{"do": ["append"], "topic": "gps", "key": "${sub}", "rate": "5/s", "max_bytes": 2048}`

use crate::rates::Rate;
use model::TopicName;
use serde_json::{Map, Value};

/// What may be done with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET and HEAD.
    Read,
    /// POST.
    Append,
    /// PUT, with the first records.
    Create,
    /// DELETE.
    Delete,
}

/// What is allowed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// How often, and under which name that is counted.
    pub rate: Option<(Rate, Vec<u8>)>,
    /// How large a body may be.
    pub bytes_max: Option<usize>,
}

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    verbs: Vec<Verb>,
    topic: Pattern,
    key: Pattern,
    rate: Option<Rate>,
    bytes_max: Option<usize>,
    /// Under which its uses are counted.
    name: Vec<u8>,
}

/// What a text must be, or begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(Vec<u8>),
    /// Anything that begins so.
    From(Vec<u8>),
    /// It names a claim that the token does not have.
    Nothing,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Read, Self::Append, Self::Create, Self::Delete];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Append => "append",
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

impl Grant {
    /// Reads one; `claims` are those of its token.
    pub(super) fn read(listed: &Value, claims: &Map<String, Value>) -> Result<Self, String> {
        let fields = listed.as_object().ok_or("is no object")?;
        let known = ["do", "topic", "key", "rate", "max_bytes"];
        if let Some(other) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("has {other:?}, and may have {} only", known.join(", ")));
        }
        let verb = |name: &Value| Verb::ALL.into_iter().find(|verb| *name == verb.name());
        let verbs = fields.get("do").and_then(Value::as_array).filter(|verbs| !verbs.is_empty());
        let verbs = verbs.and_then(|verbs| verbs.iter().map(verb).collect::<Option<Vec<_>>>());
        let verbs = verbs.ok_or("has as do an array of read, append, create and delete")?;
        let pattern = |name: &str| {
            let text = fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| format!("names a {name}, or * for any"))?;
            Pattern::read(text, claims).map_err(|why| format!("has a {name} {why}"))
        };
        let rate = match fields.get("rate") {
            None => None,
            Some(text) => {
                let read = text.as_str().and_then(rate);
                Some(read.ok_or("has as rate a text such as 5/s, 100/m or 1000/h")?)
            }
        };
        let bytes_max = match fields.get("max_bytes") {
            None => None,
            Some(number) => {
                let read = number.as_u64().and_then(|number| usize::try_from(number).ok());
                Some(read.ok_or("has as max_bytes a whole number")?)
            }
        };
        let (topic, key) = (pattern("topic")?, pattern("key")?);
        Ok(Self { verbs, topic, key, rate, bytes_max, name: Vec::new() })
    }

    /// All tokens of one subject count together where they allow the same.
    pub(super) fn counts_for(&mut self, issuer: Option<&str>, subject: Option<&str>) {
        let mut name = Vec::new();
        for part in [issuer, subject] {
            // With their lengths, so that no two names run together.
            let part = part.unwrap_or_default();
            name.extend_from_slice(&(part.len() as u64).to_be_bytes());
            name.extend_from_slice(part.as_bytes());
        }
        name.extend_from_slice(format!("{:?} {:?} {:?}", self.verbs, self.topic, self.key).as_bytes());
        self.name = name;
    }

    pub(super) fn fits(&self, verb: Verb, topic: &TopicName, key: Option<&[u8]>) -> bool {
        let has_key = match key {
            Some(key) => self.key.fits(key),
            // All of a topic are all of its keys.
            None => self.key == Pattern::From(Vec::new()),
        };
        has_key && self.verbs.contains(&verb) && self.topic.fits(topic.to_string().as_bytes())
    }

    /// Whether it is of all keys that begin so.
    pub(super) fn fits_keys(&self, verb: Verb, topic: &TopicName, prefix: &[u8]) -> bool {
        matches!(&self.key, Pattern::From(begin) if prefix.starts_with(begin))
            && self.verbs.contains(&verb)
            && self.topic.fits(topic.to_string().as_bytes())
    }

    /// Whether it is of the topic at all.
    pub(super) fn fits_some_key(&self, verb: Verb, topic: &TopicName) -> bool {
        self.key != Pattern::Nothing
            && self.verbs.contains(&verb)
            && self.topic.fits(topic.to_string().as_bytes())
    }

    pub(super) fn allowed(&self) -> Allowed {
        Allowed { rate: self.rate.map(|rate| (rate, self.name.clone())), bytes_max: self.bytes_max }
    }
}

impl Pattern {
    /// `${claim}` is the text that the token has there, whatever that is; a `*` at the end of what was written is any rest.
    fn read(text: &str, claims: &Map<String, Value>) -> Result<Self, &'static str> {
        let (mut rest, is_open) = match text.strip_suffix('*') {
            Some(begin) => (begin, true),
            None => (text, false),
        };
        let mut out = Vec::new();
        let mut is_known = true;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("with ${ and no } behind it")?;
            let said = claims.get(name).and_then(Value::as_str).filter(|said| !said.is_empty());
            is_known &= said.is_some();
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(said.unwrap_or_default().as_bytes());
            rest = after;
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(match is_open {
            _ if !is_known => Self::Nothing,
            true => Self::From(out),
            false => Self::Exactly(out),
        })
    }

    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Exactly(only) => only == text,
            Self::From(begin) => text.starts_with(begin),
            Self::Nothing => false,
        }
    }
}

fn rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|count| *count > 0 && is_number)?;
    Some(Rate { count, seconds })
}
