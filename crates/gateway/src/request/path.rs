//! Paths and queries: which topic, key or partition is meant, to the byte.
//!
//! A key may have any bytes, slashes among them; segments that a proxy or a browser would take out (`.` and `..`, written in any
//! way) are refused, so that nobody checks another path than the one that is served.

use super::{no_route, topic};
use crate::problem::Problem;
use model::TopicName;

/// The longest key of a path, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// What every path begins with.
const ROOT: &str = "/s/";
/// Behind it come partitions, and no keys.
const PARTITIONS: &str = "-";
/// Behind it comes what the protocol keeps for itself.
const RESERVED: &str = "__ds";

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/s/{topic}`: all of a topic.
    Topic(TopicName),
    /// `/s/{topic}/{key}`: one key.
    Key(TopicName, Vec<u8>),
    /// `/s/{topic}/-/p/{partition}`: one partition.
    Partition(TopicName, i32),
    /// `/s/{topic}/__ds/...`: subscriptions and keys of signatures, by their segments.
    Control(TopicName, Vec<String>),
}

impl Path {
    /// Reads the path of a request, without its query.
    pub(crate) fn parse(path: &str) -> Result<Self, Problem> {
        let rest = path.strip_prefix(ROOT).ok_or_else(|| no_route("streams are below /s/"))?;
        let (name, key) = match rest.split_once('/') {
            None => (rest, None),
            Some((name, key)) => (name, Some(key)),
        };
        let name = decode(name, false)?;
        let name = topic(&String::from_utf8_lossy(&name))?;
        let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(Self::Topic(name)) };
        let segments = key.split('/').map(|segment| decode(segment, false)).collect::<Result<Vec<_>, _>>()?;
        let joined = segments.join(&b'/');
        if joined.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..") {
            return Err(Problem::malformed("path", "a key has no segments . and .. between its slashes"));
        }
        match segments.iter().map(|segment| segment.as_slice()).collect::<Vec<_>>()[..] {
            [first, b"p", number] if first == PARTITIONS.as_bytes() => {
                let number = std::str::from_utf8(number).ok().filter(|text| !text.starts_with('+'));
                match number.and_then(|text| text.parse().ok()).filter(|number| *number >= 0) {
                    Some(number) => Ok(Self::Partition(name, number)),
                    None => Err(Problem::malformed("partition", "a partition is a number from 0 on")),
                }
            }
            [first, ..] if first == PARTITIONS.as_bytes() => {
                Err(no_route("below /s/{topic}/- there is p/{partition}"))
            }
            [first, ref more @ ..] if first == RESERVED.as_bytes() => {
                let text = |segment: &&[u8]| String::from_utf8(segment.to_vec());
                let more = more.iter().map(text).collect::<Result<_, _>>();
                Ok(Self::Control(name, more.map_err(|_| Problem::malformed("path", "it is no UTF-8"))?))
            }
            _ if joined.len() > KEY_BYTES_MAX => {
                let text =
                    format!("the key has {} bytes, and at most {KEY_BYTES_MAX} are allowed", joined.len());
                Err(Problem::malformed("key", text))
            }
            _ => Ok(Self::Key(name, joined)),
        }
    }
}

/// The pairs of a query (`application/x-www-form-urlencoded`).
pub(super) fn query(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let text = |encoded: &str| {
        let bytes = decode(encoded, true)?;
        String::from_utf8(bytes).map_err(|_| Problem::malformed("query", "the query is no UTF-8"))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((text(key)?, text(value)?))
        })
        .collect()
}

/// Takes percent-encoding away (RFC 3986, section 2.1), and in a query plus signs for spaces.
fn decode(encoded: &str, is_query: bool) -> Result<Vec<u8>, Problem> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = encoded.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        out.push(match byte {
            b'%' => {
                let (Some(high), Some(low)) = (digit(rest.first()), digit(rest.get(1))) else {
                    let text = "a percent sign has two hexadecimal digits behind it; %25 is one that stands for itself";
                    return Err(Problem::malformed("path", text));
                };
                bytes = rest.get(2..).unwrap_or_default();
                (high << 4 | low) as u8
            }
            b'+' if is_query => b' ',
            byte => *byte,
        });
    }
    Ok(out)
}
