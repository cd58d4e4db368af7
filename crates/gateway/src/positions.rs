//! Where a reader of several streams is: a place in each, as one text that only this server understands.
//!
//! It is the base64url of a version, of what the streams are (a hash), and of their places in the order of the streams. It does not sort.

use crate::{base64, token::Token};

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Positions {
    /// Of which streams.
    pub(crate) of: u32,
    /// In each.
    pub(crate) places: Vec<Token>,
}

/// How many streams one reader has at most: the text must go through a header.
pub(crate) const STREAMS_MAX: usize = 1024;

/// The first byte.
const VERSION: u8 = 1;

impl Positions {
    /// As a text.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.of.to_be_bytes());
        for Token(place) in &self.places {
            // Nearly all are of generation 0.
            put(&mut bytes, u64::from(place.generation));
            put(&mut bytes, place.offset);
        }
        base64::encode_url(&bytes)
    }

    /// Reads a text; only what [`Positions::encode`] writes is one.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = base64::decode_url(text)?;
        let (version, rest) = bytes.split_first()?;
        let (of, mut rest) = rest.split_first_chunk()?;
        let mut places = Vec::new();
        while !rest.is_empty() {
            let generation = u16::try_from(take(&mut rest)?).ok()?;
            let offset = take(&mut rest)?;
            if generation > mailbox::limits::GENERATION_MAX || places.len() >= STREAMS_MAX {
                return None;
            }
            places.push(Token::new(generation, offset));
        }
        let read = Self { of: u32::from_be_bytes(*of), places };
        // A number can be written in several ways.
        (*version == VERSION && read.encode() == text).then_some(read)
    }
}

/// What streams these are (FNV-1a of 32 bits): a place in some is none in others.
pub(crate) fn hash<'a>(names: impl Iterator<Item = &'a [u8]>) -> u32 {
    const BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(PRIME);
    names.fold(BASIS, |hash, name| {
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
        length.iter().chain(name).fold(hash, |hash, byte| step(hash, *byte))
    })
}

/// A number in groups of seven bits, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        number |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn its_bytes_are_these_and_no_others_are_read() {
        let places = vec![Token::new(0, 0), Token::new(0, 300), Token::new(2, u64::MAX)];
        let positions = Positions { of: 0x0102_0304, places };
        let text = "AQECAwQAAACsAgL___________8B";
        assert_eq!(positions.encode(), text);
        assert_eq!(Positions::decode(text), Some(positions));
        let empty = Positions { of: 7, places: vec![] };
        assert_eq!(Positions::decode(&empty.encode()), Some(empty));
        for text in [
            "",
            "A",
            "AQ",
            "AQECAwQ=",
            "AQECAwQA",
            "AgECAwQAAA",
            "AQECAwQAgAA",
            "AQECAwQAAACsAgL___________8C",
            "AQECAwR\u{e4}",
            "0000000000000000_0000000000000000",
            "now",
            "-1",
        ] {
            assert_eq!(Positions::decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn more_streams_than_there_may_be_are_not_read() {
        let many = |count| Positions { of: 0, places: vec![Token::BEGIN; count] };
        assert!(Positions::decode(&many(STREAMS_MAX).encode()).is_some());
        assert_eq!(Positions::decode(&many(STREAMS_MAX + 1).encode()), None);
    }

    #[test]
    fn streams_with_other_borders_are_others() {
        let hash = |names: &[&str]| hash(names.iter().map(|name| name.as_bytes()));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            of in any::<u32>(),
            places in prop::collection::vec((0..=mailbox::limits::GENERATION_MAX, any::<u64>()), 0..40),
        ) {
            let places = places.into_iter().map(|(generation, offset)| Token::new(generation, offset)).collect();
            let positions = Positions { of, places };
            prop_assert_eq!(Positions::decode(&positions.encode()), Some(positions));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9_=+/ \u{e4}-]{0,60}") {
            if let Some(read) = Positions::decode(&text) {
                prop_assert_eq!(read.encode(), text);
            }
        }
    }
}
