//! Which Kafka topic and key an MQTT topic name stands for, and where the messages of a filter lie.
//!
//! The first level is the topic, the rest is the key: `rides/u42` is the key `u42` of the topic `rides`, `rides/eu/u42` its
//! key `eu/u42`, `rides` its records without a key, `rides/` those with the empty key. No two places have one name.
//! Whether there is such a topic is not known here.

use model::TopicName;

use super::{Filter, LEVELS_MAX, check_name};
use crate::codec::Text;

/// A topic, and the key of a record in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The Kafka topic.
    pub topic: TopicName,
    /// The record's key; none: a record without a key.
    pub key: Option<Text>,
}

/// Why a topic name stands for no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplaceable {
    /// Its first level is no topic of Kafka.
    #[error("the first level of the topic name must be a Kafka topic: {0}")]
    Topic(#[from] model::InvalidName),
    /// Its first level is a topic that the brokers keep for themselves.
    #[error("the topic {0} is internal")]
    Internal(TopicName),
    /// It has more than [`LEVELS_MAX`] levels.
    #[error("the topic name has more than {LEVELS_MAX} levels")]
    TooDeep,
}

/// Where the records lie that a filter may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// One key, or the records without a key: `rides/u42`, `rides`.
    Place(Place),
    /// The whole topic: `rides/#`.
    Topic(TopicName),
    /// Those keys of the topic that begin alike and match the filter: `rides/eu/#`, `rides/+/seat`.
    Keys {
        /// The topic.
        topic: TopicName,
        /// With what each matching key begins; it may be empty. Not every key that begins so matches.
        prefix: Text,
    },
}

/// Why the messages of a filter cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unservable {
    /// The first level is a wildcard.
    #[error(
        "the first level of a topic filter must name a topic, as in rides/#; a wildcard for topics is not served"
    )]
    AnyTopic,
    /// No name that matches has a place.
    #[error(transparent)]
    Place(#[from] Unplaceable),
}

impl Place {
    /// The place that a topic name stands for.
    pub fn of(name: &Text) -> Result<Self, Unplaceable> {
        if name.bytes().split(|byte| *byte == b'/').count() > LEVELS_MAX {
            return Err(Unplaceable::TooDeep);
        }
        let (topic, key) = match name.as_str().split_once('/') {
            Some((topic, key)) => (topic, Text::new(key)),
            None => (name.as_str(), None),
        };
        let topic = TopicName::new(topic)?;
        if topic.is_internal() {
            return Err(Unplaceable::Internal(topic));
        }
        Ok(Self { topic, key })
    }
}

/// The topic name of a record. None: its key is nothing that a topic name can carry (no UTF-8, a wildcard, U+0000, or too
/// long), so that no subscription can match it.
pub fn name_of(topic: &TopicName, key: Option<&[u8]>) -> Option<Text> {
    let mut name = topic.as_bytes().to_vec();
    if let Some(key) = key {
        name.push(b'/');
        name.extend_from_slice(key);
    }
    check_name(&name).ok()?;
    Text::of(name.into())
}

impl Reach {
    /// Where the messages of the filter lie.
    pub fn of(filter: &Filter) -> Result<Self, Unservable> {
        let pattern = String::from_utf8_lossy(filter.pattern());
        let (topic, keys) = match pattern.split_once('/') {
            Some((topic, keys)) => (topic, Some(keys)),
            None => (&*pattern, None),
        };
        if matches!(topic, "+" | "#") {
            return Err(Unservable::AnyTopic);
        }
        // The levels and the topic are judged as those of a name.
        let depth = filter.levels().count();
        let topic = match TopicName::new(topic).map_err(Unplaceable::Topic)? {
            _ if depth > LEVELS_MAX => return Err(Unplaceable::TooDeep.into()),
            topic if topic.is_internal() => return Err(Unplaceable::Internal(topic).into()),
            topic => topic,
        };
        Ok(match keys {
            None => Reach::Place(Place { topic, key: None }),
            Some("#") => Reach::Topic(topic),
            Some(keys) => match keys.find(['+', '#']) {
                None => Reach::Place(Place { topic, key: Text::new(keys) }),
                Some(at) => Reach::Keys { topic, prefix: prefix(keys, at) },
            },
        })
    }

    /// The topic.
    pub fn topic(&self) -> &TopicName {
        match self {
            Reach::Place(place) => &place.topic,
            Reach::Topic(topic) | Reach::Keys { topic, .. } => topic,
        }
    }
}

/// What stands before the wildcard; before `#` not the separator, because `#` matches the parent level too.
fn prefix(keys: &str, wildcard_at: usize) -> Text {
    let before = keys.get(..wildcard_at).unwrap_or_default();
    let is_hash = keys.as_bytes().get(wildcard_at) == Some(&b'#');
    let begin = if is_hash { before.strip_suffix('/').unwrap_or(before) } else { before };
    Text::new(begin).unwrap_or_default()
}
