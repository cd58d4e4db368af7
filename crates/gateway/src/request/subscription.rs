//! Which streams a reader would have at once: a list in JSON, or one parameter for each.

use super::{Query, topic, unknown_token};
use crate::{
    base64,
    mailboxes::{Address, From},
    many::Source,
    positions::STREAMS_MAX,
    problem::Problem,
    token::Token,
};
use bytes::Bytes;
use model::{TopicName, TopicPartition};
use serde_json::{Map, Value};

/// What a list may have, in bytes.
pub(crate) const LIST_BYTES_MAX: usize = 256 * 1024;

/// The longest key, in bytes: as in a path.
const KEY_BYTES_MAX: usize = 1024;

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription(pub(crate) Vec<(Wish, From)>);

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    One(Source),
    /// All partitions of a topic.
    Topic(TopicName),
}

impl Subscription {
    /// `{"streams": [{"topic": "rides", "key": "u42", "offset": "-1"}]}`, or the list alone.
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, Problem> {
        let parsed = serde_json::from_slice(text);
        let parsed: Value = parsed.map_err(|error| malformed(format!("it is no JSON: {error}")))?;
        let list = match &parsed {
            Value::Object(fields) => {
                known(fields, &["streams"])?;
                fields.get("streams").and_then(Value::as_array)
            }
            other => other.as_array(),
        };
        let list = list.ok_or_else(|| malformed("streams is a list"))?;
        Self::bounded(list.iter().map(wish).collect::<Result<_, _>>()?)
    }

    /// `streams`, or `stream=rides/u42` as often as there are streams, `stream=rides` for a whole topic.
    pub(crate) fn from_query(query: &Query) -> Result<Self, Problem> {
        let single: Vec<&str> = query.all("stream").collect();
        match (query.one("streams")?, &single[..]) {
            (Some(list), []) => Self::from_json(list.as_bytes()),
            (Some(_), _) => Err(malformed("streams and stream exclude each other")),
            (None, all) => {
                let one = |text: &&str| {
                    let wish = match text.split_once('/') {
                        None => Wish::Topic(topic(text)?),
                        Some((name, key)) => Wish::One(Source::Key(address(topic(name)?, key.as_bytes())?)),
                    };
                    Ok((wish, From::Begin))
                };
                Self::bounded(all.iter().map(one).collect::<Result<_, _>>()?)
            }
        }
    }

    fn bounded(wishes: Vec<(Wish, From)>) -> Result<Self, Problem> {
        match wishes.len() {
            0 => Err(malformed("there is none: stream=topic/key, or streams with a list")),
            count if count > STREAMS_MAX => {
                Err(malformed(format!("there are {count}, and at most {STREAMS_MAX} are read at once")))
            }
            _ => Ok(Self(wishes)),
        }
    }
}

fn wish(value: &Value) -> Result<(Wish, From), Problem> {
    let fields = value.as_object().ok_or_else(|| malformed("each is an object with topic and key"))?;
    known(fields, &["topic", "key", "keyBase64", "partition", "offset"])?;
    let text = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(value) => {
            value.as_str().map(Some).ok_or_else(|| malformed(format!("{name} is a text, and not {value}")))
        }
    };
    let name = topic(text("topic")?.ok_or_else(|| malformed("each has a topic"))?)?;
    let wish = match (text("key")?, text("keyBase64")?, fields.get("partition")) {
        (None, None, None) => Wish::Topic(name),
        (Some(key), None, None) => Wish::One(Source::Key(address(name, key.as_bytes())?)),
        (None, Some(key), None) => {
            let key = base64::decode(key).ok_or_else(|| malformed("keyBase64 is no base64"))?;
            Wish::One(Source::Key(address(name, &key)?))
        }
        (None, None, Some(number)) => {
            let partition = number.as_i64().and_then(|number| i32::try_from(number).ok());
            let partition = partition.filter(|number| *number >= 0);
            let partition = partition.ok_or_else(|| malformed("a partition is a number from 0 on"))?;
            Wish::One(Source::Partition(TopicPartition { topic: name, partition }))
        }
        _ => return Err(malformed("key, keyBase64 and partition exclude each other")),
    };
    let from = match text("offset")? {
        None | Some("-1") => From::Begin,
        Some("now") => From::End,
        Some(token) => From::At(Token::parse(token).ok_or_else(|| unknown_token("offset", token))?),
    };
    match (&wish, from) {
        (Wish::Topic(_), From::At(_)) => {
            Err(malformed("a whole topic begins at -1 or now; say its partitions one by one"))
        }
        _ => Ok((wish, from)),
    }
}

pub(crate) fn address(topic: TopicName, key: &[u8]) -> Result<Address, Problem> {
    match key.len() {
        0 => Err(malformed("a key has at least one byte")),
        length if length > KEY_BYTES_MAX => {
            Err(malformed(format!("a key has at most {KEY_BYTES_MAX} bytes, and not {length}")))
        }
        _ => Ok(Address { topic, key: Bytes::copy_from_slice(key) }),
    }
}

/// What is not understood is not passed over: who filters would get what it does not want.
fn known(fields: &Map<String, Value>, names: &[&str]) -> Result<(), Problem> {
    match fields.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(malformed(format!("{name:?} is not known here; there are {}", names.join(", ")))),
    }
}

fn malformed(why: impl Into<String>) -> Problem {
    let why: String = why.into();
    Problem::malformed("streams", format!("the streams: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rides() -> TopicName {
        TopicName::new("rides").unwrap()
    }

    fn key(key: &[u8]) -> Wish {
        Wish::One(Source::Key(Address { topic: rides(), key: Bytes::copy_from_slice(key) }))
    }

    #[test]
    fn streams_are_a_list_or_one_parameter_each() {
        let list = r#"{"streams":[{"topic":"rides","key":"u/4 2"},{"topic":"rides","keyBase64":"/w==","offset":"now"},
            {"topic":"rides","partition":3,"offset":"0000000000000000_0000000000000007"},{"topic":"rides","offset":"-1"}]}"#;
        let partition = Source::Partition(TopicPartition { topic: rides(), partition: 3 });
        let expected = vec![
            (key(b"u/4 2"), From::Begin),
            (key(b"\xff"), From::End),
            (Wish::One(partition), From::At(Token::new(0, 7))),
            (Wish::Topic(rides()), From::Begin),
        ];
        assert_eq!(Subscription::from_json(list.as_bytes()).unwrap().0, expected);
        let query =
            |text: &str| Subscription::from_query(&Query::parse(Some(text)).unwrap()).map(|all| all.0);
        assert_eq!(
            query("stream=rides/u%2F4+2&stream=rides"),
            Ok(vec![expected[0].clone(), expected[3].clone()])
        );
        assert_eq!(query("streams=[{\"topic\":\"rides\"}]"), Ok(vec![expected[3].clone()]));
        for wrong in ["", "streams=", "streams=1", "streams=[]", "stream=", "stream=rides/", "stream=a%20b/c"]
        {
            assert!(query(wrong).is_err(), "{wrong}");
        }
        assert!(query("stream=rides&streams=[]").unwrap_err().detail.contains("exclude"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be_right() {
        for (list, says) in [
            (r#"[{"topic":"rides","filter":"x"}]"#, "\"filter\" is not known"),
            (r#"{"streams":[],"more":1}"#, "\"more\" is not known"),
            (r#"[{"key":"u42"}]"#, "each has a topic"),
            (r#"[{"topic":"rides","key":7}]"#, "key is a text"),
            (r#"[{"topic":"rides","key":"a","partition":0}]"#, "exclude"),
            (r#"[{"topic":"rides","partition":-1}]"#, "from 0 on"),
            (r#"[{"topic":"rides","partition":99999999999}]"#, "from 0 on"),
            (r#"[{"topic":"rides","partition":1.5}]"#, "from 0 on"),
            (r#"[{"topic":"rides","keyBase64":"x"}]"#, "no base64"),
            (r#"[{"topic":"rides","key":"a","offset":"7"}]"#, "none that this server"),
            (r#"[{"topic":"rides","offset":"0000000000000000_0000000000000007"}]"#, "one by one"),
            (r#"[{"topic":"../x"}]"#, "no topic name"),
            ("[1]", "an object"),
            ("nul", "no JSON"),
        ] {
            let detail = Subscription::from_json(list.as_bytes()).unwrap_err().detail;
            assert!(detail.contains(says), "{list}: {detail}");
        }
        let many = |count| format!("[{}]", vec![r#"{"topic":"t"}"#; count].join(","));
        assert!(Subscription::from_json(many(STREAMS_MAX).as_bytes()).is_ok());
        assert!(Subscription::from_json(many(STREAMS_MAX + 1).as_bytes()).is_err());
        let long = format!(r#"[{{"topic":"t","key":"{}"}}]"#, "x".repeat(1025));
        assert!(Subscription::from_json(long.as_bytes()).unwrap_err().detail.contains("1025"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[{}\]":,a-z0-9-]{0,80}"#, raw in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Subscription::from_json(text.as_bytes());
            let _ = Subscription::from_json(&raw);
            if let Ok(query) = Query::parse(Some(&format!("stream={text}"))) {
                let _ = Subscription::from_query(&query);
            }
        }
    }
}
