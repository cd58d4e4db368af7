//! Decompressing the records of a batch: as a stream with bounded working memory, or into one bounded buffer.
//!
//! Contexts that are costly to build are kept in a [`Decompressor`] and used again; one belongs to one thread at a
//! time. Whoever reads a stream must bound what it takes from it: a few bytes may stand for gigabytes.

use crate::{Codec, lz4, snappy};
use std::io::{self, Read};
use zstd::zstd_safe::DCtx;

/// The largest window that a zstd frame may ask for, as its binary logarithm: what level 22 writes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// A zstd context larger than this is not kept for the next batch.
const ZSTD_CONTEXT_KEPT_BYTES_MAX: usize = 4 << 20;

/// Contexts and buffers that are used again from batch to batch.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<DCtx<'static>>,
}

impl Decompressor {
    /// Without any context yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream of what `input` stands for. It gives errors on malformed input and never ends by itself before the
    /// input does.
    pub fn reader<'a>(&'a mut self, codec: Codec, input: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match codec {
            Codec::None => Box::new(input),
            Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Codec::Snappy => Box::new(snappy::Reader::new(input)),
            Codec::Lz4 => Box::new(lz4::reader(input)),
            Codec::Zstd => {
                if self.zstd.as_ref().is_some_and(|context| context.sizeof() > ZSTD_CONTEXT_KEPT_BYTES_MAX) {
                    self.zstd = None;
                }
                let context = self.zstd.get_or_insert_with(DCtx::create);
                // A batch before this one may have ended inside a frame.
                let _ = context.reset(zstd::zstd_safe::ResetDirective::SessionOnly);
                let mut decoder = zstd::stream::read::Decoder::with_context(input, context);
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }

    /// All that `input` stands for; `InvalidData` if that is more than `limit` bytes.
    pub fn decompress(&mut self, codec: Codec, input: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let read = self.reader(codec, input)?.take(limit as u64 + 1).read_to_end(&mut out)?;
        if read > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("compressed data stands for more than {limit} bytes"),
            ));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compression, compress};
    use proptest::prelude::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn compressed(codec: Codec, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(Compression::from(codec), input, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn what_is_compressed_decompresses(
            seed in proptest::collection::vec(any::<u8>(), 0..300), times in 1usize..700, codec in 0u8..5,
        ) {
            let codec = Codec::from_id(codec).unwrap();
            let input = seed.repeat(times);
            let small = compressed(codec, &input);
            let mut decompressor = Decompressor::new();
            for _ in 0..2 {
                prop_assert_eq!(&decompressor.decompress(codec, &small, input.len()).unwrap(), &input);
            }
            if !input.is_empty() {
                prop_assert!(decompressor.decompress(codec, &small, input.len() - 1).is_err());
            }
        }

        #[test]
        fn garbage_is_an_error_or_bounded_and_never_a_panic(
            input in proptest::collection::vec(any::<u8>(), 0..600), codec in 1u8..5, seed: u64,
        ) {
            let codec = Codec::from_id(codec).unwrap();
            let mut decompressor = Decompressor::new();
            let _ = decompressor.decompress(codec, &input, 1 << 20);
            let mut broken = compressed(codec, &input);
            let at = seed as usize % broken.len();
            broken[at] ^= 1 << (seed >> 60 & 7);
            let _ = decompressor.decompress(codec, &broken, 1 << 20);
            broken.truncate(at);
            let _ = decompressor.decompress(codec, &broken, 1 << 20);
            let good = compressed(codec, b"still usable");
            prop_assert_eq!(decompressor.decompress(codec, &good, 100).unwrap(), b"still usable");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 8 << 20];
        for codec in CODECS {
            let bomb = compressed(codec, &zeros);
            assert!(Decompressor::new().decompress(codec, &bomb, 1 << 20).is_err(), "{codec}");
        }
    }
}
