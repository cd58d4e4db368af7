//! Bytes as text (RFC 4648): with the standard alphabet and padding (section 4), and with that of addresses and without (section 5).

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Section 4.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = digits(bytes, STANDARD);
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

/// Section 5.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    digits(bytes, URL)
}

/// What [`encode`] writes, and nothing else.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = values(text.trim_end_matches('='), STANDARD)?;
    (encode(&bytes) == text).then_some(bytes)
}

/// What [`encode_url`] writes, and nothing else.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    let bytes = values(text, URL)?;
    (encode_url(&bytes) == text).then_some(bytes)
}

fn digits(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            let digit = (bits >> (18 - 6 * place) & 63) as usize;
            out.push(char::from(alphabet.get(digit).copied().unwrap_or(b'A')));
        }
    }
    out
}

fn values(text: &str, alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for place in 0..4 {
            let digit = match chunk.get(place) {
                Some(byte) => alphabet.iter().position(|digit| digit == byte)?,
                None => 0,
            };
            bits = bits << 6 | digit as u32;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend_from_slice(bytes.get(..chunk.len() - 1)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_written_as_rfc_4648_does() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(bytes.as_bytes()), text, "{bytes}");
            assert_eq!(encode_url(bytes.as_bytes()), text.trim_end_matches('='), "{bytes}");
        }
        let high = [0xfb, 0xff, 0xfe];
        assert_eq!((encode(&high), encode_url(&high)), ("+//+".into(), "-__-".into()));
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zg===", "Z-==", "Zg==Zg==", "\u{e4}", "===="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode_url(&encode_url(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9_=+/\u{e4}-]{0,20}") {
            let _ = (decode(&text), decode_url(&text));
        }
    }
}
