//! Cutting a byte stream into frames: a four-byte length, then so many bytes.
//!
//! It never reserves memory because a length prefix says so: the buffer grows with what has really arrived, except
//! for frames of ordinary size, which are given their room at once to spare a copy.

use bytes::{Buf, Bytes, BytesMut};

/// An idle connection's buffer.
const IDLE_BYTES: usize = 512;
/// What a connection that sends larger requests reads at once.
const BUSY_BYTES: usize = 64 * 1024;
/// A frame up to this size gets its whole room when its prefix has arrived.
const AT_ONCE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Received bytes, not yet all cut into frames.
pub(crate) struct Frames {
    buffer: BytesMut,
    busy: bool,
}

/// The length prefix is negative or larger than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {claimed} bytes was announced where at most {allowed} are allowed")]
pub(crate) struct FrameTooLarge {
    claimed: i32,
    allowed: usize,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), busy: false }
    }

    /// The next whole frame without its prefix, if it has arrived.
    pub(crate) fn next(&mut self, len_max: usize) -> Result<Option<Bytes>, FrameTooLarge> {
        match self.announced(len_max)? {
            Some(len) if self.buffer.len() >= 4 + len => {
                self.buffer.advance(4);
                Ok(Some(self.buffer.split_to(len).freeze()))
            }
            _ => Ok(None),
        }
    }

    /// The buffer to read into, with some room.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let have = self.buffer.len();
        let missing = match self.announced(AT_ONCE_BYTES_MAX) {
            Ok(Some(len)) => (4 + len).saturating_sub(have),
            // Larger than that: as much again as has arrived.
            Err(_) => have.max(BUSY_BYTES),
            Ok(None) => 0,
        };
        let least = if self.busy { BUSY_BYTES } else { IDLE_BYTES };
        if self.buffer.capacity() - have < missing.max(1) || missing == 0 && have == 0 {
            if have == 0 && self.buffer.capacity() > 2 * least {
                self.buffer = BytesMut::new();
            }
            self.buffer.reserve(missing.max(least));
        }
        &mut self.buffer
    }

    /// Tells how a read went, so that the next one takes a fitting amount.
    pub(crate) fn on_read(&mut self, read: usize) {
        self.busy = self.buffer.capacity() == self.buffer.len() || read >= IDLE_BYTES;
    }

    /// Bytes received and not yet cut.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    fn announced(&self, len_max: usize) -> Result<Option<usize>, FrameTooLarge> {
        let Some((prefix, _)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let claimed = i32::from_be_bytes(*prefix);
        match usize::try_from(claimed) {
            Ok(len) if len <= len_max => Ok(Some(len)),
            _ => Err(FrameTooLarge { claimed, allowed: len_max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(frames: &mut Frames, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = frames.room();
            let take = (room.capacity() - room.len()).min(bytes.len());
            room.extend_from_slice(&bytes[..take]);
            frames.on_read(take);
            bytes = &bytes[take..];
        }
    }

    #[test]
    fn frames_are_cut_wherever_the_stream_is() {
        let stream: Vec<u8> = [3, 0, 70_000, 1, 5_000_000]
            .iter()
            .flat_map(|len: &usize| [(*len as u32).to_be_bytes().to_vec(), vec![*len as u8; *len]].concat())
            .collect();
        for step in [1usize << 20, 70_001, 4096] {
            let mut frames = Frames::new();
            let mut lens = Vec::new();
            for chunk in stream.chunks(step) {
                feed(&mut frames, chunk);
                while let Some(frame) = frames.next(1 << 30).unwrap() {
                    assert!(frame.iter().all(|byte| *byte == frame.len() as u8));
                    lens.push(frame.len());
                }
            }
            assert_eq!(lens, [3, 0, 70_000, 1, 5_000_000]);
        }
    }

    #[test]
    fn a_large_or_negative_length_is_refused_and_reserves_nothing() {
        for prefix in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0x80, 0, 0, 0]] {
            let mut frames = Frames::new();
            feed(&mut frames, &prefix);
            assert!(frames.next(100).is_err());
            assert!(frames.room().capacity() <= 4 * BUSY_BYTES);
        }
    }

    #[test]
    fn an_idle_connection_keeps_a_small_buffer() {
        let mut frames = Frames::new();
        feed(&mut frames, &[&[0, 1, 0, 0][..], &[0; 65536]].concat());
        drop(frames.next(1 << 20).unwrap());
        frames.on_read(8);
        frames.on_read(8);
        assert!(frames.room().capacity() <= 2 * BUSY_BYTES);
        frames.busy = false;
        assert!(frames.room().capacity() <= 2 * IDLE_BYTES);
    }
}
