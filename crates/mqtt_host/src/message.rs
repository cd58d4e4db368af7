//! A message of MQTT as a record of Kafka, and back (docs/mqtt.md has the table of headers).
//!
//! Pure. What a client says of a message goes into headers: user properties under their own names, all else under names that begin
//! with `od.mqtt.`, which no user property can have.

use bytes::Bytes;
use gateway::{Author, NewRecord};
use mqtt::{
    codec::{Binary, PublishProperties, QoS, Text, UserProperties},
    session::{Publication, Record, Sequence},
};
use records::Header;

const CONTENT_TYPE: &[u8] = b"content-type";
const OWN: &[u8] = b"od.";
const USER: &[u8] = b"od.mqtt.user.";
const QOS: &[u8] = b"od.mqtt.qos";
const RETAIN: &[u8] = b"od.mqtt.retain";
const CLIENT: &[u8] = b"od.mqtt.client";
const SEQUENCE: &[u8] = b"od.mqtt.sequence";
const EXPIRES: &[u8] = b"od.mqtt.expires";
const UTF8: &[u8] = b"od.mqtt.utf8";
const RESPONSE: &[u8] = b"od.mqtt.response";
const CORRELATION: &[u8] = b"od.mqtt.correlation";
/// More headers than these are not shown to clients.
const USER_PROPERTIES_MAX: usize = 256;

/// The record for a message. An empty one that is to be retained is a tombstone: the key has no last value any more.
pub(crate) fn to_record(publication: &Publication, client: &Text, author: &Author, now_ms: i64) -> NewRecord {
    let properties = &publication.properties;
    let mut headers = author.headers();
    let mut add = |key: &'static [u8], value: Bytes| {
        headers.push(Header { key: Bytes::from_static(key), value: Some(value) });
    };
    add(CLIENT, client.bytes().clone());
    add(QOS, Bytes::from(vec![b'0' + publication.qos as u8]));
    if publication.retain {
        add(RETAIN, Bytes::from_static(b"1"));
    }
    if let Some(sequence) = publication.sequence {
        add(SEQUENCE, sequence_text(sequence));
    }
    if let Some(seconds) = properties.message_expiry_interval {
        add(EXPIRES, now_ms.saturating_add(i64::from(seconds) * 1000).to_string().into());
    }
    if properties.payload_format_indicator == Some(true) {
        add(UTF8, Bytes::from_static(b"1"));
    }
    if let Some(topic) = &properties.response_topic {
        add(RESPONSE, topic.bytes().clone());
    }
    if let Some(data) = &properties.correlation_data {
        add(CORRELATION, data.bytes().clone());
    }
    if let Some(kind) = &properties.content_type {
        add(CONTENT_TYPE, kind.bytes().clone());
    }
    for (name, value) in properties.user_properties.iter() {
        let is_ours = name.bytes().starts_with(OWN)
            || name.bytes().eq_ignore_ascii_case(CONTENT_TYPE)
            || is_author(&name);
        let key = if is_ours { [USER, name.bytes()].concat().into() } else { name.bytes().clone() };
        headers.push(Header { key, value: Some(value.bytes().clone()) });
    }
    let is_tombstone = publication.retain && publication.payload.is_empty();
    NewRecord {
        key: publication.place.key.as_ref().map(|key| key.bytes().clone()),
        value: (!is_tombstone).then(|| publication.payload.clone()),
        headers,
    }
}

/// What says whose record it is.
fn is_author(name: &Text) -> bool {
    matches!(&name.bytes()[..], b"od-sub" | b"od-iss")
}

/// The message that a record is. A record that no client of MQTT wrote is one of QoS 2, so that subscriptions get it with theirs.
pub(crate) fn to_message(record: records::Record) -> Record {
    let mut message = Record {
        key: record.key,
        payload: record.value.unwrap_or_default(),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: PublishProperties::default(),
        expires_at_ms: None,
        publisher: None,
    };
    for Header { key, value } in record.headers.into_iter().take(USER_PROPERTIES_MAX) {
        let value = value.unwrap_or_default();
        let properties = &mut message.properties;
        match &key[..] {
            CLIENT => message.publisher = Text::of(value),
            QOS => message.qos = number(&value).and_then(|number| QoS::of(number as u8)).unwrap_or_default(),
            RETAIN => message.retain = true,
            EXPIRES => message.expires_at_ms = number(&value),
            UTF8 => properties.payload_format_indicator = Some(true),
            RESPONSE => {
                let topic = Text::of(value).filter(|topic| mqtt::topics::check_name(topic.bytes()).is_ok());
                properties.response_topic = topic;
            }
            CORRELATION => properties.correlation_data = Binary::new(value),
            CONTENT_TYPE => properties.content_type = Text::of(value),
            name => match name.strip_prefix(USER) {
                Some(name) => add_user(&mut properties.user_properties, Bytes::copy_from_slice(name), value),
                None if name.starts_with(OWN) => {}
                None => add_user(&mut properties.user_properties, key.clone(), value),
            },
        }
    }
    message
}

/// What is no text is no user property.
fn add_user(properties: &mut UserProperties, name: Bytes, value: Bytes) {
    if let (Some(name), Some(value)) = (Text::of(name), Text::of(value)) {
        properties.push(&name, &value);
    }
}

/// Whether a record is this publication of this client.
pub(crate) fn is_publication(record: &records::Record, client: &Text, sequence: Sequence) -> bool {
    let has = |name: &[u8], value: &[u8]| {
        record.headers.iter().any(|header| header.key == name && header.value.as_deref() == Some(value))
    };
    has(SEQUENCE, &sequence_text(sequence)) && has(CLIENT, client.bytes())
}

fn sequence_text(sequence: Sequence) -> Bytes {
    format!("{}-{}", sequence.session, sequence.number).into()
}

pub(crate) fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt::{session::Token, topics::Place};

    fn text(text: &str) -> Text {
        Text::new(text).unwrap()
    }

    fn publication(payload: &'static [u8], retain: bool) -> Publication {
        let mut properties = PublishProperties {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(7),
            response_topic: Some(text("answers/a")),
            correlation_data: Binary::new(Bytes::from_static(b"\xff\0")),
            content_type: Some(text("text/plain")),
            ..PublishProperties::default()
        };
        for (name, value) in [("a", "1"), ("a", "2"), ("od.mqtt.client", "spoof"), ("od-sub", "spoof")] {
            properties.user_properties.push(&text(name), &text(value));
        }
        Publication {
            token: Token::Qos2(3),
            sequence: Some(Sequence { session: 5, number: 3 }),
            name: text("rides/u42"),
            place: Place::of(&text("rides/u42")).unwrap(),
            qos: QoS::ExactlyOnce,
            retain,
            properties,
            payload: Bytes::from_static(payload),
        }
    }

    fn written(publication: &Publication) -> records::Record {
        let author = Author { subject: Some("u42".into()), issuer: None };
        let NewRecord { key, value, headers } = to_record(publication, &text("phone"), &author, 1_000);
        records::Record { offset: 0, timestamp: 0, key, value, headers }
    }

    #[test]
    fn a_message_is_the_same_after_the_log() {
        let publication = publication(b"hello", true);
        let record = written(&publication);
        assert_eq!(
            (record.key.as_deref(), record.value.as_deref()),
            (Some(&b"u42"[..]), Some(&b"hello"[..]))
        );
        let message = to_message(record);
        assert_eq!((message.qos, message.retain), (QoS::ExactlyOnce, true));
        assert_eq!(message.publisher, Some(text("phone")), "a user property cannot say another");
        assert_eq!(message.expires_at_ms, Some(8_000));
        let (read, sent) = (&message.properties, &publication.properties);
        assert_eq!(
            (&read.response_topic, &read.correlation_data, &read.content_type, read.payload_format_indicator),
            (&sent.response_topic, &sent.correlation_data, &sent.content_type, Some(true))
        );
        let mut pairs = Vec::new();
        for (name, value) in read.user_properties.iter() {
            pairs.push((name.as_str().to_owned(), value.as_str().to_owned()));
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs,
            [
                pair("od-sub", "u42"),
                pair("a", "1"),
                pair("a", "2"),
                pair("od.mqtt.client", "spoof"),
                pair("od-sub", "spoof")
            ]
        );
    }

    #[test]
    fn an_empty_message_that_is_retained_is_a_tombstone() {
        assert_eq!(written(&publication(b"", true)).value, None);
        assert_eq!(written(&publication(b"", false)).value.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn a_publication_is_known_again() {
        let record = written(&publication(b"x", false));
        assert!(is_publication(&record, &text("phone"), Sequence { session: 5, number: 3 }));
        assert!(!is_publication(&record, &text("phone"), Sequence { session: 5, number: 4 }));
        assert!(!is_publication(&record, &text("other"), Sequence { session: 5, number: 3 }));
    }

    #[test]
    fn a_record_of_kafkas_producers_is_a_message() {
        let header = |key: &'static [u8], value: &'static [u8]| Header {
            key: Bytes::from_static(key),
            value: Some(Bytes::from_static(value)),
        };
        let headers = vec![header(b"trace", b"1"), header(b"raw", b"\xff"), header(b"od.life", b"x")];
        let message =
            to_message(records::Record { offset: 9, timestamp: 0, key: None, value: None, headers });
        assert_eq!(
            (message.qos, &message.payload[..], message.publisher),
            (QoS::ExactlyOnce, &b""[..], None)
        );
        assert_eq!(message.properties.user_properties.iter().count(), 1, "what is no text is not shown");
    }
}
