//! The few primitive types that the quorum's own bytes are made of: big-endian numbers, and Kafka's compact strings and
//! arrays (KIP-482).
//!
//! A count is never believed further than the bytes that are left. It knows no messages.

use bytes::Bytes;
use std::fmt;
use stdx::{Cursor, Short, Uuid, varint};

/// Bytes from a disk or a peer that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// Bytes being written.
#[derive(Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.0.extend_from_slice(&value.0);
    }

    pub(crate) fn varint(&mut self, value: usize) {
        varint::write_unsigned(&mut self.0, value as u64);
    }

    /// The head of a compact array.
    pub(crate) fn count(&mut self, count: usize) {
        self.varint(count + 1);
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() + 1);
        self.0.extend_from_slice(value);
    }
}

/// The rest of what a compact array promises: how many elements, if so many can be there.
pub(crate) fn count(cursor: &mut Cursor<'_>, element_bytes_min: usize) -> Result<usize, Malformed> {
    let count = (cursor.unsigned_varint()? as usize).saturating_sub(1);
    if count.saturating_mul(element_bytes_min.max(1)) > cursor.remaining() {
        return Err(Malformed(format!("{count} elements do not fit into {} bytes", cursor.remaining())));
    }
    Ok(count)
}

pub(crate) fn bytes<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let len = (cursor.unsigned_varint()? as usize).saturating_sub(1);
    Ok(cursor.take(len)?)
}

pub(crate) fn string(cursor: &mut Cursor<'_>) -> Result<String, Malformed> {
    let bytes = bytes(cursor)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a string is not UTF-8".into()))
}

pub(crate) fn uuid(cursor: &mut Cursor<'_>) -> Result<Uuid, Malformed> {
    Ok(Uuid(cursor.array()?))
}

/// The part of `whole` in which `slice` lies, without a copy.
pub(crate) fn slice_of(whole: &Bytes, cursor: &mut Cursor<'_>, len: usize) -> Result<Bytes, Malformed> {
    let from = cursor.position();
    cursor.take(len)?;
    Ok(whole.slice(from..from + len))
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Short> for Malformed {
    fn from(short: Short) -> Self {
        Self(short.to_string())
    }
}

impl From<Malformed> for std::io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, malformed)
    }
}
