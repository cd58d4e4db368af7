//! Compressing the records of a batch, in the forms that Kafka's Java client writes.
//!
//! It compresses whole buffers, because a batch is bounded; `BatchBuilder` and recompression call it.

use crate::{Codec, Compression, snappy};
use std::io::{self, Write};

/// Compresses `input` and appends it to `out`.
pub fn compress(compression: Compression, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match compression.codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => {
            let level = match compression.level {
                Some(level @ 1..=9) => flate2::Compression::new(level as u32),
                _ => flate2::Compression::default(),
            };
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(input)?;
            encoder.finish()?;
        }
        Codec::Snappy => snappy::compress(input, out)?,
        Codec::Lz4 => {
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
            encoder.write_all(input)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        Codec::Zstd => {
            let level = compression.level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
            encoder.write_all(input)?;
            encoder.finish()?;
        }
    }
    Ok(())
}
