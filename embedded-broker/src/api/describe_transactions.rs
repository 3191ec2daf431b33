//! DescribeTransactions: state, producer and partitions of transactional ids (KIP-664).

use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::broker::Broker;
use crate::router::RequestContext;

/// Describes each id on its own.
pub(crate) async fn handle(
    broker: &Broker,
    _ctx: &RequestContext,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.iter().map(|id| broker.transactions().describe(&id.0));
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}
