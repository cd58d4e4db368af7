//! Offsets as clients see them: positions in a stream, sortable as texts.

use std::fmt;

/// A position in a stream: the offset in the partition of the record that comes next, or of any that lies behind it.
///
/// Its text is `GGGG_` and twenty digits, where the generation `GGGG` counts the forks that lie between the record and the stream
/// that began with nothing: what a fork has inherited has the tokens that its source gave it, and what it was given itself sorts
/// behind that, although it lies in another partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// How many forks deep.
    pub generation: u16,
    /// The offset in that generation's partition.
    pub offset: u64,
}

/// Digits of the two parts.
const GENERATION_DIGITS: usize = 4;
const OFFSET_DIGITS: usize = 20;
/// What four digits hold.
const GENERATION_MAX: u16 = 9999;

impl Token {
    /// Where a stream begins that is no fork.
    pub const BEGIN: Token = Token { generation: 0, offset: 0 };

    /// Reads a token; only what [`Token`] writes is one.
    pub fn parse(text: &str) -> Option<Self> {
        let (generation, offset) = text.split_once('_')?;
        let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(generation, GENERATION_DIGITS) || !is_number(offset, OFFSET_DIGITS) {
            return None;
        }
        Some(Self { generation: generation.parse().ok()?, offset: offset.parse().ok()? })
    }

    /// The same place in a fork of the stream; `None` if it is forked too often.
    pub fn forked(self) -> Option<Self> {
        let generation = self.generation.checked_add(1).filter(|generation| *generation <= GENERATION_MAX)?;
        Some(Self { generation, offset: 0 })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, offset } = self;
        write!(f, "{generation:0GENERATION_DIGITS$}_{offset:0OFFSET_DIGITS$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_was_written_is_read() {
        assert_eq!(Token::BEGIN.to_string(), "0000_00000000000000000000");
        assert_eq!(Token { generation: 12, offset: 345 }.to_string(), "0012_00000000000000000345");
        for text in [
            "",
            "-1",
            "now",
            "0",
            "0000_1",
            "0000-00000000000000000000",
            "0000_+0000000000000000000",
            "0000_99999999999999999999",
            "00000_0000000000000000000",
            " 0000_00000000000000000000",
            "0000_00000000000000000000 ",
            "0000_0000000000000000000\u{0661}",
        ] {
            assert_eq!(Token::parse(text), None, "{text:?}");
        }
        assert_eq!(Token { generation: GENERATION_MAX, offset: 7 }.forked(), None);
        assert!(Token { generation: 0, offset: u64::MAX } < Token::BEGIN.forked().unwrap());
    }

    proptest! {
        #[test]
        fn texts_sort_as_positions_do(
            one in (0..=GENERATION_MAX, any::<u64>()),
            other in (0..=GENERATION_MAX, any::<u64>()),
        ) {
            let token = |(generation, offset)| Token { generation, offset };
            let (one, other) = (token(one), token(other));
            prop_assert_eq!(Token::parse(&one.to_string()), Some(one));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }
    }
}
