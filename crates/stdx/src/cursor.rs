//! Reading big-endian values from a byte slice without ever going past its end.
//!
//! It does not copy and does not allocate. `wire` and `records` read everything that comes from a socket or a disk
//! through it.

use crate::varint;

/// The bytes ended before the value did, or a variable-length integer was longer than its type allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{needed} more bytes were needed at byte {at}")]
pub struct Short {
    /// Where the value began.
    pub at: usize,
    /// How many bytes were missing (for a malformed varint: 1).
    pub needed: usize,
}

/// A position in a byte slice.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

macro_rules! read {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Reads a big-endian `", stringify!($type), "`.")]
        pub fn $name(&mut self) -> Result<$type, Short> {
            self.array().map(<$type>::from_be_bytes)
        }
    )*};
}

impl<'a> Cursor<'a> {
    /// A cursor at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    read!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, u64: u64, i64: i64, f64: f64);

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Reads `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let taken = self.rest().get(..count).ok_or_else(|| self.short(count))?;
        self.at += count;
        Ok(taken)
    }

    /// Reads a fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, _) = self.rest().split_first_chunk::<N>().ok_or_else(|| self.short(N))?;
        self.at += N;
        Ok(*head)
    }

    /// Reads an unsigned varint of at most 32 bits (KIP-482).
    pub fn unsigned_varint(&mut self) -> Result<u32, Short> {
        let (value, used) = varint::read_unsigned_32(self.rest()).ok_or(Short { at: self.at, needed: 1 })?;
        self.at += used;
        Ok(value)
    }

    /// Reads a zigzag varint of at most 32 bits.
    pub fn varint(&mut self) -> Result<i32, Short> {
        self.unsigned_varint().map(varint::unzigzag_32)
    }

    /// Reads a zigzag varint of at most 64 bits.
    pub fn varlong(&mut self) -> Result<i64, Short> {
        let (value, used) = varint::read_unsigned_64(self.rest()).ok_or(Short { at: self.at, needed: 1 })?;
        self.at += used;
        Ok(varint::unzigzag_64(value))
    }

    fn short(&self, wanted: usize) -> Short {
        Short { at: self.at, needed: wanted.saturating_sub(self.remaining()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_order_and_never_past_the_end() {
        let mut cursor = Cursor::new(&[0, 1, 0xff, 0xff, 0xff, 0xff, 9]);
        assert_eq!(cursor.i16(), Ok(1));
        assert_eq!(cursor.i32(), Ok(-1));
        assert_eq!(cursor.i32(), Err(Short { at: 6, needed: 3 }));
        assert_eq!(cursor.take(1), Ok(&[9][..]));
        assert_eq!(cursor.remaining(), 0);
        assert_eq!(cursor.take(usize::MAX), Err(Short { at: 7, needed: usize::MAX }));
    }
}
