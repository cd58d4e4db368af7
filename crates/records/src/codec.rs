//! The compression codecs of record batches and their numbers in a batch's attributes.
//!
//! It neither compresses nor decompresses; `compress` and `decompress` do.

use std::fmt;

/// How the records of a batch are compressed; the number is written in the low three bits of the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// As they are.
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy in the framing of the Java library, or raw.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard, RFC 8878 (KIP-110).
    Zstd = 4,
}

/// A codec with its level; `None` is the codec's own default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// gzip: 1 to 9; zstd: -131072 to 22; the others have none here.
    pub level: Option<i32>,
}

impl Codec {
    /// The codec of a number in a batch's attributes.
    pub fn from_id(id: u8) -> Option<Self> {
        Some(match id {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// The codec of a name as `compression.type` has it; `None` for `producer` and unknown names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.name() == name || (*codec == Self::None && name == "uncompressed"))
    }

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name as clients write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self { codec, level: None }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_read_back() {
        for id in 0..5 {
            let codec = Codec::from_id(id).unwrap();
            assert_eq!((codec.id(), Codec::from_name(codec.name())), (id, Some(codec)));
        }
        assert_eq!((Codec::from_id(5), Codec::from_name("producer")), (None, None));
        assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    }
}
