//! Being told that a stream may have news, without a task that waits for it.
//!
//! It is a hint: who is told reads, and may find nothing. Whoever holds streams rings; whoever holds readers that follow them listens.

use std::sync::Arc;

/// Whoever is told. It is called within locks, and does no more than take note.
pub trait Bells: Send + Sync {
    /// There may be news of what `place` stands for. `is_last`: the bell hangs there no more.
    fn ring(&self, place: u64, is_last: bool);
}

/// One of them: `place` is what it means by it.
#[derive(Clone)]
pub struct Bell {
    /// Who is told.
    pub bells: Arc<dyn Bells>,
    /// Of what.
    pub place: u64,
}

/// Holds a bell at a stream until it is dropped.
pub type Hook = Box<dyn Send + Sync>;

impl Bell {
    /// There may be news.
    pub fn ring(&self, is_last: bool) {
        self.bells.ring(self.place, is_last);
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Bell) -> bool {
        self.place == other.place && Arc::ptr_eq(&self.bells, &other.bells)
    }
}
