//! Writes the primitive types of Kafka's protocol, and puts record batches between them without copying them.
//!
//! It knows no message and no version; the generated code does. `header` makes one per response or request.

use bytes::Bytes;
use std::ops::RangeInclusive;
use stdx::{Part, Parts, Uuid, varint};

/// Pieces of record batches below this many bytes are copied: an entry in a list of pieces costs more than the copy.
pub const RECORDS_COPY_BYTES_MAX: usize = 1024;

/// A message that cannot be said at the version asked for. Always a mistake of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message does not exist at this version.
    #[error("version {version} does not exist")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
    },
    /// A field that must not get lost has a value, but does not exist at this version.
    #[error("{field} has a value, but does not exist at version {version}")]
    Absent {
        /// The struct and field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null where this version does not allow it.
    #[error("{field} is null, which this version does not allow")]
    Null {
        /// The struct and field.
        field: &'static str,
    },
    /// A field is longer than the protocol can say: strings 32,767 bytes, all else 2,147,483,647 bytes or elements.
    #[error("{field} is too long: {len}")]
    TooLong {
        /// The struct and field, or `frame`.
        field: &'static str,
        /// Its length.
        len: usize,
    },
}

/// A growing buffer, and the pieces that belong between its bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    /// Pieces that come before the byte at this index of the buffer, in order.
    inserted: Vec<(usize, Part)>,
    inserted_bytes: usize,
}

/// Where the number of tagged fields of a struct stands.
#[derive(Debug)]
pub struct Tags(usize);

/// Where the value of a tagged field begins.
#[derive(Debug)]
pub struct Tag(usize);

macro_rules! write {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Writes a big-endian `", stringify!($type), "`.")]
        pub fn $name(&mut self, value: $type) {
            self.buffer.extend_from_slice(&value.to_be_bytes());
        }
    )*};
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoder with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), ..Self::default() }
    }

    write!(i8: i8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64, f64: f64);

    /// How many bytes were written, with all pieces.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.inserted_bytes
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that was written, as pieces.
    pub fn into_parts(self) -> Parts {
        let buffer = Bytes::from(self.buffer);
        if self.inserted.is_empty() {
            return buffer.into();
        }
        let mut parts = Parts::new();
        let mut from = 0;
        for (at, part) in self.inserted {
            parts.push(Part::Memory(buffer.slice(from..at)));
            parts.push(part);
            from = at;
        }
        parts.push(Part::Memory(buffer.slice(from..)));
        parts
    }

    /// Everything that was written as one string; `None` if some of it is in a file. Copies if there are pieces.
    pub fn into_bytes(self) -> Option<Bytes> {
        self.into_parts().to_bytes()
    }

    /// Writes one byte, 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    /// Writes an id.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    /// Writes an unsigned varint of 32 bits.
    pub fn unsigned_varint(&mut self, value: u32) {
        varint::write_unsigned(&mut self.buffer, u64::from(value));
    }

    /// Writes a zigzag varint of 32 bits.
    pub fn varint(&mut self, value: i32) {
        varint::write_zigzag_32(&mut self.buffer, value);
    }

    /// Writes bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes a string.
    pub fn string(&mut self, value: &str, flexible: bool, field: &'static str) -> Result<(), EncodeError> {
        let len = i16::try_from(value.len()).map_err(|_| EncodeError::TooLong { field, len: value.len() })?;
        if flexible {
            self.unsigned_varint(len as u32 + 1);
        } else {
            self.i16(len);
        }
        self.raw(value.as_bytes());
        Ok(())
    }

    /// Writes a string or null; null is an error unless `nullable`.
    pub fn string_option(
        &mut self,
        value: Option<&str>,
        flexible: bool,
        nullable: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(value, flexible, field)?,
            None if !nullable => return Err(EncodeError::Null { field }),
            None if flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// Writes bytes, copying them.
    pub fn bytes(&mut self, value: &[u8], flexible: bool, field: &'static str) -> Result<(), EncodeError> {
        self.array_len(value.len(), flexible, field)?;
        self.raw(value);
        Ok(())
    }

    /// Writes bytes or null; null is an error unless `nullable`.
    pub fn bytes_option(
        &mut self,
        value: Option<&[u8]>,
        flexible: bool,
        nullable: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        self.array_option_len(value.map(<[u8]>::len), flexible, nullable, field)?;
        self.raw(value.unwrap_or_default());
        Ok(())
    }

    /// Writes record batches; only pieces in memory below [`RECORDS_COPY_BYTES_MAX`] are copied.
    pub fn records(&mut self, value: &Parts, flexible: bool, field: &'static str) -> Result<(), EncodeError> {
        self.array_len(value.len(), flexible, field)?;
        for part in value.iter() {
            match part {
                Part::Memory(bytes) if bytes.len() < RECORDS_COPY_BYTES_MAX => self.raw(bytes),
                part => {
                    self.inserted_bytes += part.len();
                    self.inserted.push((self.buffer.len(), part.clone()));
                }
            }
        }
        Ok(())
    }

    /// Writes record batches or null; null is an error unless `nullable`.
    pub fn records_option(
        &mut self,
        value: Option<&Parts>,
        flexible: bool,
        nullable: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.records(value, flexible, field),
            None => self.array_option_len(None, flexible, nullable, field),
        }
    }

    /// Writes the length of an array, whose elements follow.
    pub fn array_len(&mut self, len: usize, flexible: bool, field: &'static str) -> Result<(), EncodeError> {
        let short = i32::try_from(len).map_err(|_| EncodeError::TooLong { field, len })?;
        if flexible {
            self.unsigned_varint(short as u32 + 1);
        } else {
            self.i32(short);
        }
        Ok(())
    }

    /// Writes the length of an array or null; null is an error unless `nullable`.
    pub fn array_option_len(
        &mut self,
        len: Option<usize>,
        flexible: bool,
        nullable: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match len {
            Some(len) => self.array_len(len, flexible, field)?,
            None if !nullable => return Err(EncodeError::Null { field }),
            None if flexible => self.unsigned_varint(0),
            None => self.i32(-1),
        }
        Ok(())
    }

    /// Writes whether a struct that may be null is there; null is an error unless `nullable`.
    pub fn present(&mut self, present: bool, nullable: bool, field: &'static str) -> Result<(), EncodeError> {
        if !present && !nullable {
            return Err(EncodeError::Null { field });
        }
        self.i8(if present { 1 } else { -1 });
        Ok(())
    }

    /// Writes whether a struct in a tagged field, which may be null, is there. The mark is another one than
    /// [`Self::present`] writes.
    pub fn present_tagged(
        &mut self,
        present: bool,
        nullable: bool,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if !present && !nullable {
            return Err(EncodeError::Null { field });
        }
        self.unsigned_varint(u32::from(present));
        Ok(())
    }

    /// Begins the section of tagged fields of a struct; no message has more than 127 of them.
    pub fn tags(&mut self) -> Tags {
        self.buffer.push(0);
        Tags(self.buffer.len() - 1)
    }

    /// Begins a tagged field, whose value follows. Tags must rise.
    pub fn tag(&mut self, tags: &Tags, tag: u32) -> Tag {
        if let Some(count) = self.buffer.get_mut(tags.0) {
            *count += 1;
        }
        self.unsigned_varint(tag);
        self.buffer.push(0);
        Tag(self.buffer.len())
    }

    /// Ends a tagged field: writes its size before its value, which moves if the size takes more than one byte.
    pub fn end_tag(&mut self, tag: Tag) {
        let len = self.buffer.len().saturating_sub(tag.0);
        if len < 0x80 {
            if let Some(room) = self.buffer.get_mut(tag.0.wrapping_sub(1)) {
                *room = len as u8;
            }
            return;
        }
        let value = self.buffer.split_off(tag.0);
        self.buffer.pop();
        self.unsigned_varint(len as u32);
        self.raw(&value);
    }

    /// Checks that a message exists at a version.
    pub fn check_version(&self, version: i16, versions: RangeInclusive<i16>) -> Result<(), EncodeError> {
        if versions.contains(&version) { Ok(()) } else { Err(EncodeError::UnsupportedVersion { version }) }
    }

    /// Leaves room for the length of a frame at its start.
    pub(crate) fn begin_frame(&mut self) {
        self.i32(0);
    }

    /// Writes the length of the whole frame into the room that [`Self::begin_frame`] left.
    pub(crate) fn end_frame(&mut self) -> Result<(), EncodeError> {
        let len = self.len().saturating_sub(4);
        let short = i32::try_from(len).map_err(|_| EncodeError::TooLong { field: "frame", len })?;
        if let Some(room) = self.buffer.first_chunk_mut::<4>() {
            *room = short.to_be_bytes();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
