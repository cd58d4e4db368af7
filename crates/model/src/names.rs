//! Names of topics and groups: what Kafka allows, shared without copying.
//!
//! It does not say which topics exist.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

/// A valid topic name: 1 to 249 of `a-z A-Z 0-9 . _ -`, and not `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// The id of a consumer group; any text, the empty one included (Kafka allows it for offsets without a group).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupId(Arc<str>);

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's index.
    pub partition: crate::PartitionIndex,
}

/// A text that is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is no topic name: {why}")]
pub struct InvalidName {
    /// The text.
    pub name: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl TopicName {
    /// The name, if it is one.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let why = match name {
            "" => "it is empty",
            "." | ".." => "it names a directory",
            _ if name.len() > crate::limits::TOPIC_NAME_BYTES_MAX => "it is longer than 249 characters",
            _ if !name.bytes().all(is_legal) => "only ASCII letters, digits, '.', '_' and '-' are allowed",
            _ => return Ok(Self(name.into())),
        };
        Err(InvalidName { name: name.to_owned(), why })
    }

    /// Whether metrics of this name and `other` would be written alike: '.' and '_' count as one.
    pub fn collides_with(&self, other: &TopicName) -> bool {
        self != other && self.0.replace('.', "_") == other.0.replace('.', "_")
    }

    /// Whether this is a topic that the brokers keep for themselves.
    pub fn is_internal(&self) -> bool {
        matches!(&*self.0, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
    }
}

impl GroupId {
    /// A group's id.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: TopicName, partition: crate::PartitionIndex) -> Self {
        Self { topic, partition }
    }
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
text!(TopicName, GroupId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kafkas_topic_names_are_names() {
        for good in ["a", "A.b_c-9", &"x".repeat(249), "..."] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", &"x".repeat(250), "a b", "a/b", "ä"] {
            assert!(TopicName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        let name = |n| TopicName::new(n).unwrap();
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(!name("a.b").collides_with(&name("a.b")));
        assert!(!name("a.b").collides_with(&name("a-b")));
    }
}
