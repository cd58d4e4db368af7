//! InitProducerId (key 22): an id for an idempotent producer (KIP-98), or the id and the next epoch of a transactional one
//! (KIP-360, KIP-588, KIP-939).

use crate::{Broker, context::Context, failure_code};
use std::sync::Arc;
use transactions::{Error, InitProducerId, Reply, Request};
use wire::{ErrorCode, InitProducerIdRequest, InitProducerIdResponse};

/// Before this version clients do not know PRODUCER_FENCED.
const VERSION_WITH_FENCED: i16 = 4;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.clone() {
        Some(id) => transactional(broker, context, request, &id).await,
        None => idempotent(broker).await,
    }
}

async fn idempotent(broker: &Arc<Broker>) -> InitProducerIdResponse {
    match broker.producer_ids.next(broker).await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            tracing::warn!(%error, "no producer id could be allocated");
            refuse(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

async fn transactional(
    broker: &Arc<Broker>,
    context: &Context,
    request: InitProducerIdRequest,
    id: &str,
) -> InitProducerIdResponse {
    let expected = (request.producer_id != -1).then_some((request.producer_id, request.producer_epoch));
    let init = |fresh_id| {
        Request::InitProducerId(InitProducerId {
            id: id.into(),
            timeout_ms: request.transaction_timeout_ms,
            two_phase_commit: request.enable2_pc,
            keep_prepared: request.keep_prepared_txn,
            expected,
            fresh_id,
        })
    };
    if id.is_empty() {
        return refuse(ErrorCode::InvalidRequest);
    }
    match broker.transactions.ask_with_id(broker, id, init).await {
        Ok(Reply::InitProducerId { producer_id, producer_epoch }) => {
            InitProducerIdResponse { producer_id, producer_epoch, ..Default::default() }
        }
        // What was open is being aborted; the client comes again.
        Ok(_) => refuse(ErrorCode::ConcurrentTransactions),
        Err(Error::ProducerFenced) if context.version < VERSION_WITH_FENCED => {
            refuse(ErrorCode::InvalidProducerEpoch)
        }
        Err(error) => refuse(failure_code::of_transactions(error)),
    }
}

fn refuse(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: error.to_i16(), producer_epoch: -1, ..Default::default() }
}
