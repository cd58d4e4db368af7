//! Walking over the records of a v2 batch without building them: lengths, deltas, whether there is a key.
//!
//! It allocates nothing for uncompressed records and one small buffer for compressed ones. `check` calls it for every
//! produced batch, the log to look for a timestamp inside a batch.

use crate::{Batch, Codec, Decompressor};
use std::io::Read;
use stdx::varint;

/// Bytes of the buffer through which compressed records are read.
const WINDOW_BYTES: usize = 16 * 1024;

/// What stands at the beginning of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Its timestamp minus the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Bytes of the key; negative: none.
    pub key_len: i32,
    /// Bytes of the value; negative: none.
    pub value_len: i32,
}

/// Why the records of a batch cannot be walked over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// The bytes are no records.
    #[error("the records are malformed: {0}")]
    Malformed(&'static str),
    /// The codec's number is unknown.
    #[error("the codec {0} is unknown")]
    Codec(u8),
    /// The compressed bytes do not decompress.
    #[error("the records do not decompress: {0}")]
    Decompression(String),
    /// The compressed bytes stand for too many.
    #[error("the records take more than {0} bytes when decompressed")]
    Limit(u64),
}

/// Calls `visit` with each record of `batch` in order, and checks that the records fill the batch exactly.
///
/// Reads at most `bytes_max` decompressed bytes.
pub fn walk(
    batch: &Batch,
    bytes_max: u64,
    decompressor: &mut Decompressor,
    visit: impl FnMut(RecordHead),
) -> Result<(), WalkError> {
    let count = batch.header.record_count;
    match batch.header.attributes.codec() {
        None => Err(WalkError::Codec(batch.header.attributes.codec_id())),
        Some(Codec::None) => {
            let mut slice = Slice { bytes: batch.body(), len: batch.body().len() };
            walk_records(&mut slice, count, visit)?;
            slice.bytes.is_empty().then_some(()).ok_or(WalkError::Malformed("bytes follow the last record"))
        }
        Some(codec) => {
            let reader = decompressor.reader(codec, batch.body()).map_err(decompression)?;
            let mut stream =
                Stream { reader, window: vec![0; WINDOW_BYTES], at: 0, end: 0, read: 0, read_max: bytes_max };
            walk_records(&mut stream, count, visit)?;
            if stream.fill()? { Err(WalkError::Malformed("bytes follow the last record")) } else { Ok(()) }
        }
    }
}

/// Bytes that are read once, from the front.
trait Source {
    fn byte(&mut self) -> Result<u8, WalkError>;
    fn skip(&mut self, count: usize) -> Result<(), WalkError>;
    /// How many bytes were read or skipped.
    fn position(&self) -> u64;

    #[inline]
    fn varint(&mut self) -> Result<i32, WalkError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(varint::unzigzag_32(u32::from(first)));
        }
        let mut value = u32::from(first & 0x7f);
        for index in 1..5 {
            let byte = self.byte()?;
            if index == 4 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(varint::unzigzag_32(value));
            }
        }
        Err(WalkError::Malformed("a number is longer than 32 bits"))
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, WalkError> {
        let mut value = 0;
        for index in 0..10 {
            let byte = self.byte()?;
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(varint::unzigzag_64(value));
            }
        }
        Err(WalkError::Malformed("a number is longer than 64 bits"))
    }

    /// Skips a length and as many bytes; a negative length stands for "none".
    #[inline]
    fn field(&mut self) -> Result<i32, WalkError> {
        let len = self.varint()?;
        if len > 0 {
            self.skip(len as usize)?;
        }
        Ok(len)
    }
}

#[inline]
fn walk_records<S: Source>(
    source: &mut S,
    count: i32,
    mut visit: impl FnMut(RecordHead),
) -> Result<(), WalkError> {
    for _ in 0..count {
        visit(walk_record(source)?);
    }
    Ok(())
}

#[inline]
fn walk_record<S: Source>(source: &mut S) -> Result<RecordHead, WalkError> {
    let len = source.varint()?;
    let start = source.position();
    let _attributes = source.byte()?;
    let timestamp_delta = source.varlong()?;
    let offset_delta = source.varint()?;
    let key_len = source.field()?;
    let value_len = source.field()?;
    let headers = source.varint()?;
    if headers < 0 || headers > len {
        return Err(WalkError::Malformed("a record claims an impossible number of headers"));
    }
    for _ in 0..headers {
        if source.field()? < 0 {
            return Err(WalkError::Malformed("a header has no key"));
        }
        source.field()?;
    }
    if len < 0 || source.position() - start != len as u64 {
        return Err(WalkError::Malformed("a record is not as long as it says"));
    }
    Ok(RecordHead { timestamp_delta, offset_delta, key_len, value_len })
}

struct Slice<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl Source for Slice<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, WalkError> {
        let (byte, rest) = self.bytes.split_first().ok_or(CUT_OFF)?;
        self.bytes = rest;
        Ok(*byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), WalkError> {
        self.bytes = self.bytes.get(count..).ok_or(CUT_OFF)?;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        (self.len - self.bytes.len()) as u64
    }
}

struct Stream<'a> {
    reader: Box<dyn Read + 'a>,
    window: Vec<u8>,
    at: usize,
    end: usize,
    read: u64,
    read_max: u64,
}

impl Stream<'_> {
    /// Reads on when the window is used up; whether there are bytes.
    fn fill(&mut self) -> Result<bool, WalkError> {
        if self.at == self.end {
            self.at = 0;
            self.end = self.reader.read(&mut self.window).map_err(decompression)?;
            self.read += self.end as u64;
            if self.read > self.read_max {
                return Err(WalkError::Limit(self.read_max));
            }
        }
        Ok(self.at < self.end)
    }
}

impl Source for Stream<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, WalkError> {
        if self.at == self.end && !self.fill()? {
            return Err(CUT_OFF);
        }
        let byte = self.window.get(self.at).copied().ok_or(CUT_OFF)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, mut count: usize) -> Result<(), WalkError> {
        loop {
            let skipped = count.min(self.end - self.at);
            self.at += skipped;
            count -= skipped;
            if count == 0 {
                return Ok(());
            }
            if !self.fill()? {
                return Err(CUT_OFF);
            }
        }
    }

    #[inline]
    fn position(&self) -> u64 {
        self.read - (self.end - self.at) as u64
    }
}

const CUT_OFF: WalkError = WalkError::Malformed("the bytes end inside a record");

fn decompression(error: std::io::Error) -> WalkError {
    WalkError::Decompression(error.to_string())
}

#[cfg(test)]
mod tests;
