//! A 128-bit id in Kafka's text form: URL-safe base64 without padding, 22 characters.
//!
//! It is not an RFC 4122 parser: Kafka never shows its ids in the hexadecimal form.

use std::fmt;

/// A 128-bit id; all zero means "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// The id that stands for "none".
    pub const ZERO: Self = Self([0; 16]);
    /// The id of `__cluster_metadata` (KIP-516).
    pub const METADATA_TOPIC: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// A version 4 id of sixteen random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        Self(bytes)
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Reads the text form; `None` if it is not 22 base64 digits or has bits beyond the 128th.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 22 {
            return None;
        }
        let mut value = 0u128;
        for (index, digit) in text.bytes().enumerate() {
            let six = DIGITS.iter().position(|d| *d == digit)? as u128;
            if index == 21 {
                return (six & 0x0f == 0).then(|| Self((value << 2 | six >> 4).to_be_bytes()));
            }
            value = value << 6 | six;
        }
        None
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for index in 0..22u32 {
            let six = if index == 21 { (value & 3) << 4 } else { value >> (122 - 6 * index) & 63 };
            let digit = DIGITS.get(six as usize).copied().unwrap_or(b'A');
            fmt::Write::write_char(f, digit as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_text_form_reads_back(bytes: [u8; 16]) {
            let id = Uuid::from_random(bytes);
            prop_assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn the_text_form_is_kafkas() {
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAQ"), Some(Uuid::METADATA_TOPIC));
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAR"), None);
        assert_eq!(Uuid::parse("short"), None);
    }
}
