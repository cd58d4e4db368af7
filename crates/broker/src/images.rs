//! The committed metadata as this node knows them: the newest image, and how far the node has brought itself in line.
//!
//! It reads no log; [`crate::follower`] does and publishes here. Everybody who needs metadata asks here.

use crate::unsupported::Unsupported;
use arc_swap::ArcSwap;
use env::Nanos;
use metadata::{Heartbeats, Image, Record, Registration};
use model::{NodeId, Offset};
use parking_lot::Mutex;
use quorum::{Watched, Watching, watch};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Notify;

/// How long clients are still told of a broker that was fenced. librdkafka gives up the connection to one that it is not told of
/// any more, and where that falls together with the move of a partition to its next leader, it forgets that leader for
/// another second. It looks for leaders once a second.
const FAREWELL_NANOS: Nanos = 3_000_000_000;

/// See the head of the file.
pub(crate) struct Images {
    newest: ArcSwap<Image>,
    replayed: Watched<Offset>,
    followed: Watched<Offset>,
    /// Why no image will come any more.
    given_up: Watched<Option<Unsupported>>,
    /// Of the brokers, while this node's controller is active; as new as the image.
    sessions: Mutex<Option<Heartbeats>>,
    sessions_news: Notify,
    /// The brokers that were fenced lately, their epochs then, and when.
    farewells: Mutex<BTreeMap<NodeId, (i64, Nanos)>>,
}

impl Images {
    /// Nothing is known yet.
    pub(crate) fn new(cluster_id: &str) -> Arc<Self> {
        let newest = ArcSwap::from_pointee(Image::new(cluster_id));
        Arc::new(Self {
            newest,
            replayed: watch(-1).0,
            followed: watch(-1).0,
            given_up: watch(None).0,
            sessions: Mutex::default(),
            sessions_news: Notify::new(),
            farewells: Mutex::default(),
        })
    }

    /// The newest image.
    pub(crate) fn newest(&self) -> Arc<Image> {
        self.newest.load_full()
    }

    /// Publishes an image; `news` are the records about brokers that have led to it, with their offsets.
    pub(crate) fn publish(&self, image: Image, news: &[(Record, Offset)]) {
        let offset = image.position().offset;
        {
            let mut sessions = self.sessions.lock();
            if let Some(sessions) = &mut *sessions {
                news.iter().for_each(|(record, offset)| sessions.replay(record, *offset));
            }
            self.newest.store(Arc::new(image));
        }
        self.replayed.send(offset);
    }

    /// The same, as it happens: what has just been fenced is not forgotten at once.
    pub(crate) fn publish_now(&self, image: Image, news: &[(Record, Offset)], now: Nanos) {
        let fenced = news.iter().filter_map(|(record, _)| match record {
            Record::BrokerChange { broker, broker_epoch, fenced: Some(true), .. } => {
                Some((*broker, (*broker_epoch, now)))
            }
            _ => None,
        });
        self.farewells.lock().extend(fenced);
        self.publish(image, news);
    }

    /// What was fenced before this node began to serve is none of its clients' business.
    pub(crate) fn forget_farewells(&self) {
        self.farewells.lock().clear();
    }

    /// The brokers that clients are told of: those that are not fenced, and those that have been only just now.
    pub(crate) fn told<'a>(
        &self,
        image: &'a Image,
        now: Nanos,
    ) -> impl Iterator<Item = &'a Arc<Registration>> {
        let mut farewells = self.farewells.lock();
        farewells.retain(|_, (_, since)| now < since.saturating_add(FAREWELL_NANOS));
        let lately: Vec<_> = farewells.iter().map(|(node, (epoch, _))| (*node, *epoch)).collect();
        let is_told = move |broker: &&Arc<Registration>| {
            !broker.fenced || !broker.shutting_down && lately.contains(&(broker.id, broker.epoch))
        };
        image.brokers().filter(is_told)
    }

    /// What is committed cannot be followed by this program.
    pub(crate) fn give_up(&self, why: Unsupported) {
        self.given_up.send(Some(why));
    }

    /// Waits until that happens.
    pub(crate) async fn until_given_up(&self) -> Unsupported {
        match self.given_up.subscribe().wait_for(Option::is_some).await {
            Ok(Some(why)) => why,
            // Its sender is here: it cannot be gone.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The controller becomes active, or is no more: the sessions of brokers begin anew, or are nobody's.
    pub(crate) fn set_sessions(&self, begin: Option<impl FnOnce(&Image) -> Heartbeats>) {
        let mut sessions = self.sessions.lock();
        *sessions = begin.map(|begin| begin(&self.newest()));
    }

    /// Looks at the sessions together with the image that they belong to; `None` if the controller is not active.
    pub(crate) fn with_sessions<T>(&self, look: impl FnOnce(&mut Heartbeats, &Image) -> T) -> Option<T> {
        let mut sessions = self.sessions.lock();
        sessions.as_mut().map(|sessions| look(sessions, &self.newest()))
    }

    /// Something has been noticed of a broker: its session may end sooner.
    pub(crate) fn hasten_sessions(&self, notice: impl FnOnce(&mut Heartbeats)) {
        if self.with_sessions(|sessions, _| notice(sessions)).is_some() {
            self.sessions_news.notify_one();
        }
    }

    /// Ends after [`Self::hasten_sessions`].
    pub(crate) async fn sessions_hastened(&self) {
        self.sessions_news.notified().await;
    }

    /// The broker's partitions are as the image of that offset says.
    pub(crate) fn set_followed(&self, offset: Offset) {
        self.followed.send(offset);
    }

    /// The offset up to which the broker is in line.
    pub(crate) fn followed(&self) -> Offset {
        *self.followed.borrow()
    }

    /// Tells of each image that is published, by its offset.
    pub(crate) fn replayed(&self) -> Watching<Offset> {
        self.replayed.subscribe()
    }

    /// Waits until what is at `offset` has been replayed; for ever if it never will be.
    pub(crate) async fn until_replayed(&self, offset: Offset) {
        until_reached(&self.replayed, offset).await;
    }

    /// The same, and the broker's partitions are in line with it.
    pub(crate) async fn until_followed(&self, offset: Offset) {
        until_reached(&self.followed, offset).await;
    }

    /// Waits until the newest image is one that `is_wanted`.
    pub(crate) async fn until(&self, is_wanted: impl Fn(&Image) -> bool) -> Arc<Image> {
        let mut replayed = self.replayed.subscribe();
        loop {
            let image = self.newest();
            // Who publishes lives as long as these images.
            if is_wanted(&image) || replayed.changed().await.is_err() {
                return image;
            }
        }
    }
}

async fn until_reached(reached: &Watched<Offset>, offset: Offset) {
    // Its sender is here: it cannot be gone.
    let _ = reached.subscribe().wait_for(|reached| *reached >= offset).await;
}
