//! LZ4 frames, with the one quirk of message format v0: its clients computed the header checksum over too many bytes.
//!
//! It does not decompress blocks itself; `lz4_flex` does, in memory bounded by the frame's block size (at most 4 MiB).

use lz4_flex::frame::FrameDecoder;
use std::io::{Chain, Read};

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();

/// A stream of what a frame stands for.
pub(crate) fn reader(input: &[u8]) -> FrameDecoder<&[u8]> {
    FrameDecoder::new(input)
}

/// A stream of what a frame of message format v0 stands for: the header's checksum is written anew.
pub(crate) fn reader_v0(input: &[u8]) -> FrameDecoder<Chain<std::io::Cursor<Vec<u8>>, &[u8]>> {
    let header_len = header_len(input).unwrap_or(0);
    let mut header = input.get(..header_len).unwrap_or_default().to_vec();
    let checksum = header.get(MAGIC.len()..header_len.saturating_sub(1)).map(checksum_of_header);
    if let (Some(checksum), Some(last)) = (checksum, header.last_mut()) {
        *last = checksum;
    }
    let rest = input.get(header_len..).unwrap_or_default();
    FrameDecoder::new(std::io::Cursor::new(header).chain(rest))
}

/// Bytes of the magic, the descriptor and its checksum.
fn header_len(input: &[u8]) -> Option<usize> {
    let flags = *input.strip_prefix(&MAGIC)?.first()?;
    let content_size = if flags & 0x08 != 0 { 8 } else { 0 };
    let dictionary = if flags & 0x01 != 0 { 4 } else { 0 };
    let len = MAGIC.len() + 2 + content_size + dictionary + 1;
    (input.len() >= len).then_some(len)
}

/// The second byte of XXH32 over a descriptor, which always has less than 16 bytes.
fn checksum_of_header(descriptor: &[u8]) -> u8 {
    const PRIME_1: u32 = 0x9e37_79b1;
    const PRIME_2: u32 = 0x85eb_ca77;
    const PRIME_3: u32 = 0xc2b2_ae3d;
    const PRIME_4: u32 = 0x27d4_eb2f;
    const PRIME_5: u32 = 0x1656_67b1;
    let mut hash = PRIME_5.wrapping_add(descriptor.len() as u32);
    let (words, bytes) = descriptor.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME_3));
        hash = hash.rotate_left(17).wrapping_mul(PRIME_4);
    }
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5));
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 13).wrapping_mul(PRIME_3);
    ((hash ^ hash >> 16) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, Compression, compress};

    #[test]
    fn a_frame_of_format_v0_with_its_wrong_checksum_is_read() {
        let mut frame = Vec::new();
        compress(Compression::from(Codec::Lz4), b"hello", &mut frame).unwrap();
        let at = header_len(&frame).unwrap() - 1;
        assert_eq!(checksum_of_header(&frame[4..at]), frame[at]);
        frame[at] ^= 0x5a;
        let mut out = Vec::new();
        assert!(reader(&frame).read_to_end(&mut out).is_err());
        out.clear();
        reader_v0(&frame).read_to_end(&mut out).unwrap();
        assert_eq!(out, b"hello");
    }
}
