//! Cutting a byte stream into frames: a four-byte length, then so many bytes.
//!
//! It never reserves memory because a length prefix says so: a frame of ordinary size is given its room at once to
//! spare a copy, a larger one once [`crate::frame_budget`] has given the connection a share for it.

use bytes::{Buf, Bytes, BytesMut};
use model::limits;
use wire::{
    ApiKey,
    frame::{self, FrameError, PREFIX_BYTES},
};

/// An idle connection's buffer.
const IDLE_BYTES: usize = 512;
/// What a connection that sends larger requests reads at once.
const BUSY_BYTES: usize = 64 * 1024;

/// Received bytes, not yet all cut into frames.
pub(crate) struct Frames {
    buffer: BytesMut,
    busy: bool,
    /// There is a share of the budget for the frame that is being read.
    has_share: bool,
}

/// The largest frames that are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameLimits {
    /// Of requests that carry records.
    pub(crate) with_records: usize,
    /// Of all others; where both are the same, the request does not matter.
    pub(crate) without_records: usize,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), busy: false, has_share: false }
    }

    /// The next whole frame without its prefix, if it has arrived. A frame that is too large is refused when the first
    /// six bytes are there: its length and its API.
    pub(crate) fn next(&mut self, limits: FrameLimits) -> Result<Option<Bytes>, FrameError> {
        let Some(needed) = frame::needed(&self.buffer, limits.with_records)? else { return Ok(None) };
        if self.api_key().is_some_and(|key| key != ApiKey::Produce.to_i16()) {
            frame::needed(&self.buffer, limits.without_records)?;
        }
        if self.buffer.len() < needed {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        let frame = self.buffer.split_to(needed - PREFIX_BYTES).freeze();
        if frame.len() > limits::LARGE_FRAME_BYTES {
            // What follows must not keep the large frame's memory.
            self.buffer = BytesMut::from(&*self.buffer);
        }
        self.has_share = false;
        Ok(Some(frame))
    }

    /// The length of the frame that is being read, if it must not be read on without a share of the budget.
    pub(crate) fn share_wanted(&self) -> Option<usize> {
        let needed = frame::needed(&self.buffer, usize::MAX).ok()??;
        (needed > limits::LARGE_FRAME_BYTES && !self.has_share).then_some(needed)
    }

    /// The share is there: the frame may take all its room.
    pub(crate) fn give_share(&mut self) {
        self.has_share = true;
    }

    /// The buffer to read into, with some room.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let have = self.buffer.len();
        let at_once = if self.has_share { usize::MAX } else { limits::LARGE_FRAME_BYTES };
        let missing = match frame::needed(&self.buffer, at_once) {
            Ok(Some(needed)) => needed.saturating_sub(have),
            Err(_) => BUSY_BYTES,
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

    fn api_key(&self) -> Option<i16> {
        let (key, _) = self.buffer.get(PREFIX_BYTES..)?.split_first_chunk::<2>()?;
        Some(i16::from_be_bytes(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same limit for every request.
    fn any(len: usize) -> FrameLimits {
        FrameLimits { with_records: len, without_records: len }
    }

    /// A prefix and the beginning of a request's header.
    fn head(len: usize, key: ApiKey) -> Vec<u8> {
        [&(len as u32).to_be_bytes()[..], &key.to_i16().to_be_bytes()].concat()
    }

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
                while let Some(frame) = frames.next(any(1 << 30)).unwrap() {
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
            assert!(frames.next(any(100)).is_err());
            assert!(frames.room().capacity() <= 4 * BUSY_BYTES);
        }
    }

    #[test]
    fn an_idle_connection_keeps_a_small_buffer() {
        let mut frames = Frames::new();
        feed(&mut frames, &[&[0, 1, 0, 0][..], &[0; 65536]].concat());
        drop(frames.next(any(1 << 20)).unwrap());
        frames.on_read(8);
        frames.on_read(8);
        assert!(frames.room().capacity() <= 2 * BUSY_BYTES);
        frames.busy = false;
        assert!(frames.room().capacity() <= 2 * IDLE_BYTES);
    }

    #[test]
    fn only_produce_requests_may_be_large_and_all_others_are_refused_after_six_bytes() {
        let limits = FrameLimits { with_records: 100 << 20, without_records: 1 << 20 };
        let next = |bytes: &[u8]| {
            let mut frames = Frames::new();
            feed(&mut frames, bytes);
            frames.next(limits)
        };
        assert_eq!(next(&head(100 << 20, ApiKey::Produce)), Ok(None));
        assert_eq!(next(&head(1 << 20, ApiKey::Metadata)), Ok(None));
        let refused = FrameError { len: (1 << 20) + 1, limit: 1 << 20 };
        assert_eq!(next(&head((1 << 20) + 1, ApiKey::Metadata)), Err(refused));
        assert_eq!(
            next(&head((1 << 20) + 1, ApiKey::Metadata)[..5]),
            Ok(None),
            "not yet known which request"
        );
        let refused = FrameError { len: (100 << 20) + 1, limit: 100 << 20 };
        assert_eq!(next(&head((100 << 20) + 1, ApiKey::Produce)), Err(refused));
    }

    #[test]
    fn a_large_frame_gets_its_room_with_a_share_and_not_before_and_leaves_none_behind() {
        let len = limits::LARGE_FRAME_BYTES + 1;
        let mut frames = Frames::new();
        feed(&mut frames, &head(len, ApiKey::Produce));
        assert_eq!(frames.share_wanted(), Some(PREFIX_BYTES + len));
        assert!(frames.room().capacity() <= 4 * BUSY_BYTES, "{}", frames.room().capacity());
        frames.give_share();
        assert_eq!(frames.share_wanted(), None);
        assert!(frames.room().capacity() >= PREFIX_BYTES + len);
        feed(&mut frames, &vec![0; len - 2]);
        feed(&mut frames, &head(len, ApiKey::Produce));
        assert_eq!(frames.next(any(len)).unwrap().unwrap().len(), len);
        assert_eq!(frames.len(), 6, "the next frame's beginning is still there");
        assert_eq!(frames.share_wanted(), Some(PREFIX_BYTES + len), "each frame wants a share of its own");
        assert!(frames.buffer.capacity() <= 4 * BUSY_BYTES, "{}", frames.buffer.capacity());
    }

    #[test]
    fn a_frame_of_ordinary_size_needs_no_share() {
        let mut frames = Frames::new();
        feed(&mut frames, &head(limits::LARGE_FRAME_BYTES - PREFIX_BYTES, ApiKey::Fetch));
        assert_eq!(frames.share_wanted(), None);
        assert!(frames.room().capacity() >= limits::LARGE_FRAME_BYTES);
    }
}
