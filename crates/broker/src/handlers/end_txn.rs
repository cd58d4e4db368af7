//! EndTxn (key 26): a producer commits or aborts (KIP-98). From version 5 on the answer has the producer's next epoch
//! (KIP-890).

use crate::{Broker, context::Context, failure_code};
use std::sync::Arc;
use transactions::{EPOCH_BUMP, EndTxn, Error, Producer, Reply, Request};
use wire::{EndTxnRequest, EndTxnResponse, ErrorCode};

/// From this version on each end raises the epoch.
const VERSION_WITH_BUMP: i16 = 5;
/// Before this version clients do not know PRODUCER_FENCED.
const VERSION_WITH_FENCED: i16 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let id = request.transactional_id.as_str();
    let end = |fresh_id| {
        Request::EndTxn(EndTxn {
            producer: Producer {
                id: id.into(),
                producer_id: request.producer_id,
                producer_epoch: request.producer_epoch,
            },
            committed: request.committed,
            version: if context.version >= VERSION_WITH_BUMP { EPOCH_BUMP } else { 0 },
            fresh_id,
        })
    };
    let refuse = |code: ErrorCode| EndTxnResponse { error_code: code.to_i16(), ..Default::default() };
    match broker.transactions.ask_with_id(broker, id, end).await {
        Ok(Reply::EndTxn { producer_id, producer_epoch }) => {
            EndTxnResponse { producer_id, producer_epoch, ..Default::default() }
        }
        Ok(_) => refuse(ErrorCode::UnknownServerError),
        Err(Error::ProducerFenced) if context.version < VERSION_WITH_FENCED => {
            refuse(ErrorCode::InvalidProducerEpoch)
        }
        Err(error) => refuse(failure_code::of_transactions(error)),
    }
}
