//! Kafka's schemas of requests and responses, read from its own jar when the program runs.
//! It does not use the generated code of `wire`: a mistake there must not hide here. Called by `message` and `compare`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::cache;
use crate::program::run;
use crate::server::kafka_class_path;

const UNPACK_LIMIT: Duration = Duration::from_secs(120);

/// All requests and responses by the number of their API.
#[derive(Debug, Default)]
pub struct Schemas {
    requests: BTreeMap<i16, Message>,
    responses: BTreeMap<i16, Message>,
}

/// A request or a response.
#[derive(Debug)]
pub struct Message {
    /// Kafka's name of the API.
    pub api: String,
    /// The versions that exist.
    pub versions: Versions,
    /// The versions with compact lengths and tagged fields (KIP-482).
    pub flexible: Versions,
    /// In the order of the wire.
    pub fields: Vec<Field>,
}

/// A field of a message or of a struct in it.
#[derive(Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// The versions that have it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// The versions in which it is a tagged field, and its tag.
    pub tagged: Versions,
    /// See `tagged`.
    pub tag: u32,
    /// What stands for it where nothing is said.
    pub default: Value,
}

/// The type of a field.
#[derive(Debug)]
pub enum Kind {
    /// One byte, true unless it is zero.
    Bool,
    /// A signed number of so many bytes.
    Int(usize),
    /// An unsigned number of so many bytes.
    Unsigned(usize),
    /// A number of 64 bits with a binary point.
    Float,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// Batches of records.
    Records,
    /// 16 bytes.
    Uuid,
    /// Fields.
    Struct(Vec<Field>),
    /// So many of one type.
    List(Box<Kind>),
}

/// A range of versions; empty if the first is above the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub first: i16,
    /// The last.
    pub last: i16,
}

impl Versions {
    const NONE: Versions = Versions { first: 0, last: -1 };

    /// Whether `version` is in it.
    pub fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    fn parse(text: &str) -> Result<Versions> {
        let number = |text: &str| text.parse().with_context(|| format!("versions {text:?}"));
        Ok(match (text.split_once('-'), text.strip_suffix('+')) {
            _ if text == "none" => Versions::NONE,
            (Some((first, last)), _) => Versions { first: number(first)?, last: number(last)? },
            (None, Some(first)) => Versions { first: number(first)?, last: i16::MAX },
            (None, None) => Versions { first: number(text)?, last: number(text)? },
        })
    }

    fn of(field: &Value, name: &str) -> Result<Option<Versions>> {
        field.get(name).and_then(Value::as_str).map(Versions::parse).transpose()
    }
}

impl Schemas {
    /// Those of Apache Kafka 4.4.0.
    pub fn load() -> Result<Schemas> {
        let class_path = kafka_class_path("server")?;
        let jar = class_path.split(':').find(|path| path.contains("kafka-clients"));
        let jar = Path::new(jar.context("kafka-clients is not in the class path")?).to_owned();
        let dir = cache::installed("kafka-schemas", std::slice::from_ref(&jar), |dir| {
            let mut unpack = Command::new("jar");
            unpack.arg("xf").arg(&jar).arg("common/message").current_dir(dir);
            run("jar", unpack, UNPACK_LIMIT).map(drop)
        })?;
        let mut schemas = Schemas::default();
        for entry in fs::read_dir(dir.join("common/message"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            schemas.add(&fs::read_to_string(&path)?).with_context(|| format!("{}", path.display()))?;
        }
        Ok(schemas)
    }

    /// The request of an API.
    pub fn request(&self, key: i16) -> Option<&Message> {
        self.requests.get(&key)
    }

    /// The response of an API.
    pub fn response(&self, key: i16) -> Option<&Message> {
        self.responses.get(&key)
    }

    /// The number of the API with this name.
    pub fn key(&self, api: &str) -> Result<i16> {
        let found = self.requests.iter().find(|(_, message)| message.api == api);
        Ok(*found.with_context(|| format!("there is no API {api}"))?.0)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let json: Value = serde_json::from_str(&lines.join("\n"))?;
        // An API that was taken away has no fields.
        if json.get("fields").is_none() {
            return Ok(());
        }
        let (Some(key), Some(name)) = (json.get("apiKey").and_then(Value::as_i64), text_of(&json, "name"))
        else {
            return Ok(());
        };
        let mut common = BTreeMap::new();
        for shared in json.get("commonStructs").and_then(Value::as_array).into_iter().flatten() {
            common.insert(text_of(shared, "name").context("a struct without a name")?, shared);
        }
        let is_request = name.ends_with("Request");
        let message = Message {
            api: name.trim_end_matches("Request").trim_end_matches("Response").to_owned(),
            versions: Versions::of(&json, "validVersions")?.context("no versions")?,
            flexible: Versions::of(&json, "flexibleVersions")?.unwrap_or(Versions::NONE),
            fields: fields(&json, &common)?,
        };
        let all = if is_request { &mut self.requests } else { &mut self.responses };
        all.insert(i16::try_from(key)?, message);
        Ok(())
    }
}

type Common<'a> = BTreeMap<&'a str, &'a Value>;

fn text_of<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    json.get(name).and_then(Value::as_str)
}

fn fields(json: &Value, common: &Common<'_>) -> Result<Vec<Field>> {
    let all = json.get("fields").and_then(Value::as_array).context("no fields")?;
    all.iter().map(|one| field(one, common)).collect()
}

fn field(json: &Value, common: &Common<'_>) -> Result<Field> {
    let name = text_of(json, "name").context("a field without a name")?.to_owned();
    let tagged = Versions::of(json, "taggedVersions")?;
    let kind = kind(text_of(json, "type").context("a field without a type")?, json, common)?;
    let versions =
        Versions::of(json, "versions")?.or(tagged).with_context(|| format!("versions of {name}"))?;
    Ok(Field {
        default: default(json.get("default"), &kind)?,
        nullable: Versions::of(json, "nullableVersions")?.unwrap_or(Versions::NONE),
        tag: json.get("tag").and_then(Value::as_u64).unwrap_or_default().try_into()?,
        tagged: tagged.unwrap_or(Versions::NONE),
        name,
        kind,
        versions,
    })
}

fn kind(text: &str, json: &Value, common: &Common<'_>) -> Result<Kind> {
    if let Some(element) = text.strip_prefix("[]") {
        return Ok(Kind::List(Box::new(kind(element, json, common)?)));
    }
    Ok(match text {
        "bool" => Kind::Bool,
        "int8" => Kind::Int(1),
        "int16" => Kind::Int(2),
        "int32" => Kind::Int(4),
        "int64" => Kind::Int(8),
        "uint16" => Kind::Unsigned(2),
        "uint32" => Kind::Unsigned(4),
        "float64" => Kind::Float,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        "uuid" => Kind::Uuid,
        name => match common.get(name) {
            Some(shared) => Kind::Struct(fields(shared, common)?),
            None => Kind::Struct(fields(json, common).with_context(|| format!("type {name}"))?),
        },
    })
}

fn default(said: Option<&Value>, kind: &Kind) -> Result<Value> {
    let text = match said {
        Some(Value::String(text)) if text == "null" => return Ok(Value::Null),
        Some(Value::String(text)) => text.as_str(),
        Some(other) => return Ok(other.clone()),
        None => "",
    };
    Ok(match kind {
        Kind::Bool => Value::Bool(text == "true"),
        Kind::Int(_) | Kind::Unsigned(_) if text.is_empty() => Value::from(0),
        Kind::Int(_) | Kind::Unsigned(_) => match text.strip_prefix("0x") {
            Some(digits) => Value::from(i64::from_str_radix(digits, 16)?),
            None => Value::from(text.parse::<i64>()?),
        },
        Kind::Float if text.is_empty() => Value::from(0.0),
        Kind::Float => bail!("a default {text:?} for a float"),
        Kind::Text | Kind::Bytes => Value::from(text),
        Kind::Records => Value::Null,
        Kind::Uuid => Value::from(stdx::Uuid([0; 16]).to_string()),
        Kind::Struct(_) => Value::Object(Map::new()),
        Kind::List(_) => Value::Array(Vec::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_read_with_its_comments_and_shared_structs() {
        let text = r#"
            // A licence.
            { "apiKey": 9, "type": "request", "name": "ThingRequest", "validVersions": "1-3", "flexibleVersions": "2+",
              "fields": [
                // Why.
                { "name": "Parts", "type": "[]Part", "versions": "0+", "nullableVersions": "2" },
                { "name": "At", "type": "int64", "versions": "3+", "default": "0x10", "taggedVersions": "3+", "tag": 4 }
              ],
              "commonStructs": [ { "name": "Part", "versions": "0+", "fields": [
                { "name": "Name", "type": "string", "versions": "0+" } ] } ] }"#;
        let mut schemas = Schemas::default();
        schemas.add(text).unwrap();
        let thing = schemas.request(schemas.key("Thing").unwrap()).unwrap();
        assert_eq!(thing.versions, Versions { first: 1, last: 3 });
        assert!(!thing.flexible.contains(1) && thing.flexible.contains(3));
        assert_eq!((thing.fields[1].tag, &thing.fields[1].default), (4, &Value::from(16)));
        assert!(thing.fields[0].nullable.contains(2) && !thing.fields[0].nullable.contains(3));
        let Kind::List(part) = &thing.fields[0].kind else { panic!("no list") };
        assert!(matches!(&**part, Kind::Struct(fields) if fields.len() == 1));
    }
}
