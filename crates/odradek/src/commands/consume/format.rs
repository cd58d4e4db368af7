//! How a consumed record is printed: kcat's format strings.
//!
//! It reads no records; `consume` gives it one at a time.
//!
//! | token | stands for |
//! |---|---|
//! | `%s` `%S` | value; its length, -1 for none |
//! | `%k` `%K` | key; its length, -1 for none |
//! | `%t` `%p` `%o` | topic, partition, offset |
//! | `%T` | timestamp in milliseconds |
//! | `%h` | headers, `key=value` with commas |
//! | `%R` | length of the value, four bytes big-endian |
//! | `%%` | `%` |
//! | `\n` `\r` `\t` `\\` `\0` `\xHH` | the byte |

use model::PartitionIndex;
use records::Record;
use std::str::FromStr;

/// A format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Value,
    ValueLen,
    ValueLenBytes,
    Key,
    KeyLen,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut pieces, mut plain) = (Vec::new(), Vec::new());
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '%' => match token(letters.next())? {
                    Some(piece) => {
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        }
                        pieces.push(piece);
                    }
                    None => plain.push(b'%'),
                },
                '\\' => plain.push(escape(&mut letters)?),
                letter => plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }
}

impl Format {
    /// Values, each followed by `delimiter`; keys before them if `key_delimiter` is given.
    pub(crate) fn of_delimiters(key_delimiter: Option<&[u8]>, delimiter: &[u8]) -> Self {
        let key = key_delimiter.map(|delimiter| [Piece::Key, Piece::Text(delimiter.to_vec())]);
        let value = [Piece::Value, Piece::Text(delimiter.to_vec())];
        Self(key.into_iter().flatten().chain(value).collect())
    }

    /// Appends a record as the format says.
    pub(crate) fn write(&self, out: &mut Vec<u8>, topic: &str, partition: PartitionIndex, record: &Record) {
        let len = |field: &Option<bytes::Bytes>| field.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Piece::ValueLen => out.extend_from_slice(len(&record.value).to_string().as_bytes()),
                Piece::ValueLenBytes => {
                    out.extend_from_slice(&(len(&record.value) as i32).to_be_bytes());
                }
                Piece::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Piece::KeyLen => out.extend_from_slice(len(&record.key).to_string().as_bytes()),
                Piece::Topic => out.extend_from_slice(topic.as_bytes()),
                Piece::Partition => out.extend_from_slice(partition.to_string().as_bytes()),
                Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Timestamp => out.extend_from_slice(record.timestamp.to_string().as_bytes()),
                Piece::Headers => write_headers(out, record),
            }
        }
    }
}

/// A delimiter with the escapes of a format string; `%` has no meaning.
pub(crate) fn delimiter(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => bytes.push(escape(&mut letters)?),
            letter => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    match bytes.is_empty() {
        true => Err("a delimiter has at least one byte".into()),
        false => Ok(bytes),
    }
}

fn write_headers(out: &mut Vec<u8>, record: &Record) {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&header.key);
        out.push(b'=');
        out.extend_from_slice(header.value.as_deref().unwrap_or(b"NULL"));
    }
}

/// What a token stands for; `None` for `%` itself.
fn token(letter: Option<char>) -> Result<Option<Piece>, String> {
    Ok(Some(match letter {
        Some('s') => Piece::Value,
        Some('S') => Piece::ValueLen,
        Some('R') => Piece::ValueLenBytes,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyLen,
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('h') => Piece::Headers,
        Some('%') => return Ok(None),
        Some(letter) => {
            return Err(format!("'%{letter}' is unknown; there are %s %S %k %K %t %p %o %T %h %R %%"));
        }
        None => return Err("a single '%' stands at the end; write '%%' for it".into()),
    }))
}

fn escape(letters: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match letters.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: Option<String> = [letters.next(), letters.next()].into_iter().collect();
            digits
                .and_then(|digits| u8::from_str_radix(&digits, 16).ok())
                .ok_or_else(|| "'\\x' needs two hexadecimal digits".into())
        }
        Some(letter) => Err(format!("'\\{letter}' is unknown; there are \\n \\r \\t \\0 \\\\ \\xHH")),
        None => Err("a single '\\' stands at the end; write '\\\\' for it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use records::Header;

    fn check(format: &str, shown: &[u8]) {
        let record = Record {
            offset: 7,
            timestamp: 1234,
            key: Some("key".into()),
            value: Some("value".into()),
            headers: vec![
                Header { key: "a".into(), value: Some("1".into()) },
                Header { key: "b".into(), value: None },
            ],
        };
        let mut out = Vec::new();
        format.parse::<Format>().unwrap().write(&mut out, "topic", 3, &record);
        assert_eq!(out, shown, "{format}");
    }

    #[test]
    fn every_token_stands_for_its_part() {
        check("%t/%p/%o", b"topic/3/7");
        check("%k=%s", b"key=value");
        check("%K %S", b"3 5");
        check("%T %h", b"1234 a=1,b=NULL");
        check("%R%s", b"\0\0\0\x05value");
        check("100%%", b"100%");
        check("", b"");
    }

    #[test]
    fn escapes_stand_for_their_bytes() {
        check(r"%s\n\t\r\0\\\x41\xfF", b"value\n\t\r\0\\A\xff");
        check("\u{e4}", "\u{e4}".as_bytes());
    }

    #[test]
    fn what_is_missing_is_empty_and_has_length_minus_one() {
        let record = Record { offset: 0, timestamp: -1, key: None, value: None, headers: Vec::new() };
        let mut out = Vec::new();
        "[%k][%s]%K %S %h".parse::<Format>().unwrap().write(&mut out, "t", 0, &record);
        assert_eq!(out, b"[][]-1 -1 ");
    }

    #[test]
    fn mistakes_are_told() {
        for (format, said) in [
            ("%q", "%q"),
            ("%", "%%"),
            (r"\", r"\\"),
            (r"\q", r"\q"),
            (r"\x4", "digits"),
            (r"\xzz", "digits"),
        ] {
            let error = format.parse::<Format>().unwrap_err();
            assert!(error.contains(said), "{format}: {error}");
        }
    }

    #[test]
    fn delimiters_know_escapes_but_no_tokens() {
        assert_eq!(delimiter(r"%s\t"), Ok(b"%s\t".to_vec()));
        assert!(delimiter("").is_err());
    }
}
