//! How much of the budget for bodies one address may take: whoever sends slowly keeps what it has, and must not keep all.
//!
//! An address that sends nothing is not known. A body that is larger than a share is read if it is the only one.

use gateway::Place;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An eighth of the budget.
pub(super) const SHARE_BYTES: usize = super::BUDGET_BYTES / 8;

/// See the head of the file.
#[derive(Clone, Default)]
pub(super) struct Shares(Arc<Mutex<BTreeMap<Place, User>>>);

struct User {
    share: Arc<Semaphore>,
    /// Bodies that are read or wait for that.
    bodies: usize,
}

/// That an address is known.
struct Known {
    shares: Shares,
    place: Place,
}

/// A part of an address's share.
pub(in crate::public_http) struct Part {
    _permit: OwnedSemaphorePermit,
    _known: Known,
}

impl Shares {
    /// So many bytes of the share of an address, once it has them.
    pub(super) async fn part(&self, place: Place, bytes: usize) -> Option<Part> {
        let share = {
            let mut users = self.0.lock();
            let user = users.entry(place).or_insert_with(User::new);
            user.bodies += 1;
            user.share.clone()
        };
        let known = Known { shares: self.clone(), place };
        let bytes = u32::try_from(bytes.min(SHARE_BYTES)).unwrap_or(u32::MAX);
        let permit = share.acquire_many_owned(bytes).await.ok()?;
        Some(Part { _permit: permit, _known: known })
    }
}

impl User {
    fn new() -> Self {
        Self { share: Arc::new(Semaphore::new(SHARE_BYTES)), bodies: 0 }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut users = self.shares.0.lock();
        if let Some(user) = users.get_mut(&self.place) {
            user.bodies -= 1;
            if user.bodies == 0 {
                users.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "it is waited for in real time")]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(last: u8) -> Place {
        Place::of([192, 0, 2, last].into())
    }

    async fn at_once(shares: &Shares, last: u8, bytes: usize) -> Option<Part> {
        tokio::time::timeout(Duration::from_millis(10), shares.part(place(last), bytes)).await.ok().flatten()
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_leaves_nothing_behind() {
        let shares = Shares::default();
        let mut parts = Vec::new();
        for _ in 0..8 {
            parts.push(at_once(&shares, 1, SHARE_BYTES / 8).await.unwrap());
        }
        assert!(at_once(&shares, 1, 1).await.is_none(), "it has all");
        let other = at_once(&shares, 2, usize::MAX).await;
        assert!(other.is_some(), "others have theirs, and one body may be larger");
        parts.pop();
        assert!(at_once(&shares, 1, SHARE_BYTES / 8).await.is_some());
        drop((parts, other));
        assert!(shares.0.lock().is_empty());
    }
}
