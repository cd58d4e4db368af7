//! What a client lets a subscription send: so many records, and so many bytes of them. What was not granted is not read.
//!
//! The last record may be larger than the bytes that are left; else one that is larger than any grant would stay for ever.

use super::command::Fields;
use crate::problem::Problem;

/// See the head of the file. `None` is without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Credit {
    pub(crate) messages: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

/// What is read for the sake of one record, at least and about.
const BYTES_PER_RECORD: u64 = 1024;
const READ_BYTES_MIN: usize = 4096;

impl Credit {
    /// `{"messages": 100, "bytes": 65536}`, either or both.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Problem> {
        fields.known(&["messages", "bytes"])?;
        Ok(Self { messages: fields.number("messages")?, bytes: fields.number("bytes")? })
    }

    /// Whether anything may be sent.
    pub(super) fn is_left(self) -> bool {
        self.messages != Some(0) && self.bytes != Some(0)
    }

    /// One more record of so many bytes is sent.
    pub(super) fn take(&mut self, bytes: usize) {
        let take = |left: &mut Option<u64>, count: u64| {
            *left = left.map(|left| left.saturating_sub(count));
        };
        take(&mut self.messages, 1);
        take(&mut self.bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// So much more may be sent; what had no limit gets none.
    pub(super) fn grant(&mut self, more: Credit) {
        let grant = |left: &mut Option<u64>, more: Option<u64>| {
            *left = left.map(|left| left.saturating_add(more.unwrap_or(0)));
        };
        grant(&mut self.messages, more.messages);
        grant(&mut self.bytes, more.bytes);
    }

    /// How much is worth reading, at most `most`.
    pub(super) fn read_bytes(self, most: usize) -> usize {
        let by_count = self.messages.map(|count| count.saturating_mul(BYTES_PER_RECORD));
        let worth = by_count.unwrap_or(u64::MAX).min(self.bytes.unwrap_or(u64::MAX));
        usize::try_from(worth).unwrap_or(usize::MAX).clamp(READ_BYTES_MIN.min(most), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_counted_down_and_what_has_no_limit_is_not() {
        let mut credit = Credit { messages: Some(2), bytes: None };
        credit.take(usize::MAX);
        assert!(credit.is_left());
        credit.take(1);
        assert_eq!((credit.is_left(), credit.messages), (false, Some(0)));
        credit.grant(Credit { messages: Some(1), bytes: Some(7) });
        assert_eq!(credit, Credit { messages: Some(1), bytes: None });
        credit.grant(Credit { messages: Some(u64::MAX), bytes: None });
        assert_eq!(credit.messages, Some(u64::MAX));
    }

    #[test]
    fn the_last_record_may_be_larger_than_what_is_left() {
        let mut credit = Credit { messages: None, bytes: Some(10) };
        credit.take(9);
        assert!(credit.is_left());
        credit.take(1000);
        assert!(!credit.is_left());
    }

    #[test]
    fn little_is_read_for_little_credit() {
        let read = |messages, bytes| Credit { messages, bytes }.read_bytes(1 << 18);
        assert_eq!(read(None, None), 1 << 18);
        assert_eq!(read(Some(1), None), 4096);
        assert_eq!(read(Some(64), None), 1 << 16);
        assert_eq!(read(Some(u64::MAX), Some(5000)), 5000);
        assert_eq!(Credit { messages: Some(1), bytes: None }.read_bytes(1), 1);
    }
}
