//! How the values of a stream are put into a text of `text/event-stream` (PROTOCOL.md, section 5.8).

use crate::{base64, json};
use mailbox::media_type;

/// See the head of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Text,
    Base64,
}

impl Form {
    /// By what the values are.
    pub(crate) fn of(content_type: &str) -> Self {
        match media_type(content_type).as_str() {
            "application/json" => Self::Json,
            text if text.starts_with("text/") => Self::Text,
            _ => Self::Base64,
        }
    }

    /// Several values as one.
    pub(crate) fn all(self, values: &[&[u8]]) -> String {
        match self {
            Self::Json => text(json::join(values.iter().copied())),
            Self::Text => text(values.concat()),
            Self::Base64 => base64::encode(&values.concat()),
        }
    }

    /// One value: it is no array of one.
    pub(crate) fn one(self, value: &[u8]) -> String {
        match self {
            Self::Json => String::from_utf8_lossy(value).into_owned(),
            _ => self.all(&[value]),
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
