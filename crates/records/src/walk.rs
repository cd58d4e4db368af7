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
    /// A record that is not compressed has a length of more than 32 bits.
    #[error("the records are malformed: a length is longer than 32 bits")]
    Length,
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
    walk_counted(batch, bytes_max, decompressor, &mut 0, visit)
}

/// The same; adds the bytes that were decompressed to `read`, however it ends.
pub(crate) fn walk_counted(
    batch: &Batch,
    bytes_max: u64,
    decompressor: &mut Decompressor,
    read: &mut u64,
    visit: impl FnMut(RecordHead),
) -> Result<(), WalkError> {
    let count = batch.header.record_count;
    match batch.header.attributes.codec() {
        None => Err(WalkError::Codec(batch.header.attributes.codec_id())),
        Some(Codec::None) => {
            let mut slice = Slice { bytes: batch.body(), len: batch.body().len() };
            walk_records(&mut slice, count, visit).map_err(|fault| match fault {
                Fault::RecordLength => WalkError::Length,
                fault => fault.into(),
            })?;
            slice.bytes.is_empty().then_some(()).ok_or(WalkError::Malformed("bytes follow the last record"))
        }
        Some(codec) => {
            let reader = decompressor.reader(codec, batch.body()).map_err(decompression)?;
            let mut stream = Stream {
                reader,
                window: vec![0; WINDOW_BYTES],
                at: 0,
                end: 0,
                read: 0,
                read_max: bytes_max,
                error: None,
            };
            let walked = walk_records(&mut stream, count, visit).and_then(|()| stream.fill());
            *read += stream.read;
            match (walked, stream.error) {
                (_, Some(error)) => Err(error),
                (Err(fault), None) => Err(fault.into()),
                (Ok(true), None) => Err(WalkError::Malformed("bytes follow the last record")),
                (Ok(false), None) => Ok(()),
            }
        }
    }
}

/// What is wrong, in one byte: these travel through the innermost loop.
#[derive(Debug, Clone, Copy)]
enum Fault {
    CutOff,
    RecordLength,
    Long32,
    Long64,
    Headers,
    HeaderKey,
    Length,
    /// The source knows.
    Source,
}

/// Bytes that are read once, from the front.
trait Source {
    fn byte(&mut self) -> Result<u8, Fault>;
    fn skip(&mut self, count: usize) -> Result<(), Fault>;
    /// How many bytes were read or skipped.
    fn position(&self) -> u64;

    #[inline(always)]
    fn varint(&mut self) -> Result<i32, Fault> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(varint::unzigzag_32(u32::from(first)));
        }
        let second = self.byte()?;
        let value = u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7;
        if second < 0x80 {
            return Ok(varint::unzigzag_32(value));
        }
        let third = self.byte()?;
        let value = value | u32::from(third & 0x7f) << 14;
        if third < 0x80 {
            return Ok(varint::unzigzag_32(value));
        }
        self.long_varint(value)
    }

    #[cold]
    fn long_varint(&mut self, mut value: u32) -> Result<i32, Fault> {
        for index in 3..5 {
            let byte = self.byte()?;
            if index == 4 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(varint::unzigzag_32(value));
            }
        }
        Err(Fault::Long32)
    }

    #[inline(always)]
    fn varlong(&mut self) -> Result<i64, Fault> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(varint::unzigzag_64(u64::from(first)));
        }
        let second = self.byte()?;
        let value = u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7;
        if second < 0x80 {
            return Ok(varint::unzigzag_64(value));
        }
        self.long_varlong(value)
    }

    fn long_varlong(&mut self, mut value: u64) -> Result<i64, Fault> {
        for index in 2..10 {
            let byte = self.byte()?;
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(varint::unzigzag_64(value));
            }
        }
        Err(Fault::Long64)
    }

    /// Skips a length and as many bytes; a negative length stands for "none".
    #[inline(always)]
    fn field(&mut self) -> Result<i32, Fault> {
        let len = self.varint()?;
        if len > 0 {
            self.skip(len as usize)?;
        }
        Ok(len)
    }
}

#[inline(always)]
fn walk_records<S: Source>(
    source: &mut S,
    count: i32,
    mut visit: impl FnMut(RecordHead),
) -> Result<(), Fault> {
    for _ in 0..count {
        visit(walk_record(source)?);
    }
    Ok(())
}

#[inline(always)]
fn walk_record<S: Source>(source: &mut S) -> Result<RecordHead, Fault> {
    let len = source.varint().map_err(|fault| match fault {
        Fault::Long32 => Fault::RecordLength,
        fault => fault,
    })?;
    let start = source.position();
    let _attributes = source.byte()?;
    let timestamp_delta = source.varlong()?;
    let offset_delta = source.varint()?;
    let key_len = source.field()?;
    let value_len = source.field()?;
    let headers = source.varint()?;
    if headers != 0 {
        skip_headers(source, headers, len)?;
    }
    if len < 0 || source.position() - start != len as u64 {
        return Err(Fault::Length);
    }
    Ok(RecordHead { timestamp_delta, offset_delta, key_len, value_len })
}

fn skip_headers<S: Source>(source: &mut S, count: i32, record_len: i32) -> Result<(), Fault> {
    if count < 0 || count > record_len {
        return Err(Fault::Headers);
    }
    for _ in 0..count {
        if source.field()? < 0 {
            return Err(Fault::HeaderKey);
        }
        source.field()?;
    }
    Ok(())
}

struct Slice<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl Source for Slice<'_> {
    #[inline(always)]
    fn byte(&mut self) -> Result<u8, Fault> {
        let (byte, rest) = self.bytes.split_first().ok_or(Fault::CutOff)?;
        self.bytes = rest;
        Ok(*byte)
    }

    #[inline(always)]
    fn skip(&mut self, count: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.get(count..).ok_or(Fault::CutOff)?;
        Ok(())
    }

    #[inline(always)]
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
    error: Option<WalkError>,
}

impl Stream<'_> {
    /// Reads on when the window is used up; whether there are bytes.
    fn fill(&mut self) -> Result<bool, Fault> {
        if self.at == self.end {
            (self.at, self.end) = (0, 0);
            match self.reader.read(&mut self.window) {
                Ok(read) => self.end = read,
                Err(error) => {
                    self.error = Some(decompression(error));
                    return Err(Fault::Source);
                }
            }
            self.read += self.end as u64;
            if self.read > self.read_max {
                self.error = Some(WalkError::Limit(self.read_max));
                return Err(Fault::Source);
            }
        }
        Ok(self.at < self.end)
    }
}

impl Source for Stream<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        if self.at == self.end && !self.fill()? {
            return Err(Fault::CutOff);
        }
        let byte = self.window.get(self.at).copied().ok_or(Fault::CutOff)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, mut count: usize) -> Result<(), Fault> {
        loop {
            let skipped = count.min(self.end - self.at);
            self.at += skipped;
            count -= skipped;
            if count == 0 {
                return Ok(());
            }
            if !self.fill()? {
                return Err(Fault::CutOff);
            }
        }
    }

    #[inline]
    fn position(&self) -> u64 {
        self.read - (self.end - self.at) as u64
    }
}

impl From<Fault> for WalkError {
    fn from(fault: Fault) -> Self {
        WalkError::Malformed(match fault {
            Fault::CutOff | Fault::Source => "the bytes end inside a record",
            Fault::Long32 | Fault::RecordLength => "a number is longer than 32 bits",
            Fault::Long64 => "a number is longer than 64 bits",
            Fault::Headers => "a record claims an impossible number of headers",
            Fault::HeaderKey => "a header has no key",
            Fault::Length => "a record is not as long as it says",
        })
    }
}

fn decompression(error: std::io::Error) -> WalkError {
    WalkError::Decompression(error.to_string())
}

#[cfg(test)]
mod tests;
