//! Ids for producers, taken from the controller block by block (KIP-730).

use crate::Broker;
use metadata::{Error, Reply, Request};
use model::{NodeId, ProducerId};
use tokio::sync::Mutex;

/// The block that this broker hands out from.
pub(crate) struct ProducerIds {
    node: NodeId,
    block: Mutex<Block>,
}

#[derive(Default)]
struct Block {
    next: ProducerId,
    left: i32,
}

impl ProducerIds {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, block: Mutex::default() }
    }

    /// An id that no other producer has.
    pub(crate) async fn next(&self, broker: &Broker) -> Result<ProducerId, Error> {
        let mut block = self.block.lock().await;
        if block.left == 0 {
            let broker_epoch = broker.image().broker(self.node).map_or(-1, |broker| broker.epoch);
            let request = Request::AllocateProducerIds { broker: self.node, broker_epoch };
            match broker.controller.ask(request).await? {
                Reply::AllocateProducerIds(ids) => *block = Block { next: ids.first, left: ids.count },
                other => return Err(crate::handlers::controller_error(Ok(other))),
            }
        }
        let id = block.next;
        block.next += 1;
        block.left -= 1;
        Ok(id)
    }
}
