//! Ids for producers, taken from the controller block by block (KIP-730).

use crate::Broker;
use metadata::Error;
use model::ProducerId;
use tokio::sync::Mutex;

/// The block that this broker hands out from.
pub(crate) struct ProducerIds {
    block: Mutex<Block>,
}

#[derive(Default)]
struct Block {
    next: ProducerId,
    left: i32,
}

impl ProducerIds {
    pub(crate) fn new() -> Self {
        Self { block: Mutex::default() }
    }

    /// An id that no other producer has.
    pub(crate) async fn next(&self, broker: &Broker) -> Result<ProducerId, Error> {
        let mut block = self.block.lock().await;
        if block.left <= 0 {
            let (next, left) = broker.allocate_producer_ids().await?;
            if left <= 0 {
                return Err(Error::InvalidRequest(format!(
                    "The controller gave a block of {left} producer ids."
                )));
            }
            *block = Block { next, left };
        }
        let id = block.next;
        block.next += 1;
        block.left -= 1;
        Ok(id)
    }
}
