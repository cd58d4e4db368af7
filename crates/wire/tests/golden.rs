//! The bytes that Apache Kafka's own classes make of every message at every version are read and written alike, and
//! what the generated lists say about APIs and errors is what those classes say.
//!
//! `golden.txt` holds the bytes; `java/Golden.java` makes it and says how.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use bytes::Bytes;
use std::{collections::BTreeMap, fmt::Debug};
use wire::{ApiKey, Decoder, ErrorCode, Message, catalogue, every_message};

const GOLDEN: &str = include_str!("golden.txt");

/// Bytes by how the message was filled and its version.
type Samples<'a> = BTreeMap<(&'a str, i16), Bytes>;

/// The words of all lines of a kind.
fn lines(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let words = GOLDEN.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.filter(move |words| words[0] == kind)
}

fn samples() -> BTreeMap<&'static str, Samples<'static>> {
    let mut samples: BTreeMap<_, Samples<'static>> = BTreeMap::new();
    for fill in ["default", "full", "null"] {
        for words in lines(fill) {
            let [_, name, version, digits] = words[..] else { panic!("{words:?}") };
            let of_message = samples.entry(name).or_default();
            of_message.insert((fill, version.parse().unwrap()), from_hexadecimal(digits));
        }
    }
    samples
}

fn from_hexadecimal(digits: &str) -> Bytes {
    let digits = digits.trim_start_matches('-').as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn check<M: Message + Default + Debug + PartialEq>(samples: &BTreeMap<&str, Samples<'_>>) {
    let samples = samples.get(M::NAME).unwrap_or_else(|| panic!("Kafka has no {}", M::NAME));
    for ((fill, version), bytes) in samples {
        let what = format!("{fill} {} {version}", M::NAME);
        let mut decoder = Decoder::with_default_budget(bytes.clone());
        let read = M::decode(&mut decoder, *version).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(decoder.remaining(), 0, "{what}: {read:?}");
        assert_eq!(read.to_parts(*version), Ok(bytes.clone().into()), "{what}: {read:?}");
        if *fill == "default" {
            assert_eq!(M::default().to_parts(*version), Ok(bytes.clone().into()), "{what}");
        }
    }
    for version in M::VERSIONS {
        let known = samples.keys().any(|(_, of)| *of == version);
        assert!(known, "there are no bytes of {} {version}", M::NAME);
    }
}

macro_rules! check_all {
    ($($message:ty,)*) => { fn check_all(samples: &BTreeMap<&str, Samples<'_>>) -> Vec<&'static str> {
        $(check::<$message>(samples);)*
        vec![$(<$message>::NAME),*]
    } };
}
every_message!(check_all);

#[test]
fn every_message_is_read_and_written_as_kafka_does() {
    let samples = samples();
    let checked = check_all(&samples);
    assert!(samples.keys().all(|name| checked.contains(name)));
    assert_eq!(checked.len(), samples.len());
}

#[test]
fn error_codes_are_kafkas() {
    let kafkas: Vec<_> = lines("error").map(|words| words[1..].join(" ")).collect();
    let mut ours: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| format!("{} {} {}", code.to_i16(), code.name(), code.is_retriable()))
        .collect();
    assert_eq!(ours.len(), kafkas.len());
    ours.retain(|code| !kafkas.contains(code));
    assert_eq!(ours, [""; 0]);
}

#[test]
fn apis_and_their_headers_are_kafkas() {
    let kafkas: Vec<_> = lines("api").map(|words| words[1..].join(" ")).collect();
    let ours: Vec<_> = ApiKey::ALL.iter().map(|key| api(*key)).collect();
    assert_eq!(ours, kafkas);
}

fn api(key: ApiKey) -> String {
    let headers: String = key
        .versions()
        .map(|version| {
            let (request, response) =
                (key.request_header_version(version), key.response_header_version(version));
            format!("{version}:{request}:{response};")
        })
        .collect();
    let (broker, controller) = (key.is_on_broker(), key.is_on_controller());
    format!("{} {key} {broker} {controller} {headers}", key.to_i16())
}

#[test]
fn a_broker_with_all_apis_advertises_what_kafka_advertises() {
    let kafkas: Vec<_> = lines("row").map(|words| words[1..].join(" ")).collect();
    let keys: Vec<_> = ApiKey::ALL.into_iter().filter(|key| key.is_on_broker()).collect();
    let ours: Vec<_> = catalogue::rows(&keys)
        .iter()
        .map(|row| format!("{} {} {}", row.api_key, row.min_version, row.max_version))
        .collect();
    assert_eq!(ours, kafkas);
}
