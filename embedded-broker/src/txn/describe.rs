//! What tools are told about transactions.

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Described};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::{ProducerId, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;

use kafka_protocol::ResponseError;

use super::coordinator::{Transaction, TransactionCoordinator};

/// Which transactions ListTransactions wants.
pub(crate) struct Filter<'a> {
    /// Names of states; empty lets all through.
    pub(crate) states: &'a [StrBytes],
    /// Empty lets all through.
    pub(crate) producer_ids: &'a [ProducerId],
    /// Open for longer than this many milliseconds; negative lets all through.
    pub(crate) open_ms: i64,
    /// The whole transactional id must match.
    pub(crate) id_pattern: Option<&'a regex::Regex>,
}

impl TransactionCoordinator {
    /// ListTransactions, by id.
    pub(crate) fn list(&self, filter: &Filter<'_>) -> Vec<Listed> {
        let now_ms = self.now_ms();
        let passes = |transaction: &Transaction| {
            let metadata = &transaction.metadata;
            let named = filter.states.iter().any(|name| **name == *metadata.state.name());
            let producer = filter.producer_ids.iter().any(|id| id.0 == metadata.producer_id);
            let begun = metadata.started_ms >= 0 && !metadata.state.is_idle();
            let old = begun && now_ms.saturating_sub(metadata.started_ms) > filter.open_ms;
            !transaction.dead
                && (filter.states.is_empty() || named)
                && (filter.producer_ids.is_empty() || producer)
                && (filter.open_ms < 0 || old)
                && filter.id_pattern.is_none_or(|pattern| pattern.is_match(&transaction.id))
        };
        let mut listed = Vec::new();
        for transaction in self.all() {
            let transaction = transaction.lock();
            if passes(&transaction) {
                let found = Listed::default()
                    .with_transactional_id(TransactionalId(transaction.id.clone()))
                    .with_producer_id(ProducerId(transaction.metadata.producer_id))
                    .with_transaction_state(StrBytes::from_static_str(transaction.metadata.state.name()));
                listed.push(found);
            }
        }
        listed.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        listed
    }

    /// DescribeTransactions, one id.
    pub(crate) fn describe(&self, id: &StrBytes) -> Described {
        let described = Described::default().with_transactional_id(TransactionalId(id.clone()));
        if id.is_empty() {
            return described.with_error_code(ResponseError::InvalidRequest.code());
        }
        let Some(metadata) = self.visit(id, |transaction| transaction.metadata.clone()) else {
            return described.with_error_code(ResponseError::TransactionalIdNotFound.code());
        };
        let mut topics: Vec<TopicData> = Vec::new();
        for name in &metadata.partitions {
            match topics.last_mut().filter(|data| *data.topic.0 == *name.topic) {
                Some(data) => data.partitions.push(name.partition),
                None => {
                    let topic = TopicName(StrBytes::from_string(name.topic.to_string()));
                    topics.push(TopicData::default().with_topic(topic).with_partitions(vec![name.partition]));
                }
            }
        }
        described
            .with_producer_id(ProducerId(metadata.producer_id))
            .with_producer_epoch(metadata.epoch)
            .with_transaction_state(StrBytes::from_static_str(metadata.state.name()))
            .with_transaction_timeout_ms(metadata.timeout_ms)
            .with_transaction_start_time_ms(metadata.started_ms)
            .with_topics(topics)
    }
}
