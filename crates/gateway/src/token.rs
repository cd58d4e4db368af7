//! Offsets as clients see them: positions in a stream, sortable as texts.

use mailbox::Place;
use std::fmt;

/// A position in a stream: the offset in the partition of the record that comes next, or of any that lies behind it.
///
/// Its text is twice sixteen digits with `_` between them: the generation counts the forks that lie between the record and the stream
/// that began with nothing, so that what a fork has inherited has the tokens that its source gave it, and what it was given itself sorts
/// behind that, although it lies in another partition; then the offset. The protocol's suite takes zeros for the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub Place);

/// Of each part. An offset that needs more is not reached in a million years of ten thousand records a second.
const DIGITS: usize = 16;

impl Token {
    /// Where a stream begins that is no fork.
    pub const BEGIN: Token = Token::new(0, 0);

    /// The offset in the partition of that generation.
    pub const fn new(generation: u16, offset: u64) -> Self {
        Self(Place { generation, offset })
    }

    /// Reads a token; only what [`Token`] writes is one.
    pub fn parse(text: &str) -> Option<Self> {
        let (generation, offset) = text.split_once('_')?;
        let is_number = |text: &str| text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(generation) || !is_number(offset) {
            return None;
        }
        Some(Self::new(generation.parse().ok()?, offset.parse().ok()?))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Place { generation, offset }) = self;
        write!(f, "{generation:0DIGITS$}_{offset:0DIGITS$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_was_written_is_read() {
        assert_eq!(Token::BEGIN.to_string(), "0000000000000000_0000000000000000");
        assert_eq!(Token::new(12, 345).to_string(), "0000000000000012_0000000000000345");
        for text in [
            "",
            "-1",
            "now",
            "0",
            "0000000000000000_1",
            "0000000000000000-0000000000000000",
            "0000000000000000_+000000000000000",
            "00000000000000000_000000000000000",
            "0000000000099999_0000000000000000",
            " 000000000000000_0000000000000000",
            "0000000000000000_0000000000000000 ",
            "0000000000000000_00000000000000\u{0661}",
        ] {
            assert_eq!(Token::parse(text), None, "{text:?}");
        }
        assert!(Token::new(0, u64::MAX) < Token::new(1, 0));
    }

    proptest! {
        #[test]
        fn texts_sort_as_positions_do(
            one in (0..=mailbox::limits::GENERATION_MAX, 0..10u64.pow(16)),
            other in (0..=mailbox::limits::GENERATION_MAX, 0..10u64.pow(16)),
        ) {
            let token = |(generation, offset)| Token::new(generation, offset);
            let (one, other) = (token(one), token(other));
            prop_assert_eq!(Token::parse(&one.to_string()), Some(one));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }
    }
}
