//! Answers that are not sent yet: a client that takes its own slowly keeps it in memory, and all that are large have one budget.
//!
//! It knows nothing of what they say. How long a client may take nothing `stalling` says.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all answers, or pieces of answers, that are larger than [`SMALL_BYTES`] may take together.
pub(super) const BUDGET_BYTES: usize = 128 << 20;
/// Those of up to this size are bounded by the number of connections.
const SMALL_BYTES: usize = 16 * 1024;

/// See the head of the file.
#[derive(Clone)]
pub(super) struct Answers(Arc<Semaphore>);

/// Bytes with their share of the budget.
struct Held {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES)))
    }

    /// The same bytes, which have a share of the budget until they are sent; `None`: there is none for them now.
    pub(super) fn hold(&self, bytes: Bytes) -> Option<Bytes> {
        if bytes.len() <= SMALL_BYTES {
            return Some(bytes);
        }
        let share = u32::try_from(bytes.len().min(BUDGET_BYTES)).unwrap_or(u32::MAX);
        let share = self.0.clone().try_acquire_many_owned(share).ok()?;
        Some(Bytes::from_owner(Held { bytes, _share: share }))
    }
}
