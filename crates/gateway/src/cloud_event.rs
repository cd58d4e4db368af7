//! CloudEvents 1.0 (HTTP protocol binding 3.1 to 3.3, JSON format) as records, as the Kafka protocol binding has them in binary mode:
//! attributes are headers `ce_...`, what the data is says the header `content-type`, the value is the data.
//!
//! Nothing here knows partitions. The key is `partitionkey`, else `subject`.

use crate::{base64, problem::Problem, request::is_media_type, topics::NewRecord};
use bytes::Bytes;
use chrono::DateTime;
use http::{HeaderMap, StatusCode};
use mailbox::media_type;
use records::Header;
use serde_json::{Map, Value, value::RawValue};
use std::collections::BTreeMap;

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudEvent {
    /// All but `datacontenttype`, by their names.
    attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    data: Option<Bytes>,
}

/// How many events a batch has at most.
pub(crate) const EVENTS_MAX: usize = 8192;

/// What an event must say.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// Attributes of one event.
const ATTRIBUTES_MAX: usize = 64;

impl CloudEvent {
    /// The events of a request, in whichever of the three modes they are.
    pub(crate) fn from_http(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Self>, Problem> {
        let content_type = crate::request::text(headers, "content-type")?;
        let events = match content_type.map(media_type).as_deref() {
            Some("application/cloudevents+json") => vec![Self::from_json(text(body)?)?],
            Some("application/cloudevents-batch+json") => {
                let all: Vec<&RawValue> = serde_json::from_str(text(body)?)
                    .map_err(|error| malformed(format!("a batch is an array in JSON: {error}")))?;
                if all.len() > EVENTS_MAX {
                    return Err(malformed(format!(
                        "a batch has at most {EVENTS_MAX} events, not {}",
                        all.len()
                    )));
                }
                all.into_iter().map(|one| Self::from_json(one.get())).collect::<Result<_, _>>()?
            }
            Some(other) if other.starts_with("application/cloudevents") => {
                let text = format!("events in {other:?} are not understood; JSON is");
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "event-format", text));
            }
            _ => vec![Self::from_headers(headers, content_type, body)?],
        };
        Ok(events)
    }

    /// In the binary mode.
    fn from_headers(headers: &HeaderMap, content_type: Option<&str>, body: &Bytes) -> Result<Self, Problem> {
        let mut attributes = BTreeMap::new();
        for name in headers.keys().filter_map(|name| name.as_str().strip_prefix("ce-")) {
            let mut values = headers.get_all(format!("ce-{name}")).iter();
            let value = values.next().map(http::HeaderValue::as_bytes).unwrap_or_default();
            if values.next().is_some() {
                return Err(malformed(format!("ce-{name} is there more than once")));
            }
            let value = decode(value).ok_or_else(|| {
                malformed(format!(
                    "ce-{name} is no UTF-8, or has a percent sign without two hexadecimal digits"
                ))
            })?;
            put(&mut attributes, name, value)?;
        }
        let data = (!body.is_empty()).then(|| body.clone());
        Self { attributes, content_type: content_type.map(str::to_owned), data }.checked()
    }

    /// In the structured mode.
    fn from_json(text: &str) -> Result<Self, Problem> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)
            .map_err(|error| malformed(format!("an event is an object in JSON: {error}")))?;
        let mut event = Self { attributes: BTreeMap::new(), content_type: None, data: None };
        for (name, raw) in fields.iter().filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64"))
        {
            let value = match serde_json::from_str(raw.get()) {
                Ok(Value::String(text)) => text,
                Ok(other @ (Value::Bool(_) | Value::Number(_))) => other.to_string(),
                // What is null is not there.
                Ok(Value::Null) => continue,
                _ => return Err(malformed(format!("{name} is a text, a number or a truth value"))),
            };
            match name.as_str() {
                "datacontenttype" => event.content_type = Some(value),
                name => put(&mut event.attributes, name, value)?,
            }
        }
        event.data = data(&fields, event.content_type.as_deref())?;
        event.checked()
    }

    fn checked(self) -> Result<Self, Problem> {
        for name in REQUIRED {
            if self.attributes.get(name).is_none_or(String::is_empty) {
                return Err(malformed(format!("an event has {}; {name} is missing", REQUIRED.join(", "))));
            }
        }
        match self.attributes.get("specversion").map(String::as_str) {
            Some("1.0") => {}
            other => return Err(malformed(format!("specversion is 1.0 and not {other:?}"))),
        }
        if let Some(time) = self.attributes.get("time")
            && let Err(error) = DateTime::parse_from_rfc3339(time)
        {
            return Err(malformed(format!("time is as in RFC 3339, such as 2026-12-24T18:00:00Z: {error}")));
        }
        match &self.content_type {
            Some(told) if !is_media_type(told) => Err(malformed(format!(
                "what the data is, {told:?}, is no media type such as application/json"
            ))),
            _ => Ok(self),
        }
    }

    /// Which key its record has.
    pub(crate) fn key(&self) -> Option<&str> {
        let name = |name| self.attributes.get(name).map(String::as_str).filter(|key| !key.is_empty());
        name("partitionkey").or_else(|| name("subject"))
    }

    /// Its record.
    pub(crate) fn record(&self) -> NewRecord {
        let header = |name: String, value: &str| Header {
            key: Bytes::from(name),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        let content_type = self.content_type.iter().map(|told| header("content-type".to_owned(), told));
        let attributes = self.attributes.iter().map(|(name, value)| header(format!("ce_{name}"), value));
        NewRecord {
            key: self.key().map(|key| Bytes::copy_from_slice(key.as_bytes())),
            // A record without a value would be a tombstone.
            value: Some(self.data.clone().unwrap_or_default()),
            headers: content_type.chain(attributes).collect(),
        }
    }

    /// As another node is told of it.
    pub(crate) fn to_json(&self) -> Value {
        let mut fields: Map<String, Value> =
            self.attributes.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        if let Some(told) = &self.content_type {
            fields.insert("datacontenttype".to_owned(), told.clone().into());
        }
        if let Some(data) = &self.data {
            fields.insert("data_base64".to_owned(), base64::encode(data).into());
        }
        fields.into()
    }
}

/// What an event in JSON has as its data: JSON as it was written, a text where it is to be something else, or any bytes.
fn data(fields: &BTreeMap<String, &RawValue>, content_type: Option<&str>) -> Result<Option<Bytes>, Problem> {
    match (fields.get("data"), fields.get("data_base64")) {
        (Some(_), Some(_)) => Err(malformed("data and data_base64 exclude each other")),
        (None, None) => Ok(None),
        (Some(raw), None) => {
            let media = content_type.map(media_type).unwrap_or_default();
            let is_json = media.is_empty() || media.ends_with("/json") || media.ends_with("+json");
            let text = if is_json { None } else { serde_json::from_str::<String>(raw.get()).ok() };
            Ok(Some(text.map_or_else(|| Bytes::copy_from_slice(raw.get().as_bytes()), Bytes::from)))
        }
        (None, Some(raw)) => {
            let text: Option<String> = serde_json::from_str(raw.get()).ok();
            let bytes = text.and_then(|text| base64::decode(&text));
            Ok(Some(bytes.ok_or_else(|| malformed("data_base64 is no base64"))?.into()))
        }
    }
}

fn put(attributes: &mut BTreeMap<String, String>, name: &str, value: String) -> Result<(), Problem> {
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name || matches!(name, "data" | "datacontenttype") {
        return Err(malformed(format!("{name:?} is no attribute: they have lower-case letters and digits")));
    }
    if attributes.len() >= ATTRIBUTES_MAX {
        return Err(malformed(format!("an event has at most {ATTRIBUTES_MAX} attributes")));
    }
    attributes.insert(name.to_owned(), value);
    Ok(())
}

/// Takes percent-encoding away (HTTP protocol binding, section 3.1.3.2).
fn decode(mut bytes: &[u8]) -> Option<String> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut out = Vec::with_capacity(bytes.len());
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        out.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.first())?, digit(rest.get(1))?);
                bytes = rest.get(2..).unwrap_or_default();
                (high << 4 | low) as u8
            }
            byte => *byte,
        });
    }
    String::from_utf8(out).ok()
}

fn text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body)
        .map_err(|error| malformed(format!("it is not UTF-8 from byte {} on", error.valid_up_to())))
}

fn malformed(why: impl Into<String>) -> Problem {
    let why: String = why.into();
    Problem::malformed("event", format!("the event: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn read(headers: &[(&str, &str)], body: &str) -> Result<Vec<CloudEvent>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        CloudEvent::from_http(&map, &Bytes::copy_from_slice(body.as_bytes()))
            .map_err(|problem| problem.detail)
    }

    /// The headers, the key and the value of a record, as texts.
    fn told(event: &CloudEvent) -> (Vec<(String, String)>, Option<String>, String) {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let NewRecord { key, value, headers } = event.record();
        let headers = headers.iter().map(|one| (text(&one.key), text(one.value.as_ref().unwrap()))).collect();
        (headers, key.as_ref().map(text), text(&value.unwrap()))
    }

    const MINIMAL: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/rides"), ("ce-type", "ride.asked")];
    const JSON: &str = r#""specversion":"1.0","id":"1","source":"/rides","type":"ride.asked""#;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_three_modes_become_the_records_of_the_kafka_binding() {
        let mut headers = MINIMAL.to_vec();
        headers.extend([
            ("content-type", "application/json"),
            ("ce-subject", "u42"),
            ("ce-city", "K%c3%b6ln%20%25"),
        ]);
        let binary = read(&headers, "{\"eta\": 7.0}").unwrap();
        let expected = pairs(&[
            ("content-type", "application/json"),
            ("ce_city", "K\u{f6}ln %"),
            ("ce_id", "1"),
            ("ce_source", "/rides"),
            ("ce_specversion", "1.0"),
            ("ce_subject", "u42"),
            ("ce_type", "ride.asked"),
        ]);
        assert_eq!(told(&binary[0]), (expected, Some("u42".into()), "{\"eta\": 7.0}".into()));
        let event = format!(
            r#"{{{JSON},"subject":"u42","city":"K\u00f6ln %","datacontenttype":"application/json","data":{{"eta": 7.0}}}}"#
        );
        let structured =
            read(&[("content-type", "application/cloudevents+json; charset=utf-8")], &event).unwrap();
        assert_eq!(structured, binary);
        let batch =
            format!(r#"[{event}, {{{JSON},"partitionkey":"k","subject":"u42","count":3,"gone":null}}]"#);
        let batch = read(&[("content-type", "application/cloudevents-batch+json")], &batch).unwrap();
        assert_eq!((batch.len(), &batch[0]), (2, &binary[0]));
        let (headers, key, value) = told(&batch[1]);
        assert_eq!((key.as_deref(), &*value), (Some("k"), ""));
        assert!(
            headers.contains(&("ce_count".into(), "3".into()))
                && headers.iter().all(|(name, _)| name != "ce_gone")
        );
        assert_eq!(read(&[("content-type", "application/cloudevents-batch+json")], "[]"), Ok(vec![]));
    }

    #[test]
    fn data_is_json_as_it_was_written_a_text_or_bytes() {
        let data = |more: &str| {
            let event = format!("{{{JSON},{more}}}");
            let read = read(&[("content-type", "application/cloudevents+json")], &event);
            read.map(|events| events[0].record().value.unwrap().to_vec())
        };
        assert_eq!(
            data(r#""data":"a text""#),
            Ok(b"\"a text\"".to_vec()),
            "JSON, where nothing else is said"
        );
        assert_eq!(data(r#""datacontenttype":"text/plain","data":"a text""#), Ok(b"a text".to_vec()));
        assert_eq!(data(r#""datacontenttype":"a/b+json","data":[1, 2.0]"#), Ok(b"[1, 2.0]".to_vec()));
        assert_eq!(data(r#""data_base64":"/w==""#), Ok(vec![255]));
        assert!(data(r#""data_base64":"x""#).is_err() && data(r#""data":1,"data_base64":"/w==""#).is_err());
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_is_missing() {
        for left_out in 0..4 {
            let mut headers = MINIMAL.to_vec();
            let (name, _) = headers.remove(left_out);
            let name = name.trim_start_matches("ce-");
            assert!(read(&headers, "x").unwrap_err().contains(&format!("{name} is missing")), "{name}");
        }
        let with = |name: &'static str, value: &'static str| {
            let headers: Vec<_> = MINIMAL.into_iter().chain([(name, value)]).collect();
            read(&headers, "x").unwrap_err()
        };
        assert!(with("ce-id", "2").contains("more than once"));
        assert!(with("ce-time", "tomorrow").contains("RFC 3339"));
        assert!(with("ce-city", "%f").contains("percent"));
        assert!(with("ce-city", "%ff").contains("UTF-8"));
        assert!(with("ce-a_b", "x").contains("no attribute"));
        assert!(with("ce-datacontenttype", "x/y").contains("no attribute"));
        assert!(with("content-type", "x").contains("no media type"));
        assert!(with("content-type", "application/cloudevents+avro").contains("not understood"));
        let json = [("content-type", "application/cloudevents+json")];
        for wrong in [
            "",
            "[]",
            "{",
            "{\"id\":1}",
            "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}",
        ] {
            assert!(read(&json, wrong).is_err(), "{wrong}");
        }
        let deep = format!("{{{JSON},\"x\":{{}}}}");
        assert!(read(&json, &deep).unwrap_err().contains("x is a text"));
        let many = format!("[{}]", vec![format!("{{{JSON}}}"); EVENTS_MAX + 1].join(","));
        assert!(read(&[("content-type", "application/cloudevents-batch+json")], &many).is_err());
    }

    proptest! {
        #[test]
        fn what_another_node_is_told_is_the_same_event(
            id in "[a-z]{1,5}", city in ".{0,9}", key in prop::option::of(".{0,5}"),
            data in prop::option::of(prop::collection::vec(any::<u8>(), 1..9)),
        ) {
            let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let mut attributes: BTreeMap<_, _> =
                [attribute("specversion", "1.0"), attribute("id", &id), attribute("source", "s"), attribute("type", "t")].into();
            attributes.insert("city".into(), city);
            attributes.extend(key.map(|key| attribute("partitionkey", &key)));
            let event = CloudEvent { attributes, content_type: Some("a/b".into()), data: data.map(Bytes::from) };
            prop_assert_eq!(CloudEvent::from_json(&event.to_json().to_string()), Ok(event));
        }

        #[test]
        fn any_body_is_read_or_refused(
            text in r#"[\[{}\]":,a-z0-9_.]{0,80}"#, raw in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            for kind in ["application/cloudevents+json", "application/cloudevents-batch+json", "text/plain"] {
                let _ = read(&[("content-type", kind)], &text);
                let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
                let _ = CloudEvent::from_http(&headers, &Bytes::from(raw.clone()));
            }
        }
    }
}
