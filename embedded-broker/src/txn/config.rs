//! Settings of the transaction coordinator, under Apache Kafka's names.

use crate::config::ConfigError;
use crate::config::broker::BrokerSettings;

/// What the coordinator needs to know; times in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct TransactionConfig {
    /// `transaction.max.timeout.ms`: longer timeouts are refused.
    pub(crate) max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: an id that is idle for longer is forgotten.
    pub(crate) id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often timeouts are looked for.
    pub(crate) abort_check_ms: u64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often idle ids are looked for.
    pub(crate) expiry_check_ms: u64,
}

impl TransactionConfig {
    /// Reads the broker's settings.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting out of range.
    pub(crate) fn new(settings: &BrokerSettings) -> Result<Self, ConfigError> {
        Ok(TransactionConfig {
            max_timeout_ms: settings.get("transaction.max.timeout.ms")?,
            id_expiration_ms: settings.get("transactional.id.expiration.ms")?,
            abort_check_ms: settings.get("transaction.abort.timed.out.transaction.cleanup.interval.ms")?,
            expiry_check_ms: settings.get("transaction.remove.expired.transaction.cleanup.interval.ms")?,
        })
    }
}
