//! ListTransactions: all transactional ids, or those in certain states, of certain producers (KIP-664), open for long
//! (KIP-994), of certain names (KIP-1152).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use regex::Regex;

use crate::broker::Broker;
use crate::router::RequestContext;
use crate::txn::{Filter, TransactionState};

/// Filters that a version doesn't have let everything through.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.as_ref().filter(|pattern| !pattern.is_empty());
    // The whole id has to match.
    let Ok(pattern) = pattern.map(|pattern| Regex::new(&format!("^(?:{})$", &**pattern))).transpose() else {
        let code = ResponseError::InvalidRegularExpression.code();
        return ListTransactionsResponse::default().with_error_code(code);
    };
    let (known, unknown): (Vec<_>, Vec<_>) =
        request.state_filters.iter().cloned().partition(|name| TransactionState::is_name(name));
    let filter = Filter {
        states: &known,
        producer_ids: &request.producer_id_filters,
        open_ms: request.duration_filter,
        id_pattern: pattern.as_ref(),
    };
    // States nobody can be in, and no other: nothing passes.
    let states = match known.is_empty() && !unknown.is_empty() {
        true => Vec::new(),
        false => broker.transactions().list(&filter),
    };
    ListTransactionsResponse::default().with_unknown_state_filters(unknown).with_transaction_states(states)
}
