//! What is to be asked of other nodes, gathered: while one request to a node is under way the next ones wait, and then go
//! together in one.
//!
//! It knows neither the requests nor their limits in time; who sends does. What waits is bounded by those who wait for it.

use crate::Broker;
use env::BoxFuture;
use model::NodeId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::oneshot;

/// Items for each node, and who waits for the answer to each.
pub(crate) struct Gathering<T, A> {
    nodes: Mutex<BTreeMap<NodeId, Queue<T, A>>>,
    send: Send<T, A>,
}

/// Asks a node; gives an answer for each item, in their order.
type Send<T, A> = fn(Arc<Broker>, NodeId, Vec<T>) -> BoxFuture<'static, Vec<A>>;

struct Queue<T, A> {
    waiting: Vec<(T, oneshot::Sender<A>)>,
    is_under_way: bool,
}

impl<T: std::marker::Send + 'static, A: std::marker::Send + 'static> Gathering<T, A> {
    pub(crate) fn new(send: Send<T, A>) -> Arc<Self> {
        Arc::new(Self { nodes: Mutex::default(), send })
    }

    /// Asks `node`; `None` if the answer says nothing of this item, or the broker ends.
    pub(crate) async fn ask(self: &Arc<Self>, broker: &Arc<Broker>, node: NodeId, item: T) -> Option<A> {
        let (sender, receiver) = oneshot::channel();
        let is_first = {
            let mut nodes = self.nodes.lock();
            let queue =
                nodes.entry(node).or_insert_with(|| Queue { waiting: Vec::new(), is_under_way: false });
            queue.waiting.push((item, sender));
            !std::mem::replace(&mut queue.is_under_way, true)
        };
        if is_first {
            let (this, on) = (self.clone(), broker.clone());
            broker.world.tasks.spawn(Box::pin(async move { this.work(on, node).await }));
        }
        receiver.await.ok()
    }

    async fn work(&self, broker: Arc<Broker>, node: NodeId) {
        while let Some(waiting) = self.take(node) {
            let (items, senders): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let answers = (self.send)(broker.clone(), node, items).await;
            for (sender, answer) in senders.into_iter().zip(answers) {
                // Whoever asked may have gone.
                let _ = sender.send(answer);
            }
        }
    }

    fn take(&self, node: NodeId) -> Option<Vec<(T, oneshot::Sender<A>)>> {
        let mut nodes = self.nodes.lock();
        let queue = nodes.get_mut(&node)?;
        if queue.waiting.is_empty() {
            nodes.remove(&node);
            return None;
        }
        Some(std::mem::take(&mut queue.waiting))
    }
}
