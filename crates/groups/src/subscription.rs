//! The topics that a consumer says it is subscribed to, read from its JoinGroup metadata.
//!
//! It reads version 0 of the consumer protocol, which is the beginning of every later version. To the coordinator
//! the metadata is otherwise opaque: only the leader of the group understands all of it.

use stdx::{Cursor, Short};

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The topics of one subscription: `version: i16, topics: [string]`.
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    read(metadata).ok().flatten()
}

fn read(metadata: &[u8]) -> Result<Option<Vec<&str>>, Short> {
    let mut cursor = Cursor::new(metadata);
    if cursor.i16()? < 0 {
        return Ok(None);
    }
    let count = cursor.i32()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let Ok(length) = usize::try_from(cursor.i16()?) else { return Ok(None) };
        let Ok(topic) = std::str::from_utf8(cursor.take(length)?) else { return Ok(None) };
        topics.push(topic);
    }
    Ok((count >= 0).then_some(topics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, count: i32) {
            topics(&bytes);
            let claimed = [&[0, 0][..], &count.to_be_bytes(), &bytes].concat();
            prop_assert!(topics(&claimed).is_none_or(|topics| topics.len() <= bytes.len() / 2));
        }
    }

    #[test]
    fn topics_are_read_and_what_follows_is_ignored() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        assert_eq!(topics(bytes), Some(vec!["a", "bc"]));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn what_is_no_subscription_has_no_topics() {
        for bad in [&b""[..], b"\0", b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\xff\xff\xff\xff"] {
            assert_eq!(topics(bad), None, "{bad:?}");
        }
        assert_eq!(topics(b"\0\0\0\0\0\x01\xff\xff"), None, "a null topic");
        assert_eq!(topics(b"\0\0\0\0\0\x01\0\x01\xff"), None, "no UTF-8");
    }
}
