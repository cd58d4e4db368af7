//! Blocks of producer ids for brokers (KIP-730).
//!
//! It does not give ids to producers: brokers do, out of their blocks. The controller's dispatch calls it.

use coordinator::Outcome;
use model::NodeId;

use super::{Controller, Decision};
use crate::{Error, ProducerIds, Record, Reply};

/// How many ids a broker gets at once, as in Kafka.
const BLOCK: i32 = 1000;

impl Controller {
    pub(super) fn allocate_producer_ids(&self, broker: NodeId, broker_epoch: i64) -> Decision {
        self.check_broker_epoch(broker, broker_epoch)?;
        let first = self.image.producer_id_next();
        let Some(next) = first.checked_add(BLOCK.into()) else {
            return Err(Error::UnknownServerError(
                "All producer ids of this cluster are used up.".to_owned(),
            ));
        };
        let record = Record::ProducerIds { broker, broker_epoch, next };
        Ok(Outcome::new(vec![record], Reply::AllocateProducerIds(ProducerIds { first, count: BLOCK })))
    }
}
