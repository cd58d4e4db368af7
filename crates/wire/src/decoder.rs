//! Reads the primitive types of Kafka's protocol out of one frame.
//!
//! It knows no message and no version; the generated code does. It never allocates more than its budget allows, so
//! that a frame of a few bytes cannot claim a gigabyte; whoever received the frame makes the decoder.

use bytes::Bytes;
use std::ops::RangeInclusive;
use stdx::{Part, Parts, Short, Uuid, varint};

/// What a frame may take under the default budget, however small it is; the broker gives budgets of its own.
pub const DECODE_BYTES_MIN: usize = 64 * 1024;

/// Memory that decoding may take as a multiple of the frame. Equals `model::limits::DECODE_BYTES_PER_FRAME_BYTE`.
pub const DECODE_BYTES_PER_FRAME_BYTE: usize = 8;

/// A frame that is not what it claims to be. Positions are bytes from the start of what the decoder was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ended before the value did, or a variable-length integer was malformed.
    #[error(transparent)]
    Short(#[from] Short),
    /// The message does not exist at this version.
    #[error("version {version} does not exist")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
    },
    /// An array claims more elements than the rest of the frame can hold.
    #[error("{count} elements are claimed at byte {at}, where {remaining} bytes are left")]
    Count {
        /// Where the count ended.
        at: usize,
        /// The claimed count.
        count: u32,
        /// How many bytes are left in the frame.
        remaining: usize,
    },
    /// The values would take more memory than the frame's budget.
    #[error("{needed} bytes of memory are needed at byte {at}, {left} are left of the budget")]
    Budget {
        /// Where the value that was too much stands.
        at: usize,
        /// How much memory it would take.
        needed: usize,
        /// How much the budget still allowed.
        left: usize,
    },
    /// Null where this version does not allow it.
    #[error("null at byte {at}, where this version does not allow it")]
    Null {
        /// Where the null ended.
        at: usize,
    },
    /// A string of more than 32,767 bytes.
    #[error("a string of {len} bytes at byte {at}")]
    StringLength {
        /// Where the length ended.
        at: usize,
        /// The claimed length.
        len: usize,
    },
    /// A tagged field that does not exist at this version, or whose size is not the size of its value.
    #[error("tagged field {tag} is malformed at byte {at}")]
    Tag {
        /// Where it was noticed.
        at: usize,
        /// The tag.
        tag: u32,
    },
}

/// A position in a frame, and how much memory its values may still take.
#[derive(Debug, Clone)]
pub struct Decoder {
    bytes: Bytes,
    at: usize,
    budget: usize,
}

macro_rules! read {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Reads a big-endian `", stringify!($type), "`.")]
        pub fn $name(&mut self) -> Result<$type, DecodeError> {
            self.chunk().map(<$type>::from_be_bytes)
        }
    )*};
}

impl Decoder {
    /// A decoder at the first byte of `bytes`, whose values may take `budget` bytes of memory beside it.
    pub fn new(bytes: Bytes, budget: usize) -> Self {
        Self { bytes, at: 0, budget }
    }

    /// A decoder with [`DECODE_BYTES_PER_FRAME_BYTE`] times the frame as budget, at least [`DECODE_BYTES_MIN`].
    pub fn with_default_budget(bytes: Bytes) -> Self {
        let budget = bytes.len().saturating_mul(DECODE_BYTES_PER_FRAME_BYTE).max(DECODE_BYTES_MIN);
        Self::new(bytes, budget)
    }

    read!(i8: i8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64, f64: f64);

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The number that comes next, if there is one; it remains to be read.
    pub fn peek_i32(&mut self) -> Option<i32> {
        let start = self.at;
        let number = self.i32().ok();
        self.at = start;
        number
    }

    /// How many bytes are left. Kafka ignores what follows a message in a frame; a caller that does not may ask here.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes that are left, without copying and without reading them.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }

    /// Reads a byte that is true unless it is zero.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.i8().map(|byte| byte != 0)
    }

    /// Reads an id.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.chunk().map(Uuid)
    }

    /// Reads an unsigned varint of at most 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let (value, used) = varint::read_unsigned_32(self.left()).ok_or(Short { at: self.at, needed: 1 })?;
        self.at += used;
        Ok(value)
    }

    /// Reads a zigzag varint of at most 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        self.unsigned_varint().map(varint::unzigzag_32)
    }

    /// Reads a string. Bytes that are not UTF-8 become U+FFFD, as in Java.
    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        self.string_option(flexible, false)?.ok_or(DecodeError::Null { at: self.at })
    }

    /// Reads a string or null; null is an error unless `nullable`.
    pub fn string_option(&mut self, flexible: bool, nullable: bool) -> Result<Option<String>, DecodeError> {
        let len = if flexible { self.compact_len()? } else { usize::try_from(self.i16()?).ok() };
        let Some(len) = self.not_null(len, nullable)? else { return Ok(None) };
        if len > i16::MAX as usize {
            return Err(DecodeError::StringLength { at: self.at, len });
        }
        self.charge(len)?;
        let bytes = self.left().get(..len).ok_or_else(|| self.short(len))?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                // Every byte may turn into three.
                let bytes = self.bytes.slice(self.at..self.at + len);
                self.charge(len * 2)?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        self.at += len;
        Ok(Some(text))
    }

    /// Reads bytes, as a slice of the frame.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.bytes_option(flexible, false)?.ok_or(DecodeError::Null { at: self.at })
    }

    /// Reads bytes or null, as a slice of the frame; null is an error unless `nullable`.
    pub fn bytes_option(&mut self, flexible: bool, nullable: bool) -> Result<Option<Bytes>, DecodeError> {
        let len = self.len(flexible)?;
        let Some(len) = self.not_null(len, nullable)? else { return Ok(None) };
        self.take(len).map(Some)
    }

    /// Reads `len` bytes, as a slice of the frame.
    pub fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(self.short(len).into());
        }
        let taken = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Ok(taken)
    }

    /// Reads record batches, as one piece that is a slice of the frame.
    pub fn records(&mut self, flexible: bool) -> Result<Parts, DecodeError> {
        self.records_option(flexible, false)?.ok_or(DecodeError::Null { at: self.at })
    }

    /// Reads record batches or null; null is an error unless `nullable`.
    pub fn records_option(&mut self, flexible: bool, nullable: bool) -> Result<Option<Parts>, DecodeError> {
        let Some(bytes) = self.bytes_option(flexible, nullable)? else { return Ok(None) };
        if !bytes.is_empty() {
            self.charge(size_of::<Part>())?;
        }
        Ok(Some(bytes.into()))
    }

    /// Reads an array whose elements take at least `size_min` bytes each.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        size_min: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.array_option(flexible, false, size_min, read)?.ok_or(DecodeError::Null { at: self.at })
    }

    /// Reads an array or null; null is an error unless `nullable`.
    pub fn array_option<T>(
        &mut self,
        flexible: bool,
        nullable: bool,
        size_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count(flexible, nullable, size_min, size_of::<T>())? else { return Ok(None) };
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(Some(values))
    }

    /// Reads whether a struct that may be null is there; null is an error unless `nullable`.
    pub fn present(&mut self, nullable: bool) -> Result<bool, DecodeError> {
        let present = self.i8()? >= 0;
        if present || nullable { Ok(present) } else { Err(DecodeError::Null { at: self.at }) }
    }

    /// Reads whether a struct in a tagged field, which may be null, is there. The mark is another one than
    /// [`Self::present`] reads.
    pub fn present_tagged(&mut self, nullable: bool) -> Result<bool, DecodeError> {
        let present = self.unsigned_varint()? > 0;
        if present || nullable { Ok(present) } else { Err(DecodeError::Null { at: self.at }) }
    }

    /// Reads the number of a tagged field and where its value ends.
    pub fn tag(&mut self) -> Result<(u32, usize), DecodeError> {
        let tag = self.unsigned_varint()?;
        let len = self.unsigned_varint()? as usize;
        if len > self.remaining() {
            return Err(self.short(len).into());
        }
        Ok((tag, self.at + len))
    }

    /// Checks that the value of a tagged field ended where its size said.
    pub fn end_tag(&self, tag: u32, end: usize) -> Result<(), DecodeError> {
        if self.at == end { Ok(()) } else { Err(self.bad_tag(tag)) }
    }

    /// Goes to the end of a tagged field that this version of the schemas does not know.
    pub fn skip_tag(&mut self, end: usize) {
        self.at = end.clamp(self.at, self.bytes.len());
    }

    /// Goes over a section of tagged fields none of which is known.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.unsigned_varint()? {
            let (_, end) = self.tag()?;
            self.skip_tag(end);
        }
        Ok(())
    }

    /// The error for a tagged field that is known, but not at this version.
    pub fn bad_tag(&self, tag: u32) -> DecodeError {
        DecodeError::Tag { at: self.at, tag }
    }

    /// Goes back to an earlier position. What was charged stays charged.
    pub(crate) fn rewind(&mut self, position: usize) {
        self.at = position.min(self.at);
    }

    /// Checks that a message exists at a version.
    pub fn check_version(&self, version: i16, versions: RangeInclusive<i16>) -> Result<(), DecodeError> {
        if versions.contains(&version) { Ok(()) } else { Err(DecodeError::UnsupportedVersion { version }) }
    }

    fn count(
        &mut self,
        flexible: bool,
        nullable: bool,
        size_min: usize,
        element_bytes: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let len = self.len(flexible)?;
        let Some(count) = self.not_null(len, nullable)? else { return Ok(None) };
        let remaining = self.remaining();
        if count > remaining / size_min.max(1) {
            return Err(DecodeError::Count { at: self.at, count: count as u32, remaining });
        }
        self.charge(count.saturating_mul(element_bytes))?;
        Ok(Some(count))
    }

    /// A length of 32 bits or a compact one; `None` for null. Like Java, takes every negative length for null.
    fn len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_len() } else { self.i32().map(|len| usize::try_from(len).ok()) }
    }

    fn compact_len(&mut self) -> Result<Option<usize>, DecodeError> {
        self.unsigned_varint().map(|len| (len as usize).checked_sub(1))
    }

    fn not_null(&self, len: Option<usize>, nullable: bool) -> Result<Option<usize>, DecodeError> {
        if len.is_some() || nullable { Ok(len) } else { Err(DecodeError::Null { at: self.at }) }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let left = self.budget;
        self.budget =
            left.checked_sub(bytes).ok_or(DecodeError::Budget { at: self.at, needed: bytes, left })?;
        Ok(())
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, _) = self.left().split_first_chunk::<N>().ok_or_else(|| self.short(N))?;
        let head = *head;
        self.at += N;
        Ok(head)
    }

    fn left(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn short(&self, wanted: usize) -> Short {
        Short { at: self.at, needed: wanted.saturating_sub(self.remaining()) }
    }
}

#[cfg(test)]
mod tests;
