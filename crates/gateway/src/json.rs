//! JSON mode (PROTOCOL.md, section 9.1): a body is one message, or an array of them; an answer is an array.
//!
//! Messages are kept as they were written, to the byte: nobody's numbers are rounded and nobody's keys are sorted.

use crate::base64;
use bytes::Bytes;
use serde_json::value::RawValue;

/// A body that is no JSON, with where it ceases to be.
#[derive(Debug, thiserror::Error)]
pub enum NotJson {
    /// It is no text.
    #[error("the body is no JSON: it is not UTF-8 from byte {0} on")]
    Utf8(usize),
    /// It is another text.
    #[error("the body is no JSON: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// The messages of a body: the elements of an array, one level deep, or the one value that it is.
pub fn split(body: &Bytes) -> Result<Vec<Bytes>, NotJson> {
    let text = std::str::from_utf8(body).map_err(|error| NotJson::Utf8(error.valid_up_to()))?;
    let is_array = text.trim_ascii_start().starts_with('[');
    let values: Vec<&RawValue> = match is_array {
        true => serde_json::from_str(text)?,
        false => vec![serde_json::from_str(text)?],
    };
    Ok(values.into_iter().map(|value| body.slice_ref(value.get().as_bytes())).collect())
}

/// The array of messages that [`split`] gave. Kafka's producers write what they like under the same key: what is no JSON becomes
/// a string, of its text or in base64.
pub(crate) fn join<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = vec![b'['];
    for message in messages {
        if out.len() > 1 {
            out.push(b',');
        }
        match serde_json::from_slice::<&RawValue>(message) {
            Ok(value) => out.extend_from_slice(value.get().as_bytes()),
            Err(_) => {
                let text = match std::str::from_utf8(message) {
                    Ok(text) => serde_json::Value::from(text),
                    Err(_) => serde_json::Value::from(base64::encode(message)),
                };
                out.extend_from_slice(text.to_string().as_bytes());
            }
        }
    }
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn parts(body: &'static str) -> Vec<String> {
        let parts = split(&Bytes::from_static(body.as_bytes())).unwrap();
        parts.iter().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
    }

    #[test]
    fn an_array_is_taken_apart_once_and_kept_to_the_byte() {
        assert_eq!(parts(r#" {"a": 1.0e2} "#), [r#"{"a": 1.0e2}"#]);
        assert_eq!(parts("[1, \"]\" ,[2,3]\n]"), ["1", "\"]\"", "[2,3]"]);
        assert_eq!(parts("[[[1]]]"), ["[[1]]"]);
        assert_eq!(parts(" [ ] "), [""; 0]);
        assert_eq!(parts("12345678901234567890123"), ["12345678901234567890123"]);
        for body in ["", " ", "[", "[1,]", "{} {}", "[1] 2", "nul", "\u{feff}1", "[1 2]"] {
            assert!(split(&Bytes::copy_from_slice(body.as_bytes())).is_err(), "{body:?}");
        }
        assert!(split(&Bytes::from_static(b"\"\xff\"")).unwrap_err().to_string().contains("byte 1"));
        let deep = "[".repeat(100_000);
        assert!(split(&Bytes::from(deep)).is_err(), "and the stack is still there");
    }

    #[test]
    fn what_is_no_json_becomes_a_string() {
        let foreign: [&[u8]; 4] = [b"1", b"a \"word\"", b"\xff\x00", b""];
        assert_eq!(join(foreign.into_iter()), br#"[1,"a \"word\"","/wA=",""]"#);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_sent_is_what_is_read(values in prop::collection::vec(value(), 0..9), is_pretty in any::<bool>()) {
            let sent = Value::from(values.clone());
            let text = if is_pretty { serde_json::to_string_pretty(&sent) } else { serde_json::to_string(&sent) };
            let messages = split(&text.unwrap().into()).unwrap();
            prop_assert_eq!(messages.len(), values.len());
            let read: Value = serde_json::from_slice(&join(messages.iter().map(|message| &message[..]))).unwrap();
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(messages) = split(&bytes.into()) {
                let joined = join(messages.iter().map(|message| &message[..]));
                prop_assert!(serde_json::from_slice::<Value>(&joined).is_ok());
            }
        }
    }
}
