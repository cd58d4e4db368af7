//! The consumer protocol that classic members embed in JoinGroup and SyncGroup: what a member is subscribed to and has, and
//! what it is assigned.
//!
//! Classic groups read only the topics, at the beginning of a subscription; the rest is between their members. Consumer
//! groups (KIP-848) read all and write assignments themselves. A version later than 3 is read as 3, as Kafka does: later
//! versions only append.

use bytes::Bytes;
use stdx::{Cursor, Short};

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The highest version that is written.
const VERSION_MAX: i16 = 3;

/// The topics of one subscription: `version: i16, topics: [string]`.
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let mut cursor = Cursor::new(metadata);
    version_of(&mut cursor).ok()?;
    strings(&mut cursor).ok()
}

/// What a member says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    /// The topics that it is subscribed to.
    pub(crate) topics: Vec<&'a str>,
    /// The partitions that it has by topic (version 1 on).
    pub(crate) owned: Vec<(&'a str, Vec<i32>)>,
    /// Its `client.rack` (version 3 on).
    pub(crate) rack_id: Option<&'a str>,
}

/// What a member is assigned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assigned<'a> {
    /// The partitions by topic.
    pub(crate) partitions: Vec<(&'a str, Vec<i32>)>,
    /// Whether the leader told it something that only its assignor understands.
    pub(crate) has_user_data: bool,
}

/// Not what the consumer protocol says.
struct Malformed;

impl From<Short> for Malformed {
    fn from(_: Short) -> Self {
        Self
    }
}

/// A whole subscription.
pub(crate) fn read(metadata: &[u8]) -> Option<Said<'_>> {
    read_said(metadata).ok()
}

fn read_said(metadata: &[u8]) -> Result<Said<'_>, Malformed> {
    let mut cursor = Cursor::new(metadata);
    let version = version_of(&mut cursor)?;
    let topics = strings(&mut cursor)?;
    user_data(&mut cursor)?;
    // Some clients write version 1 and end here (segmentio/kafka-go#1156).
    if version == 1 && cursor.remaining() == 0 {
        return Ok(Said { topics, owned: Vec::new(), rack_id: None });
    }
    let owned = if version >= 1 { partitions(&mut cursor)? } else { Vec::new() };
    if version >= 2 {
        let _generation = cursor.i32()?;
    }
    let rack_id = if version >= 3 { nullable_string(&mut cursor)? } else { None };
    Ok(Said { topics, owned, rack_id })
}

/// An assignment; one without any bytes has no partitions.
pub(crate) fn read_assignment(assignment: &[u8]) -> Option<Assigned<'_>> {
    let nothing = Assigned { partitions: Vec::new(), has_user_data: false };
    if assignment.is_empty() { Some(nothing) } else { read_assigned(assignment).ok() }
}

fn read_assigned(assignment: &[u8]) -> Result<Assigned<'_>, Malformed> {
    let mut cursor = Cursor::new(assignment);
    version_of(&mut cursor)?;
    let partitions = partitions(&mut cursor)?;
    Ok(Assigned { partitions, has_user_data: user_data(&mut cursor)? > 0 })
}

/// The bytes of an assignment, in the version in which the member wrote `metadata`.
pub(crate) fn to_assignment(metadata: &[u8], partitions: &[(impl AsRef<str>, Vec<i32>)]) -> Bytes {
    let length = |n: usize| i32::try_from(n).unwrap_or(i32::MAX).to_be_bytes();
    let mut bytes = Vec::new();
    bytes.extend(version_of(&mut Cursor::new(metadata)).unwrap_or(0).to_be_bytes());
    bytes.extend(length(partitions.len()));
    for (topic, indices) in partitions {
        let topic = topic.as_ref().as_bytes();
        bytes.extend(i16::try_from(topic.len()).unwrap_or(i16::MAX).to_be_bytes());
        bytes.extend(topic);
        bytes.extend(length(indices.len()));
        indices.iter().for_each(|index| bytes.extend(index.to_be_bytes()));
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

fn version_of(cursor: &mut Cursor<'_>) -> Result<i16, Malformed> {
    let version = cursor.i16()?;
    if version < 0 { Err(Malformed) } else { Ok(version.min(VERSION_MAX)) }
}

/// Elements until the bytes end, whatever count was claimed.
fn array<'a, T>(
    cursor: &mut Cursor<'a>,
    element: impl Fn(&mut Cursor<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = cursor.i32()?;
    if count < 0 {
        return Err(Malformed);
    }
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(element(cursor)?);
    }
    Ok(all)
}

fn strings<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<&'a str>, Malformed> {
    array(cursor, string)
}

fn partitions<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<(&'a str, Vec<i32>)>, Malformed> {
    array(cursor, |cursor| Ok((string(cursor)?, array(cursor, |cursor| Ok(cursor.i32()?))?)))
}

fn string<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Malformed> {
    nullable_string(cursor)?.ok_or(Malformed)
}

fn nullable_string<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a str>, Malformed> {
    match usize::try_from(cursor.i16()?) {
        Ok(length) => std::str::from_utf8(cursor.take(length)?).map(Some).map_err(|_| Malformed),
        Err(_) => Ok(None),
    }
}

/// How many bytes it has.
fn user_data(cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    let length = usize::try_from(cursor.i32()?).unwrap_or(0);
    cursor.take(length)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, count: i32) {
            read(&bytes);
            read_assignment(&bytes);
            let claimed = [&[0, 0][..], &count.to_be_bytes(), &bytes].concat();
            prop_assert!(topics(&claimed).is_none_or(|topics| topics.len() <= bytes.len() / 2));
            read(&claimed);
            read_assignment(&claimed);
        }

        #[test]
        fn an_assignment_is_read_as_it_was_written(
            version in 0_i16..9,
            partitions in prop::collection::vec(("[a-z]{1,9}", prop::collection::vec(0_i32..99, 0..5)), 0..4),
        ) {
            let bytes = to_assignment(&version.to_be_bytes(), &partitions);
            prop_assert_eq!(&bytes[..2], &version.min(3).to_be_bytes());
            let partitions = partitions.iter().map(|(topic, indices)| (topic.as_str(), indices.clone())).collect();
            prop_assert_eq!(read_assignment(&bytes), Some(Assigned { partitions, has_user_data: false }));
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

    #[test]
    fn each_version_of_a_subscription_has_its_fields() {
        let topics = || vec!["a"];
        let (head, owned) =
            (b"\0\0\0\x01\0\x01a\0\0\0\x01x", b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\x04");
        let zero = [&b"\0\0"[..], head].concat();
        assert_eq!(read(&zero), Some(Said { topics: topics(), owned: vec![], rack_id: None }));
        let owns = || vec![("a", vec![3, 4])];
        let one = [&b"\0\x01"[..], head, owned].concat();
        assert_eq!(read(&one), Some(Said { topics: topics(), owned: owns(), rack_id: None }));
        let three = [&b"\0\x03"[..], head, owned, b"\0\0\0\x07\0\x02r1"].concat();
        assert_eq!(read(&three), Some(Said { topics: topics(), owned: owns(), rack_id: Some("r1") }));
        let nine = [&b"\0\x09"[..], head, owned, b"\0\0\0\x07\xff\xffmore"].concat();
        assert_eq!(read(&nine), Some(Said { topics: topics(), owned: owns(), rack_id: None }));
        let short = [&b"\0\x01"[..], head].concat();
        assert_eq!(read(&short), Some(Said { topics: topics(), owned: vec![], rack_id: None }));
        assert_eq!(read(&[&b"\0\x02"[..], head].concat()), None, "it ends too early");
    }

    #[test]
    fn an_assignment_may_be_missing_and_may_have_user_data() {
        assert_eq!(read_assignment(b"").map(|assigned| assigned.partitions), Some(vec![]));
        let told = read_assignment(b"\0\0\0\0\0\0\0\0\0\x02hi");
        assert_eq!(told.map(|assigned| assigned.has_user_data), Some(true));
        assert_eq!(read_assignment(b"all"), None);
    }
}
