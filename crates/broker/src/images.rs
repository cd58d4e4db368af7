//! The committed metadata as this node knows them: the newest image, and how far the node has brought itself in line.
//!
//! It reads no log; [`crate::follower`] does and publishes here. Everybody who needs metadata asks here.

use arc_swap::ArcSwap;
use metadata::Image;
use model::Offset;
use quorum::{Watched, watch};
use std::sync::Arc;

/// See the head of the file.
pub(crate) struct Images {
    newest: ArcSwap<Image>,
    replayed: Watched<Offset>,
    followed: Watched<Offset>,
}

impl Images {
    /// Nothing is known yet.
    pub(crate) fn new(cluster_id: &str) -> Arc<Self> {
        let newest = ArcSwap::from_pointee(Image::new(cluster_id));
        Arc::new(Self { newest, replayed: watch(-1).0, followed: watch(-1).0 })
    }

    /// The newest image.
    pub(crate) fn newest(&self) -> Arc<Image> {
        self.newest.load_full()
    }

    /// Publishes an image.
    pub(crate) fn publish(&self, image: Image) {
        let offset = image.position().offset;
        self.newest.store(Arc::new(image));
        self.replayed.send(offset);
    }

    /// The broker's partitions are as the image of that offset says.
    pub(crate) fn set_followed(&self, offset: Offset) {
        self.followed.send(offset);
    }

    /// Waits until what is at `offset` has been replayed; for ever if it never will be.
    pub(crate) async fn until_replayed(&self, offset: Offset) {
        until(&self.replayed, offset).await;
    }

    /// The same, and the broker's partitions are in line with it.
    pub(crate) async fn until_followed(&self, offset: Offset) {
        until(&self.followed, offset).await;
    }
}

async fn until(reached: &Watched<Offset>, offset: Offset) {
    // Its sender is here: it cannot be gone.
    let _ = reached.subscribe().wait_for(|reached| *reached >= offset).await;
}
