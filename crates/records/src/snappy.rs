//! Snappy as Kafka's clients write it: chunks in the framing of the Java library `snappy-java`, or one raw block.
//!
//! It is not the framing of Google's `framing_format.txt`, which no Kafka client writes.
//!
//! ```text
//! 0x82 'SNAPPY' 0x00 | version i32 = 1 | compatible i32 = 1 | ( length i32 | raw snappy block )*
//! ```

use std::io::{self, Read};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
/// Bytes per chunk before compression, as the Java client writes them.
const CHUNK_BYTES: usize = 32 * 1024;
/// No snappy element stands for more than 64 bytes or takes less than 3 for so many: a block that claims more than
/// this multiple of its size is malformed, and nothing is allocated for it.
const EXPANSION_MAX: usize = 22;

/// A stream of what snappy data stands for.
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    framed: bool,
    chunk: Vec<u8>,
    at: usize,
}

/// Appends `input` in the framing of the Java library.
pub(crate) fn compress(input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in input.chunks(CHUNK_BYTES) {
        let block = encoder.compress_vec(chunk).map_err(io::Error::other)?;
        out.extend_from_slice(&(block.len() as i32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(())
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        match input.get(HEADER_BYTES..) {
            Some(chunks) if input.starts_with(&MAGIC) => {
                Self { input: chunks, framed: true, chunk: Vec::new(), at: 0 }
            }
            _ => Self { input, framed: false, chunk: Vec::new(), at: 0 },
        }
    }

    /// The next block, if there is one.
    fn block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.input)));
        }
        // Java clients concatenate framed streams, each with its header.
        if self.input.starts_with(&MAGIC) {
            self.input = self.input.get(HEADER_BYTES..).ok_or_else(|| malformed("a header is cut off"))?;
            return self.block();
        }
        let (len, rest) = self.input.split_first_chunk().ok_or_else(|| malformed("a length is cut off"))?;
        let len = u32::from_be_bytes(*len) as usize;
        let block = rest.get(..len).ok_or_else(|| malformed("a block is cut off"))?;
        self.input = rest.get(len..).unwrap_or_default();
        Ok(Some(block))
    }

    fn fill(&mut self) -> io::Result<bool> {
        let Some(block) = self.block()? else { return Ok(false) };
        let len = snap::raw::decompress_len(block).map_err(|_| malformed("a block has no length"))?;
        if len > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(malformed("a block claims more bytes than it can stand for"));
        }
        self.chunk.resize(len, 0);
        self.at = 0;
        let wrote = snap::raw::Decoder::new()
            .decompress(block, &mut self.chunk)
            .map_err(|_| malformed("a block does not decompress"))?;
        self.chunk.truncate(wrote);
        Ok(true)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let mut rest = self.chunk.get(self.at..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed snappy data: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Reader::new(input).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn the_framing_is_that_of_the_java_library() {
        let mut out = Vec::new();
        compress(b"abc", &mut out).unwrap();
        assert_eq!(out, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x05\x03\x08abc");
        let twice = out.repeat(2);
        assert_eq!(read(&twice).unwrap(), b"abcabc");
    }

    #[test]
    fn a_raw_block_is_read_too() {
        assert_eq!(read(b"\x03\x08abc").unwrap(), b"abc");
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn a_block_that_claims_gigabytes_is_refused_before_anything_is_allocated() {
        assert!(read(b"\xff\xff\xff\xff\x0f\x08abc").is_err());
        let mut framed = Vec::new();
        compress(b"", &mut framed).unwrap();
        framed.extend_from_slice(&[0, 0, 0, 6, 0xff, 0xff, 0xff, 0x7f, 8, 0]);
        assert!(read(&framed).is_err());
    }

    #[test]
    fn long_runs_stay_within_the_expansion_that_is_allowed() {
        let zeros = vec![0; 1 << 20];
        let mut out = Vec::new();
        compress(&zeros, &mut out).unwrap();
        assert_eq!(read(&out).unwrap(), zeros);
        let raw = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        assert_eq!(read(&raw).unwrap(), zeros);
    }
}
