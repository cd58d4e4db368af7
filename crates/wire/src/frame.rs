//! Frames: a length of four bytes, big-endian, and so many bytes.
//!
//! It does not read from a socket; the task of a connection asks it how much it must read.

/// Bytes of a frame before its contents.
pub const PREFIX_BYTES: usize = 4;

/// A length that no frame may have. The connection cannot go on: where the next frame begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, where 0 to {limit} are allowed")]
pub struct FrameError {
    /// The length that was claimed.
    pub len: i32,
    /// What was allowed.
    pub limit: usize,
}

/// How many bytes the frame that begins at `prefix` has, with its length; `None` if `prefix` is too short to say.
/// `limit` bounds the contents.
pub fn needed(prefix: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(len) = prefix.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let len = i32::from_be_bytes(*len);
    match usize::try_from(len) {
        Ok(bytes) if bytes <= limit => Ok(Some(PREFIX_BYTES + bytes)),
        _ => Err(FrameError { len, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_known_after_four_bytes_and_bounded() {
        assert_eq!(needed(&[0, 0, 0], 100), Ok(None));
        assert_eq!(needed(&[0, 0, 0, 100, 7], 100), Ok(Some(104)));
        assert_eq!(needed(&[0, 0, 0, 101], 100), Err(FrameError { len: 101, limit: 100 }));
        assert_eq!(needed(&[0x7f, 0xff, 0xff, 0xff], 100), Err(FrameError { len: i32::MAX, limit: 100 }));
        assert_eq!(needed(&[0xff, 0xff, 0xff, 0xff], 100), Err(FrameError { len: -1, limit: 100 }));
    }
}
