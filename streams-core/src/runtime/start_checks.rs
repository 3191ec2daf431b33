//! What exactly-once needs of the brokers, looked at before anything starts: a promise that they can't keep is refused, one that
//! hangs on a single copy is warned of.

use super::cluster::{self, Admin, Copies};
use super::error::RuntimeError;
use super::instance::Instance;
use crate::client::versions;
use crate::error::StreamsError;

/// Offsets in transactions carry the member and its generation since this version (KIP-447, Apache Kafka 2.5): without them a
/// member that was left behind by a rebalance could still commit.
const TXN_OFFSET_COMMIT: (i16, i16) = (28, 3);

/// Refuses brokers that could not fence an instance that is left behind. (Those that have no transactions at all say so when the
/// first is prepared.)
///
/// # Errors
/// When they are too old.
pub(super) fn check_brokers(instance: &Instance) -> Result<(), StreamsError> {
    let settings = &instance.settings;
    let (api, needed) = TXN_OFFSET_COMMIT;
    match versions::highest_version(&settings.admin()?, api, settings.request_timeout) {
        Ok(Some(found)) if found < needed => Err(RuntimeError::BrokersTooOld { found, needed }.into()),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::debug!(%error, "which versions the brokers know can't be learned");
            Ok(())
        }
    }
}

/// Says so when brokers that could keep several copies keep one, or call a record written when one of them has it: a
/// transaction is as durable as what it wrote.
pub(super) fn warn_of_few_copies(instance: &Instance, admin: &Admin) {
    let (settings, topology) = (&instance.settings, &instance.topology);
    let prefix = format!("{}-", settings.application_id);
    let sinks: Vec<String> = instance.parts.iter().flat_map(|part| topology.sink_topics(part)).collect();
    let is_ours = |topic: &str| {
        topic.starts_with(&prefix)
            || topic == "__transaction_state"
            || topic == "__consumer_offsets"
            || sinks.iter().any(|sink| sink == topic)
    };
    let copies = match cluster::copies(admin, is_ours, settings.request_timeout) {
        Ok((2.., copies)) => copies,
        // A single broker can keep no more than one.
        Ok(_) => return,
        Err(error) => {
            tracing::debug!(%error, "the topics' copies can't be counted");
            return;
        }
    };
    let WeakTopics { single, unsafe_writes } = weak(&copies);
    if !single.is_empty() {
        tracing::warn!(
            topics = single.join(", "),
            "there is one copy only of these topics: exactly_once_v2 does not hold if its broker is lost; give them replication factor 3 and min.insync.replicas 2 (replication.factor and topic.min.insync.replicas for internal topics)"
        );
    }
    if !unsafe_writes.is_empty() {
        tracing::warn!(
            topics = unsafe_writes.join(", "),
            "what is written to these topics counts as written when one broker has it (min.insync.replicas 1): exactly_once_v2 does not hold if that one is lost before the others have caught up; give them min.insync.replicas 2 (kafka-configs --alter, topic.min.insync.replicas for internal topics, transaction.state.log.min.isr for __transaction_state)"
        );
    }
}

/// Topics that can lose what was acknowledged when one broker is lost.
#[derive(Debug, Default, PartialEq, Eq)]
struct WeakTopics {
    /// There is one copy.
    single: Vec<String>,
    /// There are several, but one is enough for an acknowledgement.
    unsafe_writes: Vec<String>,
}

fn weak(copies: &[Copies]) -> WeakTopics {
    let names = |is_weak: fn(&Copies) -> bool| {
        copies.iter().filter(|topic| is_weak(topic)).map(|topic| topic.name.clone()).collect()
    };
    WeakTopics {
        single: names(|topic| topic.replicas == 1),
        unsafe_writes: names(|topic| topic.replicas > 1 && topic.min_in_sync == Some(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_one_broker_can_lose_are_named() {
        let topic =
            |name: &str, replicas, min_in_sync| Copies { name: name.to_owned(), replicas, min_in_sync };
        let copies = [
            topic("single", 1, Some(1)),
            topic("good", 3, Some(2)),
            topic("unknown", 3, None),
            topic("unsafe", 3, Some(1)),
        ];
        let expected = WeakTopics { single: vec!["single".into()], unsafe_writes: vec!["unsafe".into()] };
        assert_eq!(weak(&copies), expected);
    }
}
