//! What is to be asked of other nodes, gathered: while one request to a place is under way the next ones wait, and then go
//! together in one. A place is a node, or a part of one that may be slow on its own.
//!
//! It knows neither the requests nor their limits in time; who sends does. What waits is bounded by those who wait for it.

use crate::Broker;
use env::BoxFuture;
use model::NodeId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::oneshot;

/// Items for each place, and who waits for the answer to each.
pub(crate) struct Gathering<T, A, P = NodeId> {
    places: Mutex<BTreeMap<P, Queue<T, A>>>,
    send: Send<T, A, P>,
}

/// Asks at a place; gives an answer for each item, in their order.
type Send<T, A, P> = fn(Arc<Broker>, P, Vec<T>) -> BoxFuture<'static, Vec<A>>;

struct Queue<T, A> {
    waiting: Vec<(T, oneshot::Sender<A>)>,
    is_under_way: bool,
}

impl<T, A, P> Gathering<T, A, P>
where
    T: std::marker::Send + 'static,
    A: std::marker::Send + 'static,
    P: Ord + Copy + std::marker::Send + 'static,
{
    pub(crate) fn new(send: Send<T, A, P>) -> Arc<Self> {
        Arc::new(Self { places: Mutex::default(), send })
    }

    /// Asks at `place`; `None` if the answer says nothing of this item, or the broker ends.
    pub(crate) async fn ask(self: &Arc<Self>, broker: &Arc<Broker>, place: P, item: T) -> Option<A> {
        let (sender, receiver) = oneshot::channel();
        let is_first = {
            let mut places = self.places.lock();
            let queue =
                places.entry(place).or_insert_with(|| Queue { waiting: Vec::new(), is_under_way: false });
            queue.waiting.push((item, sender));
            !std::mem::replace(&mut queue.is_under_way, true)
        };
        if is_first {
            let (this, on) = (self.clone(), broker.clone());
            broker.world.tasks.spawn(Box::pin(async move { this.work(on, place).await }));
        }
        receiver.await.ok()
    }

    async fn work(&self, broker: Arc<Broker>, place: P) {
        while let Some(waiting) = self.take(place) {
            let (items, senders): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let answers = (self.send)(broker.clone(), place, items).await;
            for (sender, answer) in senders.into_iter().zip(answers) {
                // Whoever asked may have gone.
                let _ = sender.send(answer);
            }
        }
    }

    fn take(&self, place: P) -> Option<Vec<(T, oneshot::Sender<A>)>> {
        let mut places = self.places.lock();
        let queue = places.get_mut(&place)?;
        if queue.waiting.is_empty() {
            places.remove(&place);
            return None;
        }
        Some(std::mem::take(&mut queue.waiting))
    }
}
