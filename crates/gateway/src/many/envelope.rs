//! A record with all that belongs to it as JSON: for readers of several streams, and for tools that want records and not values.
//!
//! `{"topic", "partition", "key", "offset", "next", "timestamp", "value", "headers"}`: a value that is JSON is there as it was written; one
//! that is not is `text`, or `base64`, and of one that was deleted there is nothing. Keys and headers are texts, or have `Base64` in their
//! names. What is not known is left out.

use super::{Item, Source};
use crate::{base64, token::Token};
use bytes::Bytes;
use records::{Header, Record};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

/// Writes one; `stream` is the number that it has for the reader, if there are several.
pub(crate) fn write(item: &Item, source: &Source, stream: Option<usize>) -> String {
    let Record { offset, timestamp, key, value, headers } = &item.record;
    let mut fields = Fields(String::from("{"));
    if let Some(stream) = stream {
        fields.raw("stream", &stream.to_string());
    }
    fields.source(source);
    if let Some(key) = key {
        fields.bytes(("key", "keyBase64"), key);
    }
    fields.raw("offset", &offset.to_string());
    fields.raw("next", &format!("\"{}\"", item.next));
    if *timestamp >= 0 {
        fields.raw("timestamp", &timestamp.to_string());
    }
    let as_json = value.as_deref().filter(|_| item.is_json);
    match (as_json.and_then(|value| serde_json::from_slice::<&RawValue>(value).ok()), value) {
        (Some(json), _) => fields.raw("value", json.get()),
        (None, Some(value)) => fields.bytes(("text", "base64"), value),
        (None, None) => {}
    }
    if !headers.is_empty() {
        let all: Vec<String> = headers.iter().map(header).collect();
        fields.raw("headers", &format!("[{}]", all.join(",")));
    }
    fields.end()
}

/// What is told of a stream as a whole.
pub(crate) fn about(source: &Source, stream: usize, next: Token, more: &[(&str, &str)]) -> String {
    let mut fields = Fields(String::from("{"));
    fields.raw("stream", &stream.to_string());
    fields.source(source);
    if let Source::Key(at) = source {
        fields.bytes(("key", "keyBase64"), &at.key);
    }
    fields.raw("next", &format!("\"{next}\""));
    more.iter().for_each(|(name, text)| fields.text(name, text));
    fields.end()
}

/// Reads the number and the record that another node has written; `None`: it is no such thing.
pub(super) fn read(text: &str) -> Option<Item> {
    let fields = Written::parse(text)?;
    let (stream, next) = fields.head()?;
    let (value, is_json) = match fields.0.get("value") {
        // As it was written, however deep it is.
        Some(json) => (Some(Bytes::copy_from_slice(json.get().as_bytes())), true),
        None => (fields.bytes("text", "base64")?, false),
    };
    let headers = match fields.0.get("headers") {
        None => Vec::new(),
        Some(all) => {
            let all: Vec<&RawValue> = serde_json::from_str(all.get()).ok()?;
            all.into_iter().map(|one| read_header(one.get())).collect::<Option<_>>()?
        }
    };
    let record = Record {
        offset: fields.value("offset")?.as_i64()?,
        timestamp: fields.value("timestamp").and_then(|value| value.as_i64()).unwrap_or(-1),
        key: fields.bytes("key", "keyBase64")?,
        value,
        headers,
    };
    Some(Item { stream, next, record, is_json })
}

fn read_header(text: &str) -> Option<Header> {
    let fields = Written::parse(text)?;
    Some(Header { key: fields.bytes("name", "nameBase64")??, value: fields.bytes("text", "base64")? })
}

/// The number of the stream, and its place.
pub(super) fn read_about(text: &str) -> Option<(usize, Token)> {
    Written::parse(text)?.head()
}

/// An object as it was written.
struct Written<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Written<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    fn value(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    fn head(&self) -> Option<(usize, Token)> {
        let stream = usize::try_from(self.value("stream")?.as_u64()?).ok()?;
        Some((stream, Token::parse(self.value("next")?.as_str()?)?))
    }

    /// Bytes under one of two names, if they are there; `None`: what is there are none.
    fn bytes(&self, text: &str, base64: &str) -> Option<Option<Bytes>> {
        if self.0.contains_key(text) {
            return Some(Some(Bytes::from(self.value(text)?.as_str()?.to_owned())));
        }
        if self.0.contains_key(base64) {
            let bytes = base64::decode(self.value(base64)?.as_str()?)?;
            return Some(Some(Bytes::from(bytes)));
        }
        Some(None)
    }
}

fn header(header: &Header) -> String {
    let mut fields = Fields(String::from("{"));
    fields.bytes(("name", "nameBase64"), &header.key);
    if let Some(value) = &header.value {
        fields.bytes(("text", "base64"), value);
    }
    fields.end()
}

/// An object that is being written.
struct Fields(String);

impl Fields {
    fn raw(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{json}"));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &Value::from(text).to_string());
    }

    fn bytes(&mut self, (text, base64): (&str, &str), bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(as_text) => self.text(text, as_text),
            Err(_) => self.raw(base64, &format!("\"{}\"", base64::encode(bytes))),
        }
    }

    fn source(&mut self, source: &Source) {
        match source {
            Source::Key(at) => self.text("topic", &at.topic),
            Source::Partition(of) => {
                self.text("topic", &of.topic);
                self.raw("partition", &of.partition.to_string());
            }
        }
    }

    fn end(self) -> String {
        self.0 + "}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailboxes::Address;
    use model::{TopicName, TopicPartition};
    use proptest::prelude::*;

    fn partition() -> Source {
        let topic = TopicName::new("rides").unwrap();
        Source::Partition(TopicPartition { topic, partition: 3 })
    }

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Record {
        let (key, value) = (key.map(Bytes::from_static), value.map(Bytes::from_static));
        Record { offset: 6, timestamp: 1_798_131_600_000, key, value, headers: Vec::new() }
    }

    fn item(record: Record, is_json: bool) -> Item {
        Item { stream: 0, next: Token::new(0, 7), record, is_json }
    }

    #[test]
    fn a_record_is_told_with_all_that_belongs_to_it() {
        let mut record = record(Some(b"u42"), Some(b"{\"eta\": 7.0}"));
        let header = |key: &'static [u8], value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        };
        record.headers = vec![header(b"a", Some(b"1")), header(b"a", None), header(b"b", Some(b"\xff"))];
        let told = write(&item(record.clone(), true), &partition(), None);
        let expected = concat!(
            r#"{"topic":"rides","partition":3,"key":"u42","offset":6,"next":"0000000000000000_0000000000000007","#,
            r#""timestamp":1798131600000,"value":{"eta": 7.0},"#,
            r#""headers":[{"name":"a","text":"1"},{"name":"a"},{"name":"b","base64":"/w=="}]}"#,
        );
        assert_eq!(told, expected);
        let as_text = write(&item(record, false), &partition(), Some(4));
        assert!(as_text.contains(r#""text":"{\"eta\": 7.0}""#) && as_text.starts_with(r#"{"stream":4,"#));
    }

    #[test]
    fn what_is_no_text_is_told_in_base64_and_what_is_not_there_is_left_out() {
        let told = write(&item(record(Some(b"\xff"), Some(b"\x80")), true), &partition(), None);
        assert!(told.contains(r#""keyBase64":"/w==""#) && told.contains(r#""base64":"gA==""#), "{told}");
        let deleted = write(&item(record(None, None), true), &partition(), None);
        for name in ["key", "value", "text", "base64", "headers"] {
            assert!(!deleted.contains(&format!("\"{name}")), "{deleted}");
        }
    }

    #[test]
    fn a_value_that_is_very_deep_comes_back_as_it_was() {
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        let record = Record { value: Some(Bytes::from(deep)), ..record(None, None) };
        let item = item(record, true);
        assert_eq!(read(&write(&item, &partition(), Some(0))), Some(item));
    }

    fn some_bytes() -> impl Strategy<Value = Option<Bytes>> {
        let text = ".{0,9}".prop_map(Bytes::from);
        let raw = prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
        let json = Just(Bytes::from_static(b"{\"a\": [1, null]}"));
        prop::option::of(prop_oneof![text, raw, json])
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            (stream, offset, is_json) in (0usize..1000, 0..1i64 << 53, any::<bool>()),
            (key, value, timestamp) in (some_bytes(), some_bytes(), -1..1i64 << 45),
            headers in prop::collection::vec((some_bytes(), some_bytes()), 0..4),
        ) {
            let header = |(key, value): (Option<Bytes>, _)| Header { key: key.unwrap_or_default(), value };
            let headers = headers.into_iter().map(header).collect();
            let record = Record { offset, timestamp, key, value, headers };
            let mut item = Item { stream, next: Token::new(0, offset as u64 + 1), record, is_json };
            let at = Address { topic: TopicName::new("t").unwrap(), key: Bytes::from_static(b"k") };
            for source in [partition(), Source::Key(at)] {
                let read = read(&write(&item, &source, Some(stream)));
                // What is no JSON is none, whatever the stream is to have.
                let value = item.record.value.as_deref().unwrap_or_default();
                item.is_json &= serde_json::from_slice::<&RawValue>(value).is_ok();
                // White space around it goes.
                let trimmed = item.record.value.clone().filter(|_| item.is_json);
                if let Some(value) = trimmed {
                    item.record.value = Some(value.slice_ref(value.trim_ascii()));
                }
                prop_assert_eq!(read, Some(item.clone()));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"[{}":,a-z0-9\[\]]{0,60}"#) {
            let _ = read(&text);
            let _ = read_about(&text);
        }
    }
}
