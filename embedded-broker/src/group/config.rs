//! Settings of the group coordinator, under Apache Kafka's names.

use crate::config::ConfigError;
use crate::config::broker::BrokerSettings;

/// What the coordinator needs to know. Field docs name Apache Kafka's setting.
#[derive(Debug, Clone)]
pub(crate) struct GroupConfig {
    /// `group.min.session.timeout.ms`: shorter session timeouts are refused.
    pub(crate) min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`: longer session timeouts are refused.
    pub(crate) max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members than the first.
    pub(crate) initial_rebalance_delay_ms: i64,
    /// `group.max.size`: members.
    pub(crate) max_size: usize,
    /// How long a JoinGroup of a new member may be parked before the member is given up (Kafka: five minutes, fixed).
    pub(crate) new_member_join_timeout_ms: i64,
    /// `offset.metadata.max.bytes`: of one committed offset.
    pub(crate) max_offset_metadata_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds: after this long offsets nobody uses are dropped.
    pub(crate) offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub(crate) offsets_retention_check_interval_ms: u64,
}

/// Apache Kafka's fixed bound of a parked JoinGroup of a new member (`group.new.member.join.timeout.ms`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

impl GroupConfig {
    /// Reads the broker's settings.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting out of range.
    pub(crate) fn new(settings: &BrokerSettings) -> Result<Self, ConfigError> {
        Ok(GroupConfig {
            min_session_timeout_ms: settings.get("group.min.session.timeout.ms")?,
            max_session_timeout_ms: settings.get("group.max.session.timeout.ms")?,
            initial_rebalance_delay_ms: settings.get("group.initial.rebalance.delay.ms")?,
            max_size: settings.get("group.max.size")?,
            new_member_join_timeout_ms: NEW_MEMBER_JOIN_TIMEOUT_MS,
            max_offset_metadata_bytes: settings.get("offset.metadata.max.bytes")?,
            offsets_retention_ms: settings.get::<i64>("offsets.retention.minutes")?.saturating_mul(60_000),
            offsets_retention_check_interval_ms: settings.get("offsets.retention.check.interval.ms")?,
        })
    }
}
