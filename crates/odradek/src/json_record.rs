//! A record as one line of JSON, in the shape of kcat's `-J`; `consume` writes it and `produce` reads it.
//!
//! Bytes that are no UTF-8 are an object with their Base64 form, so that every record survives the way there and back.

use bytes::Bytes;
use client::OutRecord;
use model::PartitionIndex;
use records::{Header, Record};
use serde_json::{Map, Value, json};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The JSON of a record.
pub(crate) fn to_json(topic: &str, partition: PartitionIndex, record: &Record) -> Value {
    let headers =
        record.headers.iter().flat_map(|header| [field(&Some(header.key.clone())), field(&header.value)]);
    json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "ts": record.timestamp,
        "headers": headers.collect::<Vec<_>>(),
        "key": field(&record.key),
        "payload": field(&record.value),
    })
}

/// The record of a line. What is left out is chosen by the producer; `value` may stand for `payload`, and a value that
/// is no text is taken as its JSON.
pub(crate) fn from_json(line: &[u8], topic: &str) -> Result<OutRecord, String> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(line) else {
        return Err("it is no JSON object".into());
    };
    let value = object.remove("payload").or_else(|| object.remove("value"));
    let headers = match object.remove("headers") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(pairs)) => pairs
            .chunks(2)
            .map(|pair| match pair {
                [key, value] => header(key, value),
                _ => Err("'headers' has a key without a value".to_owned()),
            })
            .collect::<Result<_, _>>()?,
        Some(Value::Object(pairs)) => {
            let pairs = pairs.iter().map(|(key, value)| header(&Value::String(key.clone()), value));
            pairs.collect::<Result<_, _>>()?
        }
        Some(_) => return Err("'headers' is neither a list nor an object".into()),
    };
    Ok(OutRecord {
        topic: topic.to_owned(),
        partition: number(&object, "partition")?,
        timestamp: number(&object, "ts")?.filter(|time| *time >= 0),
        key: bytes_of(object.get("key").unwrap_or(&Value::Null))?,
        value: bytes_of(&value.unwrap_or(Value::Null))?,
        headers,
    })
}

fn header(key: &Value, value: &Value) -> Result<Header, String> {
    let key = bytes_of(key)?.ok_or("a header has no key")?;
    Ok(Header { key, value: bytes_of(value)? })
}

fn number<T: TryFrom<i64>>(object: &Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .and_then(|number| T::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| format!("'{name}' is no number that it may be")),
    }
}

fn field(bytes: &Option<Bytes>) -> Value {
    match bytes.as_deref() {
        None => Value::Null,
        Some(bytes) => match str::from_utf8(bytes) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => json!({ "base64": to_base64(bytes) }),
        },
    }
}

fn bytes_of(value: &Value) -> Result<Option<Bytes>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into())),
        Value::Object(object) if object.len() == 1 && object.contains_key("base64") => {
            let text = object.get("base64").and_then(Value::as_str);
            text.and_then(from_base64).map(|bytes| Some(bytes.into())).ok_or_else(|| "it is no Base64".into())
        }
        other => Ok(Some(other.to_string().into())),
    }
}

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().chain(&[0, 0]).take(3).fold(0, |word, byte| word << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS.get(word >> (18 - 6 * place) & 63).copied().unwrap_or(b'A');
            text.push(if place <= three.len() { digit as char } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    let (mut word, mut bits) = (0u32, 0);
    for digit in digits.bytes() {
        let six = DIGITS.iter().position(|known| *known == digit)?;
        word = word << 6 | six as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_survives_the_way_there_and_back() {
        let record = Record {
            offset: 5,
            timestamp: 77,
            key: Some(Bytes::from_static(b"\xff\x00k")),
            value: Some("\u{e4}\n".into()),
            headers: vec![
                Header { key: "h".into(), value: None },
                Header { key: "h".into(), value: Some("".into()) },
            ],
        };
        let line = to_json("t", 2, &record).to_string();
        let back = from_json(line.as_bytes(), "u").unwrap();
        assert_eq!((back.topic.as_str(), back.partition, back.timestamp), ("u", Some(2), Some(77)));
        assert_eq!((back.key, back.value, back.headers), (record.key, record.value, record.headers));
    }

    #[test]
    fn what_is_left_out_is_left_to_the_producer() {
        let record = from_json(br#"{"value": {"a": 1}}"#, "t").unwrap();
        let value = Some(Bytes::from_static(br#"{"a":1}"#));
        assert_eq!(record, OutRecord { topic: "t".into(), value, ..Default::default() });
        let record = from_json(br#"{"payload": null, "headers": {"a": "b"}}"#, "t").unwrap();
        assert_eq!((record.value, record.headers.len()), (None, 1));
    }

    #[test]
    fn mistakes_are_told() {
        for line in
            ["", "[]", "{", r#"{"partition": "x"}"#, r#"{"headers": ["a"]}"#, r#"{"key": {"base64": "!"}}"#]
        {
            assert!(from_json(line.as_bytes(), "t").is_err(), "{line}");
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(
                (to_base64(plain.as_bytes()).as_str(), from_base64(text).unwrap()),
                (text, plain.into())
            );
        }
    }
}
