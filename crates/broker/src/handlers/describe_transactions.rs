//! DescribeTransactions (key 65): what the coordinator here knows of transactional ids (KIP-664).

use super::ASKED_AT_ONCE;
use crate::{Broker, context::Context, failure_code};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeMap, sync::Arc};
use transactions::{Reply, Request, Transaction};
use wire::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ErrorCode,
    describe_transactions_response::{TopicData, TransactionState},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let asked = super::distinct(request.transactional_ids).map(|id| describe(broker, id));
    let transaction_states = stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await;
    DescribeTransactionsResponse { transaction_states, ..Default::default() }
}

async fn describe(broker: &Arc<Broker>, id: String) -> TransactionState {
    match broker.transactions.ask(&id, Request::Describe { id: id.as_str().into() }).await {
        Ok(Reply::Describe(known)) => described(id, known),
        Ok(_) => refused(id, ErrorCode::UnknownServerError),
        Err(error) => refused(id, failure_code::of_transactions(error)),
    }
}

fn refused(transactional_id: String, error: ErrorCode) -> TransactionState {
    TransactionState { transactional_id, error_code: error.to_i16(), ..Default::default() }
}

fn described(transactional_id: String, known: Transaction) -> TransactionState {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in &known.partitions {
        topics.entry(partition.topic.to_string()).or_default().push(partition.partition);
    }
    TransactionState {
        error_code: failure_code::NONE,
        transactional_id,
        transaction_state: known.state.name().to_owned(),
        transaction_timeout_ms: known.timeout_ms,
        transaction_start_time_ms: known.started,
        producer_id: known.producer_id,
        producer_epoch: known.producer_epoch,
        topics: topics.into_iter().map(|(topic, partitions)| TopicData { topic, partitions }).collect(),
    }
}
