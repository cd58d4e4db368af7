//! ListTransactions (key 66): the transactional ids whose coordinators are here, by state, producer, age and name
//! (KIP-664, KIP-994, KIP-1152).

use crate::{Broker, context::Context, failure_code};
use regex::{Regex, RegexBuilder};
use std::sync::Arc;
use transactions::{ListTransactions, Reply, Request, State};
use wire::{
    ErrorCode, ListTransactionsRequest, ListTransactionsResponse,
    list_transactions_response::TransactionState,
};

/// Memory that a pattern of a client may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let refuse =
        |code: ErrorCode| ListTransactionsResponse { error_code: code.to_i16(), ..Default::default() };
    let Ok(pattern) = pattern(request.transactional_id_pattern.as_deref()) else {
        return refuse(ErrorCode::InvalidRegularExpression);
    };
    let state = |name: &String| State::ALL.into_iter().find(|state| state.name() == name);
    let unknown: Vec<_> = request.state_filters.iter().filter(|name| !is_state(name)).cloned().collect();
    let list = ListTransactions {
        states: (!request.state_filters.is_empty())
            .then(|| request.state_filters.iter().filter_map(state).collect()),
        producer_ids: request.producer_id_filters,
        open_ms_min: (request.duration_filter >= 0).then_some(request.duration_filter),
    };
    let mut states = Vec::new();
    for answer in broker.transactions.ask_all(Request::List(list)).await {
        match answer {
            Ok(Reply::List(listed)) => {
                let named =
                    listed.into_iter().filter(|one| pattern.as_ref().is_none_or(|is| is.is_match(&one.id)));
                states.extend(named.map(|one| TransactionState {
                    transactional_id: one.id.to_string(),
                    producer_id: one.producer_id,
                    transaction_state: one.state.name().to_owned(),
                }));
            }
            Ok(_) => return refuse(ErrorCode::UnknownServerError),
            // This broker has just ceased to be the coordinator of these: another one lists them.
            Err(transactions::Error::NotCoordinator) => {}
            Err(error) => return refuse(failure_code::of_transactions(error)),
        }
    }
    ListTransactionsResponse {
        unknown_state_filters: unknown,
        transaction_states: states,
        ..ListTransactionsResponse::default()
    }
}

/// Whether Kafka has such a state; the last two are never shown by anything.
fn is_state(name: &str) -> bool {
    State::ALL.iter().any(|state| state.name() == name) || matches!(name, "Dead" | "PrepareEpochFence")
}

/// A pattern that the whole id must match.
fn pattern(text: Option<&str>) -> Result<Option<Regex>, regex::Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_BYTES_MAX).build().map(Some)
}
